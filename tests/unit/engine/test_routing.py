"""Where tokens go, as truth tables."""

from __future__ import annotations

import pytest

from shared.engine.program import Node
from shared.engine.routing import candidate_edges, default_of_fork, ends_branch, error_edge, fork_branches
from shared.engine.state import Group, State, Token
from tests.support.engine import node, program


@pytest.mark.parametrize(
    ("routing", "actions", "targets"),
    [
        ("exclusive", ("x", "y"), ["b"]),
        ("exclusive", ("none", "y"), ["c"]),
        ("exclusive", ("none",), []),
        ("exclusive", ("end",), []),
        ("exclusive", ("end", "x"), []),
        ("exclusive", ("b",), ["b"]),
        ("exclusive", ("lost",), []),
        ("inclusive", ("x", "y"), ["b", "c"]),
        ("inclusive", ("end", "y"), ["c"]),
    ],
)
def test_edges_after_success(routing: str, actions: tuple[str, ...], targets: list[str]) -> None:
    """The first candidate that is an edge, or all of them; END and unknown names lead nowhere."""
    edges = {"x": "b", "y": "c", "end": "END", "b": "*", "lost": "*"}
    flow = program(Node("a", "pass", edges=node("a", next=edges).edges, routing=routing), node("b"), node("c"))  # type: ignore[arg-type]
    assert [target for _, target in candidate_edges(flow, flow.nodes["a"], actions)] == targets


@pytest.mark.parametrize(
    ("actions", "found"),
    [
        (("error",), ("error", "b")),
        (("client_error", "error"), ("client_error", "END")),
        (("server_error",), None),
        ((), None),
    ],
)
def test_edges_after_failure(actions: tuple[str, ...], found: tuple[str, str] | None) -> None:
    """The first candidate that is an edge, END included."""
    flow = program(node("a", next={"error": "b", "client_error": "END"}), node("b"))
    assert error_edge(flow, flow.nodes["a"], actions) == found


def test_branches_of_a_fork() -> None:
    """Every edge but default and error, in the order they are written; those that lead nowhere are none."""
    edges = {"z": "b", "default": "c", "a": "c", "error": "b", "end": "END", "b": "*"}
    flow = program(node("s", next=edges, routing="fork"), node("b"), node("c"))
    assert fork_branches(flow, flow.nodes["s"]) == [("z", "b"), ("a", "c"), ("b", "b")]


def nested() -> State:
    """Token 3 in the inner fork of token 2, in the outer fork of token 1; token 4 is an element of a batch."""
    state = State()
    for number, name, group in ((1, "outer", None), (2, "inner", 1), (3, "x", 2), (4, "each", 3), (5, "each", None)):
        state.tokens[number] = Token(number, name, None, group=group)
    state.tokens[4].is_item = True
    state.groups = {1: Group(1, 1, 1, False), 2: Group(2, 2, 1, False), 3: Group(3, 5, 1, True)}
    return state


@pytest.mark.parametrize(
    ("token", "target", "ends"),
    [
        (3, "x", (False, None)),
        (3, "join", (True, "join")),
        (3, "after inner", (True, None)),
        (3, "after outer", (True, None)),
        (2, "after inner", (False, None)),
        (2, "after outer", (True, None)),
        (1, "after outer", (False, None)),
        (1, "join", (False, None)),
        (4, "join", (False, None)),
    ],
)
def test_what_ends_a_branch(token: int, target: str, ends: tuple[bool, str | None]) -> None:
    """A join, and where any fork around the token goes on."""
    flow = program(
        node("outer", next={"x": "inner", "default": "after outer"}, routing="fork"),
        node("inner", next={"x": "x", "default": "after inner"}, routing="fork"), node("x"), node("each"),
        node("after outer"), node("after inner"), node("join", join=True),
    )  # fmt: skip
    state = nested()
    assert ends_branch(flow, state, state.tokens[token], target) == ends


def test_a_batch_has_no_default_of_a_fork() -> None:
    """The default edge of a batch's owner is where it goes when done, not the end of a branch."""
    flow = program(node("each", next={"default": "b"}), node("b"))
    state = State(tokens={1: Token(1, "each", None)})
    assert default_of_fork(flow, state, Group(1, 1, 1, batch=True)) is None
    assert default_of_fork(flow, state, Group(1, 1, 1, batch=False)) == "b"
