"""Which alert an event or a refused operation gives cause for. Reads nothing but names.

Source: NullRun docs, HTTP API, Alerts; docs/rulings.md#alerts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from shared.governance.money import cents
from shared.governance.refusals import CODES
from shared.kit import ids, json
from shared.store.models.alerts import Alert, alerts_pk
from shared.store.models.governance import Event, Operation

Severity: TypeAlias = Literal["Critical", "Warning", "Info"]

WINDOW_MS = 15 * 60_000
"""Refusals of one workflow for one reason are one alert in each window of this length."""

KEPT_S = 30 * 24 * 3600
"""How long an alert is kept."""

THRESHOLDS: Mapping[int, Severity] = {80: "Warning", 95: "Warning", 100: "Critical"}
"""Percents of a budget that are told of."""

SETTINGS: Mapping[str, str] = {
    "workflow_killed": "notify_on_workflow_killed",
    "workflow_paused": "notify_on_workflow_paused",
    "approval_required": "notify_on_approval_required",
    "key_created": "notify_on_key_created",
    "key_revoked": "notify_on_key_revoked",
    "member_invited": "notify_on_member_invited",
    "budget_threshold": "notify_on_budget_threshold",
    "budget_exhausted": "notify_on_budget_threshold",
    "workflow_resumed": "notify_on_workflow_resumed",
    "workflow_created": "notify_on_workflow_created",
    "approval_decided": "notify_on_approval_decided",
    "policy_changed": "notify_on_policy_changed",
    "member_joined": "notify_on_member_joined",
    "member_removed": "notify_on_member_removed",
}
"""The choice that switches members' mails of a kind of incident; the other kinds are mailed to nobody."""

_SCOPES = {"org": "The organisation", "key": "An API key"}

Names: TypeAlias = Callable[[str], str]
"""From a workflow's id to its name."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How an action is told. ``message`` may name ``workflow``, ``actor`` and ``subject``."""

    incident_type: str
    severity: Severity
    title: str
    message: str


_ASKING = ("approval_required", "approval_decided")

_INVITED = _Kind("member_invited", "Info", "Member invited", "{actor} invited {subject}.")
_APPROVAL = _Kind("approval_required", "Warning", "Approval required", "{workflow} waits for approval of {subject}.")

KINDS: Mapping[str, _Kind] = {
    "workflow.killed": _Kind("workflow_killed", "Critical", "Workflow killed", "{actor} killed {workflow}."),
    "workflow.paused": _Kind("workflow_paused", "Warning", "Workflow paused", "{actor} paused {workflow}."),
    "approval.requested": _APPROVAL,
    "api_key.created": _Kind("key_created", "Info", "API key created", "{actor} made the API key {subject}."),
    "api_key.revoked": _Kind("key_revoked", "Info", "API key revoked", "{actor} revoked the API key {subject}."),
    "team.invite": _INVITED,
}
"""Events that make an alert, by their action."""

NOTICES: Mapping[str, _Kind] = {
    "workflow.resumed": _Kind("workflow_resumed", "Info", "Workflow resumed", "{actor} resumed {workflow}."),
    "workflow.created": _Kind("workflow_created", "Info", "Workflow created", "{actor} made {workflow}."),
    "approval.approved": _Kind("approval_decided", "Info", "Approved", "{actor} approved {subject} of {workflow}."),
    "approval.denied": _Kind("approval_decided", "Info", "Denied", "{actor} denied {subject} of {workflow}."),
    "policy.created": _Kind("policy_changed", "Info", "Policy created", "{actor} made the policy {subject}."),
    "policy.updated": _Kind("policy_changed", "Info", "Policy changed", "{actor} changed the policy {subject}."),
    "policy.deleted": _Kind("policy_changed", "Info", "Policy deleted", "{actor} deleted the policy {subject}."),
    "member.joined": _Kind("member_joined", "Info", "Member joined", "{subject} has joined."),
    "member.removed": _Kind("member_removed", "Info", "Member removed", "{subject} is no member any more."),
}
"""Events that members may want mail of although they are no alerts, by their action."""


def notice_of(org_id: str, event: Event, names: Names) -> Alert | None:
    """What members are to be told of an event that makes no alert, in an alert's form; it is never stored."""
    kind = NOTICES.get(event.action)
    return None if kind is None else _told(org_id, event, kind, json.loads(event.details), names)


def alert_of(org_id: str, item: Event | Operation, names: Names) -> Alert | None:
    """The alert a record gives cause for, not stored yet; None for most. The same record always makes the same."""
    if isinstance(item, Operation):
        return _blocked(org_id, item, names)
    details = json.loads(item.details)
    if item.action == "budget.threshold_crossed":
        return _threshold(org_id, item, details, names)
    kind = KINDS.get(item.action)
    return None if kind is None else _told(org_id, item, kind, details, names)


def _told(org_id: str, event: Event, kind: _Kind, details: Mapping[str, Any], names: Names) -> Alert:
    moment = int(event.created_ms)
    workflow = "A workflow" if event.workflow_id is None else names(event.workflow_id)
    said = (details.get(name) for name in ("action_label", "tool", "tool_name", "name", "email"))
    subject = next(
        (str(text) for text in said if text), "an action" if kind.incident_type in _ASKING else event.resource_id
    )
    message = kind.message.format(workflow=workflow, actor=event.actor_label, subject=subject)
    if details.get("reason"):
        message += f" Reason: {details['reason']}"
    return _alert(
        org_id, ids.uuid7_of(moment, "alert", org_id, event.event_id), moment, severity=kind.severity,
        category="System", incident_type=kind.incident_type, title=kind.title, message=message,
        workflow_id=event.workflow_id,
    )  # fmt: skip


def _threshold(org_id: str, event: Event, details: Mapping[str, Any], names: Names) -> Alert | None:
    threshold, scope, scope_id = int(details["threshold"]), str(details["scope"]), str(details["scope_id"])
    severity = THRESHOLDS.get(threshold)
    if severity is None:
        return None
    start, spent, cap = int(details["period_start_ms"]), int(details["spent"]), int(details["cap"])
    workflow_id = scope_id if scope == "workflow" else event.workflow_id
    who = names(scope_id) if scope == "workflow" else _SCOPES.get(scope, "A budget")
    return _alert(
        org_id, ids.uuid7_of(start, "threshold", org_id, scope, scope_id, str(threshold)), int(event.created_ms),
        severity=severity, category="System",
        incident_type="budget_exhausted" if threshold == 100 else "budget_threshold",
        title=f"{threshold}% of budget used", message=f"{who} has used {_dollars(spent)} of {_dollars(cap)}.",
        workflow_id=workflow_id, current_cents=cents(spent), threshold_cents=cents(cap * threshold // 100),
    )  # fmt: skip


def _blocked(org_id: str, operation: Operation, names: Names) -> Alert | None:
    code = operation.error_code
    told = CODES.get(code or "")
    if operation.decision != "block" or code is None or told is None:
        return None
    if code == "TOOL_BLOCKED":
        incident, severity, title = "tool_blocked", "Warning", "Tool blocked"
    elif code == "EXECUTION_QUOTA_EXCEEDED":
        incident, severity, title = "quota_blocked", "Critical", "Call refused: the plan's executions are used up"
    elif told.category == "budget":
        incident, severity, title = "budget_blocked", "Critical", "Call refused: no budget left"
    else:
        return None
    moment, workflow_id = int(operation.created_ms), operation.workflow_id
    # The window, not the moment: refusals often come by the thousand.
    alert_id = ids.uuid7_of(moment // WINDOW_MS * WINDOW_MS, "blocked", org_id, workflow_id, code)
    message = f"{names(workflow_id)}: {operation.explanation or title}"
    return _alert(
        org_id, alert_id, moment, severity=severity, category="Prevented", incident_type=incident, title=title,
        message=message, workflow_id=workflow_id,
    )  # fmt: skip


def _alert(org_id: str, alert_id: str, moment: int, **values: Any) -> Alert:
    return Alert(
        alerts_pk(org_id), alert_id, org_id=org_id, alert_id=alert_id, created_ms=moment,
        ttl=moment // 1000 + KEPT_S, **values,
    )  # fmt: skip


def _dollars(amount: int) -> str:
    return f"${cents(amount) / 100:,.2f}"
