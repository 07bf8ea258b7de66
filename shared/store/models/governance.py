"""Governed workflows: their money and state, what was asked of the gate, its keys.

key#<fingerprint> / key                    which org's key a text is; the one thing known before the org is
<org>#settings / settings                  the org's plan, and the version of its policy set
<org>#workflows / <workflow>               a workflow: its name, its budget, the texts that mean it
<org>#external-ids / <id>                  which workflow has a customer's own id
<org>#purse#<scope> / purse                money of a workflow, of the org (its ceiling) or of a key; a workflow's also
                                           carries what every gate must prove: state, versions, calls of the minute
<org>#purse#<scope> / period#<start>       what a period came to, once it is over
<org>#operation#<digest> / operation       one question put to the gate: reservation, binding, decision, stored answer
<org>#chain#<chain> / chain                a chain of operations that may use the overdraft
<org>#keys / <key>                         an API key; never the key itself
<org>#events / <event>                     something that happened: the outbox of audit, alerts and control frames

Money is in whole micro-cents (a cent is 1,000,000), times in epoch milliseconds.
"""

from __future__ import annotations

from typing import Any

from pynamodb.attributes import BooleanAttribute, MapAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, IncludeProjection

from shared.store.base import Record, TableMeta

DUE_SHARDS = 8
"""Partitions of the due index."""


class GovernanceMeta(TableMeta):
    """The table of everything about governance."""

    table = "governance"
    # A change record is a hint of what to read, never the data, so it needs no images.
    stream_view_type = "KEYS_ONLY"


def fingerprint_pk(fingerprint: str) -> str:
    """Partition key of the pointer from a key's fingerprint to its org."""
    return f"key#{fingerprint}"


def settings_pk(org_id: str) -> str:
    """Partition key of the org's settings."""
    return f"{org_id}#settings"


def workflows_pk(org_id: str) -> str:
    """Partition key of the org's workflows."""
    return f"{org_id}#workflows"


def external_ids_pk(org_id: str) -> str:
    """Partition key of the ids that customers gave their workflows."""
    return f"{org_id}#external-ids"


def purse_pk(org_id: str, scope_id: str) -> str:
    """Partition key of the purse of a workflow, a key, or (``scope_id`` is the org's) of the org."""
    return f"{org_id}#purse#{scope_id}"


def period_sk(start_ms: int) -> str:
    """Sort key of a period that is over."""
    return f"period#{start_ms:015d}"


def operation_pk(org_id: str, digest: str) -> str:
    """Partition key of one operation; see :func:`shared.governance.operations.operation_digest`."""
    return f"{org_id}#operation#{digest}"


def chain_pk(org_id: str, chain_id: str) -> str:
    """Partition key of a chain."""
    return f"{org_id}#chain#{chain_id}"


def keys_pk(org_id: str) -> str:
    """Partition key of the org's API keys."""
    return f"{org_id}#keys"


def events_pk(org_id: str) -> str:
    """Partition key of what happened in the org; ids sort by time."""
    return f"{org_id}#events"


def due_shard(org_id: str) -> str:
    """The partition of the due index an org's items live in."""
    return str(sum(org_id.encode()) % DUE_SHARDS)


class DueIndex(GlobalSecondaryIndex["Record"]):
    """Whatever somebody must look at by a certain time; sparse. ``kind`` says what it is."""

    class Meta:
        index_name = "due"
        projection = IncludeProjection(["org_id", "kind", "workflow_id"])

    due_shard = UnicodeAttribute(hash_key=True)
    due_ms = NumberAttribute(range_key=True)
    org_id = UnicodeAttribute()
    kind = UnicodeAttribute()
    workflow_id = UnicodeAttribute(null=True)


class OperationIndex(GlobalSecondaryIndex["Operation"]):
    """Operations of an org, oldest first: ``listed_at`` is the execution id."""

    class Meta:
        index_name = "by_org"
        projection = AllProjection()

    org_listing = UnicodeAttribute(hash_key=True)
    listed_at = UnicodeAttribute(range_key=True)


class KeyPointer(Record):
    """From the fingerprint of a key to its record."""

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="key")
    org_id = UnicodeAttribute()
    key_id = UnicodeAttribute()


class OrgSettings(Record):
    """What an org has chosen. ``policy_version`` moves with every change of a policy or rule.

    ``anchor_ms`` is where its budget periods begin. ``claims`` moves with whatever is made within the plan's limits.
    It is due while there may be purses that do not carry the version yet.
    """

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="settings")
    kind = UnicodeAttribute(default="settings")
    org_id = UnicodeAttribute()
    plan = UnicodeAttribute()
    contact_email = UnicodeAttribute(null=True)
    policy_version = NumberAttribute()
    anchor_ms = NumberAttribute()
    claims = NumberAttribute(default=0)
    due_shard = UnicodeAttribute(null=True)
    due_ms = NumberAttribute(null=True)
    due = DueIndex()


class ExternalId(Record):
    """That an id of the customer's own is taken, and by which workflow."""

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    workflow_id = UnicodeAttribute()


class Workflow(Record):
    """A governed workflow. What the gate needs of it is in its purse. ``aliases`` are a JSON list of texts."""

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    workflow_id = UnicodeAttribute()
    name = UnicodeAttribute()
    external_id = UnicodeAttribute(null=True)
    description = UnicodeAttribute(null=True)
    budget_cents = NumberAttribute(null=True)
    human_approvals_enabled = BooleanAttribute(default=False)
    aliases = UnicodeAttribute(default="[]")
    deleted = BooleanAttribute(default=False)
    revision = NumberAttribute(default=1)
    created_ms = NumberAttribute()
    updated_ms = NumberAttribute()


class Purse(Record):
    """Money of one scope in its current period: ``available`` = ``cap`` - ``spent`` - ``reserved``, always.

    ``crossed`` is the highest threshold (80, 95, 100 percent) that ``spent`` has reached in the period. ``overrun`` is
    the part of ``spent`` that no room was left for. ``key_versions`` maps each live key of a workflow to its version,
    ``calls`` each key to its calls in ``minute`` (epoch minutes). An org's counts the workflows whose purses carry the
    policy version ``since_version`` or a later one.
    """

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="purse")
    org_id = UnicodeAttribute()
    scope = UnicodeAttribute()
    scope_id = UnicodeAttribute()
    cap = NumberAttribute()
    available = NumberAttribute()
    spent = NumberAttribute()
    reserved = NumberAttribute()
    overrun = NumberAttribute()
    overdraft = NumberAttribute(default=0)
    crossed = NumberAttribute(default=0)
    anchor_ms = NumberAttribute()
    period_start_ms = NumberAttribute()
    period_end_ms = NumberAttribute()
    policy_version = NumberAttribute()
    since_version = NumberAttribute(default=0)
    state = UnicodeAttribute(default="Normal")
    state_version = NumberAttribute(default=1)
    state_reason = UnicodeAttribute(null=True)
    state_ms = NumberAttribute()
    key_versions: MapAttribute[Any, Any] = MapAttribute(default=dict)
    minute = NumberAttribute(default=0)
    calls: MapAttribute[Any, Any] = MapAttribute(default=dict)


class Period(Record):
    """What a period came to; late settlements are still added to it."""

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    org_id = UnicodeAttribute()
    cap = NumberAttribute()
    spent = NumberAttribute()
    overrun = NumberAttribute()
    period_start_ms = NumberAttribute()
    period_end_ms = NumberAttribute()


class Operation(Record):
    """One gate call. ``execution_id`` names its reservation, too.

    ``status`` of the reservation: open, settled, canceled, expired, refused. ``reserved`` is what is left of it,
    ``late`` the part of ``spent`` that came after its end. The scopes it was taken from are ``workflow_id`` and the
    JSON list ``funds`` (ids of the org's and the key's purse). ``overdraft`` was borrowed for it; ``credit`` is by how
    much its settlement may leave the workflow's purse short.
    ``decision``: allow, soft_pass, require_approval, block. ``result``: pending, completed, failed, blocked, canceled.
    """

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="operation")
    kind = UnicodeAttribute(default="reservation")
    org_id = UnicodeAttribute()
    execution_id = UnicodeAttribute()
    operation_id = UnicodeAttribute()
    workflow_id = UnicodeAttribute()
    key_id = UnicodeAttribute()
    fingerprint = UnicodeAttribute()
    source = UnicodeAttribute(default="gate")
    decision = UnicodeAttribute()
    status = UnicodeAttribute()
    result = UnicodeAttribute()
    answer = UnicodeAttribute(null=True)
    funds = UnicodeAttribute(default="[]")
    projected = NumberAttribute(default=0)
    reserved = NumberAttribute(default=0)
    reserved_total = NumberAttribute(default=0)
    spent = NumberAttribute(default=0)
    late = NumberAttribute(default=0)
    overdraft = NumberAttribute(default=0)
    credit = NumberAttribute(default=0)
    epsilon = NumberAttribute(default=0)
    period_start_ms = NumberAttribute(default=0)
    expires_ms = NumberAttribute(default=0)
    model = UnicodeAttribute(null=True)
    tool = UnicodeAttribute(null=True)
    tools = UnicodeAttribute(null=True)
    chain_id = UnicodeAttribute(null=True)
    trace_id = UnicodeAttribute(null=True)
    label = UnicodeAttribute(null=True)
    action_digest = UnicodeAttribute(null=True)
    approval_id = UnicodeAttribute(null=True)
    error_code = UnicodeAttribute(null=True)
    policy_id = UnicodeAttribute(null=True)
    policy_version = NumberAttribute(default=0)
    matched_rule = UnicodeAttribute(null=True)
    explanation = UnicodeAttribute(null=True)
    flow_execution_id = UnicodeAttribute(null=True)
    depth = NumberAttribute(default=0)
    tokens = NumberAttribute(default=0)
    llm_calls = NumberAttribute(default=0)
    latency_ms = NumberAttribute(default=0)
    chained = NumberAttribute(null=True)
    created_ms = NumberAttribute()
    completed_ms = NumberAttribute(null=True)
    due_shard = UnicodeAttribute(null=True)
    due_ms = NumberAttribute(null=True)
    org_listing = UnicodeAttribute()
    listed_at = UnicodeAttribute()
    by_org = OperationIndex()
    due = DueIndex()


class Chain(Record):
    """A chain of operations. It lives until ``ended``, 300 s idle, or ``longest_ms`` after its start."""

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="chain")
    org_id = UnicodeAttribute()
    chain_id = UnicodeAttribute()
    started_ms = NumberAttribute()
    active_ms = NumberAttribute()
    longest_ms = NumberAttribute(default=3_600_000)
    ended = BooleanAttribute(default=False)


class ApiKey(Record):
    """An API key. Its secret of version n is derived from the deployment's root and that version's salt.

    ``salts`` is a JSON object of version → ``{"salt": hex, "expires_ms": int or null}``; at most two are live.
    ``scopes`` is a JSON list.
    """

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    key_id = UnicodeAttribute()
    org_id = UnicodeAttribute()
    workflow_id = UnicodeAttribute()
    name = UnicodeAttribute()
    prefix = UnicodeAttribute()
    fingerprint = UnicodeAttribute()
    scopes = UnicodeAttribute()
    version = NumberAttribute()
    salts = UnicodeAttribute()
    revoked_ms = NumberAttribute(null=True)
    expires_ms = NumberAttribute(null=True)
    last_used_ms = NumberAttribute(null=True)
    executions = NumberAttribute(default=0)
    created_by = UnicodeAttribute()
    created_ms = NumberAttribute()


class Event(Record):
    """Something that happened. ``details`` is a JSON object, ``control`` a JSON list of control-plane frames, or none.

    ``chained`` is its place in the audit chain. Until it has one it is due, so that the sweep finds what was lost.
    """

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    org_id = UnicodeAttribute()
    kind = UnicodeAttribute(default="event")
    event_id = UnicodeAttribute()
    action = UnicodeAttribute()
    event_type = UnicodeAttribute()
    actor_type = UnicodeAttribute()
    actor_id = UnicodeAttribute()
    actor_label = UnicodeAttribute()
    resource_type = UnicodeAttribute()
    resource_id = UnicodeAttribute()
    workflow_id = UnicodeAttribute(null=True)
    outcome = UnicodeAttribute()
    decision = UnicodeAttribute(null=True)
    reason_code = UnicodeAttribute(null=True)
    execution_id = UnicodeAttribute(null=True)
    details = UnicodeAttribute(default="{}")
    control = UnicodeAttribute(null=True)
    chained = NumberAttribute(null=True)
    created_ms = NumberAttribute()
    due_shard = UnicodeAttribute(null=True)
    due_ms = NumberAttribute(null=True)
    due = DueIndex()
