"""The intermediate form every dialect compiles to: a program of nodes and edges.

Pure data. A definition is compiled once, at registration, and stored beside its text; the interpreter never sees a
dialect's syntax.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

END = "END"
"""Edge target that ends the token."""

BY_ACTION = "*"
"""Edge target that names the node after the action itself."""

Routing = Literal["exclusive", "inclusive", "fork"]


@dataclass(frozen=True, slots=True)
class Retry:
    """``max_retries`` further attempts after the first; the wait grows by ``factor`` up to ``max_wait_ms``."""

    max_retries: int
    wait_ms: int = 0
    factor: float = 1.0
    max_wait_ms: int = 3_600_000

    def wait_before(self, attempt: int) -> int:
        """Milliseconds before ``attempt`` (2 is the first retry)."""
        return min(int(self.wait_ms * self.factor ** (attempt - 2)), self.max_wait_ms)


@dataclass(frozen=True, slots=True)
class Batch:
    """Run the node once per element of its list input, at most ``max_parallel`` at once."""

    max_parallel: int = 1


@dataclass(frozen=True, slots=True)
class Edge:
    """Taken when the node's outcome offers ``action``."""

    action: str
    target: str


@dataclass(frozen=True, slots=True)
class Node:
    """One step. ``result_keys`` are the names under which its output also lands in the shared scope.

    ``routing``: *exclusive* follows the first candidate edge, *inclusive* every one, *fork* starts a branch for
    every edge but ``default`` and goes on once all have ended. A *join* node ends the branches that reach it.
    """

    name: str
    kind: str
    params: dict[str, Any] = field(default_factory=dict)
    edges: tuple[Edge, ...] = ()
    routing: Routing = "exclusive"
    join: bool = False
    retry: Retry | None = None
    batch: Batch | None = None
    hooks: dict[str, str] = field(default_factory=dict)
    result_keys: tuple[str, ...] = ()
    timeout_ms: int | None = None

    def edge(self, action: str) -> Edge | None:
        """The edge of exactly this action."""
        return next((edge for edge in self.edges if edge.action == action), None)


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled definition. ``language`` names the expression language of its parameters and scripts."""

    dialect: str
    language: str
    name: str
    version: str
    start: str
    nodes: dict[str, Node]
    max_visits: int | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object that :meth:`from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Program:
        """The reverse of :meth:`to_json`."""
        return cls(**{**value, "nodes": {name: _node(node) for name, node in value["nodes"].items()}})


def _node(value: dict[str, Any]) -> Node:
    return Node(
        **{
            **value,
            "edges": tuple(Edge(**edge) for edge in value["edges"]),
            "retry": Retry(**value["retry"]) if value["retry"] else None,
            "batch": Batch(**value["batch"]) if value["batch"] else None,
            "result_keys": tuple(value["result_keys"]),
        }
    )
