"""Leases, generations, parks, the sweep: who may advance, and that somebody does."""

from __future__ import annotations

from typing import Any

import pytest

from shared.engine.advance import MAX_SEGMENTS
from shared.engine.kinds.base import Call, Done, Wait
from shared.engine.repository import ExecutionRepository, Refused
from shared.kit import ids
from shared.kit.errors import InvalidRequest, Unavailable, Unprocessable
from shared.store.embedded import Fault
from shared.store.models.executions import Control
from tests.support.engine import FLOW, ORG, RUNNER, World, node, program


def parked(world: World, until_s: float | None = None) -> str:
    """An execution that waits for the signal ``q``."""
    if world.registry.get("ask") is None:
        until = None if until_s is None else world.clock.now_ms() + int(until_s * 1000)
        world.kind("ask", lambda call: Wait(until, "q"), lambda call, answer: Done(answer.value))
    execution_id = world.start(node("a", "ask"))
    world.settle()
    return execution_id


@pytest.mark.parametrize(
    ("boot", "other_boot", "seconds", "free"),
    [
        ("b1", "b1", 0, False),
        ("b1", "b1", 29, False),
        ("b1", "b1", 31, True),
        ("b1", "b2", 0, True),
        ("", "", 0, False),
        ("", "", 31, True),
    ],
)
def test_who_may_take_a_lease(world: World, boot: str, other_boot: str, seconds: float, free: bool) -> None:
    """Nobody while it holds; anybody after its time; at once when its process was another (AWS has no boot id)."""
    execution_id = world.start(node("a"))
    held = ExecutionRepository(world.blobs, boot).acquire(ORG, execution_id, 0)
    assert not isinstance(held, Refused)
    world.clock.advance(seconds)
    taken = ExecutionRepository(world.blobs, other_boot).acquire(ORG, execution_id, 0)
    if free:
        assert not isinstance(taken, Refused) and taken.lease != held.lease
    else:
        assert isinstance(taken, Refused) and taken.reason == "leased"
    assert ExecutionRepository(world.blobs, boot).renew(held) is not free


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.REPEATED, Fault.THROTTLED, Fault.FAILED, Fault.CONFLICT])
@pytest.mark.parametrize("times", [1, 3])
def test_taking_a_lease_survives_a_fault(world: World, fault: Fault, times: int) -> None:
    """An update whose answer was lost is ours all the same, and counts as one segment."""
    execution_id = world.start(node("a"))
    left = [fault] * times

    def hook(operation: str, request: dict[str, Any]) -> Fault | None:
        return left.pop() if operation == "UpdateItem" and left else None

    world.faults.hook = hook
    control = world.repository.acquire(ORG, execution_id, 0)
    assert not isinstance(control, Refused) and len(left) < times
    assert world.control(execution_id).lease == control.lease
    assert int(world.control(execution_id).segment) == 1


def test_verdicts_of_those_who_may_not(world: World) -> None:
    """Busy until the lease ends; the end for an old generation, an ended or unknown execution."""
    execution_id = world.start(node("a"))
    held = world.repository.acquire(ORG, execution_id, 0)
    assert not isinstance(held, Refused)
    busy = world.advance(execution_id)
    assert (busy.word, busy.until_ms) == ("busy", world.clock.now_ms() + 31_000)
    assert world.advance(execution_id, 1).word == "end"
    assert world.advancer.advance(ORG, ids.uuid7(), 0).word == "end"
    world.clock.advance(31)
    assert (world.advance(execution_id).status, world.advance(execution_id).status) == ("completed", "completed")


def test_a_slice_ends(world: World) -> None:
    """The lease is given back with a snapshot, and another call goes on."""

    def slow(call: Call) -> Done:
        world.clock.advance(25)
        return Done((call.input or 0) + 1 if isinstance(call.input, int) else 1)

    world.kind("slow", slow)
    flow = [node(f"n{n}", "slow", {"default": f"n{n + 1}"}) for n in range(5)]
    execution_id = world.start(*flow, node("n5"))
    assert [world.advance(execution_id).word for _ in range(2)] == ["advance", "end"]
    assert world.view(execution_id).result == 5


def test_a_long_execution_hands_over(world: World) -> None:
    """After its segments the next generation begins, once, and the old one's calls end."""
    execution_id = parked(world)
    Control(f"{ORG}#{execution_id}", "control").update([Control.segment.set(MAX_SEGMENTS)])
    world.driver.started.clear()
    assert world.advance(execution_id, 0).word == "handover"
    control = world.control(execution_id)
    assert (int(control.generation), int(control.segment)) == (1, 0) and control.lease is None
    assert world.driver.started == [(ORG, execution_id, 1)]
    assert (world.advance(execution_id, 0).word, world.advance(execution_id, 1).word) == ("end", "park")


def test_no_wake_up_is_lost_around_a_park(world: World) -> None:
    """A signal before the token is stored refuses the token; one after it finds the token."""
    execution_id = parked(world)
    verdict = world.advance(execution_id)
    assert world.advancer.register_park(ORG, execution_id, 0, verdict.wake, "early")
    assert not world.advancer.register_park(ORG, execution_id, 1, verdict.wake, "other generation")
    assert not world.advancer.register_park(ORG, ids.uuid7(), 0, 0, "unknown")
    world.driver.woken.clear()
    world.engine.signal(RUNNER, execution_id, "q", 1)
    assert world.driver.woken == [(ORG, execution_id, 0, "early")]
    assert not world.advancer.register_park(ORG, execution_id, 0, verdict.wake, "late")
    assert world.advance(execution_id).word == "end"
    assert not world.advancer.register_park(ORG, execution_id, 0, verdict.wake + 1, "after the end")


def test_a_late_second_run_leaves_the_parked_machine_its_token(world: World) -> None:
    """An Express machine that runs again after the driver has parked takes no wake-up from it."""
    execution_id = parked(world)
    verdict = world.advance(execution_id)
    assert world.advancer.register_park(ORG, execution_id, 0, verdict.wake, "sleeping")
    assert world.advance(execution_id).word == "park"
    world.driver.woken.clear()
    world.engine.signal(RUNNER, execution_id, "q", 1)
    assert world.driver.woken == [(ORG, execution_id, 0, "sleeping")]


def test_the_sweep_takes_up_what_is_overdue(world: World) -> None:
    """A dead worker's execution, a parked one nobody woke, one that was never begun; each once, the rest not at all."""
    waiting = parked(world)
    dead, never, done = (world.start(node("a")) for _ in range(3))
    world.driver.queue.clear()
    assert not isinstance(world.repository.acquire(ORG, dead, 0), Refused)
    world.advance(done)
    world.clock.advance(31)
    world.driver.started.clear()
    assert world.sweep.run() == 2
    assert sorted(world.driver.started) == sorted([(ORG, dead, 1), (ORG, never, 1)])
    assert world.sweep.run() == 0
    world.settle()
    world.programs[FLOW] = program(node("a", "ask"))
    world.engine.signal(RUNNER, waiting, "q", 1)
    world.driver.queue.clear()
    world.clock.advance(61)
    world.sweep.run()
    world.settle()
    assert [world.view(found).status for found in (dead, never, waiting)] == ["completed"] * 3


def test_two_sweeps_at_once(world: World) -> None:
    """One of them restarts it."""
    execution_id = world.start(node("a"))
    world.clock.advance(31)
    seen = world.control(execution_id)
    assert [world.advancer.restart(seen) for _ in range(2)] == [True, False]


@pytest.mark.parametrize("error", [Unprocessable("no"), InvalidRequest("no"), ValueError("no"), KeyError("no")])
def test_a_program_that_cannot_be_loaded(world: World, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """The execution fails with a clear text; a cancellation that came first stays."""
    failed, cancelled = world.start(node("a")), world.start(node("a"))
    world.engine.cancel(RUNNER, cancelled)

    def broken(ref: object) -> None:
        raise error

    monkeypatch.setattr(world, "program", broken)
    assert (world.advance(failed).status, world.advance(cancelled).status) == ("failed", "canceled")
    view = world.view(failed)
    assert view.error == "the definition this execution runs was deleted or can no longer be loaded"
    assert (world.view(cancelled).status, world.control(failed).live) == ("canceled", False)


def test_a_store_out_of_reach_does_not_fail_an_execution(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the advance fails; a later one goes on."""
    execution_id = world.start(node("a"))

    def away(ref: object) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(world, "program", away)
        with pytest.raises(Unavailable):
            world.advance(execution_id)
    world.clock.advance(31)
    assert (world.advance(execution_id).status, FLOW in world.programs) == ("completed", True)
