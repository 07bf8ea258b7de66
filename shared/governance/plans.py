"""The plans: what an org may have of everything. Whether limits are enforced is a setting (``plan_enforcement``).

Source: NullRun docs, Plans and limits; docs/rulings.md#plans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from shared.kit.errors import Forbidden, TooManyRequests, Unprocessable

UNLIMITED = -1
"""A limit that is none."""

Resource: TypeAlias = Literal[
    "workflows", "api_keys", "seats", "policies", "approval_rules", "executions", "tokens_per_hour",
    "requests_per_second", "history_days",
]  # fmt: skip
"""What is limited. Executions are counted per month."""

Feature: TypeAlias = Literal["tool_block", "approvals", "audit_log", "alerts", "team"]
"""What a plan has or has not."""

RESOURCES: tuple[Resource, ...] = get_args(Resource)
FEATURES: tuple[Feature, ...] = get_args(Feature)

_SEATS_RETRY_S = 3600
_UPGRADE_PATH = "/api/v1/plans"


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan. ``limits`` has every resource, -1 being no limit; ``features`` are those it has."""

    id: str
    name: str
    limits: Mapping[Resource, int]
    features: frozenset[Feature]

    def limit(self, resource: Resource) -> int:
        """The most there may be of a resource; -1 is no limit."""
        return self.limits[resource]

    def allows(self, resource: Resource, count: int) -> bool:
        """Whether there may be ``count`` of a resource."""
        return self.limits[resource] == UNLIMITED or count <= self.limits[resource]

    def has(self, feature: Feature) -> bool:
        """Whether the plan has a feature."""
        return feature in self.features


def _plan(plan_id: str, name: str, limits: tuple[int, ...], *features: Feature) -> Plan:
    return Plan(plan_id, name, dict(zip(RESOURCES, limits, strict=True)), frozenset(features))


# In the order of RESOURCES: workflows, keys, seats, policies, rules, executions, tokens, requests, days.
PLANS: Mapping[str, Plan] = {
    plan.id: plan
    for plan in (
        _plan("lite", "Lite", (3, 10, 1, 3, 0, 75_000, 10_000, 5, 3)),
        _plan("starter", "Starter", (8, 15, 3, 10, 0, 100_000, 25_000, 10, 7), "alerts"),
        _plan("growth", "Growth", (50, 100, 10, 25, 20, 750_000, 300_000, 50, 30), *FEATURES),
        _plan("scale", "Scale", (200, 350, 75, 150, -1, 2_000_000, -1, 300, 90), *FEATURES),
        _plan("enterprise_unlimited", "Enterprise", (-1, -1, -1, -1, -1, -1, -1, 1000, -1), *FEATURES),
    )
}
"""Every plan by its id, smallest first."""


def plan(plan_id: str) -> Plan:
    """The plan of this id. Raises ValueError: ids come from the settings or the store, never from a request."""
    found = PLANS.get(plan_id)
    if found is None:
        raise ValueError(f"there is no plan {plan_id!r}; the plans are {', '.join(PLANS)}")
    return found


class PlanLimitExceeded(Unprocessable):
    """The plan allows no more of something."""

    code = "plan_limit_exceeded"

    def __init__(self, chosen: Plan, resource: Resource, current: int) -> None:
        limit = chosen.limit(resource)
        super().__init__(
            f"The plan {chosen.name} allows {limit} {resource.replace('_', ' ')}, and there are {current}",
            details={"resource": resource, "current": current, "limit": limit},
        )


class SeatLimitExceeded(TooManyRequests):
    """The plan has no seat left; pending invites count as members."""

    code = "seat_limit_exceeded"

    def __init__(self, chosen: Plan, current: int) -> None:
        limit = chosen.limit("seats")
        super().__init__(
            f"The plan {chosen.name} has {limit} seats, and {current} are taken or promised; remove a member, revoke "
            "an invite, or choose a larger plan",
            retry_after=_SEATS_RETRY_S,
            details={"resource": "seats", "current": current, "limit": limit, "upgrade_url": _UPGRADE_PATH},
        )


class PlanFeatureMissing(Forbidden):
    """The plan does not have something."""

    code = "plan_feature_missing"

    def __init__(self, chosen: Plan, feature: Feature) -> None:
        super().__init__(
            f"The plan {chosen.name} has no {feature.replace('_', ' ')}; choose a larger plan",
            details={"feature": feature, "plan": chosen.id, "upgrade_url": _UPGRADE_PATH},
        )
