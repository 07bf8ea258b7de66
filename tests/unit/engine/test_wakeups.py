"""The change stream's promise: whoever must act is told, though the call that wrote died."""

from __future__ import annotations

from typing import Any

import pytest

from shared.engine.kinds.base import Done, Wait
from shared.engine.wakeups import WakeUps
from shared.store.stream import ChangeRecord
from tests.support.engine import ORG, RUNNER, World, node


def record(execution_id: str, event: Any = "MODIFY", sk: str = "control", table: str = "signalbox-executions") -> Any:
    keys = {"pk": {"S": f"{ORG}#{execution_id}"}, "sk": {"S": sk}}
    return ChangeRecord(1, table, event, keys, None, None, 0, "KEYS_ONLY")


def parked(world: World) -> str:
    world.kind("ask", lambda call: Wait(None, "q"), lambda call, answer: Done(answer.value))
    execution_id = world.start(node("a", "ask"))
    world.settle()
    world.driver.started.clear()
    return execution_id


def test_a_created_execution_is_started(world: World) -> None:
    """Its first generation, however often the record comes."""
    execution_id = world.start(node("a"))
    world.driver.started.clear()
    wake_ups = WakeUps(world.repository, world.driver)
    for _ in range(2):
        wake_ups(record(execution_id, "INSERT"))
    assert world.driver.started == [(ORG, execution_id, 0)] * 2


def test_an_execution_that_was_advanced_is_not_started_again(world: World) -> None:
    """Whoever advanced it was started; the first machine of AWS would run a second time."""
    execution_id = parked(world)
    WakeUps(world.repository, world.driver)(record(execution_id, "INSERT"))
    assert world.driver.started == []


def test_an_unread_signal_wakes_a_parked_execution(world: World) -> None:
    """With the token of its park; what has been read wakes nobody."""
    execution_id = parked(world)
    verdict = world.advance(execution_id)
    world.advancer.register_park(ORG, execution_id, 0, verdict.wake, "token")
    wake_ups = WakeUps(world.repository, world.driver)
    wake_ups(record(execution_id))
    assert world.driver.woken == []
    world.engine.signal(RUNNER, execution_id, "q", 1)
    world.driver.woken.clear()
    wake_ups(record(execution_id))
    assert world.driver.woken == [(ORG, execution_id, 0, "token")]


def test_a_lease_holder_looks_by_itself(world: World) -> None:
    """It is not woken."""
    execution_id = parked(world)
    world.repository.acquire(ORG, execution_id, 0)
    world.engine.signal(RUNNER, execution_id, "q", 1)
    world.driver.woken.clear()
    WakeUps(world.repository, world.driver)(record(execution_id))
    assert world.driver.woken == []


@pytest.mark.parametrize(
    "change", [{"event": "REMOVE"}, {"sk": "summary"}, {"sk": "journal#000000000001"}, {"table": "signalbox-other"}]
)
def test_other_changes_are_not_its_business(world: World, change: dict[str, Any]) -> None:
    """Only a control item that is still there."""
    execution_id = parked(world)
    world.engine.pause(RUNNER, execution_id)
    world.driver.woken.clear()
    WakeUps(world.repository, world.driver)(record(execution_id, **change))
    assert (world.driver.started, world.driver.woken) == ([], [])


def test_ended_and_unknown_executions(world: World) -> None:
    """Nobody is told."""
    execution_id = world.start(node("a"))
    world.settle()
    world.driver.started.clear()
    wake_ups = WakeUps(world.repository, world.driver)
    for found in (execution_id, "nobody"):
        for event in ("INSERT", "MODIFY"):
            wake_ups(record(found, event))
    assert (world.driver.started, world.driver.woken) == ([], [])
