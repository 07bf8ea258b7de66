"""The engine's face: starting, looking, commanding; each call within its org."""

from __future__ import annotations

from typing import Any

import pytest

from shared.engine.kinds.base import Wait
from shared.engine.ports import DefinitionRef
from shared.engine.service import Engine
from shared.kit import ids
from shared.kit.errors import Conflict, NotFound
from shared.store.embedded import Fault
from shared.store.models.executions import Alias, alias_pk
from tests.support.engine import FLOW, ORG, RUNNER, STRANGER, World, node, program

DAY_MS = 24 * 3600 * 1000


def test_start_is_durable_and_drives(world: World) -> None:
    """The view is what a later look shows; the driver was told once; the deadline stands."""
    world.programs[FLOW] = program(node("a"))
    view = world.engine.start(RUNNER, FLOW, {"q": 1})
    assert (view.status, view.input, view.current_node, view.definition_id) == ("running", {"q": 1}, "a", "flow-1")
    assert world.view(view.id) == view
    assert world.driver.started == [(ORG, view.id, 0)]
    control = world.control(view.id)
    assert int(control.deadline_ms or 0) == view.started_ms + 300 * DAY_MS
    assert int(control.due_ms or 0) == view.started_ms + 30_000


def test_without_a_limit_there_is_no_deadline(world: World) -> None:
    """The limit is the deployment's."""
    world.programs[FLOW] = program(node("a"))
    view = Engine(world.repository, world, world.driver).start(RUNNER, FLOW, {})
    assert world.control(view.id).deadline_ms is None


def test_an_unknown_definition(world: World) -> None:
    """Nothing is started."""
    with pytest.raises(NotFound):
        world.engine.start(RUNNER, DefinitionRef(ORG, "nothing", 1), {})
    assert world.engine.list(RUNNER, limit=10, offset=0).total == 0


def test_a_given_id_starts_once(world: World) -> None:
    """Twice due is once run: the second call answers the first one's execution."""
    world.programs[FLOW] = program(node("a"))
    given = ids.uuid7()
    first = world.engine.start(RUNNER, FLOW, {"n": 1}, execution_id=given)
    again = world.engine.start(RUNNER, FLOW, {"n": 2}, execution_id=given)
    assert (first.id, again.id, again.input, again.number) == (given, given, {"n": 1}, first.number)
    assert world.engine.list(RUNNER, limit=10, offset=0).total == 1


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.FAILED, Fault.CONFLICT, Fault.REPEATED])
def test_a_start_survives_a_fault(world: World, fault: Fault) -> None:
    """One execution, whatever becomes of the first answer."""
    left = [fault]

    def hook(operation: str, request: dict[str, Any]) -> Fault | None:
        return left.pop() if operation == "TransactWriteItems" and left else None

    world.faults.hook = hook
    execution_id = world.start(node("a"))
    assert (world.engine.list(RUNNER, limit=10, offset=0).total, world.view(execution_id).status) == (1, "running")


def test_a_number_that_is_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is tried."""
    numbers = iter([7, 7, 8])
    monkeypatch.setattr("shared.engine.service.ids.snowflake", lambda: next(numbers))
    first, second = world.start(node("a")), world.start(node("a"))
    assert [world.view(found).number for found in (first, second)] == [7, 8]
    assert Alias.get(alias_pk(ORG, 8), "alias").execution_id == second


def test_an_execution_has_two_names(world: World) -> None:
    """Its id and its number; another tenant knows neither, and garbage is not found."""
    execution_id = world.start(node("a"))
    number = world.view(execution_id).number
    assert world.engine.get(RUNNER, str(number)).id == execution_id
    for name in (execution_id, str(number)):
        for call in (
            lambda name: world.engine.get(STRANGER, name),
            lambda name: world.engine.facts(STRANGER, name),
            lambda name: world.engine.follow(STRANGER, name),
            lambda name: world.engine.cancel(STRANGER, name),
            lambda name: world.engine.pause(STRANGER, name),
            lambda name: world.engine.resume(STRANGER, name),
            lambda name: world.engine.signal(STRANGER, name, "q", {}),
        ):
            with pytest.raises(NotFound):
                call(name)
    for name in ("", "x", "1", ids.uuid7(), execution_id.upper(), f"{execution_id}#summary", "9" * 30):
        with pytest.raises(NotFound):
            world.engine.get(RUNNER, name)
    assert world.view(execution_id).status == "running"
    assert world.engine.list(STRANGER, limit=10, offset=0).total == 0


def test_lists(world: World) -> None:
    """Oldest first, by definition and status, paged; totals count what the filter keeps."""
    started = [world.start(node("a")) for _ in range(5)]
    world.settle()
    world.programs[other := DefinitionRef(ORG, "flow-2", 1)] = program(node("a"))
    running = world.engine.start(RUNNER, other, {}).id
    found = world.engine.list(RUNNER, limit=3, offset=1)
    assert ([view.id for view in found.items], found.total) == (started[1:4], 6)
    done = world.engine.list(RUNNER, statuses=frozenset({"completed"}), limit=10, offset=0)
    assert ([view.id for view in done.items], done.total) == (started, 5)
    second = world.engine.list(RUNNER, definition_id="flow-2", limit=10, offset=0)
    assert ([view.id for view in second.items], second.total) == ([running], 1)
    assert world.engine.list(RUNNER, limit=10, offset=6).items == []
    assert all(view.input is None and view.result is None for view in found.items)


@pytest.mark.parametrize("command", ["cancel", "pause", "resume"])
def test_a_command_wakes_whoever_sleeps(world: World, command: str) -> None:
    """The driver is told the token of the park, and the sweep would look a minute later."""
    world.kind("ask", lambda call: Wait(None, "q"))
    execution_id = world.start(node("a", "ask"))
    verdict = world.advance(execution_id)
    assert world.advancer.register_park(ORG, execution_id, 0, verdict.wake, "token-1")
    getattr(world.engine, command)(RUNNER, execution_id)
    assert world.driver.woken == [(ORG, execution_id, 0, "token-1")]
    assert int(world.control(execution_id).due_ms or 0) == world.clock.now_ms() + 60_000


def test_cancel(world: World) -> None:
    """Shown at once with its time; again is a conflict, also before and after the journal says so."""
    execution_id = world.start(node("a"))
    world.engine.cancel(RUNNER, execution_id)
    view = world.view(execution_id)
    assert (view.status, view.ended_ms, view.error) == ("canceled", world.clock.now_ms(), "canceled")
    for _ in range(2):
        for act in (world.engine.cancel, world.engine.pause, world.engine.resume):
            with pytest.raises(Conflict, match="the execution has already ended"):
                act(RUNNER, execution_id)
        world.settle(10)
    assert world.view(execution_id) == view
    assert world.facts(execution_id)[-1]["status"] == "canceled"


def test_a_signal_to_a_cancelled_execution(world: World) -> None:
    """It is refused, and the wait stays as it is, even when it comes between the look and the write."""
    world.kind("ask", lambda call: Wait(None, "q"))
    execution_id = world.start(node("a", "ask"))
    world.settle()

    def hook(operation: str, request: dict[str, Any]) -> None:
        if operation == "TransactWriteItems":
            world.faults.hook = None
            world.engine.cancel(RUNNER, execution_id)

    world.faults.hook = hook
    with pytest.raises(Conflict, match="the execution has already ended"):
        world.engine.signal(RUNNER, execution_id, "q", {})
    assert world.waits(execution_id) == {"q#1": "open"}


def test_following_reads_large_values_only_when_asked(world: World) -> None:
    """Facts come outlined; loaded makes them whole."""
    world.start(node("a"))
    execution_id = world.start(node("a"), input={"text": "x" * 200_000})
    outlined = next(iter(world.engine.follow(RUNNER, execution_id)))[1]
    assert outlined["input"] is None
    assert world.engine.loaded(outlined)["input"] == {"text": "x" * 200_000}
    assert world.engine.facts(RUNNER, execution_id)[0][1]["input"] == {"text": "x" * 200_000}
