"""Forks: branches, joins, defaults, nesting, and branches that fail."""

from __future__ import annotations

from typing import Any

import pytest

from shared.engine.kinds.base import Call, Done, NodeFailed, Wait
from shared.engine.program import Node
from tests.support.engine import World, node


def fork(name: str, next: dict[str, str]) -> Node:
    return node(name, next=next, routing="fork")


def value(name: str, made: Any, next: dict[str, str] | None = None) -> Node:
    return node(name, "script", next, params={"script": f"value = {made!r}"})


def gather(name: str, next: dict[str, str] | None = None) -> Node:
    return node(name, "script", next, join=True, params={"script": "value = shared['mapper_results']"})


def test_branches_meet_at_a_join(world: World) -> None:
    """Outputs in the order of the branches; the join runs once, after them all."""
    view = world.run(
        fork("s", {"one": "a", "two": "b", "three": "c"}),
        value("a", 1, {"default": "j"}), value("b", 2, {"default": "b2"}), value("b2", 22, {"default": "j"}),
        value("c", 3, {"default": "j"}), gather("j"),
    )  # fmt: skip
    assert (view.status, view.result) == ("completed", [1, 22, 3])
    assert world.nodes(view.id).count("j") == 1


def test_the_default_edge_goes_on_after_the_branches(world: World) -> None:
    """Also when a branch reaches its target by itself; the fork's output is its input."""
    view = world.run(
        fork("s", {"x": "a", "y": "b", "default": "d"}), value("a", 1, {"default": "d"}), value("b", 2),
        node("d", "script", params={"script": "value = [input, shared['mapper_results']]"}),
        input={"q": 1},
    )  # fmt: skip
    assert view.result == [{"q": 1}, [1, 2]]
    assert world.nodes(view.id) == ["s", "a", "b", "d"]


@pytest.mark.parametrize(
    ("edges", "results"),
    [
        ({"x": "j", "y": "a"}, [{"q": 1}, 5]),
        ({"x": "d", "default": "d"}, [{"q": 1}]),
        ({"default": "j"}, []),
        ({}, None),
    ],
)
def test_branches_with_nothing_in_them(world: World, edges: dict[str, str], results: list[Any] | None) -> None:
    """A branch straight to the join or the default's node brings the fork's input; no branch brings nothing."""
    view = world.run(fork("s", edges), value("a", 5, {"default": "j"}), gather("j"), gather("d"), input={"q": 1})
    assert view.status == "completed"
    assert view.result == ({"q": 1} if results is None else results)


def test_end_inside_a_branch_ends_the_branch(world: World) -> None:
    """The others go on, and so does the fork."""
    view = world.run(
        fork("s", {"x": "a", "y": "b", "default": "d"}), value("a", 1, {"default": "END"}),
        value("b", 2, {"default": "b2"}), value("b2", 3), gather("d"),
    )  # fmt: skip
    assert view.result == [1, 3]


def test_a_join_without_a_fork_is_a_node(world: World) -> None:
    """It runs like any other."""
    view = world.run(value("a", 1, {"default": "j"}), node("j", join=True, next={"default": "b"}), value("b", 2))
    assert (view.status, world.nodes(view.id)) == ("completed", ["a", "j", "b"])


def test_a_loop_inside_a_branch(world: World) -> None:
    """A branch may come back to its own nodes."""
    world.kind("count", lambda call: Done(call.input + 1, ("again",) if call.input < 4 else ("default",)))
    view = world.run(
        fork("s", {"x": "zero", "default": "d"}), value("zero", 0, {"default": "c"}),
        node("c", "count", {"again": "c"}), gather("d"),
    )  # fmt: skip
    assert view.result == [5]


def test_a_fork_in_a_fork(world: World) -> None:
    """The inner one ends before its branch does; each default belongs to its own fork."""
    view = world.run(
        fork("outer", {"x": "inner", "y": "b", "default": "end"}),
        fork("inner", {"p": "p", "q": "q", "default": "mid"}), value("p", 1), value("q", 2), gather("mid"),
        value("b", 3, {"default": "end"}), gather("end"),
    )  # fmt: skip
    assert view.result == [[1, 2], 3]


def test_an_inner_fork_whose_default_is_the_outer_ones(world: World) -> None:
    """Where both go on at the same node it runs once, for the outer fork."""
    view = world.run(
        fork("outer", {"x": "inner", "y": "b", "default": "end"}), fork("inner", {"p": "p", "default": "end"}),
        value("p", 1), value("b", 2), gather("end"), input={"q": 1},
    )  # fmt: skip
    assert (view.status, world.nodes(view.id).count("end")) == ("completed", 1)
    assert view.result == [{"q": 1}, 2]


def broken(call: Call) -> Done:
    raise NodeFailed("it broke")


def test_a_failing_branch_fails_the_fork(world: World) -> None:
    """First its own error edges, then the fork's; what other branches still bring is dropped."""
    world.kind("broken", broken)
    own = world.run(
        fork("s", {"x": "a", "default": "d"}), node("a", "broken", {"error": "h"}), value("h", "mended"), gather("d")
    )
    assert own.result == ["mended"]
    edges = {"x": "a", "y": "b", "default": "d", "error": "h"}
    forks = world.run(fork("s", edges), node("a", "broken"), value("b", 1), value("h", "mended"), gather("d"))
    assert (forks.status, forks.result, world.nodes(forks.id)) == ("completed", "mended", ["s", "a", "b", "h"])
    none = world.run(fork("s", {"x": "a", "y": "b"}), node("a", "broken"), value("b", 1))
    assert (none.status, none.error, none.error_node) == ("failed", "it broke", "s")


def test_a_branch_that_leads_back_to_its_fork(world: World) -> None:
    """It would nest without end: a clear failure instead of a stack overflow."""
    view = world.run(fork("s", {"x": "a"}), node("a", next={"default": "s"}))
    assert view.status == "failed"
    assert view.error is not None and view.error.startswith("forks and batches are nested more than 64 deep")


def test_many_branches_that_wait(world: World) -> None:
    """Three hundred branches ask, the first failure drops them all, and none can be answered any more."""
    world.kind("ask", lambda call: Wait(None, f"key-{call.idempotency_key.rpartition(':')[2]}"))
    world.kind("later", lambda call: Wait(world.clock.now_ms() + 60_000), lambda call, answer: broken(call))
    edges = {f"b{n}": f"ask{n}" for n in range(300)} | {"last": "later"}
    asks = [node(f"ask{n}", "ask") for n in range(300)]
    execution_id = world.start(fork("s", edges), *asks, node("later", "later"))
    world.settle()
    assert set(world.waits(execution_id).values()) == {"open"} and len(world.waits(execution_id)) == 300
    world.settle(61)
    assert (world.view(execution_id).status, world.waits(execution_id)) == ("failed", {})


def test_writes_of_branches_to_the_shared_scope(world: World) -> None:
    """Keys written by different branches all stay."""
    branches = {f"b{n}": f"w{n}" for n in range(5)}
    writers = [node(f"w{n}", "script", params={"script": f"shared['k{n}'] = {n}; value = {n}"}) for n in range(5)]
    end = node("d", "script", params={"script": "value = [shared.get(f'k{n}') for n in range(5)]"})
    assert world.run(fork("s", branches | {"default": "d"}), *writers, end).result == [0, 1, 2, 3, 4]
