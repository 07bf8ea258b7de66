"""The numbers of an org's first page. Source: NullRun docs, Dashboard; docs/rulings.md#usage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.governance.alerts import newest_alerts
from shared.governance.consumption import Usage, total, usage_by_day
from shared.governance.money import cents
from shared.governance.plans import Plan, plan
from shared.governance.spend import Spend, WorkflowSpend
from shared.identity.principal import Principal
from shared.kit import clock, ids
from shared.store.models.governance import Operation
from shared.store.models.identity import OrgRecord, org_pk
from shared.store.models.policies import Approval, approvals_pk
from shared.store.transaction import read

SHOWN = 10
"""Executions, and workflows, that are shown."""

_LONGEST_APPROVAL_MS = 2 * 3_600_000


@dataclass(frozen=True, slots=True)
class DaySpend:
    """What a day (UTC) cost; ``day_ms`` is the moment its part of the period begins."""

    day_ms: int
    cost_cents: int


@dataclass(frozen=True, slots=True)
class TopWorkflow:
    """A workflow that spends most."""

    id: str
    name: str
    spent_cents: int


@dataclass(frozen=True, slots=True)
class RecentExecution:
    """One of the latest gate calls."""

    id: str
    workflow_id: str
    workflow_name: str | None
    tool: str | None
    model: str | None
    decision: str
    result: str
    error_code: str | None
    cost_cents: int
    tokens: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class DashboardView:
    """Money in cents. ``decisions`` counts calls of the period, ``states`` workflows, ``alerts`` active ones."""

    org_id: str
    org_name: str
    plan: Plan
    spent_cents: int
    budget_cents: int
    series: Sequence[DaySpend]
    decisions: Mapping[str, int]
    states: Mapping[str, int]
    top: Sequence[TopWorkflow]
    alerts: Mapping[str, int]
    recent: Sequence[RecentExecution]
    pending_approvals: int
    generated_ms: int


class Dashboard:
    """Puts the numbers together."""

    def __init__(self, spend: Spend) -> None:
        self._spend = spend

    def get(self, principal: Principal) -> DashboardView:
        """The numbers of the caller's org and its current period."""
        org_id = principal.org_id
        found, org = self._spend.of_org(org_id), read(OrgRecord, org_pk(org_id), "org")
        days = usage_by_day(org_id, found.period.start_ms, found.period.end_ms)
        names = {workflow.record.workflow_id: workflow.record.name for workflow in found.workflows}
        return DashboardView(
            org_id=org_id, org_name="" if org is None else org.name, plan=plan(found.settings.plan),
            spent_cents=cents(found.spent), budget_cents=cents(found.budget or 0), series=_series(days),
            decisions=total(usage for _, usage in days).decisions,
            states=Counter(workflow.purse.state for workflow in found.live), top=_top(found.live),
            alerts=Counter(alert.severity.lower() for alert in newest_alerts(org_id) if not alert.dismissed),
            recent=_recent(org_id, names), pending_approvals=_pending_approvals(org_id), generated_ms=clock.now_ms(),
        )  # fmt: skip


def _series(days: Sequence[tuple[int, Usage]]) -> list[DaySpend]:
    return [DaySpend(begin, cents(usage.spent)) for begin, usage in days]


def _top(workflows: Sequence[WorkflowSpend]) -> list[TopWorkflow]:
    most = sorted((workflow for workflow in workflows if workflow.spent), key=lambda row: row.spent, reverse=True)
    return [TopWorkflow(row.record.workflow_id, row.record.name, cents(row.spent)) for row in most[:SHOWN]]


def _recent(org_id: str, names: Mapping[str, str]) -> list[RecentExecution]:
    now = clock.now_ms()
    rows = Operation.by_org.query(org_id, scan_index_forward=False, limit=SHOWN)
    return [
        RecentExecution(
            id=row.execution_id, workflow_id=row.workflow_id, workflow_name=names.get(row.workflow_id), tool=row.tool,
            model=row.model, decision=row.decision, result=row.result, error_code=row.error_code,
            cost_cents=cents(int(row.spent)), tokens=int(row.tokens), created_ms=int(row.created_ms),
        )
        for row in rows
        if not row.is_expired(now)
    ]  # fmt: skip


def _pending_approvals(org_id: str) -> int:
    now = clock.now_ms()
    # Their ids begin with the moment they were asked for, and none waits longer than an hour.
    recent = Approval.sk >= ids.uuid7_with(now - _LONGEST_APPROVAL_MS, 0)
    waiting = (Approval.status == "PENDING") & (Approval.expires_ms > now)
    return Approval.count(approvals_pk(org_id), recent, filter_condition=waiting, consistent_read=True)
