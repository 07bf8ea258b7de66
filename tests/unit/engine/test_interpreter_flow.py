"""How a token walks: edges, loops, ends, failures, and values that are hard to keep."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest

from shared.engine.kinds.base import Call, Done, NodeFailed, Wait
from shared.engine.program import Node, Retry
from tests.support.engine import FLOW, ORG, RUNNER, World, node


def failing(*, retryable: bool = True, actions: tuple[str, ...] = ("error",), output: Any = None) -> Any:
    def run(call: Call) -> Done:
        raise NodeFailed("it broke", retryable=retryable, actions=actions, output=output)

    return run


def step(name: str, script: str, next: dict[str, str] | None = None, **more: Any) -> Node:
    return node(name, "script", next, params={"script": script}, **more)


def test_a_flow_ends_with_the_output_of_its_last_node(world: World) -> None:
    """Each node sees the output before it; the last one's is the result, and the journal tells the whole walk."""
    first = step("double", "value = {'n': input['n'] * 2}; shared['seen'] = 1", {"default": "add"})
    view = world.run(first, step("add", "value = {'n': input['n'] + shared['seen']}"), input={"n": 4})
    assert (view.status, view.result, view.current_node) == ("completed", {"n": 9}, "add")
    assert view.error is None and view.error_node is None
    assert [fact["type"] for fact in world.facts(view.id)] == [
        "started", "node_started", "node_finished", "edge_taken", "node_started", "node_finished", "branch_ended",
        "ended",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("edges", "walked"),
    [
        ({"default": "b"}, ["a", "b"]),
        ({"success": "b"}, ["a", "b"]),
        ({"success": "c", "default": "b"}, ["a", "b"]),
        ({"other": "b"}, ["a"]),
        ({"default": "END", "success": "b"}, ["a"]),
        ({"default": "*"}, ["a", "default"]),
        ({"success": "*"}, ["a"]),
    ],
)
def test_which_edge_is_taken(world: World, edges: dict[str, str], walked: list[str]) -> None:
    """The first candidate that is an edge; none, END, and an action that names no node complete the flow."""
    view = world.run(node("a", next=edges), node("b"), node("c"), node("default"))
    assert (view.status, world.nodes(view.id)) == ("completed", walked)


def test_results_of_earlier_nodes_and_result_keys(world: World) -> None:
    """Outputs stay by node name, and under the names their node declares in the shared scope."""
    made = step("make", "value = 5", {"default": "use"}, result_keys=("result", "http_result"))
    use = step("use", "value = [results['make'], shared['result'], shared['http_result'], input]")
    view = world.run(made, use)
    assert view.result == [5, 5, 5, 5]


def test_what_a_script_takes_out_of_the_shared_scope_is_gone(world: World) -> None:
    """Keys are removed, and a change between 1 and true is a change."""
    first = step("a", "del shared['drop']; shared['flag'] = True; value = None", {"default": "b"})
    view = world.run(first, step("b", "value = sorted(shared), shared['flag'] is True"), input={"drop": 1, "flag": 1})
    assert view.result == [["flag"], True]


def test_loops_end(world: World) -> None:
    """A flow that comes back again and again fails with a clear text at its limit, a loop below it completes."""
    view = world.run(node("a", next={"default": "b"}), node("b", next={"default": "a"}), max_visits=50)
    assert (view.status, len(world.nodes(view.id))) == ("failed", 50)
    assert view.error == "more than 50 node visits; is there an endless loop?"
    counted = step("a", "shared['n'] = shared.get('n', 0) + 1; value = shared['n']", {"default": "c"})
    world.kind("more", lambda call: Done(call.input, ("again",) if call.input < 20 else ("default",)))
    done = world.run(counted, node("c", "more", {"again": "a"}), max_visits=50)
    assert (done.status, done.result) == ("completed", 20)


def test_an_unhandled_failure_ends_the_execution(world: World) -> None:
    """Its message, node and journal say what broke; the end is the last fact."""
    world.kind("broken", failing())
    view = world.run(node("a", next={"default": "b"}), node("b", "broken"))
    assert (view.status, view.error, view.error_node, view.result) == ("failed", "it broke", "b", None)
    assert [fact["type"] for fact in world.facts(view.id)[-2:]] == ["node_failed", "ended"]
    assert world.facts(view.id)[-1]["kind"] == "broken"


@pytest.mark.parametrize(
    ("actions", "edges", "handler"),
    [
        (("error",), {"error": "b"}, "b"),
        (("client_error", "error"), {"error": "b", "client_error": "c"}, "c"),
        (("client_error", "error"), {"error": "b"}, "b"),
        (("error",), {"default": "b"}, None),
    ],
)
def test_error_edges(world: World, actions: tuple[str, ...], edges: dict[str, str], handler: str | None) -> None:
    """The first candidate edge handles it; its node sees what failed and what the failed node had got."""
    world.kind("broken", failing(actions=actions, output={"status": 404}))
    seen = "value = [input, error, results['a']]"
    view = world.run(node("a", "broken", edges), step("b", seen), step("c", seen), input={"q": 1})
    if handler is None:
        assert view.status == "failed"
        return
    error = {"message": "it broke", "node_id": "a", "node_type": "broken"}
    assert (view.status, view.current_node) == ("completed", handler)
    assert view.result == [{"error": error, **error}, error, {"status": 404}]


def test_an_error_edge_to_the_end_completes(world: World) -> None:
    """The result is the error object."""
    world.kind("broken", failing())
    view = world.run(node("a", "broken", {"error": "END"}))
    assert (view.status, view.result["message"], view.result["node_id"]) == ("completed", "it broke", "a")


def test_failures_nobody_foresaw(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """An exception of a kind, and a kind there is none of, are failures the author can read and handle."""

    def bug(call: Call) -> Done:
        raise ZeroDivisionError("secret detail")

    world.kind("bug", bug)
    assert world.run(node("a", "bug")).error == "internal error in node type bug"
    assert world.run(node("a", "missing")).error == "unknown node type missing"
    assert world.run(node("a", "bug", {"error": "b"}), node("b")).status == "completed"
    assert "ZeroDivisionError" in caplog.text


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object(), nested(950)], ids=["nan", "set", "object", "deep"])
def test_values_that_are_no_json_fail_their_node(world: World, value: Any) -> None:
    """They never reach the journal, where they would stop the execution for ever."""
    world.kind("odd", lambda call: Done(value))
    view = world.run(node("a", "odd"))
    assert view.status == "failed"
    assert view.error == "node type odd made a value that is no JSON, or one nested too deeply"
    world.kind("oddly shared", lambda call: Done(1, shared={"x": value}))
    assert world.run(node("a", "oddly shared")).status == "failed"


@pytest.mark.parametrize("value", ["\ud83d", nested(250), 10**30, "é" * 90_000, {"": None}])
def test_values_that_are_hard_to_keep(world: World, value: Any) -> None:
    """Half surrogate pairs, nesting, big integers and long texts come back as they were."""
    world.kind("odd", lambda call: Done(value))
    view = world.run(node("a", "odd", {"default": "b"}), node("b"))
    assert (view.status, view.result) == ("completed", value)


def answer(value: Any, call: Call) -> Done:
    return Done(value)


def test_a_journal_pointer_cannot_be_made_up(world: World) -> None:
    """An output that looks like a pointer into the blob store is an output, not somebody else's value."""
    world.blobs.put("org-2/exec/secret", b'"theirs"')
    for forged in (
        {"$blob": "org-2/exec/secret", "size": 8},
        {"$blobs": {"output": "org-2/exec/secret"}},
        {"$blobs": {"output": "../../x"}, "pad": "x" * 200_000},
    ):
        world.registry._kinds.pop("forge", None)
        world.kind("forge", functools.partial(answer, forged))
        view = world.run(node("a", "forge", {"default": "b"}), node("b"), input={"in": forged})
        assert (view.result, view.input) == (forged, {"in": forged})


def test_large_values_are_kept_beside_the_journal(world: World) -> None:
    """An output over 400 KB runs through the flow, its snapshot and the end; the items stay small."""
    large = "x" * 600_000
    world.kind("large", lambda call: Done({"text": large}))
    world.kind("later", lambda call: Wait(world.clock.now_ms() + 60_000), lambda call, answer: Done(call.input))
    execution_id = world.start(node("a", "large", {"default": "b"}), node("b", "later"), input={"given": large})
    world.settle(3600)
    view = world.view(execution_id)
    assert (view.status, view.result, view.input) == ("completed", {"text": large}, {"given": large})
    assert len(world.blobs) >= 3
    assert all(re.fullmatch(rf"{ORG}/{execution_id}/[0-9a-f-]+", key) for key in world.blobs)


def test_log_rows_and_messages_are_bounded(world: World) -> None:
    """What a node logs is in the journal before its end; a huge text is cut."""

    def talk(call: Call) -> Done:
        call.log("info", "y" * 100_000, {"n": 1})
        call.log("info", "odd", {"n": object()})
        raise NodeFailed("z" * 100_000)

    world.kind("talk", talk)
    view = world.run(node("a", "talk"))
    logs = world.facts(view.id, "log")
    assert [(len(row["message"]), row.get("data"), row["node"]) for row in logs] == [
        (16384, {"n": 1}, "a"),
        (3, None, "a"),
    ]
    assert view.error is not None and len(view.error) == 4000
    assert len(world.facts(view.id)[-1]["error"]) == 16384


def test_retries_wait_longer_and_end(world: World) -> None:
    """N retries after the first attempt, each after its wait; the last failure is the execution's."""
    world.kind("broken", failing())
    execution_id = world.start(node("a", "broken", retry=Retry(3, 10_000, 2.0, 30_000)))
    start = world.clock.now_ms()
    world.settle(3600)
    failed = world.facts(execution_id, "node_failed")
    assert [(fact["at"] - start) // 1000 for fact in failed] == [0, 10, 30, 60]
    assert [fact["attempt"] for fact in failed] == [1, 2, 3, 4]
    assert [fact["handled"] for fact in failed] == [True, True, True, False]
    assert world.view(execution_id).status == "failed"


def test_what_is_not_retried(world: World) -> None:
    """A failure that a further attempt cannot mend comes at once, also where retries are allowed."""
    world.kind("broken", failing(retryable=False))
    view = world.run(node("a", "broken", retry=Retry(3)))
    assert (view.status, len(world.facts(view.id, "node_failed"))) == ("failed", 1)


def test_time_limit_of_an_execution(world: World) -> None:
    """Whatever waits when the limit passes expires with a clear text."""
    world.kind("ask", lambda call: Wait(None, "answer"))
    execution_id = world.start(node("a", "ask"))
    world.settle(299 * 24 * 3600)
    assert world.view(execution_id).status == "running"
    world.settle(2 * 24 * 3600)
    view = world.view(execution_id)
    assert (view.status, view.error) == ("expired", "the execution exceeded its time limit of 300 days")
    assert world.facts(execution_id)[-1]["type"] == "ended"


def test_the_flow_is_the_version_it_was_started_with(world: World) -> None:
    """A definition that goes while its execution waits fails the execution with a clear text instead of looping."""
    world.kind("ask", lambda call: Wait(world.clock.now_ms() + 60_000))
    execution_id = world.start(node("a", "ask"))
    world.settle()
    del world.programs[FLOW]
    world.settle(61)
    view = world.engine.get(RUNNER, execution_id)
    assert (view.status, world.control(execution_id).live) == ("failed", False)
    assert view.error == "the definition this execution runs was deleted or can no longer be loaded"
