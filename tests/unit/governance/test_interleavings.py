"""Two processes over one store, at random: no order of their writes loses money or lets a call in beyond a cap.

Before every transaction of the one the other may do something, a fault may meet the request, or the process may end.
The books are checked after every single write.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shared.composition import Services
from shared.governance.authentication import KnownKey, principal_of
from shared.governance.calls import read_call
from shared.governance.key_forms import NewKey
from shared.governance.money import MICRO
from shared.governance.propagation import propagate
from shared.governance.services import Governance
from shared.governance.states import Change
from shared.governance.tracking import event_mark
from shared.governance.usage import Report, Spending
from shared.governance.workflow_forms import Draft
from shared.identity import DEFAULT_ORG_ID as ORG
from shared.kit import ids
from shared.kit.errors import SignalboxError
from shared.kit.settings import Settings
from shared.store.embedded import EmbeddedEngine, Fault
from tests.support.books import Books
from tests.support.governance import owner
from tests.support.time import HeldClock

STEPS = 30
SEEDS = 3
_CHAIN = "2f1f9c59-7c0b-4f3c-9b62-0c6a0d3ee0c5"
_FAULTS = (Fault.CONFLICT, Fault.ANSWER_LOST, Fault.REPEATED, Fault.THROTTLED)


class _Ended(BaseException):
    """The process is gone."""


class _Broken(BaseException):
    """The books do not add up, which nothing on the way may pass over."""


class World:
    """Two workflows with two keys each, and two processes that serve them."""

    def __init__(
        self, engine: EmbeddedEngine, held: HeldClock, chance: random.Random, services: list[Services]
    ) -> None:
        self.engine, self.held, self.chance = engine, held, chance
        self.services = services
        services[0].identity.prepare()
        first = self.governance(0)
        budgets = {"a": 9, "b": None}
        self.workflows = [
            first.workflows.create(owner(), Draft(name, budget_cents=cents)).id for name, cents in budgets.items()
        ]
        self.keys = [
            first.keys.mint(owner(), NewKey(name="k", workflow_id=workflow))
            for workflow in self.workflows
            for _ in range(2)
        ]
        self.executions: list[str] = []
        self.policies: list[str] = []
        self.seen: set[str] = set()
        self.done: Counter[str] = Counter()
        self.depth = 0
        self.sound = False
        engine.faults = self

    def governance(self, process: int) -> Governance:
        return self.services[process].governance

    # What happens between any two writes

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        """Called by the store before each request."""
        if operation != "TransactWriteItems":
            return None
        self.look()
        if self.sound:
            return None
        luck = self.chance.random()
        if luck < 0.02 and self.depth == 1:
            raise _Ended
        if luck < 0.2 and self.depth < 3:
            self.step()
            self.look()
        elif luck < 0.25:
            return self.chance.choice(_FAULTS)
        return None

    def look(self) -> None:
        """Check the books, and whatever the last write has let in."""
        try:
            self._check(Books(self.engine, ORG))
        except AssertionError as error:
            raise _Broken(str(error)) from error

    def _check(self, books: Books) -> None:
        books.check()
        for execution_id in books.operations.keys() - self.seen:
            self.seen.add(execution_id)
            self.done[books.operations[execution_id]["decision"]] += 1
            books.check_admission(execution_id)

    def step(self) -> None:
        """Something, in either process."""
        self.depth += 1
        name = self.chance.choice(_STEPS)
        try:
            with suppress(SignalboxError):
                getattr(self, name)(self.governance(self.chance.randrange(2)))
                self.done[name] += 1
        finally:
            self.depth -= 1

    # Steps

    def _key(self, governance: Governance) -> tuple[str, KnownKey]:
        minted = self.chance.choice(self.keys)
        return minted.key, governance.authenticator.check(minted.key)

    def gate(self, governance: Governance) -> None:
        text, key = self._key(governance)
        body: dict[str, Any] = {"operation_id": self.chance.choice((ids.uuid4(), ids.uuid4(), "daily", "hourly"))}
        if self.chance.random() < 0.3:
            body |= {"model": "gpt-4o", "max_output_tokens": self.chance.choice((1000, 4000))}
        if self.chance.random() < 0.8:
            body["chain_id"] = _CHAIN
        call = read_call(body, ORG, at_gate=True)
        answer = governance.gate.decide(text, key, call)
        if call.operation_id != "daily":
            # What takes another day's place would take its spending from sight.
            self.executions.append(answer["reservation_id"])

    def track(self, governance: Governance) -> None:
        _, key = self._key(governance)
        execution = self.chance.choice((None, *self.executions[-12:]))
        amount, event_id = self.chance.choice((0.0, 0.3, 1.0, 1.0, 2.5, 6.0)), ids.uuid4()
        report = Report(
            Spending(round(amount * MICRO), 1, "catalog", "high", "m"), execution, None, event_id, None, None
        )
        for _ in range(self.chance.choice((1, 2))):
            # The second time it is a repetition.
            governance.tracking.settle(principal_of(key), report, event_mark(event_id, "digest"), "llm_call")

    def cancel(self, governance: Governance) -> None:
        if self.executions:
            execution = self.chance.choice(self.executions[-12:])
            governance.reservations.cancel(principal_of(self._key(governance)[1]), execution, None)

    def expire(self, governance: Governance) -> None:
        self.held.advance(301)
        self.sweep(governance)

    def sweep(self, governance: Governance) -> None:
        governance.sweep._handlers["event"] = governance.sweep._handlers["backlog"] = lambda *place: False
        governance.sweep.run()

    def minute(self, governance: Governance) -> None:
        self.held.advance(self.chance.choice((1, 61, 3600)))

    def month(self, governance: Governance) -> None:
        """To shortly before the end of the period, or over it; the sweep is never away for a month."""
        if self.depth > 1:
            return
        self.sound = True
        self.expire(governance)
        self.sound = False
        ends = Books(self.engine, ORG).purses[self.workflows[0]]["period_end_ms"]
        left_s = (ends - self.held.now_ms()) / 1000
        self.held.advance(left_s - 2 if left_s > 2 and self.chance.random() < 0.5 else max(0, left_s) + 1)

    def budget(self, governance: Governance) -> None:
        changes = {"budget_cents": self.chance.choice((None, 0, 3, 9, 30))}
        governance.workflows.update(owner(), self.chance.choice(self.workflows), changes)

    def policy(self, governance: Governance) -> None:
        target: dict[str, Any] = self.chance.choice(
            (
                {"scope": "org"}, *[{"workflow_id": self.chance.choice(self.workflows)}] * 2,
                {"api_key_id": self.chance.choice(self.keys).view.id},
            )
        )  # fmt: skip
        config = {"budget_cents": self.chance.choice((0, 4, 9, 20)), "max_overdraft_cents": self.chance.choice((2, 5))}
        mode = self.chance.choice(("Soft", "Soft", "Hard"))
        sent = {"name": "cap", "type": "BudgetLimit", "enforcement_mode": mode, "config": config, **target}
        self.policies.append(governance.policies.create(owner(), sent).id)

    def rate(self, governance: Governance) -> None:
        sent = {"name": "r", "type": "RateLimit", "config": {"max_calls_per_minute": self.chance.choice((2, 50))}}
        self.policies.append(governance.policies.create(owner(), sent).id)

    def change(self, governance: Governance) -> None:
        if self.policies:
            config = {"budget_cents": self.chance.choice((1, 8, 40)), "max_overdraft_cents": 3}
            governance.policies.update(owner(), self.chance.choice(self.policies), {"config": config})

    def remove(self, governance: Governance) -> None:
        if self.policies:
            chosen = self.policies.pop(self.chance.randrange(len(self.policies)))
            governance.policies.delete(owner(), chosen)

    def propagate(self, governance: Governance) -> None:
        propagate(ORG)

    def rotate(self, governance: Governance) -> None:
        governance.keys.rotate(owner(), self.chance.choice(self.keys).view.id)

    def halt(self, governance: Governance) -> None:
        workflow = self.chance.choice(self.workflows)
        changes: tuple[Change, ...] = ("pause", "resume")
        for change in changes:
            governance.workflows.change_state(owner(), workflow, change)


_STEPS = (
    *["gate"] * 12, *["track"] * 7, *["cancel"] * 2, "expire", "sweep", "minute", "month", "budget",
    *["policy"] * 2, "rate", "change", *["remove"] * 2, "propagate", "rotate", "halt",
)  # fmt: skip


@pytest.fixture
def world_of(tmp_path: Path, store: EmbeddedEngine, held: HeldClock) -> Iterator[Callable[[int], World]]:
    """Makes a world whose chances are those of a seed."""
    services = [Services(Settings(data=tmp_path)) for _ in range(2)]
    for process in services:
        process.__dict__["store"] = store

    def world(seed: int) -> World:
        # Ids are drawn from the same chances, so that a seed that fails fails again.
        return World(store, held, random.Random(seed), services)

    yield world
    store.faults = None
    for process in services:
        process.__dict__.pop("store")
        process.close()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_interleaving_loses_money_or_exceeds_a_cap(world_of: Callable[[int], World], seed: int) -> None:
    """After each write every purse adds up, holds what its open calls hold, and has spent what was reported."""
    with ids.use(ids.SeededSource(seed)):
        world = world_of(seed)
        for _ in range(STEPS):
            with suppress(_Ended):
                world.step()
            world.look()
        _end_well(world)


def _end_well(world: World) -> None:
    """Left alone everything comes to rest: nothing is held, and the caps are those of the policies."""
    world.sound = True
    world.held.advance(3 * 3600)
    world.sweep(world.governance(0))
    world.look()
    books = Books(world.engine, ORG)
    assert not books.due()
    assert {scope_id: purse["reserved"] for scope_id, purse in books.purses.items() if purse["reserved"]} == {}
    versions = {purse["policy_version"] for scope_id, purse in books.purses.items() if scope_id != "overdraft"}
    assert len(versions) == 1
