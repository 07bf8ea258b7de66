"""What a gate call is judged by, and the questions it puts to people.

<org>#policies / <policy>       a policy
<org>#rules / <rule>            an approval rule
<org>#approvals / <approval>    an approval that was asked for
<org>#pending / count           how many of them wait for a decision
<org>#bindings / <definition>   the workflow that governs a definition's executions
"""

from __future__ import annotations

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute

from shared.store.base import Record
from shared.store.models.governance import DueIndex, GovernanceMeta


def policies_pk(org_id: str) -> str:
    """Partition key of the org's policies."""
    return f"{org_id}#policies"


def rules_pk(org_id: str) -> str:
    """Partition key of the org's approval rules."""
    return f"{org_id}#rules"


def approvals_pk(org_id: str) -> str:
    """Partition key of the org's approval requests; their ids sort by time."""
    return f"{org_id}#approvals"


def pending_pk(org_id: str) -> str:
    """Partition key of the count of the org's approvals that wait for a decision."""
    return f"{org_id}#pending"


def bindings_pk(org_id: str) -> str:
    """Partition key of the definitions that a workflow governs."""
    return f"{org_id}#bindings"


class Policy(Record):
    """A policy. ``config`` is a JSON object of its type's settings; ``scope`` is org, workflow or api_key."""

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    policy_id = UnicodeAttribute()
    org_id = UnicodeAttribute()
    name = UnicodeAttribute()
    policy_type = UnicodeAttribute()
    scope = UnicodeAttribute()
    scope_id = UnicodeAttribute(null=True)
    enabled = BooleanAttribute()
    priority = NumberAttribute()
    enforcement_mode = UnicodeAttribute()
    config = UnicodeAttribute()
    template_id = UnicodeAttribute(null=True)
    revision = NumberAttribute()
    created_ms = NumberAttribute()
    updated_ms = NumberAttribute()


class Rule(Record):
    """An approval rule. ``tool_patterns`` is a JSON list, ``predicate`` a JSON object or absent."""

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    rule_id = UnicodeAttribute()
    org_id = UnicodeAttribute()
    name = UnicodeAttribute()
    enabled = BooleanAttribute(default=True)
    tool_patterns = UnicodeAttribute(default="[]")
    threshold_cents = NumberAttribute(null=True)
    predicate = UnicodeAttribute(null=True)
    priority = NumberAttribute()
    expires_in_s = NumberAttribute()
    action_label = UnicodeAttribute(null=True)
    risk_level = UnicodeAttribute()
    workflow_id = UnicodeAttribute(null=True)
    revision = NumberAttribute()
    created_ms = NumberAttribute()
    updated_ms = NumberAttribute()


class Approval(Record):
    """A question put to people. ``status``: PENDING, APPROVED, DENIED, EXPIRED, CONSUMED, REVOKED.

    ``consumed_ms`` is when the asking client went on, ``used_ms`` when execute let the action happen.
    """

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    kind = UnicodeAttribute(default="approval")
    approval_id = UnicodeAttribute()
    org_id = UnicodeAttribute()
    workflow_id = UnicodeAttribute()
    execution_id = UnicodeAttribute()
    rule_id = UnicodeAttribute(null=True)
    status = UnicodeAttribute()
    tool = UnicodeAttribute(null=True)
    action_label = UnicodeAttribute(null=True)
    risk_level = UnicodeAttribute(default="MEDIUM")
    action_digest = UnicodeAttribute(null=True)
    impact = UnicodeAttribute(null=True)
    projected_cents = NumberAttribute(default=0)
    note = UnicodeAttribute(null=True)
    decided_by = UnicodeAttribute(null=True)
    decided_ms = NumberAttribute(null=True)
    consumed_ms = NumberAttribute(null=True)
    used_ms = NumberAttribute(null=True)
    pushes = NumberAttribute(default=0)
    flow_execution_id = UnicodeAttribute(null=True)
    created_ms = NumberAttribute()
    expires_ms = NumberAttribute()
    due_shard = UnicodeAttribute(null=True)
    due_ms = NumberAttribute(null=True)
    due = DueIndex()


class PendingApprovals(Record):
    """How many approvals of an org are PENDING; moved together with each of them."""

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="count")
    pending = NumberAttribute()


class Binding(Record):
    """That a workflow governs the executions of a definition."""

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    org_id = UnicodeAttribute()
    definition_id = UnicodeAttribute()
    workflow_id = UnicodeAttribute()
    created_ms = NumberAttribute()
