"""What an org uses of its plan, and which key uses how much. Source: NullRun docs, Quota; docs/rulings.md#usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.governance.consumption import DAY_MS, KeyUsage, total, usage_between, usage_by_day
from shared.governance.invite_records import invites_of, status_of
from shared.governance.keys import keys_of
from shared.governance.money import Span, cents
from shared.governance.plans import UNLIMITED, Plan, Resource, plan
from shared.governance.spend import OrgSpend, Spend
from shared.identity import members
from shared.identity.principal import Principal
from shared.kit import clock
from shared.store.models.governance import ApiKey
from shared.store.models.policies import Policy, Rule, policies_pk, rules_pk

AT_RISK_PERCENT = 80.0
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a resource is used; a ``limit`` of -1 is none."""

    used: float
    limit: int

    @property
    def percent(self) -> float:
        """Of the limit; 0 without one."""
        if self.limit == UNLIMITED or not self.used:
            return 0.0
        return 100.0 if self.limit == 0 else round(100 * self.used / self.limit, 1)


@dataclass(frozen=True, slots=True)
class KeyRow:
    """What one key has used in the period."""

    key_id: str
    name: str
    prefix: str
    workflow_id: str
    executions: int
    tokens: int
    cost_cents: int
    last_used_ms: int | None


@dataclass(frozen=True, slots=True)
class Quota:
    """``hit_in_days``: when the executions of the plan are used up, if that is before the end of the period."""

    plan: Plan
    period: Span
    period_kind: str
    limits: Mapping[Resource, Share]
    per_key: Sequence[KeyRow]
    hit_in_days: float | None

    @property
    def at_risk(self) -> bool:
        """Whether the executions are nearly used up, or will be within the period."""
        return self.hit_in_days is not None or self.limits["executions"].percent >= AT_RISK_PERCENT


class Quotas:
    """Counts what orgs use."""

    def __init__(self, spend: Spend) -> None:
        self._spend = spend

    def get(self, principal: Principal) -> Quota:
        """What the caller's org uses of its plan in the current period."""
        org_id, now = principal.org_id, clock.now_ms()
        found = self._spend.of_org(org_id)
        chosen, period = plan(found.settings.plan), found.period
        used = total(usage for _, usage in usage_by_day(org_id, period.start_ms, period.end_ms))
        keys = keys_of(org_id)
        counted: dict[Resource, float] = {
            "workflows": len(found.live),
            "policies": Policy.count(policies_pk(org_id), consistent_read=True),
            "api_keys": sum(key.revoked_ms is None for key in keys),
            "seats": len(members(org_id)) + sum(status_of(invite) == "pending" for invite in invites_of(org_id)),
            "executions": used.executions,
            "tokens_per_hour": usage_between(org_id, now - _HOUR_MS, now + 1).tokens,
            "requests_per_second": _per_second(found),
            "approval_rules": Rule.count(rules_pk(org_id), consistent_read=True),
        }
        limits = {resource: Share(amount, chosen.limit(resource)) for resource, amount in counted.items()}
        rows = [_row(key, used.keys.get(key.key_id, KeyUsage())) for key in keys]
        kind = "lite_rolling_period" if chosen.id == "lite" else "billing_cycle"
        hit = _hit_in_days(limits["executions"], period, now)
        return Quota(chosen, period, kind, limits, rows, hit)


def _per_second(found: OrgSpend) -> float:
    """Gate calls a second, as an average of the minute so far."""
    seconds = clock.now_ms() // 1000 % 60 + 1
    return round(sum(found.calls.values()) / seconds, 2)


def _row(key: ApiKey, used: KeyUsage) -> KeyRow:
    return KeyRow(
        key_id=key.key_id, name=key.name, prefix=key.prefix, workflow_id=key.workflow_id, executions=used.executions,
        tokens=used.tokens, cost_cents=cents(used.spent),
        last_used_ms=None if key.last_used_ms is None else int(key.last_used_ms),
    )  # fmt: skip


def _hit_in_days(executions: Share, period: Span, now: int) -> float | None:
    """Days until the limit if calls go on as in the period so far; None when the period ends before that."""
    if executions.limit == UNLIMITED:
        return None
    left = executions.limit - executions.used
    if left <= 0:
        return 0.0
    if not executions.used:
        return None
    # The first minutes of a period say nothing of the rest of it.
    until_ms = left * max(DAY_MS, now - period.start_ms) / executions.used
    return round(until_ms / DAY_MS, 1) if now + until_ms < period.end_ms else None
