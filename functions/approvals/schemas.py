"""Wire models of approvals and their rules. Source: NullRun docs, Human approval and Approvals."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from shared.governance.grants import status_of
from shared.kit import clock, json
from shared.store.models.policies import Approval, Rule
from shared.web.requests import WireAnswer, WireModel

_ORG_ID = "6f1d2a0e-9c55-5b0e-8a57-0d5ba7e2c001"
_WORKFLOW_ID = "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7"
_RULE_ID = "0198c0e1-5d20-7b13-8e44-7c1a2b3c4d5e"
_APPROVAL_ID = "0198c0e2-11a0-7f02-9b7e-51a0c3d7e812"
_EXECUTION_ID = "0198c0e2-0f31-7a41-8c11-6d2e0b9f3c55"
_ACCOUNT_ID = "0198c0de-0001-7c2e-9d3a-2f9c41aa01f7"
_DIGEST = "5fca1cbd46a8a4b0a31a2f2a0b0b5d7fa2f3d7c5a5dc2e19b5bfb1f0a3e3c9d1"
_AT, _UNTIL = "2026-01-01T12:00:00.000Z", "2026-01-01T12:05:00.000Z"

_PREDICATE: JsonDict = {
    "kind": "tool_parameters",
    "trigger_logic": "any",
    "conditions": [{"param_name": "amount", "matcher": {"kind": "numeric_range", "min": 500, "max": None}}],
}
_NEW_RULE: JsonDict = {
    "name": "Large refunds",
    "tool_patterns": ["refund*"],
    "action_predicate": _PREDICATE,
    "priority": 10,
    "expires_in_seconds": 300,
    "action_label": "Refund a customer",
    "risk_level": "HIGH",
}
_RULE: JsonDict = {
    "id": _RULE_ID,
    "rule_id": _RULE_ID,
    "organization_id": _ORG_ID,
    "name": "Large refunds",
    "enabled": True,
    "tool_patterns": ["refund*"],
    "per_call_threshold_cents": None,
    "action_predicate": _PREDICATE,
    "priority": 10,
    "expires_in_seconds": 300,
    "action_label": "Refund a customer",
    "risk_level": "HIGH",
    "workflow_id": None,
    "version": 1,
    "created_at": _AT,
    "updated_at": _AT,
}
_APPROVAL: JsonDict = {
    "id": _APPROVAL_ID,
    "approval_id": _APPROVAL_ID,
    "organization_id": _ORG_ID,
    "workflow_id": _WORKFLOW_ID,
    "execution_id": _EXECUTION_ID,
    "rule_id": _RULE_ID,
    "status": "PENDING",
    "tool": "refund",
    "action_label": "Refund a customer",
    "risk_level": "HIGH",
    "action_digest": _DIGEST,
    "business_impact": {
        "kind": "tool_call",
        "tool_name": "refund",
        "params": {"args": [], "kwargs": {"amount": "900"}},
        "extractor_id": "nullrun.tool_call.path",
        "extractor_version": "1",
    },
    "projected_cost_cents": 1,
    "note": None,
    "decided_by": None,
    "decided_at": None,
    "consumed_at": None,
    "flow_execution_id": None,
    "created_at": _AT,
    "expires_at": _UNTIL,
}

_PATTERNS = "Names of tools, with `*` for any run of characters; none: every call."
_THRESHOLD = "Cents: the rule asks when one call is projected to cost that much or more."
_CONDITION = "A money_amount or tool_parameters predicate that must hold, too."
_PRIORITY = "0 to 1000; of several rules that ask, the smallest decides."
_EXPIRES = "1 to 3600: how long people have to decide."
_RISK = "LOW, MEDIUM or HIGH."
_SCOPE = "The only workflow it is about; without one, all."


class NewApprovalRule(WireModel):
    """A rule by which calls wait for a person. With both conditions both must hold, with none every call waits."""

    model_config = ConfigDict(json_schema_extra={"examples": [_NEW_RULE]})

    name: str = Field(description="1 to 80 characters.")
    tool_patterns: list[str] = Field(default_factory=list, description=_PATTERNS)
    per_call_threshold_cents: int | None = Field(None, description=_THRESHOLD)
    action_predicate: dict[str, Any] | None = Field(None, description=_CONDITION)
    priority: int = Field(100, description=_PRIORITY)
    expires_in_seconds: int = Field(300, description=_EXPIRES)
    action_label: str | None = Field(None, description="200 characters at most; what people see.")
    risk_level: str = Field("MEDIUM", description=_RISK)
    workflow_id: str | None = Field(None, description=_SCOPE)
    enabled: bool = True


class ApprovalRuleChanges(WireModel):
    """What to change; what is left out stays. Null removes a condition, a label or the workflow."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"per_call_threshold_cents": 500, "enabled": False}]})

    name: str | None = Field(None, description="1 to 80 characters.")
    tool_patterns: list[str] | None = Field(None, description=_PATTERNS)
    per_call_threshold_cents: int | None = Field(None, description=_THRESHOLD)
    action_predicate: dict[str, Any] | None = Field(None, description=_CONDITION)
    priority: int | None = Field(None, description=_PRIORITY)
    expires_in_seconds: int | None = Field(None, description=_EXPIRES)
    action_label: str | None = Field(None, description="200 characters at most; what people see.")
    risk_level: str | None = Field(None, description=_RISK)
    workflow_id: str | None = Field(None, description=_SCOPE)
    enabled: bool | None = None

    def sent(self) -> dict[str, Any]:
        """The fields that are there, null or not."""
        return self.model_dump(exclude_unset=True)


class ApprovalRuleRow(WireAnswer):
    """An approval rule. ``version`` counts its changes."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RULE]})

    id: str
    rule_id: str
    organization_id: str
    name: str
    enabled: bool
    tool_patterns: list[str]
    per_call_threshold_cents: int | None
    action_predicate: dict[str, Any] | None
    priority: int
    expires_in_seconds: int
    action_label: str | None
    risk_level: str
    workflow_id: str | None
    version: int
    created_at: str
    updated_at: str


class ApprovalRuleList(WireAnswer):
    """A part of the rules, oldest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"approval_rules": [_RULE], "total": 1, "next_cursor": None}]}
    )

    approval_rules: list[ApprovalRuleRow]
    total: int
    next_cursor: str | None


class ApprovalRow(WireAnswer):
    """An approval. ``business_impact`` is what the client said it is about, with its secrets masked."""

    model_config = ConfigDict(json_schema_extra={"examples": [_APPROVAL]})

    id: str
    approval_id: str
    organization_id: str
    workflow_id: str
    execution_id: str
    rule_id: str | None
    status: str
    tool: str | None
    action_label: str | None
    risk_level: str
    action_digest: str | None
    business_impact: dict[str, Any] | None
    projected_cost_cents: int
    note: str | None
    decided_by: str | None
    decided_at: str | None
    consumed_at: str | None
    flow_execution_id: str | None
    created_at: str
    expires_at: str


class ApprovalList(WireAnswer):
    """A part of the approvals, newest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"approvals": [_APPROVAL], "total": 1, "next_cursor": None}]}
    )

    approvals: list[ApprovalRow]
    total: int
    next_cursor: str | None


class Decision(WireModel):
    """What the one who decides has to say about it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "Agreed with the customer"}]})

    note: str | None = Field(None, description="2000 characters at most; the asking client gets it, too.")


class ConsumeRequest(WireModel):
    """Who goes on, or gives up."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"organization_id": _ORG_ID, "execution_id": _EXECUTION_ID}]}
    )

    organization_id: str | None = None
    execution_id: str | None = Field(None, max_length=200)


class Consumed(WireAnswer):
    """``status`` is consumed, already_consumed or not_approved."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"approval_id": _APPROVAL_ID, "status": "consumed"}]})

    approval_id: str
    status: str


def rule_row(record: Rule) -> dict[str, Any]:
    """A rule as it is answered."""
    return {
        "id": record.rule_id,
        "rule_id": record.rule_id,
        "organization_id": record.org_id,
        "name": record.name,
        "enabled": bool(record.enabled),
        "tool_patterns": json.loads(record.tool_patterns),
        "per_call_threshold_cents": None if record.threshold_cents is None else int(record.threshold_cents),
        "action_predicate": None if record.predicate is None else json.loads(record.predicate),
        "priority": int(record.priority),
        "expires_in_seconds": int(record.expires_in_s),
        "action_label": record.action_label,
        "risk_level": record.risk_level,
        "workflow_id": record.workflow_id,
        "version": int(record.revision),
        "created_at": clock.rfc3339(int(record.created_ms)),
        "updated_at": clock.rfc3339(int(record.updated_ms)),
    }


def approval_row(record: Approval) -> dict[str, Any]:
    """An approval as it is answered."""
    return {
        "id": record.approval_id,
        "approval_id": record.approval_id,
        "organization_id": record.org_id,
        "workflow_id": record.workflow_id,
        "execution_id": record.execution_id,
        "rule_id": record.rule_id,
        "status": status_of(record, clock.now_ms()),
        "tool": record.tool,
        "action_label": record.action_label,
        "risk_level": record.risk_level,
        "action_digest": record.action_digest,
        "business_impact": None if record.impact is None else json.loads(record.impact),
        "projected_cost_cents": int(record.projected_cents),
        "note": record.note,
        "decided_by": record.decided_by,
        "decided_at": _moment(record.decided_ms),
        "consumed_at": _moment(record.consumed_ms),
        "flow_execution_id": record.flow_execution_id,
        "created_at": clock.rfc3339(int(record.created_ms)),
        "expires_at": clock.rfc3339(int(record.expires_ms)),
    }


def _moment(ms: float | None) -> str | None:
    return None if ms is None else clock.rfc3339(int(ms))
