"""The items of one execution. All but the alias share the partition ``<org>#<execution>``.

control      what races: lease, wake counter, command, position in the journal, when to look again
summary      what lists show; written at the start and at the end only
journal#…    facts with consecutive indices, never changed
snapshot     cursor and scope at a journal index
inbox#…      signals the lease holder has not copied into the journal yet
wait#…       an open question; answered by one compare-and-set
child#…      a child execution that does a part of the work; its end answers it like a question
"""

from __future__ import annotations

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, IncludeProjection

from shared.store.base import Record, TableMeta

DUE_SHARDS = 8
"""Partitions of the due index, so that no single one takes every wake-up."""


def execution_pk(org_id: str, execution_id: str) -> str:
    """Partition key of everything that belongs to one execution."""
    return f"{org_id}#{execution_id}"


def alias_pk(org_id: str, number: int) -> str:
    """Partition key of the item that finds an execution by its 63-bit number."""
    return f"{org_id}#number#{number}"


def definition_listing_pk(org_id: str, definition_id: str) -> str:
    """Partition of the listing of a definition's executions."""
    return f"{org_id}#{definition_id}"


def journal_sk(first: int) -> str:
    """Sort key of the journal item whose first fact has index ``first``."""
    return f"journal#{first:012d}"


def due_shard(execution_id: str) -> str:
    """The partition of the due index an execution lives in."""
    return str(sum(execution_id.encode()) % DUE_SHARDS)


class DueIndex(GlobalSecondaryIndex["Record"]):
    """Live executions and schedules by the moment somebody must look at them; sparse.

    It holds what starting an execution needs and no more: an append that moves nothing of it does not write it.
    """

    class Meta:
        index_name = "due"
        projection = IncludeProjection(["execution_id", "generation", "org_id"])

    due_shard = UnicodeAttribute(hash_key=True)
    due_ms = NumberAttribute(range_key=True)


class OrgListingIndex(GlobalSecondaryIndex["Summary"]):
    """Executions of an org, oldest first."""

    class Meta:
        index_name = "by_org"
        projection = AllProjection()

    org_listing = UnicodeAttribute(hash_key=True)
    listed_at = UnicodeAttribute(range_key=True)


class DefinitionListingIndex(GlobalSecondaryIndex["Summary"]):
    """Executions of a definition, oldest first."""

    class Meta:
        index_name = "by_definition"
        projection = AllProjection()

    definition_listing = UnicodeAttribute(hash_key=True)
    listed_at = UnicodeAttribute(range_key=True)


class Control(Record):
    """The one item whose conditional writes order everything that happens to an execution."""

    class Meta(TableMeta):
        table = "executions"
        # A change record is a hint of what to read, never the data, so it needs no images.
        stream_view_type = "KEYS_ONLY"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="control")
    org_id = UnicodeAttribute()
    execution_id = UnicodeAttribute()
    account_id = UnicodeAttribute()
    number = NumberAttribute()
    kind = UnicodeAttribute()
    definition_id = UnicodeAttribute()
    definition_version = NumberAttribute()
    live = BooleanAttribute()
    status = UnicodeAttribute()
    generation = NumberAttribute()
    segment = NumberAttribute()
    wake = NumberAttribute()
    absorbed = NumberAttribute()
    command = UnicodeAttribute()
    next_index = NumberAttribute()
    append_id = UnicodeAttribute(null=True)
    snapshot_index = NumberAttribute(null=True)
    lease = UnicodeAttribute(null=True)
    lease_boot = UnicodeAttribute(null=True)
    lease_until = NumberAttribute(null=True)
    task_token = UnicodeAttribute(null=True)
    started_ms = NumberAttribute()
    deadline_ms = NumberAttribute(null=True)
    due_shard = UnicodeAttribute(null=True)
    due_ms = NumberAttribute(null=True)
    parent_id = UnicodeAttribute(null=True)
    parent_slot = UnicodeAttribute(null=True)
    has_children = BooleanAttribute(null=True)
    due = DueIndex()


class Summary(Record):
    """What lists show of an execution."""

    class Meta(TableMeta):
        table = "executions"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="summary")
    execution_id = UnicodeAttribute()
    account_id = UnicodeAttribute()
    number = NumberAttribute()
    kind = UnicodeAttribute()
    definition_id = UnicodeAttribute()
    definition_version = NumberAttribute()
    status = UnicodeAttribute()
    started_ms = NumberAttribute()
    ended_ms = NumberAttribute(null=True)
    error = UnicodeAttribute(null=True)
    error_node = UnicodeAttribute(null=True)
    org_listing = UnicodeAttribute(null=True)
    definition_listing = UnicodeAttribute(null=True)
    listed_at = UnicodeAttribute(null=True)
    by_org = OrgListingIndex()
    by_definition = DefinitionListingIndex()


class JournalEntry(Record):
    """Facts ``first`` to ``first + length - 1`` as a JSON list."""

    class Meta(TableMeta):
        table = "executions"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    first = NumberAttribute()
    length = NumberAttribute()
    facts = UnicodeAttribute()


class Snapshot(Record):
    """The interpreter's state after the facts below ``index``; the text itself or the key of its blob."""

    class Meta(TableMeta):
        table = "executions"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="snapshot")
    index = NumberAttribute()
    state = UnicodeAttribute(null=True)
    blob = UnicodeAttribute(null=True)


class InboxEntry(Record):
    """A signal on its way into the journal. ``fact`` is the JSON of the fact to copy."""

    class Meta(TableMeta):
        table = "executions"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    fact = UnicodeAttribute()


class WaitRecord(Record):
    """An open question of an execution. ``status`` goes from open to answered or expired, once."""

    class Meta(TableMeta):
        table = "executions"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    wait = UnicodeAttribute()
    key = UnicodeAttribute()
    node = UnicodeAttribute()
    visit = NumberAttribute()
    token = NumberAttribute()
    status = UnicodeAttribute()
    until_ms = NumberAttribute(null=True)


class ChildRecord(Record):
    """A child execution. ``status`` goes from open to answered or dropped, once.

    Its sort key, ``slot``, is none that the key of a signal can name.
    """

    class Meta(TableMeta):
        table = "executions"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    child_id = UnicodeAttribute()
    status = UnicodeAttribute()


class Alias(Record):
    """Finds an execution by its number."""

    class Meta(TableMeta):
        table = "executions"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="alias")
    execution_id = UnicodeAttribute()


class ExecutionItem(Record):
    """Any item of an execution, for whoever removes it: its key, and the texts that may name blobs."""

    class Meta(TableMeta):
        table = "executions"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    facts = UnicodeAttribute(null=True)
    fact = UnicodeAttribute(null=True)
    blob = UnicodeAttribute(null=True)


EXECUTION_MODELS = (Control, Summary, JournalEntry, Snapshot, InboxEntry, WaitRecord, ChildRecord, Alias)
"""Every model of the table, for whoever creates it."""

__all__ = [
    "DUE_SHARDS", "EXECUTION_MODELS", "Alias", "ChildRecord", "Control", "DefinitionListingIndex", "DueIndex",
    "InboxEntry", "JournalEntry", "OrgListingIndex", "Snapshot", "Summary", "WaitRecord", "alias_pk", "due_shard",
    "execution_pk", "journal_sk",
]  # fmt: skip
