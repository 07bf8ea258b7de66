"""Wire models of status, quota and dashboard. Source: NullRun docs, HTTP API, Executions, audit, observability."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict
from pydantic.config import JsonDict

from shared.governance.dashboard import DashboardView, RecentExecution
from shared.governance.plans import Plan
from shared.governance.quota import KeyRow, Quota
from shared.governance.status import Status
from shared.kit import clock
from shared.web.requests import WireAnswer

_ORG_ID = "6f1d2a0e-9c55-5b0e-8a57-0d5ba7e2c001"
_WORKFLOW_ID = "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7"
_START, _END = "2026-01-01T12:00:00.000Z", "2026-02-01T12:00:00.000Z"
_CAPS: JsonDict = {
    "plan": "growth",
    "workflows": 50,
    "api_keys": 100,
    "seats": 10,
    "policies": 25,
    "approval_rules": 20,
    "max_executions_per_month": 750000,
    "max_tokens_per_hour": 300000,
    "max_rps": 50,
    "history_days": 30,
}
_PERIOD: JsonDict = {"start": _START, "end": _END, "kind": "billing_cycle"}
_SHARE: JsonDict = {"used": 3, "limit": 50, "percent": 6.0}
_KEY: JsonDict = {
    "key_id": "0198c0df-1b20-7a41-8c11-6d2e0b9f3c55",
    "name": "prod",
    "key_prefix": "nr_live_k3w9",
    "workflow_id": _WORKFLOW_ID,
    "executions": 9100,
    "tokens": 8123456,
    "cost_cents": 231,
    "last_used_at": _START,
}
_RECENT: JsonDict = {
    "id": "0198c0e5-2f00-7a12-8b34-9d5c6e7f8a90",
    "execution_id": "0198c0e5-2f00-7a12-8b34-9d5c6e7f8a90",
    "workflow_id": _WORKFLOW_ID,
    "workflow_name": "support bot",
    "tool": "refund",
    "model": None,
    "decision": "allow",
    "result": "completed",
    "error_code": None,
    "cost_cents": 3,
    "tokens": 1200,
    "created_at": _START,
}


class PlanCaps(WireAnswer):
    """What the plan allows; -1 is no limit."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CAPS]})

    plan: str
    workflows: int
    api_keys: int
    seats: int
    policies: int
    approval_rules: int
    max_executions_per_month: int
    max_tokens_per_hour: int
    max_rps: int
    history_days: int


class OrgStatus(WireAnswer):
    """How an org stands. Without a budget `budget_cents` is 0 and `time_to_exhaustion_secs` null."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "current_spend_cents": 231,
                    "budget_cents": 5000,
                    "time_to_exhaustion_secs": 86400,
                    "rate_used": 12,
                    "rate_limit_per_min": 60,
                    "plan_caps": _CAPS,
                    "period_start": _START,
                    "period_end": _END,
                }
            ]
        }
    )

    current_spend_cents: int
    budget_cents: int
    time_to_exhaustion_secs: int | None
    rate_used: int
    rate_limit_per_min: int
    plan_caps: PlanCaps
    period_start: str
    period_end: str


class QuotaPeriod(WireAnswer):
    """The period that is counted."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PERIOD]})

    start: str
    end: str
    kind: str


class QuotaShare(WireAnswer):
    """How much of a resource is used; a `limit` of -1 is none."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SHARE]})

    used: float
    limit: int
    percent: float


class KeyUsageRow(WireAnswer):
    """What one API key has used in the period."""

    model_config = ConfigDict(json_schema_extra={"examples": [_KEY]})

    key_id: str
    name: str
    key_prefix: str
    workflow_id: str
    executions: int
    tokens: int
    cost_cents: int
    last_used_at: str | None


class OrgQuota(WireAnswer):
    """What an org uses of its plan. `projected_hit_in_days`: when the executions are used up, if within the period."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "plan": "growth",
                    "period": _PERIOD,
                    "executions_period_kind": "billing_cycle",
                    "limits": {"workflows": _SHARE},
                    "per_key": [_KEY],
                    "at_risk": False,
                    "projected_hit_in_days": None,
                }
            ]
        }
    )

    plan: str
    period: QuotaPeriod
    executions_period_kind: str
    limits: dict[str, QuotaShare]
    per_key: list[KeyUsageRow]
    at_risk: bool
    projected_hit_in_days: float | None


class OrgDashboard(WireAnswer):
    """The numbers of an org's first page, for its current period."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "organization": {"id": _ORG_ID, "name": "Acme", "plan": "growth"},
                    "spend": {
                        "current_cents": 231,
                        "budget_cents": 5000,
                        "series": [{"date": "2026-01-01", "cost_cents": 231}],
                    },
                    "executions": {"total": 9100, "allow": 9050, "block": 49, "require_approval": 1},
                    "workflows": {
                        "total": 3,
                        "active": 2,
                        "paused": 1,
                        "killed": 0,
                        "top": [{"id": _WORKFLOW_ID, "name": "support bot", "spent_cents": 200}],
                    },
                    "alerts": {"active": 1, "critical": 0, "warning": 1, "info": 0},
                    "recent_executions": [_RECENT],
                    "pending_approvals": 0,
                    "generated_at": _START,
                }
            ]
        }
    )

    organization: dict[str, str]
    spend: dict[str, Any]
    executions: dict[str, int]
    workflows: dict[str, Any]
    alerts: dict[str, int]
    recent_executions: list[dict[str, Any]]
    pending_approvals: int
    generated_at: str


def status_row(status: Status) -> dict[str, Any]:
    """A status as it is answered."""
    return {
        "current_spend_cents": status.spent_cents,
        "budget_cents": status.budget_cents,
        "time_to_exhaustion_secs": status.exhausted_in_s,
        "rate_used": status.rate_used,
        "rate_limit_per_min": status.rate_limit,
        "plan_caps": _caps(status.plan),
        "period_start": clock.rfc3339(status.period.start_ms),
        "period_end": clock.rfc3339(status.period.end_ms),
    }


def quota_row(quota: Quota) -> dict[str, Any]:
    """A quota as it is answered."""
    shares = quota.limits.items()
    return {
        "plan": quota.plan.id,
        "period": {
            "start": clock.rfc3339(quota.period.start_ms),
            "end": clock.rfc3339(quota.period.end_ms),
            "kind": quota.period_kind,
        },
        "executions_period_kind": quota.period_kind,
        "limits": {name: {"used": row.used, "limit": row.limit, "percent": row.percent} for name, row in shares},
        "per_key": [_key_row(row) for row in quota.per_key],
        "at_risk": quota.at_risk,
        "projected_hit_in_days": quota.hit_in_days,
    }


def dashboard_row(view: DashboardView) -> dict[str, Any]:
    """A dashboard as it is answered."""
    decisions, states, alerts = view.decisions, view.states, view.alerts
    paused, killed, workflows = states.get("Paused", 0), states.get("Killed", 0), sum(states.values())
    series = [{"date": clock.rfc3339(day.day_ms)[:10], "cost_cents": day.cost_cents} for day in view.series]
    return {
        "organization": {"id": view.org_id, "name": view.org_name, "plan": view.plan.id},
        "spend": {"current_cents": view.spent_cents, "budget_cents": view.budget_cents, "series": series},
        "executions": {
            "total": sum(decisions.values()),
            "allow": decisions.get("allow", 0) + decisions.get("soft_pass", 0),
            "block": decisions.get("block", 0),
            "require_approval": decisions.get("require_approval", 0),
        },
        "workflows": {
            "total": workflows,
            "active": workflows - paused - killed,
            "paused": paused,
            "killed": killed,
            "top": [{"id": row.id, "name": row.name, "spent_cents": row.spent_cents} for row in view.top],
        },
        "alerts": {"active": sum(alerts.values())}
        | {severity: alerts.get(severity, 0) for severity in ("critical", "warning", "info")},
        "recent_executions": [_recent_row(row) for row in view.recent],
        "pending_approvals": view.pending_approvals,
        "generated_at": clock.rfc3339(view.generated_ms),
    }


def _caps(plan: Plan) -> dict[str, Any]:
    return {
        "plan": plan.id,
        "workflows": plan.limit("workflows"),
        "api_keys": plan.limit("api_keys"),
        "seats": plan.limit("seats"),
        "policies": plan.limit("policies"),
        "approval_rules": plan.limit("approval_rules"),
        "history_days": plan.limit("history_days"),
        "max_executions_per_month": plan.limit("executions"),
        "max_tokens_per_hour": plan.limit("tokens_per_hour"),
        "max_rps": plan.limit("requests_per_second"),
    }


def _key_row(row: KeyRow) -> dict[str, Any]:
    return {
        "key_id": row.key_id,
        "name": row.name,
        "key_prefix": row.prefix,
        "workflow_id": row.workflow_id,
        "executions": row.executions,
        "tokens": row.tokens,
        "cost_cents": row.cost_cents,
        "last_used_at": None if row.last_used_ms is None else clock.rfc3339(row.last_used_ms),
    }


def _recent_row(row: RecentExecution) -> dict[str, Any]:
    return {
        "id": row.id,
        "execution_id": row.id,
        "workflow_id": row.workflow_id,
        "workflow_name": row.workflow_name,
        "tool": row.tool,
        "model": row.model,
        "decision": row.decision,
        "result": row.result,
        "error_code": row.error_code,
        "cost_cents": row.cost_cents,
        "tokens": row.tokens,
        "created_at": clock.rfc3339(row.created_ms),
    }
