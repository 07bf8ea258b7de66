"""A ceiling that comes and goes while money moves: each micro-cent is in it once, and nobody is let in beyond it.

Source: docs/rulings.md#org-ceiling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.governance import policyset, propagation
from shared.governance.approvals import Approvals
from shared.governance.authentication import KeyAuthenticator, KnownKey
from shared.governance.calls import Call, read_call
from shared.governance.gate import Gate
from shared.governance.key_forms import NewKey
from shared.governance.money import MICRO
from shared.governance.operations import find_operation
from shared.governance.orgsettings import org_settings
from shared.governance.policies import Policies
from shared.governance.propagation import propagate
from shared.governance.purses import read_purse
from shared.governance.refusals import Refused
from shared.governance.reservations import Reservations
from shared.governance.sweep import GovernanceSweep
from shared.governance.tracking import Tracking, event_mark
from shared.governance.usage import Report, Spending
from shared.governance.workflow_forms import Draft
from shared.identity.principal import Principal
from shared.kit import ids
from shared.kit.errors import Unavailable
from shared.kit.settings import Settings
from shared.store.embedded import EmbeddedEngine, Fault
from shared.store.models.governance import OrgSettings
from tests.support.time import HeldClock
from tests.support.workflows import ORG, ROOT, member, purse_of, the_keys, the_workflows

OPERATOR = member()


@pytest.fixture(autouse=True)
def _store(held: HeldClock, store: EmbeddedEngine) -> None:
    """A held clock and an empty store."""


class Agent:
    """A workflow without a budget, its key, and one process that asks and reports for it."""

    def __init__(self) -> None:
        self.workflow_id = the_workflows().create(OPERATOR, Draft("bot")).id
        self.minted = the_keys().mint(OPERATOR, NewKey(name="k", workflow_id=self.workflow_id))
        self.begin()

    def begin(self) -> None:
        """Go on as a process that remembers nothing."""
        self.authenticator = KeyAuthenticator(ROOT)
        self.processes = Gate(self.authenticator, Approvals)
        self.tracking = Tracking("headroom", lambda *label: None)

    @property
    def key(self) -> KnownKey:
        return self.authenticator.check(self.minted.key)

    @property
    def principal(self) -> Principal:
        return self.authenticator.authenticate(self.minted.key)

    def ask(self, cents: int = 1, **fields: Any) -> str:
        """Reserve; the execution's id. Raises Refused."""
        body = {"model": None, "estimated_tokens": 0, **fields}
        call: Call = read_call(body, ORG, at_gate=True)
        for _ in range(cents - 1):
            self.processes.decide(self.minted.key, self.key, read_call(body, ORG, at_gate=True))
        return str(self.processes.decide(self.minted.key, self.key, call)["reservation_id"])

    def spend(self, cents: float, execution_id: str | None = None) -> None:
        """Report a cost."""
        spending, event_id = Spending(round(cents * MICRO), 1, "catalog", "high", "gpt-4o"), ids.uuid4()
        report = Report(spending, execution_id, None, event_id, None, None)
        self.tracking.settle(self.principal, report, event_mark(event_id, "digest"), "llm_call")


def _policies() -> Policies:
    return Policies(Settings())


def _ceiling(cents: int) -> str:
    config = {"budget_cents": cents}
    return _policies().create(OPERATOR, {"name": "cap", "type": "BudgetLimit", "config": config}).id


def _numbers(scope_id: str = ORG) -> tuple[int, int, int]:
    """Spent, reserved and available in cents."""
    purse = purse_of(scope_id)
    assert purse.available == purse.cap - purse.spent - purse.reserved
    return int(purse.spent) // MICRO, int(purse.reserved) // MICRO, int(purse.available) // MICRO


class _Before:
    """Lets something else happen just before the n-th transaction."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self.left, self.act = number, act

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        if operation == "TransactWriteItems":
            self.left -= 1
            if self.left == 0:
                self.act()
        return None


def _half_way(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> Callable[[], object]:
    """Make a change whose process ends once the org's purse is there; the returned function finishes it."""

    class Ended(Exception):
        pass

    def ended(self: Any, record: Any, purse: Any, org: Any) -> None:
        raise Ended

    with monkeypatch.context() as patched:
        patched.setattr(propagation._Propagation, "_workflow", ended)
        with pytest.raises(Ended):
            change()
    return lambda: propagate(ORG)


def test_what_is_reported_before_the_workflow_joined_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ceiling is there already, and takes over what the workflow has spent when it joins."""
    agent = Agent()
    execution = agent.ask()
    finish = _half_way(monkeypatch, lambda: _ceiling(100))
    agent.spend(10, execution)
    agent.spend(5)
    finish()
    assert _numbers(agent.workflow_id)[:2] == (15, 0)
    assert _numbers() == (15, 0, 85)
    agent.spend(3)
    assert _numbers() == (18, 0, 82)


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_reported_while_the_workflow_joins_counts_once(store: EmbeddedEngine, number: int) -> None:
    """Between reading and writing of the report the ceiling comes, and the workflow joins it."""
    agent = Agent()
    execution = agent.ask()
    store.faults = _Before(number, lambda: _ceiling(100))
    agent.spend(10, execution)
    agent.spend(5)
    store.faults = None
    assert _numbers(agent.workflow_id)[:2] == (15, 0)
    assert _numbers() == (15, 0, 85)


def test_a_ceiling_replaced_while_a_report_is_written(store: EmbeddedEngine) -> None:
    """The new one has counted what was spent till then, and this report."""
    agent = Agent()
    first = _ceiling(100)
    agent.spend(4)

    def replace() -> None:
        _policies().delete(OPERATOR, first)
        _ceiling(50)

    store.faults = _Before(1, replace)
    agent.spend(10)
    store.faults = None
    assert _numbers() == (14, 0, 36)


@pytest.mark.parametrize("end", ["spend", "cancel", "expire"])
def test_a_ceiling_made_anew_gives_nobody_what_others_reserved(held: HeldClock, end: str) -> None:
    """The end of a call of the former ceiling frees nothing that a call of the present one holds."""
    agent = Agent()
    first = _ceiling(100)
    old = agent.ask()
    _policies().delete(OPERATOR, first)
    _ceiling(3)
    assert _numbers() == (1, 0, 2)
    agent.ask()
    assert _numbers() == (1, 1, 1)
    if end == "spend":
        agent.spend(1, old)
        assert _numbers() == (1, 1, 1)
    elif end == "cancel":
        Reservations().cancel(agent.principal, old, None)
        assert _numbers() == (1, 1, 1)
    else:
        held.advance(301)
        GovernanceSweep({}).run()
        assert _numbers() == (1, 0, 2)
    assert _numbers(agent.workflow_id)[1] == (0 if end == "expire" else 1)


def test_a_call_that_knows_of_a_ceiling_too_early_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that read the version before the change and the policies after it is not counted twice."""
    agent = Agent()
    before = org_settings(ORG)
    finish = _half_way(monkeypatch, lambda: _ceiling(5))
    agent.begin()
    with monkeypatch.context() as patched:
        patched.setattr(policyset, "org_settings", lambda org_id: before)
        with pytest.raises(Unavailable):
            agent.ask()
    assert _numbers() == (0, 0, 5)
    finish()
    agent.ask()
    assert _numbers() == (0, 1, 4)


def test_a_call_that_knows_too_early_that_a_ceiling_is_gone_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the ceiling come back before it has gone, the calls between are counted."""
    agent = Agent()
    first = _ceiling(5)
    agent.ask()
    monkeypatch.setattr(propagation, "propagate", lambda org_id: 0)
    _policies().delete(OPERATOR, first)
    agent.begin()
    with pytest.raises(Unavailable):
        agent.ask()
    _ceiling(2)
    propagate(ORG)
    assert _numbers() == (0, 1, 1)
    agent.ask()
    with pytest.raises(Refused, match="budget is used up"):
        agent.ask()
    assert _numbers(agent.workflow_id)[1] == 2


def test_a_call_goes_on_while_other_policies_are_on_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that knows the newer policies already need not wait for the purse where only that one pays."""
    agent = Agent()
    monkeypatch.setattr(propagation, "propagate", lambda org_id: 0)
    config = {"max_calls_per_minute": 60}
    _policies().create(OPERATOR, {"name": "rate", "type": "RateLimit", "config": config})
    agent.begin()
    execution = agent.ask()
    found = find_operation(ORG, execution)
    assert found is not None and int(found.policy_version) == int(org_settings(ORG).policy_version)
    assert purse_of(agent.workflow_id).policy_version < org_settings(ORG).policy_version
    assert read_purse(ORG, ORG) is None


def test_the_settings_tell_who_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted change is due, so that the sweep ends the waiting of calls."""
    Agent()
    _half_way(monkeypatch, lambda: _ceiling(5))
    found = org_settings(ORG)
    assert isinstance(found, OrgSettings) and found.due_ms is not None
