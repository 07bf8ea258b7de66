"""Child executions: batches that run more at once than one advance does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from shared.engine.departure import forget_executions
from shared.engine.interpreter import Limits
from shared.engine.kinds.base import Call, Done, NodeFailed, Wait
from shared.engine.program import Batch, Node, Retry
from shared.engine.repository import ExecutionRepository
from shared.engine.service import Engine
from shared.engine.wakeups import WakeUps
from shared.identity.deletion import Departure
from shared.kit import ids
from shared.kit.errors import Conflict, NotFound
from shared.store.embedded import Fault
from shared.store.models.executions import ChildRecord, Control
from tests.support.engine import FLOW, ORG, RUNNER, STRANGER, World, node, program, world

SMALL = Limits(max_inflight=2, inline_wait_ms=0)
"""Children of two elements each."""


def each(kind: str = "script", script: str = "value = [index, item]", most: int = 4, **more: Any) -> Node:
    return node("each", kind, more.pop("next", None), params={"script": script}, batch=Batch(most), **more)


def numbers(count: int) -> dict[str, Any]:
    return {"items": list(range(count))}


def children(world: World, execution_id: str) -> dict[str, str]:
    """Status of every child by id, in the order of their elements."""
    found = world.repository.children(f"{ORG}#{execution_id}")
    return {child.child_id: world.view(child.child_id).status for child in found}


def slots(world: World, execution_id: str) -> list[str]:
    """What became of the parent's wait for each child."""
    return [child.status for child in world.repository.children(f"{ORG}#{execution_id}")]


@pytest.fixture
def small(world: World) -> World:
    """A world in which a batch of more than two elements needs children."""
    world.limits = SMALL
    return world


def asking(world: World, key: str = "q{}") -> None:
    """A kind whose elements ask."""
    world.kind("ask", lambda call: Wait(None, key.format(call.scope.index)), lambda call, answer: Done(answer.value))


# What comes of it


def test_a_long_parallel_batch(world: World) -> None:
    """Outputs in order; every element sees its index, its item and the whole list; the post hook runs once."""
    hooks = {"post": "value = {'last': result[-1], 'count': len(result), 'first': result[0]}"}
    view = world.run(
        each(script="value = [index, item, len(input['items'])]", most=200, hooks=hooks), input=numbers(300)
    )
    assert (view.status, view.result) == ("completed", {"first": [0, 0, 300], "last": [299, 299, 300], "count": 300})
    assert list(children(world, view.id).values()) == ["completed"] * 5
    assert [fact["count"] for fact in world.facts(view.id, "child_opened")] == [64, 64, 64, 64, 44]
    assert world.nodes(view.id) == ["each"]


@pytest.mark.parametrize(
    ("most", "count", "made"), [(64, 200, 0), (200, 64, 0), (65, 65, 2), (200, 65, 2), (1000, 641, 11)]
)
def test_only_what_one_advance_cannot_run_is_divided(world: World, most: int, count: int, made: int) -> None:
    """Both the list and the parallelism must be above its limit."""
    view = world.run(each(script="value = index", most=most), input=numbers(count))
    assert view.result == list(range(count))
    assert len(children(world, view.id)) == made


@pytest.mark.parametrize("most", [65, 100, 129, 200, 1000])
def test_no_more_at_once_than_allowed(world: World, most: int) -> None:
    """Over all children together; and no more children are open than it takes."""
    asking(world)
    execution_id = world.start(each("ask", most=most), input=numbers(300))
    world.settle()
    most_children = -(-most // 64)
    asked = [len(world.waits(child)) for child in children(world, execution_id)]
    assert asked == [min(most // most_children, part) for part in (64, 64, 64, 64, 44)][:most_children]
    assert sum(asked) <= most


def test_children_are_in_no_list(small: World) -> None:
    """Their org can look at them by id, nobody else, and they have their parent's number and deadline."""
    view = small.run(each(), input=numbers(5))
    page = small.engine.list(RUNNER, limit=10, offset=0)
    of_flow = small.engine.list(RUNNER, definition_id="flow-1", limit=10, offset=0)
    assert ([row.id for row in page.items], page.total, of_flow.total) == ([view.id], 1, 1)
    first = next(iter(children(small, view.id)))
    child = small.view(first)
    assert (child.number, child.current_node) == (view.number, "each")
    assert child.input == {"parent_id": view.id, "first": 0, "count": 2}
    assert child.result == {"outputs": [[0, 0], [1, 1]], "shared": {}, "removed": []}
    assert small.control(first).deadline_ms == small.control(view.id).deadline_ms
    with pytest.raises(NotFound):
        small.engine.get(STRANGER, first)


def test_elements_act_for_the_parent(small: World) -> None:
    """Idempotency keys and the execution that nodes see are what they would be without children."""
    seen: list[str] = []

    def run(call: Call) -> Done:
        seen.append(call.idempotency_key)
        return Done(call.execution.id)

    small.kind("act", run, effectful=True)
    view = small.run(each("act"), input=numbers(5))
    assert view.result == [view.id] * 5
    assert seen == [f"{view.id}:each:1:{index}" for index in range(5)]


def test_shared_values_and_results(small: World) -> None:
    """Elements see what there was when the batch began; what they change and remove counts afterwards."""
    first = node(
        "a", "script", {"default": "each"}, params={"script": "shared['old'] = 1; value = {'items': [1, 2, 3]}"}
    )
    script = (
        "value = [shared.get('old'), len(results['a']['items'])]\n"
        "shared['sum%d' % index] = item; shared['last'] = index"
        "\nif index == 2: del shared['old']"
    )
    then = node("b", "script", params={"script": "value = shared"})
    view = small.run(first, each(script=script, next={"default": "b"}), then, input={"mine": 7})
    assert small.facts(view.id, "node_finished")[1]["output"] == [[1, 3]] * 3
    assert view.result == {"mine": 7, "sum0": 1, "sum1": 2, "sum2": 3, "last": 2}


def test_a_batch_in_a_branch_and_again_in_a_loop(small: World) -> None:
    """Each visit has children of its own."""
    script = "shared['round'] = shared.get('round', 0) + 1; value = {'items': [shared['round']] * 3}"
    flow = [
        node("s", next={"x": "again", "default": "d"}, routing="fork"),
        node("again", "script", {"default": "each"}, params={"script": script}),
        each(script="value = item * 10", next={"default": "more"}),
        node("more", "turn", {"again": "again"}),
        node("d", "script", params={"script": "value = shared['mapper_results']"}),
    ]
    small.kind("turn", lambda call: Done(call.input, ("again",) if call.scope.shared["round"] < 3 else ("over",)))
    view = small.run(*flow)
    assert (view.status, view.result) == ("completed", [[30, 30, 30]])
    assert len(children(small, view.id)) == 6


def test_large_values_travel_by_the_blob_store(small: World) -> None:
    """Lists, outputs and shared values of any size; and nothing of it is left when the org leaves."""
    items = ["x" * 150_000 for _ in range(5)]
    view = small.run(each(script="value = item; shared['s%d' % index] = item"), input={"items": items})
    assert view.result == items
    kept = {key.split("/")[1] for key in small.blobs}
    assert set(children(small, view.id)) < kept
    forget_executions(small.blobs, Departure("account-1", (ORG,)))
    assert small.engine.list(RUNNER, limit=10, offset=0).total == 0
    scanned = small.store._make_api_call("Scan", {"TableName": "signalbox-executions"})
    assert (scanned["Items"], dict(small.blobs)) == ([], {})


def test_too_much_for_one_execution(small: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the children bring counts as the parent's own."""
    monkeypatch.setattr("shared.engine.weight.MOST_BYTES", 1)
    monkeypatch.setattr("shared.engine.settling.Weight.bears", lambda weight, *values: "part" not in str(values))
    view = small.run(each(script="value = 'pa' + 'rt' if index == 4 else 'x'"), input=numbers(5))
    assert view.status == "failed" and "keep less" in str(view.error)


# Logs


def test_rows_of_elements_are_the_parents_too(small: World) -> None:
    """What they log and the retries they take, with the time they were written."""
    left = [1]

    def run(call: Call) -> Done:
        call.log("info", f"row {call.scope.index}", {"at": call.scope.index})
        if call.scope.index == 3 and left:
            left.pop()
            raise NodeFailed("not yet")
        return Done(None)

    small.kind("tell", run)
    execution_id = small.start(each("tell", retry=Retry(2, 5_000)), input=numbers(5))
    small.settle(60)
    assert small.view(execution_id).status == "completed"
    rows = small.facts(execution_id, "log")
    assert sorted(row["message"] for row in rows) == ["not yet", "row 0", "row 1", "row 2", "row 3", "row 3", "row 4"]
    (retry,) = [row for row in rows if row["level"] == "warn"]
    assert (retry["node"], retry["data"]["attempt"], retry["data"]["item"]) == ("each", 1, 3)


@pytest.mark.parametrize(("size", "count"), [(10, 1_500), (3_000, 200)])
def test_rows_are_bounded(small: World, size: int, count: int) -> None:
    """The first thousand rows or 200 KB of a child; then one row says how many there were."""

    def run(call: Call) -> Done:
        for number in range(count if call.scope.index == 0 else 0):
            call.log("info", f"{number:05d}".ljust(size, "."))
        return Done(None)

    small.kind("chatter", run)
    view = small.run(each("chatter"), input=numbers(3))
    *rows, last = small.facts(view.id, "log")
    assert [row["message"][:5] for row in rows] == [f"{number:05d}" for number in range(len(rows))]
    assert 50 < len(rows) <= 1_000
    assert (last["level"], last["message"]) == (
        "warn",
        f"{count - len(rows)} further log rows of elements are left out",
    )


def test_secrets_stay_secret(small: World) -> None:
    """A secret that an element read is searched for in everything the parent makes afterwards."""
    small.secret_values = {"token": "s3cret"}
    script = "value = secrets['token'] if index == 1 else 'x'"
    then = node("b", "script", params={"script": "value = 's3' + 'cret'"})
    view = small.run(each(script=script, next={"default": "b"}), then, input=numbers(3))
    assert view.status == "completed" and "s3cret" not in str(small.facts(view.id))
    assert all("s3cret" not in str(small.facts(child)) for child in children(small, view.id))


# Failures


def sometimes(world: World, **how: Any) -> None:
    """A kind whose element 2 fails."""

    def run(call: Call) -> Done:
        world.ran.append(f"{call.scope.index}/{call.attempt}")
        if call.scope.index == 2:
            raise NodeFailed("element 2 broke", **how)
        return Done(call.scope.index)

    world.kind("sometimes", run, effectful=True)


def test_a_failing_element_fails_the_node(small: World) -> None:
    """After its retries, once, with its message; the error edge takes it."""
    sometimes(small)
    flow = [each("sometimes", retry=Retry(1, 1_000), next={"error": "h"}), node("h")]
    execution_id = small.start(*flow, input=numbers(20))
    small.settle(60)
    view = small.view(execution_id)
    assert (view.status, view.current_node, view.result["message"]) == ("completed", "h", "element 2 broke")
    assert small.ran.count("2/1") == small.ran.count("2/2") == 1 and "2/3" not in small.ran
    failed = [fact for fact in small.facts(execution_id, "node_failed") if "item" not in fact]
    assert len(failed) == 1 and failed[0]["handled"]
    assert not {"open", "running"} & {*slots(small, execution_id), *children(small, execution_id).values()}


def test_without_an_error_edge_the_execution_fails(small: World) -> None:
    """With the message of the element and the node's name; no further child is opened."""
    sometimes(small)
    view = small.run(each("sometimes"), input=numbers(20))
    assert (view.status, view.error, view.error_node) == ("failed", "element 2 broke", "each")
    assert len(children(small, view.id)) < 10
    assert "running" not in children(small, view.id).values()


def test_an_elements_failure_offers_its_own_edges_and_output(small: World) -> None:
    """As without children."""
    sometimes(small, retryable=False, actions=("client_error", "error"), output={"status": 404})
    handler = node("c", "script", params={"script": "value = results['each']"})
    view = small.run(each("sometimes", next={"error": "e", "client_error": "c"}), node("e"), handler, input=numbers(5))
    assert (view.current_node, view.result) == ("c", {"status": 404})


def test_siblings_of_a_failure_are_stopped(small: World) -> None:
    """Those that wait for a person too; answering them is not found."""

    def run(call: Call) -> Done | Wait:
        if call.scope.index == 3 and call.scope.shared.get("fail"):
            raise NodeFailed("broke")
        return Wait(None, f"q{call.scope.index}")

    small.kind("ask", run, lambda call, answer: Done(answer.value))
    execution_id = small.start(
        each("ask", most=6, next={"error": "hold"}), node("hold", "ask"), input=numbers(6) | {"fail": True}
    )
    small.settle()
    assert sorted(children(small, execution_id).values()) == ["canceled", "canceled", "failed"]
    assert "open" not in slots(small, execution_id)
    with pytest.raises(NotFound):
        small.engine.signal(RUNNER, execution_id, "q0", {})
    small.engine.signal(RUNNER, execution_id, "qNone", {"on": 1})
    small.settle()
    assert small.view(execution_id).result == {"on": 1}


def test_a_branch_that_is_dropped_takes_its_children_with_it(small: World) -> None:
    """The sibling of a batch fails while its elements wait."""
    asking(small)
    small.kind("fail", lambda call: Wait(small.clock.now_ms() + 9_000), lambda call, answer: _fail())
    flow = [
        node("s", next={"x": "each", "y": "bad", "error": "h"}, routing="fork"),
        each("ask"), node("bad", "fail"), node("h", "ask"),
    ]  # fmt: skip
    execution_id = small.start(*flow, input=numbers(4))
    small.settle()
    assert set(children(small, execution_id).values()) == {"running"}
    small.settle(30)
    assert set(children(small, execution_id).values()) == {"canceled"}
    assert small.view(execution_id).status == "running" and set(slots(small, execution_id)) == {"dropped"}


def _fail() -> Done:
    raise NodeFailed("broke", retryable=False)


def test_a_definition_that_is_gone(small: World) -> None:
    """Parent and children fail, whoever notices first."""
    asking(small)
    execution_id = small.start(each("ask"), input=numbers(5))
    small.settle()
    del small.programs[FLOW]
    small.engine.pause(RUNNER, execution_id)
    small.settle()
    assert small.view(execution_id).status == "failed"
    assert "running" not in children(small, execution_id).values()


# Commands


@pytest.mark.parametrize("steps", range(0, 12, 2))
def test_cancelling_reaches_the_children(small: World, steps: int) -> None:
    """Once it returns nothing starts in any of them, whatever they were doing."""
    execution_id = small.start(each("effect"), input=numbers(9))
    advances(small, steps)
    small.engine.cancel(RUNNER, execution_id)
    ran = len(small.ran)
    assert set(children(small, execution_id).values()) <= {"canceled", "completed"}
    small.settle(120)
    assert small.view(execution_id).status == "canceled" and len(small.ran) == ran
    assert not any(small.control(child).live for child in children(small, execution_id))


def advances(world: World, count: int) -> None:
    """The next advances the driver was told to make."""
    for _ in range(min(count, len(world.driver.queue) + count)):
        if world.driver.queue:
            world.advancer.advance(*world.driver.queue.popleft())


def test_pausing_and_resuming_reach_the_children(small: World) -> None:
    """Nothing starts in between; afterwards everything goes on."""
    small.kind("nap", lambda call: Wait(small.clock.now_ms() + 10_000), lambda call, answer: Done(call.scope.index))
    execution_id = small.start(each("nap"), input=numbers(9))
    small.settle()
    for _ in range(2):
        small.engine.pause(RUNNER, execution_id)
        assert set(children(small, execution_id).values()) == {"paused"}
        small.settle(3600)
        assert {small.control(child).status for child in children(small, execution_id)} == {"paused"}
        assert not small.facts(execution_id, "child_ended")
        small.engine.resume(RUNNER, execution_id)
        assert set(children(small, execution_id).values()) == {"running"}
    small.settle(3600)
    assert small.view(execution_id).result == list(range(9))


def test_a_pause_that_died_before_it_reached_the_children(small: World) -> None:
    """Whoever advances the parent passes it on, and the resuming as well."""
    asking(small)
    execution_id = small.start(each("ask"), input=numbers(4))
    small.settle()
    for command, status in (("pause", "paused"), ("resume", "running")):
        with dying_at(small, "Query"):
            getattr(small.engine, command)(RUNNER, execution_id)
        small.settle(120)
        assert set(children(small, execution_id).values()) == {status}


def test_a_cancellation_that_died_before_it_reached_the_children(small: World) -> None:
    """The repeated call reaches them, though the execution counts as cancelled already."""
    asking(small)
    execution_id = small.start(each("ask"), input=numbers(4))
    small.settle()
    with dying_at(small, "Query"):
        small.engine.cancel(RUNNER, execution_id)
    assert set(children(small, execution_id).values()) == {"running"}
    with pytest.raises(Conflict):
        small.engine.cancel(RUNNER, execution_id)
    assert set(children(small, execution_id).values()) == {"canceled"}


def test_the_holder_finishes_a_cancellation(small: World) -> None:
    """No child outlives its parent."""
    asking(small)
    execution_id = small.start(each("ask"), input=numbers(4))
    small.settle()
    with dying_at(small, "Query"):
        small.engine.cancel(RUNNER, execution_id)
    small.settle(120)
    assert small.view(execution_id).status == "canceled"
    assert set(children(small, execution_id).values()) == {"canceled"}


@pytest.mark.parametrize("command", ["pause", "cancel"])
def test_a_command_that_comes_just_before_a_child(small: World, command: str) -> None:
    """No child is opened once it was acknowledged, whatever else the same step began."""
    asking(small)
    flow = [
        node("s", next={"x": "each", "y": "other", "default": "d"}, routing="fork"),
        each("ask"), node("other", "effect"), node("d"),
    ]  # fmt: skip
    execution_id = small.start(*flow, input=numbers(4))
    given: list[str] = []

    def hook(operation: str, request: dict[str, Any]) -> Fault | None:
        if operation == "TransactWriteItems" and "node_started" in str(request) and not given:
            given.append(command)
            getattr(small.engine, command)(RUNNER, execution_id)
        return None

    with small.hooked(hook):
        small.advance(execution_id)
    assert given and children(small, execution_id) == {}
    assert small.ran == []


def test_commands_that_cross(small: World) -> None:
    """A pause that comes late to a child of an execution that was resumed meanwhile does nothing."""
    asking(small)
    execution_id = small.start(each("ask"), input=numbers(4))
    small.settle()
    crossed: list[str] = []

    def hook(operation: str, request: dict[str, Any]) -> Fault | None:
        if operation == "Query" and not crossed:
            crossed.append(operation)
            small.engine.resume(RUNNER, execution_id)
        return None

    with small.hooked(hook):
        small.engine.pause(RUNNER, execution_id)
    assert crossed and set(children(small, execution_id).values()) == {"running"}


def test_a_child_that_is_cancelled_is_a_failed_element(small: World) -> None:
    """Whoever knows its id may do that; the parent takes its error edge."""
    asking(small)
    execution_id = small.start(each("ask", next={"error": "h"}), node("h"), input=numbers(4))
    small.settle()
    small.engine.cancel(RUNNER, next(iter(children(small, execution_id))))
    small.settle()
    assert small.view(execution_id).result["message"] == "the execution of some of the elements was cancelled"
    assert set(children(small, execution_id).values()) == {"canceled"}


def test_the_deadline_is_for_all(small: World) -> None:
    """Parent and children expire together."""
    asking(small)
    small.engine = Engine(small.repository, small, small.driver, 60_000)
    execution_id = small.start(each("ask"), input=numbers(4))
    small.settle(120)
    assert small.view(execution_id).status == "expired"
    assert set(children(small, execution_id).values()) <= {"expired", "canceled"}


# Signals


def test_signals_reach_elements_in_children(small: World) -> None:
    """People know the parent only."""
    asking(small)
    execution_id = small.start(each("ask"), input=numbers(6))
    small.settle()
    for index in (3, 0, 2, 1, 5, 4):
        small.engine.signal(RUNNER, execution_id, f"q{index}", {"to": index})
        small.settle()
    assert small.view(execution_id).result == [{"to": index} for index in range(6)]


def test_one_key_in_many_elements(small: World) -> None:
    """Each answer goes to one of them, in order; then the key is answered, or not found once the batch is over."""
    asking(small, "same")
    execution_id = small.start(each("ask"), node("x"), input=numbers(4))
    small.settle()
    for number in range(4):
        small.engine.signal(RUNNER, execution_id, "same", {"n": number})
    with pytest.raises(Conflict):
        small.engine.signal(RUNNER, execution_id, "same", {})
    small.settle()
    assert small.view(execution_id).result == [{"n": number} for number in range(4)]


@pytest.mark.parametrize("key", ["q9", "", "child", "child#1#00000000", "1", "#1#00000000"])
def test_nobody_else_answers_for_a_child(small: World, key: str) -> None:
    """The wait for a child has no key."""
    asking(small)
    execution_id = small.start(each("ask"), input=numbers(4))
    small.settle()
    with pytest.raises(NotFound):
        small.engine.signal(RUNNER, execution_id, key, {})


# Crashes


class Died(BaseException):
    """The process is gone."""


@contextmanager
def dying_at(world: World, operation: str) -> Iterator[None]:
    """The process dies at the next request of this kind inside the block."""

    def hook(asked: str, request: dict[str, Any]) -> Fault | None:
        if asked == operation:
            raise Died
        return None

    with world.hooked(hook), pytest.raises(Died):
        yield


def story(world: World, at: int, what: Fault | None) -> tuple[str, int]:
    """One execution whose store request number ``at`` goes wrong, or kills the process; its id and all requests."""
    world.limits = SMALL
    count = 0

    def hook(operation: str, request: dict[str, Any]) -> Fault | None:
        nonlocal count
        count += 1
        if count != at:
            return None
        if what is None:
            raise Died
        return what if what is not Fault.CONFLICT or operation == "TransactWriteItems" else None

    with world.hooked(hook):
        execution_id = start(world)
        for boot in range(2, 10):
            try:
                world.settle(600)
            except Died:
                again(world, f"boot-{boot}")
    return execution_id, count


def start(world: World) -> str:
    """Begin, again if the process died of it."""
    first = each("effect", hooks={"post": "value = sum(result)"}, next={"default": "then"})
    world.programs[FLOW] = program(replace(first, params={"output": "=item"}), node("then"))
    given = ids.uuid7()
    for _ in range(2):
        with suppress(Died):
            return world.engine.start(RUNNER, FLOW, numbers(5), execution_id=given).id
    raise AssertionError("a process dies once")


def again(world: World, boot: str) -> None:
    """The next process: it takes up whatever lives."""
    world.repository = ExecutionRepository(world.blobs, boot)
    world.engine = Engine(world.repository, world, world.driver)
    world.driver.queue.clear()
    world.timers.clear()
    for control in world.sweep.live():
        world.driver.start(control.org_id, control.execution_id, int(control.generation))


@pytest.fixture(scope="module")
def requests() -> int:
    """How many store requests the story takes."""
    with world() as calm:
        return story(calm, 0, None)[1]


@pytest.mark.parametrize("what", [None, Fault.FAILED, Fault.ANSWER_LOST, Fault.CONFLICT, Fault.REPEATED])
def test_anything_may_go_wrong_anywhere(requests: int, what: Fault | None) -> None:
    """Whichever request of parent or child fails, loses its answer or kills the process: each end is absorbed once."""
    assert requests > 40
    for at in range(1, requests + 1):
        with world() as made:
            execution_id, _ = story(made, at, what)
            view = made.view(execution_id)
            assert (view.status, view.result) == ("completed", 10), at
            assert len(made.facts(execution_id, "part_finished")) == 3
            assert list(children(made, execution_id).values()) == ["completed"] * 3
            assert set(made.ran) == {f"{execution_id}:each:1:{index}" for index in range(5)}
            assert what is None or len(made.ran) == 5
            assert made.repository.inbox(f"{ORG}#{execution_id}") == []


def test_the_sweep_is_enough(small: World) -> None:
    """When every call that starts or wakes anything is lost, parent and children still end."""
    execution_id = small.start(each("effect"), input=numbers(7))
    for _ in range(40):
        small.driver.queue.clear()
        small.timers.clear()
        small.clock.sleep(90)
        small.sweep.run()
        for ref in list(small.driver.queue):
            small.driver.queue.clear()
            small.advancer.advance(*ref)
    assert small.view(execution_id).status == "completed"


def test_the_change_stream_is_enough(small: World) -> None:
    """When every short cut is lost, the records of what was written start children and wake their parent."""
    execution_id = small.start(each("effect"), input=numbers(7))
    wake_ups, read = WakeUps(small.repository, small.driver), 0
    for _ in range(40):
        small.driver.queue.clear()
        for record in small.store.stream.read(read, 1_000):
            wake_ups(record)
            read = record.sequence
        for ref in sorted(set(small.driver.queue)):
            small.advancer.advance(*ref)
    assert small.view(execution_id).status == "completed"


@pytest.fixture
def waiting(small: World) -> tuple[str, list[str]]:
    """An execution whose children wait, and the children."""
    asking(small)
    execution_id = small.start(each("ask", next={"error": "h"}), node("h"), input=numbers(4))
    small.settle()
    return execution_id, list(children(small, execution_id))


@pytest.mark.parametrize("gone", ["slot", "parent"])
def test_a_child_whose_parent_waits_no_longer_ends_alone(small: World, waiting: Any, gone: str) -> None:
    """Its end does not touch the parent."""
    execution_id, (first, _) = waiting
    pk = f"{ORG}#{execution_id}"
    if gone == "slot":
        record = small.repository.children(pk)[0]
        record.update([ChildRecord.status.set("dropped")])
    else:
        Control(pk, "control").update([Control.live.set(False)])
    before = small.control(execution_id).wake
    for index in (0, 1):
        small.engine.signal(RUNNER, first, f"q{index}", {})
    small.settle()
    assert small.view(first).status == "completed"
    assert small.control(execution_id).wake == before and small.repository.inbox(pk) == []


def test_a_crash_between_a_failure_and_its_siblings(small: World, waiting: Any) -> None:
    """Whoever takes the parent over stops the children that the failure left."""
    execution_id, (first, second) = waiting
    small.engine.cancel(RUNNER, first)
    small.advance(first)

    def hook(operation: str, request: dict[str, Any]) -> Fault | None:
        touched = str(request.get("TransactItems", ""))
        if operation == "TransactWriteItems" and second in touched and "'cancel'" in touched:
            raise Died
        return None

    with small.hooked(hook), pytest.raises(Died):
        small.advance(execution_id)
    assert small.view(second).status == "running" and small.facts(execution_id, "node_failed")
    again(small, "boot-2")
    small.settle()
    assert (small.view(second).status, small.view(execution_id).status) == ("canceled", "completed")
    assert not small.control(second).live


def test_slices_and_snapshots(small: World) -> None:
    """The elements of a child may take several slices."""

    def slow(call: Call) -> Done:
        small.clock.sleep(50)
        return Done(call.scope.item)

    small.kind("slow", slow)
    small.limits = Limits(max_inflight=3, slice_s=60)
    view = small.run(each("slow", most=4), input=numbers(6))
    assert view.result == list(range(6))
    assert all(small.control(child).snapshot_index for child in children(small, view.id))
