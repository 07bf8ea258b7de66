"""Where a token goes when its node is done: pure decisions over the program and the state."""

from __future__ import annotations

from shared.engine.program import BY_ACTION, END, Edge, Node, Program
from shared.engine.state import Group, State, Token


def candidate_edges(program: Program, node: Node, actions: tuple[str, ...]) -> list[tuple[str, str]]:
    """(action, target node) to follow: the first candidate, or every one where routing is inclusive.

    END yields nothing.
    """
    edges = [edge for action in actions for edge in node.edges if edge.action == action]
    chosen = edges if node.routing == "inclusive" else edges[:1]
    return [(edge.action, target) for edge in chosen if (target := _target(program, edge)) is not None]


def error_edge(program: Program, node: Node, actions: tuple[str, ...]) -> tuple[str, str] | None:
    """(action, target) of the first candidate that is an edge; the target may be END."""
    for action in actions:
        edge = node.edge(action)
        if edge is not None:
            return action, _target(program, edge) or END
    return None


def _target(program: Program, edge: Edge) -> str | None:
    name = edge.action if edge.target == BY_ACTION else edge.target
    return name if name in program.nodes else None


def fork_branches(program: Program, node: Node) -> list[tuple[str, str]]:
    """(action, target) of every branch of a fork, in the order they are written.

    ``default`` is where it goes on, ``error`` where it goes when a branch fails (docs/rulings.md#forks).
    """
    found = ((edge.action, _target(program, edge)) for edge in node.edges if edge.action not in ("default", "error"))
    return [(action, target) for action, target in found if target is not None]


def ends_branch(program: Program, state: State, token: Token, target: str) -> tuple[bool, str | None]:
    """Whether going to ``target`` ends the branch of ``token``, and the join node it met."""
    if token.group is None or token.is_item:
        return False, None
    if program.nodes[target].join:
        return True, target
    return is_default_around(program, state, token, target), None


def is_default_around(program: Program, state: State, token: Token, target: str) -> bool:
    """Whether ``target`` is where a fork around ``token`` goes on once its branches have ended."""
    return any(default_of_fork(program, state, group) == target for group in state.enclosing(token))


def default_of_fork(program: Program, state: State, group: Group) -> str | None:
    """The node a fork goes on at once its branches have ended; None for a batch."""
    edge = program.nodes[state.tokens[group.owner].node].edge("default") if not group.batch else None
    return _target(program, edge) if edge is not None else None
