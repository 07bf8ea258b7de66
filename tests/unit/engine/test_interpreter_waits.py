"""Timers, questions and their answers, pauses, hooks around waits, take-overs."""

from __future__ import annotations

from typing import Any

import pytest

from shared.engine.kinds.base import Answer, Call, Done, NodeFailed, Wait
from shared.engine.program import Batch, Node, Retry
from shared.kit.errors import Conflict, NotFound
from tests.support.engine import ORG, RUNNER, STRANGER, World, node


def asking(world: World, timeout_s: float | None = None, **more: Any) -> Node:
    """A node that waits for the signal ``q`` and answers what it got, or fails when its time is over."""

    def run(call: Call) -> Wait:
        until = None if timeout_s is None else world.clock.now_ms() + int(timeout_s * 1000)
        return Wait(until, "q", {"asked": True})

    def resume(call: Call, answer: Answer) -> Done:
        assert answer.state == {"asked": True}
        if answer.timed_out:
            raise NodeFailed("nobody answered", retryable=False)
        return Done(answer.value)

    if world.registry.get("ask") is None:
        world.kind("ask", run, resume)
    return node("ask", "ask", **more)


def sleeping(world: World, seconds: float, **more: Any) -> Node:
    world.kind("sleep", lambda call: Wait(world.clock.now_ms() + int(seconds * 1000)), lambda call, _: Done("slept"))
    return node("sleep", "sleep", **more)


def test_a_timer_holds_no_process(world: World) -> None:
    """The execution parks until exactly its moment, with the lease given back; then it goes on."""
    execution_id = world.start(sleeping(world, 3600))
    started = world.clock.now_ms()
    verdict = world.advance(execution_id)
    control = world.control(execution_id)
    assert (verdict.word, verdict.until_ms, verdict.status) == ("park", started + 3_600_000, "waiting")
    assert int(control.due_ms or 0) == started + 3_600_000 + 60_000 and control.lease is None
    assert world.advance(execution_id).until_ms == started + 3_600_000
    world.clock.advance(3600)
    assert (world.advance(execution_id).word, world.view(execution_id).result) == ("end", "slept")


def test_a_short_timer_is_waited_for_in_place(world: World) -> None:
    """Up to a second costs no park."""
    execution_id = world.start(sleeping(world, 0.9))
    assert world.advance(execution_id).word == "end"


def test_a_wait_that_ends_with_the_slice_goes_on_in_the_next(world: World) -> None:
    """The end of a wait takes the rest of the slice to write: what became ready by it is not parked."""
    execution_id = world.start(asking(world, 3600))
    world.advance(execution_id)
    world.clock.advance(3600)

    def slow(operation: str, request: dict[str, Any]) -> None:
        if operation == "TransactWriteItems":
            world.clock.advance(world.limits.slice_s)

    with world.hooked(slow):
        assert world.advance(execution_id).word == "advance"
    assert (world.advance(execution_id).word, world.view(execution_id).error) == ("end", "nobody answered")


def test_a_signal_ends_a_wait(world: World) -> None:
    """Its value is the answer; a second one comes too late, in every state of the execution."""
    execution_id = world.start(asking(world))
    world.settle()
    assert world.control(execution_id).status == "waiting"
    world.engine.signal(RUNNER, execution_id, "q", {"yes": 1})
    with pytest.raises(Conflict, match="q has been answered already"):
        world.engine.signal(RUNNER, execution_id, "q", {"yes": 2})
    world.settle()
    assert (world.view(execution_id).result, world.waits(execution_id)) == ({"yes": 1}, {"q#1": "answered"})
    assert world.repository.inbox(f"{ORG}#{execution_id}") == []
    with pytest.raises(Conflict, match="the execution has already ended"):
        world.engine.signal(RUNNER, execution_id, "q", {"yes": 3})


def test_a_large_answer_arrives_whole(world: World) -> None:
    """Through the inbox, the journal and the state."""
    execution_id = world.start(asking(world))
    world.settle()
    world.engine.signal(RUNNER, execution_id, "q", {"text": "x" * 500_000})
    world.settle()
    assert world.view(execution_id).result == {"text": "x" * 500_000}


@pytest.mark.parametrize("key", ["other", "", "q#1", "Q"])
def test_nobody_waits_for_it(world: World, key: str) -> None:
    """A key that is not waited for, and one of another tenant, are not found."""
    execution_id = world.start(asking(world))
    world.settle()
    with pytest.raises(NotFound, match="does not wait for"):
        world.engine.signal(RUNNER, execution_id, key, {})
    with pytest.raises(NotFound, match="no such execution"):
        world.engine.signal(STRANGER, execution_id, "q", {})


def test_keys_that_begin_alike(world: World) -> None:
    """A key may contain the sign that separates parts of a wait's id."""
    world.kind("keyed", lambda call: Wait(None, call.params["key"]), lambda call, answer: Done(answer.value))
    flow = [node("s", next={"x": "a", "y": "b"}, routing="fork")]
    flow += [node("a", "keyed", params={"key": "q"}), node("b", "keyed", params={"key": "q#9"})]
    execution_id = world.start(*flow)
    world.settle()
    world.engine.signal(RUNNER, execution_id, "q", 1)
    with pytest.raises(Conflict):
        world.engine.signal(RUNNER, execution_id, "q", 2)
    world.engine.signal(RUNNER, execution_id, "q#9", 3)
    world.settle()
    assert world.view(execution_id).status == "completed"
    shared = [fact["shared"] for fact in world.facts(execution_id, "node_finished") if "shared" in fact]
    assert shared == [{"mapper_results": [1, 3]}]


@pytest.mark.parametrize("key", ["", "k" * 257, "\ud83d"])
def test_keys_that_cannot_be(world: World, key: str) -> None:
    """They fail the node with a clear text instead of breaking the store."""
    world.kind("keyed", lambda call: Wait(None, key))
    view = world.run(node("a", "keyed"))
    assert (view.status, view.error) == ("failed", "the key of a wait must be text of 1 to 256 bytes")


def test_a_wait_whose_time_is_over(world: World) -> None:
    """It expires once; an answer then is refused."""
    execution_id = world.start(asking(world, 60, next={"error": "h"}), sleeping(world, 600), node("h", "sleep"))
    world.settle(61)
    assert world.waits(execution_id) == {"q#1": "expired"}
    with pytest.raises(Conflict, match="answered already"):
        world.engine.signal(RUNNER, execution_id, "q", {})
    assert world.nodes(execution_id) == ["ask", "h"]


def test_answer_or_timeout_never_both(world: World) -> None:
    """An answer that arrives just as the wait expires wins or is refused, at every request the expiry makes."""
    for position in range(12):
        execution_id = world.start(asking(world, 60, next={"error": "END"}))
        world.settle()
        world.clock.advance(61)
        world.driver.queue.clear()
        world.timers.clear()
        seen, answered = 0, None

        def hook(
            operation: str, request: dict[str, Any], position: int = position, execution: str = execution_id
        ) -> None:
            nonlocal seen, answered
            seen += 1
            if seen == position + 1:
                world.faults.hook = None
                try:
                    world.engine.signal(RUNNER, execution, "q", {"won": True})
                    answered = True
                except Conflict:
                    answered = False

        with world.hooked(hook):
            world.advance(execution_id)
        world.settle()
        result = world.view(execution_id).result
        assert answered in (True, None, False)
        assert (result == {"won": True}) == (answered is True), position
        assert world.view(execution_id).status == "completed"


def test_a_wait_may_be_asked_again(world: World) -> None:
    """A kind that is not content with an answer waits on under the same key."""
    world.kind(
        "picky",
        lambda call: Wait(None, "q"),
        lambda call, answer: Done(answer.value) if answer.value == 3 else Wait(None, "q"),
    )
    execution_id = world.start(node("a", "picky"))
    for value in (1, 2, 3):
        world.settle()
        world.engine.signal(RUNNER, execution_id, "q", value)
    world.settle()
    assert world.view(execution_id).result == 3


def test_an_answer_to_a_dropped_branch_is_refused(world: World) -> None:
    """When a sibling's failure drops a branch, its question is closed with it: 404, not swallowed."""
    world.kind("later", lambda call: Wait(world.clock.now_ms() + 60_000), fail)
    flow = [node("s", next={"x": "ask", "y": "b", "error": "sleep"}, routing="fork"), asking(world), node("b", "later")]
    execution_id = world.start(*flow, sleeping(world, 9999))
    world.settle()
    assert world.waits(execution_id) == {"q#2": "open"}
    world.settle(61)
    assert world.control(execution_id).live
    with pytest.raises(NotFound, match="does not wait for q"):
        world.engine.signal(RUNNER, execution_id, "q", {})


def test_a_question_asked_and_dropped_in_one_append(world: World) -> None:
    """Nothing of it remains."""
    world.kind("fail", fail)
    edges = {"x": "ask", "y": "b", "error": "sleep"}
    execution_id = world.start(
        node("s", next=edges, routing="fork"), asking(world), node("b", "fail"), sleeping(world, 9999)
    )
    world.settle()
    assert (world.waits(execution_id), world.control(execution_id).live) == ({}, True)


def fail(call: Call, answer: Answer | None = None) -> Done:
    raise NodeFailed("it broke")


# Pause


def test_a_pause_holds_everything(world: World) -> None:
    """Running nodes finish, no other starts; a timer that ends meanwhile fires after the resume."""
    execution_id = world.start(sleeping(world, 60, next={"default": "b"}), node("b"))
    world.settle()
    world.engine.pause(RUNNER, execution_id)
    world.settle(3600)
    assert (world.view(execution_id).status, world.nodes(execution_id)) == ("paused", ["sleep"])
    control = world.control(execution_id)
    assert (control.status, int(control.due_ms or 0)) == ("paused", int(control.deadline_ms or 0) + 60_000)
    world.engine.resume(RUNNER, execution_id)
    world.settle()
    assert world.view(execution_id).status == "completed"
    commands = [fact["command"] for fact in world.facts(execution_id, "command")]
    assert commands == ["pause", "resume"]


def test_a_paused_wait_may_still_be_answered(world: World) -> None:
    """Also after its time is over: nobody looked at the clock meanwhile."""
    execution_id = world.start(asking(world, 60))
    world.settle()
    world.engine.pause(RUNNER, execution_id)
    world.settle(120)
    world.engine.signal(RUNNER, execution_id, "q", {"in": "time"})
    world.settle()
    assert world.view(execution_id).status == "paused"
    world.engine.resume(RUNNER, execution_id)
    world.settle()
    assert world.view(execution_id).result == {"in": "time"}


def test_pause_and_resume_before_anybody_looks(world: World) -> None:
    """Nothing is left of them; pausing twice and resuming what runs change nothing."""
    execution_id = world.start(sleeping(world, 60))
    for _ in range(2):
        world.engine.pause(RUNNER, execution_id)
    for _ in range(2):
        world.engine.resume(RUNNER, execution_id)
    world.settle(61)
    assert (world.view(execution_id).status, world.facts(execution_id, "command")) == ("completed", [])


def test_a_timer_that_is_over_while_paused_needs_no_looks(world: World) -> None:
    """Beside an effect that runs on, a paused execution looks for commands about once a second and no oftener."""
    begun = world.clock.now_ms()

    def lands(number: int) -> bool:
        if world.clock.now_ms() == begun:
            world.engine.pause(RUNNER, execution_id)
        return world.clock.now_ms() >= begun + 60_000

    world.before_attempt = lands
    execution_id = world.start(
        node("fork", next={"a": "sleep", "b": "slow"}, routing="fork"), sleeping(world, 10), node("slow", "effect")
    )
    world.settle()
    assert world.view(execution_id).status == "paused"
    assert world.faults.operations.count("GetItem") < 120


def test_a_failure_while_paused(world: World) -> None:
    """A node that was running fails the execution although nothing may start."""

    def run(call: Call) -> Done:
        world.engine.pause(RUNNER, call.execution.id)
        raise NodeFailed("it broke")

    world.kind("pausing", run, effectful=True)
    view = world.run(node("a", "pausing"))
    assert (view.status, view.error) == ("failed", "it broke")


def test_a_pause_keeps_the_retry(world: World) -> None:
    """A retry that comes due while paused runs after the resume."""
    left = [1]

    def run(call: Call) -> Done:
        if left:
            left.pop()
            raise NodeFailed("it broke")
        return Done(call.attempt)

    world.kind("once", run, effectful=True)
    execution_id = world.start(node("a", "once", retry=Retry(1, 60_000)))
    world.settle()
    control = world.control(execution_id)
    assert int(control.due_ms or 0) == world.clock.now_ms() + 60_000 + 60_000
    world.engine.pause(RUNNER, execution_id)
    world.settle(600)
    assert world.view(execution_id).status == "paused"
    world.engine.resume(RUNNER, execution_id)
    world.settle()
    assert world.view(execution_id).result == 2


# Hooks around a wait


def hooked(world: World, prep: str, post: str = "") -> Node:
    def resume(call: Call, answer: Answer) -> Done:
        return Done(dict(call.params))

    world.kind("hooked", lambda call: Wait(world.clock.now_ms() + 60_000), resume)
    hooks = {"prep": prep} | ({"post": post} if post else {})
    return node("a", "hooked", {"default": "b"}, params={"to": "=shared.get('to')"}, hooks=hooks)


def test_a_prep_hook_runs_once_around_a_wait(world: World) -> None:
    """Its changes, its parameters and its rows count once, whatever the scope says when the wait ends."""
    prep = "shared['n'] = shared.get('n', 0) + 1; context['key'] = shared['n']; log('prepared')"
    execution_id = world.start(
        hooked(world, prep, "shared['posts'] = 1; value = [result, shared['n']]"),
        node("b", "script", params={"script": "value = [input, shared['n'], shared['posts']]"}),
        input={"to": "ada"},
    )
    world.settle(61)
    assert world.view(execution_id).result == [[{"to": "ada", "key": 1}, 1], 1, 1]
    assert [fact["message"] for fact in world.facts(execution_id, "log")] == ["prepared"]


def test_prepared_parameters_with_a_secret_are_not_stored(world: World) -> None:
    """They are made again after the wait; the changes still count once."""
    world.secret_values = {"KEY": "hunter22"}
    prep = "shared['n'] = shared.get('n', 0) + 1; context['key'] = secrets['KEY']; log('prepared')"
    execution_id = world.start(
        hooked(world, prep), node("b", "script", params={"script": "value = [input['key'], shared['n']]"})
    )
    world.settle(61)
    assert world.view(execution_id).result == ["[redacted]", 1]
    assert [fact["message"] for fact in world.facts(execution_id, "log")] == ["prepared"]
    assert "hunter22" not in str(world.facts(execution_id))


def test_an_exec_hook_does_not_wait(world: World) -> None:
    """It runs instead of the node's work."""
    world.kind("waiting", lambda call: Wait(None, "q"))
    assert world.run(node("a", "waiting", hooks={"exec": "value = 'done'"})).result == "done"


def test_a_batch_of_waits_survives_a_take_over(world: World) -> None:
    """Elements that wait go on under the next generation, each once."""
    world.kind("nap", lambda call: Wait(world.clock.now_ms() + 60_000), lambda call, _: Done(call.scope.index))
    execution_id = world.start(node("a", "nap", batch=Batch(3)), input={"items": [1, 2, 3, 4]})
    world.settle()
    assert world.advancer.restart(world.control(execution_id))
    assert world.advance(execution_id, 0).word == "end"
    world.driver.queue.append((ORG, execution_id, 1))
    world.settle(300)
    assert world.view(execution_id).result == [0, 1, 2, 3]
