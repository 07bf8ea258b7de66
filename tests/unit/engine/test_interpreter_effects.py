"""Effects: recorded before they start, held back by commands, bounded, delivered again after a crash."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.engine.kinds.base import Call, Done, NodeFailed, Wait
from shared.engine.program import Node, Retry
from shared.kit.errors import Conflict
from shared.store.embedded import Fault
from tests.support.engine import ORG, RUNNER, World, node


class Died(BaseException):
    """The process is gone."""


def test_a_start_is_durable_before_the_effect(world: World) -> None:
    """When an effect runs, the journal says already that it did."""
    seen: list[list[str]] = []

    def run(call: Call) -> Done:
        seen.append(world.nodes(call.execution.id))
        return Done(None)

    world.kind("look", run, effectful=True)
    world.run(node("p", next={"default": "a"}), node("a", "look", {"default": "b"}), node("b", "look"))
    assert seen == [["p", "a"], ["p", "a", "b"]]


def test_an_idempotency_key_names_the_visit(world: World) -> None:
    """Another visit of the node is another operation; attempts of one visit are the same."""
    calls: list[tuple[str, int]] = []

    def run(call: Call) -> Done:
        calls.append((call.idempotency_key.partition(":")[2], call.attempt))
        if len(calls) in (1, 3):
            raise NodeFailed("it broke")
        return Done(len(calls), ("default",) if len(calls) < 4 else ("out",))

    world.kind("effect2", run, effectful=True)
    view = world.run(node("a", "effect2", {"default": "a"}, retry=Retry(1)))
    assert view.status == "completed"
    assert calls == [("a:1", 1), ("a:1", 2), ("a:2", 1), ("a:2", 2)]


# Cancellation


def cancel_at(world: World, position: int, *flow: Node, **more: Any) -> tuple[str, int | None]:
    """Cancel just before the store request of this number; answers the execution and how many effects had run."""
    execution_id = world.start(*flow, **more)
    world.ran.clear()
    # What is handed to the workers has happened, whether or not its result is waited for.
    world.eager = True
    count, acknowledged = 0, None

    def hook(operation: str, request: dict[str, Any]) -> Fault | None:
        nonlocal count, acknowledged
        count += 1
        if count == position:
            world.faults.hook = None
            try:
                world.engine.cancel(RUNNER, execution_id)
                acknowledged = len(world.ran)
            except Conflict:
                acknowledged = None
        return None

    with world.hooked(hook):
        world.settle(600)
    return execution_id, acknowledged


@pytest.mark.parametrize("position", range(1, 26))
def test_nothing_starts_after_a_cancellation(world: World, position: int) -> None:
    """Wherever it comes: what the journal had started may run, nothing else does, and canceled stays canceled."""
    world.kind("nap", lambda call: Wait(world.clock.now_ms() + 60_000), lambda call, _: Done(call.input))
    flow = [node("a", "effect", {"default": "n"}), node("n", "nap", {"default": "p"}), node("p", next={"default": "b"})]
    execution_id, acknowledged = cancel_at(
        world, position, *flow, node("b", "effect", {"default": "c"}), node("c", "effect")
    )
    view, facts = world.view(execution_id), world.facts(execution_id)
    if acknowledged is None:
        assert view.status == "completed"
        return
    assert (view.status, view.error, facts[-1]["type"], facts[-1]["status"]) == (
        "canceled",
        "canceled",
        "ended",
        "canceled",
    )
    assert len(world.ran) <= sum(fact["type"] == "node_started" and fact["kind"] == "effect" for fact in facts)
    assert len(world.ran) <= acknowledged + 1
    assert not world.control(execution_id).live


def test_nodes_without_effects_do_not_start_either(world: World) -> None:
    """Those that ran before their start was durable never started; the time of the cancellation stays."""

    def run(call: Call) -> Done:
        if call.node.name == "b":
            world.engine.cancel(RUNNER, call.execution.id)
        world.clock.advance(0.01)
        return Done(None)

    world.kind("pure", run)
    execution_id = world.start(
        node("e", "effect", {"default": "a"}), node("a", "pure", {"default": "b"}), node("b", "pure")
    )
    world.settle()
    cancelled = world.view(execution_id).ended_ms
    view = world.view(execution_id)
    assert (view.status, world.nodes(execution_id)) == ("canceled", ["e"])
    assert "node_finished" in [fact["type"] for fact in world.facts(execution_id)]
    assert cancelled == view.ended_ms is not None


def test_an_effect_in_flight_is_not_waited_for(world: World) -> None:
    """Its result is dropped: the execution ends as soon as the holder looks."""
    world.kind("long", lambda call: Done("late"), effectful=True)
    execution_id = world.start(node("a", "long"))

    def before(number: int) -> bool:
        if world.control(execution_id).command == "":
            world.engine.cancel(RUNNER, execution_id)
        return False

    world.before_attempt = before
    assert world.advance(execution_id).status == "canceled"
    assert [fact["type"] for fact in world.facts(execution_id)] == ["started", "node_started", "ended"]


def test_an_effect_that_goes_on_after_a_wait_is_held_back(world: World) -> None:
    """A kind with effects is asked again only once the journal says so."""

    def resume(call: Call, answer: Any) -> Done:
        world.ran.append("resumed")
        return Done(None)

    world.kind("poll", lambda call: Wait(world.clock.now_ms() + 60_000), resume, effectful=True)
    execution_id = world.start(node("a", "poll"))
    world.settle()
    world.clock.advance(60)
    count = 0

    def hook(operation: str, request: dict[str, Any]) -> None:
        nonlocal count
        count += operation == "TransactWriteItems"
        if count == 1:
            world.faults.hook = None
            world.engine.cancel(RUNNER, execution_id)

    with world.hooked(hook):
        assert world.advance(execution_id).status == "canceled"
    assert world.ran == []
    other = world.start(node("a", "poll"))
    world.settle(61)
    assert (world.view(other).status, len(world.facts(other, "node_resumed"))) == ("completed", 1)


# Crashes and take-overs


def crashing(world: World, execution_id: str, position: int) -> bool:
    """Let the process die at the store request of this number; whether it came so far."""
    count = 0

    def hook(operation: str, request: dict[str, Any]) -> Fault | None:
        nonlocal count
        count += 1
        if count == position:
            raise Died
        return None

    with world.hooked(hook):
        try:
            world.settle(600)
        except Died:
            return True
    return False


@pytest.mark.parametrize("position", range(1, 20))
def test_a_worker_that_dies_anywhere(world: World, position: int) -> None:
    """The next one goes on: every node finishes exactly once, and only an effect without a record runs again."""
    world.kind("nap", lambda call: Wait(world.clock.now_ms() + 60_000), lambda call, _: Done(call.input))
    flow = [
        node("a", "effect", {"default": "n"}),
        node("n", "nap", {"default": "b"}),
        node("b", "effect", {"default": "c"}),
    ]
    execution_id = world.start(*flow, node("c"), input={"q": 1})
    died = crashing(world, execution_id, position)
    world.driver.queue.clear()
    world.timers.clear()
    world.clock.advance(31)
    for _ in range(2 if died else 0):
        world.clock.advance(100)
        world.sweep.run()
        world.settle(100)
    view = world.view(execution_id)
    assert (view.status, view.result) == ("completed", {"q": 1})
    assert world.nodes(execution_id, "node_finished") == ["a", "n", "b", "c"]
    assert len(world.ran) - len(set(world.ran)) <= 1
    indices = [index for index, _ in world.engine.facts(RUNNER, execution_id)]
    assert indices == list(range(len(indices)))


def test_a_take_over_does_not_count_against_retries(world: World) -> None:
    """A lost worker is not the author's failure; the attempt has the next number."""
    attempts: list[int] = []

    def run(call: Call) -> Done:
        attempts.append(call.attempt)
        if len(attempts) == 1:
            raise Died
        raise NodeFailed("it broke")

    world.kind("dies", run, effectful=True)
    execution_id = world.start(node("a", "dies", retry=Retry(1)))
    with pytest.raises(Died):
        world.settle()
    assert world.advance(execution_id).word == "busy"
    world.clock.advance(31)
    assert world.advance(execution_id).word == "end"
    assert (attempts, world.view(execution_id).status) == ([1, 2, 3], "failed")


def test_a_worker_that_lost_its_lease_writes_nothing(world: World) -> None:
    """What it still decides is void."""

    def run(call: Call) -> Done:
        world.ran.append(str(call.attempt))
        if call.attempt == 1:
            world.clock.advance(31)
            assert world.advance(call.execution.id).word == "end"
        return Done(f"from {call.attempt}")

    world.kind("slow", run, effectful=True)
    execution_id = world.start(node("a", "slow"))
    assert world.advance(execution_id).word == "busy"
    assert world.ran == ["1", "2"]
    assert (world.view(execution_id).result, world.nodes(execution_id, "node_finished")) == ("from 2", ["a"])


# Bounds


@pytest.mark.parametrize(("timeout_ms", "limit"), [(5_000, "5"), (None, "600"), (1_500, "1.5"), (10**9, "600")])
def test_an_attempt_is_bounded(world: World, timeout_ms: int | None, limit: str) -> None:
    """By its node's timeout, and always; it fails like any other attempt, and its late result is dropped."""
    world.kind("hangs", lambda call: Done("late"), effectful=True)
    execution_id = world.start(node("a", "hangs", {"error": "h"}, timeout_ms=timeout_ms, retry=Retry(1)), node("h"))
    original = world.advancer

    class Hanging:
        """Begins work and never answers."""

        def __init__(self) -> None:
            self.begun: list[Any] = []

        def submit(self, token: int, work: Any) -> None:
            world.ran.append(str(token))
            # The attempt begins: the rest of it never comes.
            work()

        def next(self, timeout_s: float) -> None:
            world.clock.sleep(timeout_s)

        def close(self) -> None:
            pass

    started = world.clock.now_ms()
    limits = replace(world.limits, slice_s=5000)
    hanging = replace(original, workers=lambda org_id, execution_id: Hanging(), limits=limits)
    assert hanging.advance(ORG, execution_id, 0).word == "end"
    view = world.view(execution_id)
    assert view.result["message"] == f"the node ran longer than its limit of {limit} seconds"
    assert world.ran == ["1", "2"]
    assert (world.clock.now_ms() - started) // 1000 == int(2 * float(limit))


def test_a_pure_node_with_a_timeout_is_bounded_too(world: World) -> None:
    """It runs on a worker that can be left alone."""
    world.kind("pure", lambda call: Done("made"))
    assert world.run(node("a", "pure", timeout_ms=5)).result == "made"


def test_a_process_that_stops_begins_nothing(world: World) -> None:
    """The advance gives its lease back with what is done; the next process goes on."""
    stopping: list[bool] = []

    def run(call: Call) -> Done:
        stopping.append(True)
        return Done("done")

    world.kind("last", run, effectful=True)
    execution_id = world.start(node("a", "last", {"default": "b"}), node("b", "effect"))
    world.stopping = lambda: bool(stopping)
    assert world.advance(execution_id).word == "advance" and world.control(execution_id).lease is None
    assert (world.nodes(execution_id, "node_finished"), world.ran) == (["a"], [])
    world.stopping = lambda: False
    assert world.advance(execution_id).status == "completed"


def test_a_process_that_stops_waits_for_no_long_effect(world: World) -> None:
    """What does not end soon is cut off; it is delivered again, in the same visit, by whoever takes up the lease."""
    world.kind("slow", lambda call: Done(call.attempt), effectful=True)
    execution_id = world.start(node("a", "slow"))
    original = world.advancer

    class Unfinished:
        """Work that takes longer than anybody waits."""

        def submit(self, token: int, work: Any) -> None:
            world.stopping = lambda: True

        def next(self, timeout_s: float) -> None:
            world.clock.sleep(timeout_s)

        def close(self) -> None:
            world.ran.append("closed")

    cut = replace(original, workers=lambda org_id, execution_id: Unfinished())
    started = world.clock.now_ms()
    assert cut.advance(ORG, execution_id, 0).word == "busy"
    assert (world.clock.now_ms() - started) // 1000 <= 5 and world.ran == ["closed"]
    assert world.nodes(execution_id, "node_failed") == []
    world.stopping = lambda: False
    world.clock.sleep(60)
    assert world.advance(execution_id).status == "completed" and world.view(execution_id).result == 2


def test_an_effect_that_was_interrupted_after_its_wait_is_another_attempt(world: World) -> None:
    """Whoever is called sees a number of its own for each delivery, before the wait, after it and after a crash."""
    seen: list[tuple[str, int]] = []

    def run(call: Call) -> Wait:
        seen.append((call.idempotency_key, call.attempt))
        return Wait(world.clock.now_ms() + 60_000)

    def resume(call: Call, answer: Any) -> Done:
        seen.append((call.idempotency_key, call.attempt))
        if len(seen) == 2:
            raise Died
        return Done(None)

    world.kind("poll", run, resume, effectful=True)
    execution_id = world.start(node("a", "poll"))
    world.settle()
    world.clock.advance(60)
    with pytest.raises(Died):
        world.advance(execution_id)
    world.clock.advance(40)
    assert world.advance(execution_id).status == "completed"
    assert [attempt for _, attempt in seen] == [1, 2, 3] and len({key for key, _ in seen}) == 1
