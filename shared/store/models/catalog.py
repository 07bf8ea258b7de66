"""Definitions and their versions.

<org>#<kind>             / <definition>                  what lists show
<org>#<kind>#deleted     / <definition>                  deleted ones, whose versions executions may still run
<org>#<definition>       / version#<revision>            one version
<org>#<definition>       / text#…, program#<revision>    what it says, and what it was compiled to; never changed
"""

from __future__ import annotations

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from shared.store.base import Record, TableMeta


def definitions_pk(org_id: str, kind: str) -> str:
    """Partition key of an org's definitions of one kind."""
    return f"{org_id}#{kind}"


def deleted_pk(org_id: str, kind: str) -> str:
    """Partition key of an org's deleted definitions of one kind."""
    return f"{org_id}#{kind}#deleted"


def versions_pk(org_id: str, definition_id: str) -> str:
    """Partition key of a definition's versions."""
    return f"{org_id}#{definition_id}"


def version_sk(revision: int) -> str:
    """Sort key of a version."""
    return f"version#{revision:09d}"


def content_sk(part: str, revision: int) -> str:
    """Sort key of a version's ``text`` or ``program``."""
    return f"{part}#{revision:09d}"


class DefinitionRecord(Record):
    """A definition without its text. ``tags`` and ``custom`` are JSON; ``change`` counts writes, ``revision`` versions.

    ``version`` is its author's word for the newest version.
    """

    class Meta(TableMeta):
        table = "catalog"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    account_id = UnicodeAttribute()
    name = UnicodeAttribute()
    description = UnicodeAttribute()
    version = UnicodeAttribute()
    revision = NumberAttribute()
    change = NumberAttribute()
    tags = UnicodeAttribute(default="[]")
    category = UnicodeAttribute(default="")
    status = UnicodeAttribute(default="")
    custom = UnicodeAttribute(default="{}")
    created_ms = NumberAttribute()
    updated_ms = NumberAttribute()


class DeletedRecord(Record):
    """A definition that was deleted."""

    class Meta(TableMeta):
        table = "catalog"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    deleted_ms = NumberAttribute()


class VersionRecord(Record):
    """One version. ``version`` is its author's word for it."""

    class Meta(TableMeta):
        table = "catalog"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    revision = NumberAttribute()
    version = UnicodeAttribute()
    account_id = UnicodeAttribute()
    created_ms = NumberAttribute()


class ContentRecord(Record):
    """The text or the compiled program of a version: itself, or the key of its blob."""

    class Meta(TableMeta):
        table = "catalog"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    content = UnicodeAttribute(null=True)
    blob = UnicodeAttribute(null=True)


CATALOG_MODELS = (DefinitionRecord, DeletedRecord, VersionRecord, ContentRecord)
"""Every model of the table, for whoever creates it."""
