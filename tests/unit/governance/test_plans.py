from __future__ import annotations

import itertools

import pytest

from shared.governance.plans import FEATURES, PLANS, RESOURCES, PlanLimitExceeded, SeatLimitExceeded, plan


def test_larger_plans_have_more_of_everything() -> None:
    """From plan to plan no limit shrinks and no feature goes."""
    plans = list(PLANS.values())
    for smaller, larger in itertools.pairwise(plans):
        for resource in RESOURCES:
            limit = smaller.limit(resource)
            assert larger.limit(resource) == -1 or limit != -1
            assert larger.allows(resource, limit)
        assert smaller.features <= larger.features
    assert plans[-1].features == set(FEATURES)


@pytest.mark.parametrize(
    ("plan_id", "resource", "count", "allowed"),
    [
        ("lite", "workflows", 3, True),
        ("lite", "workflows", 4, False),
        ("lite", "approval_rules", 1, False),
        ("growth", "seats", 10, True),
        ("growth", "seats", 11, False),
        ("scale", "approval_rules", 10**9, True),
        ("enterprise_unlimited", "executions", 10**12, True),
        ("enterprise_unlimited", "requests_per_second", 1001, False),
    ],
)
def test_limits(plan_id: str, resource: str, count: int, allowed: bool) -> None:
    """-1 is no limit; the limit itself is allowed. Source: NullRun docs, Plans and limits."""
    (known,) = (name for name in RESOURCES if name == resource)
    assert plan(plan_id).allows(known, count) is allowed


def test_an_unknown_plan_names_those_there_are() -> None:
    """It can only come from the operator, who reads the message."""
    with pytest.raises(ValueError, match="lite, starter, growth"):
        plan("gold")


def test_what_a_full_plan_says() -> None:
    """Resource, how many there are and the limit, in NullRun's codes."""
    full = PlanLimitExceeded(plan("lite"), "api_keys", 10)
    assert (full.status, full.code) == (422, "plan_limit_exceeded")
    assert full.details == {"resource": "api_keys", "current": 10, "limit": 10}
    seats = SeatLimitExceeded(plan("starter"), 3)
    assert (seats.status, seats.code, seats.retry_after) == (429, "seat_limit_exceeded", 3600)
