"""Batches: order, how many at once, failures, hooks, waits of elements."""

from __future__ import annotations

from typing import Any

import pytest

from shared.engine.kinds.base import Call, Done, NodeFailed, Wait
from shared.engine.program import Batch, Node, Retry
from tests.support.engine import RUNNER, World, node


def each(kind: str = "script", script: str = "value = [index, item]", most: int = 1, **more: Any) -> Node:
    return node("each", kind, more.pop("next", None), params={"script": script}, batch=Batch(most), **more)


@pytest.mark.parametrize("most", [1, 3, 64, 500])
def test_outputs_are_in_the_order_of_the_elements(world: World, most: int) -> None:
    """Whatever the parallelism; every element has its index and item and the whole list as input."""
    script = "value = [index, item, len(input['items'])]"
    view = world.run(each(script=script, most=most), input={"items": list("abcdefgh")})
    assert view.result == [[n, letter, 8] for n, letter in enumerate("abcdefgh")]


@pytest.mark.parametrize("kind", ["script", "effect"])
@pytest.mark.parametrize("most", [1, 3, 64])
def test_no_more_at_once_than_allowed(world: World, kind: str, most: int) -> None:
    """Elements beyond the limit start when others have ended; what more children do is another test."""
    execution_id = world.start(each(kind, most=most), input={"items": list(range(150))})
    world.settle()
    running = worst = 0
    for fact in world.facts(execution_id):
        if "item" in fact:
            running += {"node_started": 1, "node_finished": -1}.get(fact["type"], 0)
            worst = max(worst, running)
    assert worst == most
    assert world.view(execution_id).status == "completed"


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ([], []),
        ({"items": []}, []),
        ({"items": "abc"}, "once"),
        (7, "once"),
        ([5], [["5"]]),
        ({"items": [None]}, [["None"]]),
    ],
)
def test_what_a_batch_runs_over(world: World, given: Any, result: Any) -> None:
    """A list, or the list under items; anything else runs the node once; nothing to do is an empty list."""
    script = "value = [str(item)] if index is not None else 'once'"
    view = world.run(
        node("a", "script", {"default": "each"}, params={"script": f"value = {given!r}"}), each(script=script)
    )
    assert (view.status, view.result) == ("completed", result)


def sometimes(world: World, failures: dict[int, int], **how: Any) -> None:
    left = dict(failures)

    def run(call: Call) -> Done:
        index = call.scope.index
        assert index is not None
        world.ran.append(f"{index}/{call.attempt}")
        if left.get(index, 0):
            left[index] -= 1
            raise NodeFailed(f"element {index} broke", **how)
        return Done(index)

    world.kind("sometimes", run, effectful=True)


def test_elements_are_retried_on_their_own(world: World) -> None:
    """Only the one that failed runs again, with the next attempt's number."""
    sometimes(world, {1: 2})
    execution_id = world.start(each("sometimes", retry=Retry(2, 1_000)), input={"items": [0, 1, 2]})
    world.settle(60)
    assert world.view(execution_id).result == [0, 1, 2]
    assert world.ran == ["0/1", "1/1", "1/2", "1/3", "2/1"]


@pytest.mark.parametrize("most", [1, 8])
def test_the_first_failure_fails_the_node(world: World, most: int) -> None:
    """After its retries; the error edge of the node takes it, and no further element starts."""
    sometimes(world, {1: 9})
    flow = [each("sometimes", most=most, retry=Retry(1, 1_000), next={"error": "h"}), node("h")]
    execution_id = world.start(*flow, input={"items": list(range(20))})
    world.settle(60)
    view = world.view(execution_id)
    assert (view.status, view.current_node, view.result["message"]) == ("completed", "h", "element 1 broke")
    if most == 1:
        assert world.ran == ["0/1", "1/1", "1/2"]
    failed = [fact for fact in world.facts(execution_id, "node_failed") if "item" not in fact]
    assert len(failed) == 1 and failed[0]["handled"]


def test_an_elements_failure_offers_its_own_edges(world: World) -> None:
    """A batch of requests is still a node with client_error."""
    sometimes(world, {0: 1}, retryable=False, actions=("client_error", "error"))
    view = world.run(
        each("sometimes", next={"error": "e", "client_error": "c"}), node("e"), node("c"), input={"items": [1]}
    )
    assert view.current_node == "c"


def test_hooks_of_a_batch(world: World) -> None:
    """Prep runs per element, post once over the whole list."""
    hooks = {"prep": "context['script'] = 'value = item * 10'", "post": "value = {'sum': sum(result)}"}
    view = world.run(each(hooks=hooks), input={"items": [1, 2, 3]})
    assert view.result == {"sum": 60}


def test_a_failing_post_hook_does_not_repeat_the_elements(world: World) -> None:
    """They succeeded; the node fails."""
    sometimes(world, {})
    view = world.run(each("sometimes", hooks={"post": "1 / 0"}, retry=Retry(3)), input={"items": [0, 1]})
    assert (view.status, view.error, world.ran) == ("failed", "division by zero", ["0/1", "1/1"])


def test_elements_that_wait(world: World) -> None:
    """Timers and questions of elements are each their own; a wait counts as running."""
    world.kind("ask", lambda call: Wait(None, f"q{call.scope.index}"), lambda call, answer: Done(answer.value))
    execution_id = world.start(each("ask", most=2), input={"items": [0, 1, 2]})
    world.settle()
    assert sorted(world.waits(execution_id)) == ["q0#1#0", "q1#1#1"]
    for key in ("q1", "q2", "q0"):
        world.engine.signal(RUNNER, execution_id, key, {"to": key})
        world.settle()
    assert world.view(execution_id).result == [{"to": "q0"}, {"to": "q1"}, {"to": "q2"}]


def test_a_batch_inside_a_branch(world: World) -> None:
    """Its list is the branch's output."""
    view = world.run(
        node("s", next={"x": "each", "default": "d"}, routing="fork"), each(script="value = item + 1"),
        node("d", "script", params={"script": "value = shared['mapper_results']"}), input={"items": [1, 2]},
    )  # fmt: skip
    assert view.result == [[2, 3]]


@pytest.mark.parametrize("most", [1, 64])
def test_a_long_list_costs_few_appends(world: World, most: int) -> None:
    """Elements without effects share appends, and the work per element does not grow with the list."""
    world.faults.operations.clear()
    view = world.run(node("each", batch=Batch(most)), input={"items": list(range(1500))})
    assert (view.status, len(view.result)) == ("completed", 1500)
    assert world.faults.operations.count("TransactWriteItems") < 15


def test_a_long_list_takes_several_slices(world: World) -> None:
    """Snapshots carry it over; a snapshot holds tokens only of what runs."""

    def slow(call: Call) -> Done:
        world.clock.sleep(1)
        return Done(call.scope.item)

    world.kind("slow", slow)
    execution_id = world.start(node("each", "slow", batch=Batch(1)), input={"items": list(range(200))})
    verdict = world.advance(execution_id)
    state, facts = world.repository.load_state(world.control(execution_id))
    assert (verdict.word, len(state.tokens), facts) == ("advance", 1, [])
    world.settle()
    assert world.view(execution_id).result == list(range(200))
