"""How changes of policies reach the purses. Source: NullRun docs, Policies; docs/rulings.md#org-ceiling."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from shared.governance import propagation
from shared.governance.events import Actor, Fact
from shared.governance.key_forms import NewKey
from shared.governance.money import MICRO, UNLIMITED
from shared.governance.orgsettings import org_settings
from shared.governance.policies import Policies
from shared.governance.policyset import load_policy_set, read_policies
from shared.governance.propagation import change_policies, propagate
from shared.governance.purses import move, purse_key, read_purse
from shared.governance.workflow_forms import Draft
from shared.kit.errors import SignalboxError
from shared.kit.settings import Settings
from shared.store.embedded import EmbeddedEngine, Fault
from shared.store.models.governance import OrgSettings, Purse, due_shard
from shared.store.retry import Contention
from shared.store.transaction import ConditionFailed, Transaction
from tests.support.store import memory_store
from tests.support.time import HeldClock
from tests.support.workflows import (
    ORG,
    OTHER_ORG,
    at_once,
    events_of,
    frames_of,
    member,
    purse_of,
    the_keys,
    the_workflows,
)

OPERATOR = member()


def the_policies(**settings: Any) -> Policies:
    return Policies(Settings(**settings))


def a_workflow(budget_cents: int | None = None, name: str = "bot") -> str:
    return the_workflows().create(OPERATOR, Draft(name, budget_cents=budget_cents)).id


def a_key(workflow_id: str) -> str:
    return the_keys().mint(OPERATOR, NewKey(name="k", workflow_id=workflow_id)).view.id


def a_budget(budget_cents: int, **sent: Any) -> str:
    config = {"budget_cents": budget_cents}
    return the_policies().create(OPERATOR, {"name": "cap", "type": "BudgetLimit", "config": config, **sent}).id


def a_limit(limit: int = 60, **sent: Any) -> str:
    config = {"max_calls_per_minute": limit}
    return the_policies().create(OPERATOR, {"name": "limit", "type": "RateLimit", "config": config, **sent}).id


def spend(scope_id: str, spent: int = 0, reserved: int = 0) -> None:
    """Cents spent and reserved."""
    Transaction().update(purse_key(ORG, scope_id), move(spent=spent * MICRO, reserved=reserved * MICRO)).commit()


def money(scope_id: str) -> tuple[int, int, int, int]:
    """Cap, spent, reserved and available of a purse in cents; they always add up."""
    purse = purse_of(scope_id)
    assert purse.available == purse.cap - purse.spent - purse.reserved
    return (
        int(purse.cap) // MICRO,
        int(purse.spent) // MICRO,
        int(purse.reserved) // MICRO,
        int(purse.available) // MICRO,
    )


def version() -> int:
    return int(org_settings(ORG).policy_version)


def is_due() -> bool:
    rows = due_settings()
    assert (org_settings(ORG).due_ms is not None) is bool(rows)
    return bool(rows)


def due_settings() -> list[Any]:
    rows: Iterable[Any] = OrgSettings.due.query(due_shard(ORG))
    return [row for row in rows if row.kind == "settings"]


@pytest.fixture
def stuck(store: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Changes are written and then nothing goes on, until the returned function is called."""

    def broken(org_id: str) -> int:
        raise RuntimeError("the process ended")

    monkeypatch.setattr(propagation, "propagate", broken)
    return lambda: monkeypatch.setattr(propagation, "propagate", propagate)


# Purses of workflows


def test_a_change_is_acknowledged_once_every_purse_carries_it(store: EmbeddedEngine) -> None:
    """All workflows of the org carry the new version; those concerned have the new cap; money stays where it is."""
    one, two = a_workflow(500), a_workflow()
    spend(one, 30, 20)
    before = version()
    a_budget(100, workflow_id=one)
    assert version() == before + 1
    assert money(one) == (100, 30, 20, 50)
    assert money(two) == (UNLIMITED // MICRO, 0, 0, UNLIMITED // MICRO)
    assert {int(purse_of(one).policy_version), int(purse_of(two).policy_version)} == {version()}
    assert not is_due()


def test_a_cap_below_what_is_spent_leaves_less_than_nothing(store: EmbeddedEngine) -> None:
    """Nothing more is let through until the cap is raised or the period is over; raising it counts at once."""
    workflow = a_workflow()
    spend(workflow, 80)
    policy = a_budget(50, workflow_id=workflow)
    assert money(workflow) == (50, 80, 0, -30)
    the_policies().update(OPERATOR, policy, {"config": {"budget_cents": 90}})
    assert money(workflow) == (90, 80, 0, 10)
    the_policies().delete(OPERATOR, policy)
    assert money(workflow)[0] == UNLIMITED // MICRO


def test_a_change_of_no_money_moves_the_version_everywhere(store: EmbeddedEngine) -> None:
    """A limit of calls concerns what is remembered of every workflow."""
    workflow = a_workflow(500)
    a_limit()
    assert purse_of(workflow).policy_version == version() == 2
    assert money(workflow) == (500, 0, 0, 500)


def test_other_orgs_are_left_alone(store: EmbeddedEngine) -> None:
    """Their versions and purses do not move."""
    a_workflow()
    other = the_workflows().create(member(org_id=OTHER_ORG), Draft("bot"))
    a_budget(5)
    assert org_settings(OTHER_ORG).policy_version == purse_of(other.id, OTHER_ORG).policy_version == 1
    assert read_purse(OTHER_ORG, OTHER_ORG) is None


def test_more_workflows_than_one_request_reads(store: EmbeddedEngine) -> None:
    """A hundred purses are read at once, and then the rest."""
    workflows = [a_workflow(name=f"bot {number}") for number in range(103)]
    a_limit()
    assert {int(purse_of(workflow).policy_version) for workflow in workflows} == {2}


def test_each_change_tells_clients_which_version_it_made(store: EmbeddedEngine) -> None:
    """The frame is in the event of the change, which is written with it."""
    policy = a_limit()
    (event,) = events_of(prefix="policy.")
    assert frames_of(event) == [
        {"type": "policy_invalidated", "organization_id": ORG, "policy_id": policy, "new_version": 2}
    ]


# What is interrupted


def test_whoever_propagates_later_finishes_an_interrupted_change(
    store: EmbeddedEngine, stuck: Callable[[], None]
) -> None:
    """After a crash the purses are behind and the settings are due; propagating repairs it all and may be repeated."""
    workflow, before = a_workflow(500), version()
    with pytest.raises(RuntimeError):
        a_budget(100, workflow_id=workflow)
    assert (purse_of(workflow).policy_version, money(workflow)[0], is_due()) == (before, 500, True)
    for _ in range(3):
        assert propagate(ORG) == before + 1
        assert (purse_of(workflow).policy_version, money(workflow)[0], is_due()) == (before + 1, 100, False)


def test_a_repetition_that_changes_nothing_still_waits_for_the_purses(
    store: EmbeddedEngine, stuck: Callable[[], None]
) -> None:
    """A client that asks again after a failure is not told that it is done while it is not."""
    workflow = a_workflow(500)
    policy = the_policies()
    with pytest.raises(RuntimeError):
        a_budget(100, workflow_id=workflow)
    (made,) = policy.list(OPERATOR, limit=10).items
    with pytest.raises(RuntimeError):
        policy.update(OPERATOR, made.id, {"name": "cap"})
    stuck()
    assert policy.update(OPERATOR, made.id, {"name": "cap"}).version == 1
    assert (money(workflow)[0], version(), is_due()) == (100, 2, False)


def test_nothing_is_left_half_done_wherever_it_is_interrupted() -> None:
    """Killed before any one of its writes, the change can be finished from the store alone; money adds up."""

    class Ends:
        left = -1

        def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
            if operation == "TransactWriteItems" and self.left >= 0:
                self.left -= 1
                if self.left < 0:
                    raise RuntimeError("the process ended")
            return None

    def story(ends: Ends, number: int) -> bool:
        one, two = a_workflow(500), a_workflow()
        key = a_key(one)
        spend(one, 30, 20)
        spend(two, 7)
        a_budget(60, scope="ApiKey", api_key_id=key)
        ends.left = number
        try:
            a_budget(200)
        except RuntimeError:
            interrupted = True
        else:
            interrupted = False
        ends.left = -1
        propagate(ORG)
        wanted = 200 if the_policies().list(OPERATOR, limit=10).total == 2 else None
        assert (read_purse(ORG, ORG) is not None) is (wanted is not None)
        if wanted is not None:
            assert money(ORG) == (200, 57, 0, 143)
        assert {int(purse_of(scope).policy_version) for scope in (one, two, key)} == {version()}
        assert not is_due()
        return interrupted

    for number in range(20):
        ends = Ends()
        with memory_store(faults=ends):
            if not story(ends, number):
                assert number > 4
                return
    raise AssertionError("the change never ended")


def test_one_that_is_overtaken_begins_again(store: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the policies change while they are carried, the newer ones are what every purse has in the end."""
    workflow, pending = a_workflow(), [1]

    def meanwhile(org_id: str) -> Any:
        found = read_policies(org_id)
        if pending:
            pending.pop()
            a_budget(10, workflow_id=workflow)
        return found

    monkeypatch.setattr(propagation, "read_policies", meanwhile)
    a_budget(50, workflow_id=workflow)
    assert (money(workflow)[0], purse_of(workflow).policy_version, version()) == (10, 3, 3)


def test_who_is_never_done_gives_up(store: EmbeddedEngine, held: HeldClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that never gets through, and one that is overtaken for ever, end with 503."""

    def failing(tx: Transaction, settings: OrgSettings) -> Fact:
        tx.check(OrgSettings, settings.pk, "nothing", OrgSettings.pk.exists())
        return Fact("policy.updated", ("policy", "p"))

    with pytest.raises(Contention):
        change_policies(ORG, Actor("user", "a", "a"), failing)
    workflow = a_workflow()

    def always(org_id: str) -> Any:
        found, settings = read_policies(org_id), org_settings(org_id)
        Transaction().update(settings, [OrgSettings.policy_version.set(settings.policy_version + 1)]).commit()
        return found

    always(ORG)
    monkeypatch.setattr(propagation, "read_policies", always)
    with pytest.raises(Contention):
        propagate(ORG)
    assert purse_of(workflow).policy_version == 1


# Races


def test_changes_at_the_same_time_all_count(store: EmbeddedEngine) -> None:
    """Each moves the version once, none is lost, and when the last is acknowledged every purse has the last."""
    workflow = a_workflow()
    results = at_once(*[lambda cents=cents: a_budget(cents, workflow_id=workflow) for cents in range(40, 48)])
    assert not [result for result in results if isinstance(result, SignalboxError)]
    assert the_policies().list(OPERATOR, limit=100).total == 8
    assert (version(), purse_of(workflow).policy_version, money(workflow)[0]) == (9, 9, 40)
    versions = [frames_of(event)[0]["new_version"] for event in events_of(prefix="policy.created")]
    assert sorted(versions) == list(range(2, 10))


def test_policies_and_a_workflows_budget_change_at_the_same_time(store: EmbeddedEngine) -> None:
    """Whatever the order, the cap is what the last of both come to."""
    workflow = a_workflow(300)
    policy = a_budget(400, workflow_id=workflow)

    def limit(cents: int) -> None:
        the_policies().update(OPERATOR, policy, {"config": {"budget_cents": cents}})

    def own(cents: int) -> None:
        the_workflows().update(OPERATOR, workflow, {"budget_cents": cents})

    results = at_once(*[lambda cents=cents: limit(cents) for cents in (250, 150, 350)], *[
        lambda cents=cents: own(cents) for cents in (200, 300, 100)
    ])  # fmt: skip
    assert not [result for result in results if isinstance(result, SignalboxError)]
    assert purse_of(workflow).cap == load_policy_set(ORG, workflow).cap
    assert purse_of(workflow).policy_version == version()
    assert money(workflow)[3] == money(workflow)[0]


def test_workflows_made_while_policies_change_obey_them(store: EmbeddedEngine) -> None:
    """No workflow is born under policies that have been replaced."""
    results = at_once(*[a_workflow, lambda: a_budget(50), a_workflow, lambda: a_limit(5), a_workflow])
    assert not [result for result in results if isinstance(result, SignalboxError)]
    for workflow in the_workflows().list(OPERATOR, limit=10).items:
        assert purse_of(workflow.id).policy_version == version()


# The ceiling of an org


def test_a_ceiling_counts_what_its_workflows_hold(store: EmbeddedEngine) -> None:
    """It begins with what is spent and reserved in the period, by workflows that were deleted, too."""
    one, two, gone = a_workflow(500), a_workflow(), a_workflow()
    spend(one, 30, 20)
    spend(two, 7)
    spend(gone, 3)
    the_workflows().delete(OPERATOR, gone)
    a_budget(200)
    assert money(ORG) == (200, 60, 0, 140)
    purse = purse_of(ORG)
    assert (purse.scope, purse.policy_version, purse.since_version) == ("org", 2, 2)
    assert money(one) == (500, 30, 20, 450)


def test_a_ceiling_moves_and_goes_with_its_policies(store: EmbeddedEngine) -> None:
    """The smallest counts; without any there is none; a later one counts afresh and nothing twice."""
    workflow, policies = a_workflow(), the_policies()
    spend(workflow, 30)
    first, second = a_budget(200), a_budget(100)
    assert money(ORG) == (100, 30, 0, 70)
    policies.toggle(OPERATOR, second, {})
    assert money(ORG) == (200, 30, 0, 170)
    policies.delete(OPERATOR, first)
    assert read_purse(ORG, ORG) is None
    spend(workflow, 5)
    policies.toggle(OPERATOR, second, {"enabled": True})
    assert money(ORG) == (100, 35, 0, 65)
    a_limit()
    assert money(ORG) == (100, 35, 0, 65)
    assert purse_of(ORG).policy_version == purse_of(workflow).policy_version == version()


def test_a_workflow_made_under_a_ceiling_is_not_counted_twice(store: EmbeddedEngine) -> None:
    """What it spends is told to the ceiling from the beginning, so later changes add nothing; nor does its budget."""
    a_budget(200)
    workflow = a_workflow(50)
    spend(workflow, 10)
    spend(ORG, 10)
    a_limit()
    the_workflows().update(OPERATOR, workflow, {"budget_cents": 40})
    a_limit()
    assert money(ORG) == (200, 10, 0, 190)
    assert money(workflow) == (40, 10, 0, 30)


def test_a_budget_changed_before_the_ceiling_arrives_keeps_the_workflow_countable(
    store: EmbeddedEngine, stuck: Callable[[], None]
) -> None:
    """A workflow's own new budget does not make its purse look as if the ceiling counted it already."""
    workflow = a_workflow(300)
    spend(workflow, 10)
    with pytest.raises(RuntimeError):
        a_budget(200)
    the_workflows().update(OPERATOR, workflow, {"budget_cents": 100})
    assert (money(workflow)[0], purse_of(workflow).policy_version) == (100, 1)
    propagate(ORG)
    assert money(ORG) == (200, 10, 0, 190)


def test_a_ceiling_of_a_period_that_is_over_counts_the_new_one(store: EmbeddedEngine, held: HeldClock) -> None:
    """Purses whose period has ended are rolled over first."""
    workflow = a_workflow()
    spend(workflow, 30, 4)
    held.advance(32 * 24 * 3600)
    a_budget(200)
    assert money(ORG) == (200, 4, 0, 196)
    held.advance(32 * 24 * 3600)
    a_limit()
    spend(workflow, 1)
    assert money(workflow)[1] == 1
    assert read_purse(ORG, ORG) is not None
    assert purse_of(ORG).period_start_ms == purse_of(workflow).period_start_ms


def test_a_ceiling_misses_nothing_that_is_spent_while_it_arrives(store: EmbeddedEngine) -> None:
    """Calls that judge by the version of the purse are counted once each, whether before or after it joined."""
    workflows = [a_workflow(), a_workflow()]

    def call(workflow: str) -> None:
        for _ in range(25):
            while True:
                known, tx = load_policy_set(ORG, workflow), Transaction()
                tx.update(purse_key(ORG, workflow), move(spent=MICRO), Purse.policy_version == known.version, "purse")
                if known.org_cap is not None:
                    tx.update(purse_key(ORG, ORG), move(spent=MICRO), Purse.since_version <= known.version, "org")
                try:
                    tx.commit()
                except ConditionFailed:
                    continue
                break

    at_once(*[lambda workflow=workflow: call(workflow) for workflow in workflows * 2], lambda: a_budget(500))
    assert [money(workflow)[1] for workflow in workflows] == [50, 50]
    assert money(ORG) == (500, 100, 0, 400)


# Budgets of keys


def test_the_budget_of_a_key_begins_with_nothing_spent(store: EmbeddedEngine) -> None:
    """It has a purse while there is a policy; its cap follows; a later one begins afresh."""
    workflow = a_workflow()
    key, other = a_key(workflow), a_key(workflow)
    first = a_budget(20, api_key_id=key)
    assert money(key) == (20, 0, 0, 20)
    assert purse_of(key).scope == "key"
    assert read_purse(ORG, other) is None
    spend(key, 5)
    the_policies().update(OPERATOR, first, {"config": {"budget_cents": 8}})
    assert money(key) == (8, 5, 0, 3)
    second = a_budget(6, api_key_id=key)
    assert money(key) == (6, 5, 0, 1)
    the_policies().delete(OPERATOR, second)
    the_policies().delete(OPERATOR, first)
    assert read_purse(ORG, key) is None
    a_budget(9, api_key_id=key)
    assert money(key) == (9, 0, 0, 9)
    assert money(workflow)[0] == UNLIMITED // MICRO


def test_the_due_index_knows_settings_that_are_behind(store: EmbeddedEngine, stuck: Callable[[], None]) -> None:
    """The sweep finds them after half a minute, with the org they belong to."""
    with pytest.raises(RuntimeError):
        a_limit()
    (row,) = due_settings()
    assert (row.kind, row.org_id, row.due_ms) == ("settings", ORG, org_settings(ORG).due_ms)
