from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from pynamodb.expressions.update import Action

from shared.composition import Services
from shared.governance.money import MICRO, period_of
from shared.governance.orgsettings import org_settings
from shared.governance.plans import plan
from shared.governance.purses import new_purse, purse_key
from shared.governance.spend import BudgetDataUnavailable
from shared.governance.status import LONGEST_S, Status
from shared.identity import DEFAULT_ORG_ID, Principal
from shared.kit import ids, json
from shared.store.models.governance import OrgSettings, Purse, Workflow, settings_pk, workflows_pk
from shared.store.models.policies import Policy, policies_pk
from tests.support.governance import Governed, govern, owner
from tests.support.time import HeldClock

DAY_S = 24 * 3600


def change(scope_id: str, *actions: Action) -> None:
    purse_key(DEFAULT_ORG_ID, scope_id).update(actions=list(actions))


def spend(bot: Governed, cents: int) -> None:
    change(bot.workflow_id, Purse.spent.set(cents * MICRO))


def ceiling(cents: int, spent: int = 0) -> None:
    """The org's own budget."""
    purse = new_purse(DEFAULT_ORG_ID, "org", DEFAULT_ORG_ID, cap=cents * MICRO, anchor_ms=_anchor(), policy_version=1)
    purse.spent = spent * MICRO
    purse.save()


def _anchor() -> int:
    return int(org_settings(DEFAULT_ORG_ID).anchor_ms)


def rate_limit(calls: int, *, scope: str = "org", scope_id: str | None = None, enabled: bool = True) -> str:
    policy_id = ids.uuid7()
    Policy(
        policies_pk(DEFAULT_ORG_ID), policy_id, policy_id=policy_id, org_id=DEFAULT_ORG_ID, name="limit",
        policy_type="RateLimit", scope=scope, scope_id=scope_id, enabled=enabled, priority=100,
        enforcement_mode="Hard", config=json.dumps({"max_calls_per_minute": calls}), revision=1, created_ms=1,
        updated_ms=1,
    ).save()  # fmt: skip
    return policy_id


def status(services: Services, principal: Principal | None = None) -> Status:
    return services.governance.statuses.get(principal or owner())


def key_of(bot: Governed) -> Principal:
    return Principal(
        kind="key", org_id=bot.org_id, account_id="", username="prod", role="viewer", key_id=bot.key_id,
        workflow_id=bot.workflow_id,
    )  # fmt: skip


# Money


def test_without_workflows(services: Services, held: HeldClock) -> None:
    """Nothing is spent, there is no budget, and no time is made up."""
    services.identity.prepare()
    found = status(services)
    assert (found.spent_cents, found.budget_cents, found.exhausted_in_s) == (0, 0, None)
    assert (found.rate_used, found.plan.id) == (0, "growth")
    assert found.period == period_of(_anchor(), held.now_ms())


def test_the_budget_is_the_sum_of_workflows(services: Services, held: HeldClock) -> None:
    """Where the org has none of its own; what a workflow without a budget spends is spent, and not of it."""
    one, two, free = (
        govern(services, name=name, budget_cents=cap) for name, cap in (("a", 100), ("b", 50), ("c", None))
    )
    for bot, cents in ((one, 20), (two, 5), (free, 400)):
        spend(bot, cents)
    held.advance(DAY_S)
    found = status(services)
    assert (found.spent_cents, found.budget_cents) == (425, 150)
    # 25 of 150 cents in a day: the rest lasts five days.
    assert found.exhausted_in_s == 5 * DAY_S


def test_the_ceiling_of_the_org_comes_first(services: Services, held: HeldClock) -> None:
    """It is one counter for all workflows."""
    spend(govern(services, budget_cents=100), 30)
    ceiling(60, spent=30)
    held.advance(DAY_S)
    found = status(services)
    assert (found.spent_cents, found.budget_cents, found.exhausted_in_s) == (30, 60, DAY_S)


@pytest.mark.parametrize(
    ("cap", "spent", "after_s", "expected"),
    [
        (None, 50, DAY_S, None),
        (100, 0, DAY_S, None),
        (100, 50, DAY_S, DAY_S),
        (100, 100, DAY_S, 0),
        (100, 130, DAY_S, 0),
        (100, 50, 0, 3600),
        (100, 50, 3600, 3600),
        (100, 50, 7200, 7200),
        (10_000_000_000, 1, DAY_S, LONGEST_S),
    ],
)
def test_time_to_exhaustion(
    services: Services, held: HeldClock, cap: int | None, spent: int, after_s: int, expected: int | None
) -> None:
    """None without a budget or spend, 0 when it is used up, bounded; the first hour counts as a whole one."""
    spend(govern(services, budget_cents=cap), spent)
    held.advance(after_s)
    assert status(services).exhausted_in_s == expected


def test_a_budget_of_nothing_is_used_up(services: Services, held: HeldClock) -> None:
    """A ceiling of zero is one, and there is nothing left of it."""
    govern(services, budget_cents=100)
    ceiling(0)
    found = status(services)
    assert (found.budget_cents, found.exhausted_in_s) == (0, 0)


def test_time_before_the_first_workflow_does_not_count(services: Services, held: HeldClock) -> None:
    """Nobody could spend then."""
    services.identity.prepare()
    status(services)
    held.advance(10 * DAY_S)
    spend(govern(services, budget_cents=100), 0)
    bot = govern(services, name="b", budget_cents=100)
    held.advance(DAY_S)
    spend(bot, 100)
    assert status(services).exhausted_in_s == DAY_S


def test_a_period_that_is_over_is_not_shown(services: Services, held: HeldClock) -> None:
    """Even if no call has begun the next one yet."""
    spend(govern(services, budget_cents=100), 70)
    ceiling(90, spent=70)
    held.advance(40 * DAY_S)
    found = status(services)
    assert (found.spent_cents, found.budget_cents, found.exhausted_in_s) == (0, 90, None)
    assert found.period.start_ms <= held.now_ms() < found.period.end_ms


def test_what_a_deleted_workflow_spent_is_spent(services: Services, held: HeldClock) -> None:
    """Its budget is gone all the same."""
    gone, left = govern(services, name="a", budget_cents=100), govern(services, name="b", budget_cents=40)
    spend(gone, 30)
    spend(left, 10)
    Workflow(workflows_pk(DEFAULT_ORG_ID), gone.workflow_id).update(actions=[Workflow.deleted.set(True)])
    found = status(services)
    assert (found.spent_cents, found.budget_cents) == (40, 40)


def test_totals_are_rounded_not_their_parts(services: Services, held: HeldClock) -> None:
    """Three times four tenths of a cent is one cent."""
    for name in "abc":
        change(govern(services, name=name).workflow_id, Purse.spent.set(4 * MICRO // 10))
    assert status(services).spent_cents == 1


# Rate


def calls(bot: Governed, held: HeldClock, **counts: int) -> None:
    minute = held.now_ms() // 60_000
    change(bot.workflow_id, Purse.minute.set(minute), Purse.calls.set({bot.key_id: counts.pop("own")} | counts))


def test_without_a_policy_the_plan_limits_all_calls(services: Services, held: HeldClock) -> None:
    """Calls of all keys together, and the plan's calls a second times sixty."""
    calls(govern(services), held, own=3, other=4)
    found = status(services)
    assert (found.rate_used, found.rate_limit) == (7, 3000)


@pytest.mark.parametrize(
    ("make", "owner_sees", "key_sees"),
    [
        (lambda bot: rate_limit(60), (4, 60), (3, 60)),
        (lambda bot: [rate_limit(60), rate_limit(9)], (4, 9), (3, 9)),
        (lambda bot: rate_limit(5, enabled=False), (7, 3000), (3, 3000)),
        (lambda bot: rate_limit(5, scope="workflow", scope_id=bot.workflow_id), (4, 5), (3, 5)),
        (lambda bot: rate_limit(5, scope="workflow", scope_id="another"), (4, 5), (3, 3000)),
        (lambda bot: rate_limit(5, scope="api_key", scope_id=bot.key_id), (4, 5), (3, 5)),
        (lambda bot: rate_limit(5, scope="api_key", scope_id="another"), (4, 5), (3, 3000)),
    ],
)
def test_policies_limit_each_key(
    services: Services, held: HeldClock, make: Callable[[Governed], object], owner_sees: tuple[int, int],
    key_sees: tuple[int, int],
) -> None:  # fmt: skip
    """People see the busiest key beside the smallest limit; a key sees itself and what holds for it."""
    bot = govern(services)
    calls(bot, held, own=3, other=4)
    make(bot)
    people, key = status(services), status(services, key_of(bot))
    assert (people.rate_used, people.rate_limit) == owner_sees
    assert (key.rate_used, key.rate_limit) == key_sees


def test_a_minute_that_is_over_does_not_count(services: Services, held: HeldClock) -> None:
    """The counter of a purse stays as it is until the next call."""
    calls(govern(services), held, own=3)
    held.advance(60)
    assert status(services).rate_used == 0


def test_a_plan_may_have_no_rate(services: Services, held: HeldClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the limit is -1, as in the table of plans."""
    govern(services)
    endless = plan("growth")
    endless = replace(endless, limits={**endless.limits, "requests_per_second": -1})
    monkeypatch.setattr("shared.governance.status.plan", lambda plan_id: endless)
    assert status(services).rate_limit == -1


def test_the_plan_is_the_orgs(services: Services, held: HeldClock) -> None:
    """Not the deployment's default."""
    govern(services)
    org_settings(DEFAULT_ORG_ID)
    OrgSettings(settings_pk(DEFAULT_ORG_ID), "settings").update(actions=[OrgSettings.plan.set("lite")])
    found = status(services)
    assert (found.plan.id, found.rate_limit) == ("lite", 300)


# The quick answer


def test_the_approximate_spend(services: Services, held: HeldClock) -> None:
    """Of one workflow, or of all of them; with when that was."""
    one, two = govern(services, name="a"), govern(services, name="b")
    spend(one, 20)
    spend(two, 5)
    answer = services.governance.spend.approximate(DEFAULT_ORG_ID, one.workflow_id)
    assert answer == {
        "current_spend_cents_estimate": 20, "is_approximate": True, "source": "primary", "confidence": "High",
        "last_updated_at": "2026-01-01T00:00:00.000Z",
    }  # fmt: skip
    assert services.governance.spend.approximate(DEFAULT_ORG_ID, None)["current_spend_cents_estimate"] == 25
    held.advance(40 * DAY_S)
    assert services.governance.spend.approximate(DEFAULT_ORG_ID, one.workflow_id)["current_spend_cents_estimate"] == 0


@pytest.mark.parametrize("workflow_id", [None, "unknown"])
def test_no_data_is_no_zero(services: Services, workflow_id: str | None) -> None:
    """503, and when to ask again."""
    services.identity.prepare()
    with pytest.raises(BudgetDataUnavailable) as refused:
        services.governance.spend.approximate(DEFAULT_ORG_ID, workflow_id)
    assert (refused.value.status, refused.value.retry_after) == (503, 5)
