"""How an org stands, in one answer. Source: NullRun docs, Status; docs/rulings.md#status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.governance.money import Span, cents
from shared.governance.plans import UNLIMITED, Plan, plan
from shared.governance.policyset import Active, active, read_policies
from shared.governance.spend import OrgSpend, Spend
from shared.identity.principal import Principal
from shared.kit import clock

SHORTEST_MS = 3_600_000
"""Spending is judged over this long at least: the first minutes say nothing of the rest."""

LONGEST_S = 10 * 365 * 24 * 3600
"""The longest time to exhaustion that is told; beyond it a rate says nothing."""


@dataclass(frozen=True, slots=True)
class Status:
    """``exhausted_in_s`` is None without a budget, or while nothing is spent of it. A ``rate_limit`` of -1 is none."""

    spent_cents: int
    budget_cents: int
    exhausted_in_s: int | None
    rate_used: int
    rate_limit: int
    plan: Plan
    period: Span


class Statuses:
    """Tells how orgs stand."""

    def __init__(self, spend: Spend) -> None:
        self._spend = spend

    def get(self, principal: Principal) -> Status:
        """How the caller's org stands; for a key, with its own calls of this minute."""
        found = self._spend.of_org(principal.org_id)
        chosen = plan(found.settings.plan)
        used, limit = _rate(principal, found, active(read_policies(principal.org_id)), chosen)
        return Status(
            cents(found.spent), cents(found.budget or 0), exhausted_in_s(found), used, limit, chosen, found.period
        )


def exhausted_in_s(found: OrgSpend) -> int | None:
    """Seconds until the budget is used up if money goes on being spent as in the period so far; 0 when it is."""
    budget, spent, now = found.budget, found.spent_of_budget, clock.now_ms()
    if budget is None:
        return None
    if spent >= budget:
        return 0
    if spent <= 0:
        return None
    oldest = min((int(workflow.record.created_ms) for workflow in found.workflows), default=now)
    # Before the first workflow was made nobody could spend, and that time says nothing of the rate.
    elapsed_ms = max(SHORTEST_MS, now - max(found.period.start_ms, oldest))
    return min((budget - spent) * elapsed_ms // spent // 1000, LONGEST_S)


def _rate(principal: Principal, found: OrgSpend, policies: Sequence[Active], chosen: Plan) -> tuple[int, int]:
    """Calls of this minute, and how many there may be: where a policy limits each key, those of the busiest one."""
    key_id = principal.key_id
    calls = {key_id: found.calls.get(key_id, 0)} if key_id else found.calls
    rates = [policy for policy in policies if policy.type == "RateLimit"]
    if key_id:
        rates = [p for p in rates if p.concerns(principal.workflow_id) and p.key_id in (None, key_id)]
    if rates:
        return max(calls.values(), default=0), min(int(policy.config["max_calls_per_minute"]) for policy in rates)
    per_second = chosen.limit("requests_per_second")
    return sum(calls.values()), UNLIMITED if per_second == UNLIMITED else per_second * 60
