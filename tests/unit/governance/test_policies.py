"""The service of policies under races, and its bounds. Source: NullRun docs, HTTP API, Policies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.composition import Services
from shared.governance import policies as module
from shared.governance import propagation
from shared.governance.money import MICRO
from shared.governance.orgsettings import org_settings
from shared.governance.policies import Policies
from shared.governance.policyset import read_policies
from shared.governance.propagation import PROPAGATED_MS, propagate
from shared.kit.errors import Forbidden, NotFound, SignalboxError, Unprocessable
from shared.kit.settings import Settings
from shared.store.embedded import EmbeddedEngine
from tests.support.governance import govern, owner
from tests.support.time import HeldClock
from tests.support.workflows import ORG, OTHER_ORG, at_once, events_of, key_principal, member

OPERATOR = member()
LIMIT = {"name": "limit", "type": "RateLimit", "config": {"max_calls_per_minute": 60}}


@pytest.fixture
def policies(store: EmbeddedEngine) -> Policies:
    return Policies(Settings(data=Path()))


def no_errors(results: Any) -> None:
    assert [result for result in results if isinstance(result, SignalboxError)] == []


def test_a_template_enabled_by_many_is_one_policy(policies: Policies) -> None:
    """All are answered with the same one, one of them with having made it."""
    results: Any = at_once(*[lambda: policies.enable(OPERATOR, "block-shell", {}) for _ in range(6)])
    no_errors(results)
    assert len({view.id for view, _ in results}) == len(read_policies(ORG)) == 1
    assert [is_new for _, is_new in results].count(True) == 1
    assert org_settings(ORG).policy_version == 2


def test_changes_of_one_policy_at_the_same_time_are_all_made(policies: Policies) -> None:
    """None overwrites what another changed; the version counts each."""
    policy = policies.create(OPERATOR, LIMIT).id
    changes: list[dict[str, Any]] = [
        {"name": "slow"}, {"priority": 3}, {"enforcement_mode": "Soft"}, {"config": {"max_calls_per_minute": 7}},
    ]  # fmt: skip
    no_errors(at_once(*[lambda change=change: policies.update(OPERATOR, policy, change) for change in changes]))
    (record,) = policies.list(OPERATOR, limit=10).items
    form = record.form
    assert (form.name, form.priority, form.enforcement_mode, form.config["max_calls_per_minute"]) == (
        "slow", 3, "Soft", 7,
    )  # fmt: skip
    assert (record.version, org_settings(ORG).policy_version) == (5, 6)


def test_one_of_many_deletes_it(policies: Policies) -> None:
    """The others, and whoever changes it then, learn that it is gone; one event tells of it."""
    policy = policies.create(OPERATOR, LIMIT).id
    results = at_once(*[lambda: policies.delete(OPERATOR, policy) for _ in range(5)])
    assert sorted(type(result).__name__ for result in results) == ["NoneType", *["NotFound"] * 4]
    with pytest.raises(NotFound):
        policies.toggle(OPERATOR, policy, {})
    assert len(events_of(prefix="policy.deleted")) == 1


def test_a_policy_turned_over_by_many_has_turned_as_often(policies: Policies) -> None:
    """Without a value each turns it over once."""
    policy = policies.create(OPERATOR, LIMIT).id
    no_errors(at_once(*[lambda: policies.toggle(OPERATOR, policy, {}) for _ in range(5)]))
    (view,) = policies.list(OPERATOR, limit=10).items
    assert (view.form.enabled, view.version) == (False, 6)


def test_policies_beyond_the_most_are_refused(policies: Policies, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly as many as there may be, whoever is how fast."""
    monkeypatch.setattr(module, "MAX_POLICIES", 3)
    results = at_once(*[lambda: policies.create(OPERATOR, LIMIT) for _ in range(6)])
    assert [type(result).__name__ for result in results].count("Unprocessable") == 3
    assert len(read_policies(ORG)) == 3
    with pytest.raises(Unprocessable):
        policies.enable(OPERATOR, "block-shell", {})


def test_a_given_id_is_made_once(policies: Policies) -> None:
    """A repetition is answered with what there is, and moves no version."""
    policy_id = "0198f2c0-de7a-7c2e-9d3a-2f9c41aa01f7"
    views = [policies.create(OPERATOR, LIMIT, policy_id=policy_id) for _ in range(2)]
    assert views[0] == views[1]
    assert (views[0].id, org_settings(ORG).policy_version) == (policy_id, 2)


@pytest.mark.parametrize("principal", [member("viewer"), key_principal()])
def test_who_may_change_nothing(policies: Policies, principal: Any) -> None:
    """Viewers and keys."""
    policy = policies.create(OPERATOR, LIMIT).id
    for change in (
        lambda: policies.create(principal, LIMIT),
        lambda: policies.update(principal, policy, {"name": "x"}),
        lambda: policies.toggle(principal, policy, {}),
        lambda: policies.delete(principal, policy),
        lambda: policies.enable(principal, "block-shell", {}),
        lambda: policies.disable(principal, "block-shell"),
    ):
        with pytest.raises(Forbidden):
            change()
    assert org_settings(ORG).policy_version == 2


def test_orgs_do_not_see_each_other(policies: Policies) -> None:
    """A policy of another org is in no list and has no template enabled."""
    policies.enable(OPERATOR, "block-shell", {})
    other = member(org_id=OTHER_ORG)
    assert policies.list(other, limit=10).total == 0
    assert not any(policy for _, policy in policies.templates(other))


def test_the_sweep_finishes_what_was_interrupted(
    held: HeldClock, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change whose process ended before the purses knew is carried through within a minute."""
    bot = govern(services, budget_cents=500)

    def broken(org_id: str) -> int:
        raise RuntimeError("the process ended")

    monkeypatch.setattr(propagation, "propagate", broken)
    body = {"name": "cap", "type": "BudgetLimit", "config": {"budget_cents": 5}, "workflow_id": bot.workflow_id}
    with pytest.raises(RuntimeError):
        services.governance.policies.create(owner(), body)
    monkeypatch.setattr(propagation, "propagate", propagate)
    services.governance.sweep.run()
    assert bot.purse.cap == 500 * MICRO
    held.advance(PROPAGATED_MS / 1000)
    services.governance.sweep.run()
    assert (bot.purse.cap, bot.purse.policy_version) == (5 * MICRO, 2)
    assert org_settings(bot.org_id).due_ms is None
