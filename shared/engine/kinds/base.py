"""What a node kind is: one file beside this one, registered by name.

A kind gets a :class:`Call` (everything one attempt may see) and answers an :class:`Outcome`, or raises
:class:`NodeFailed`. It keeps no state of its own: what must outlive the call travels in ``Wait.state``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from shared.engine.expressions.base import Language, Scope
from shared.engine.program import Node

if TYPE_CHECKING:
    from shared.outbound import OutboundClient

GENERIC_ACTIONS = ("default", "success")
"""Candidate actions of a node that simply succeeded."""


UsageSink = Callable[[Mapping[str, Any]], None]
"""Takes what one call of a model used, whatever becomes of the node: ``provider``, ``model`` and counts of tokens."""


@dataclass(frozen=True, slots=True)
class ExecutionFacts:
    """Who is running: ids as text, ``started_ms`` in epoch milliseconds."""

    id: str
    org_id: str
    account_id: str
    definition_id: str
    started_ms: int = 0


class LogSink(Protocol):
    """Takes one log row: level is debug, info, warn or error; ``data`` a JSON object."""

    def __call__(self, level: str, message: str, data: dict[str, Any] | None = None) -> None: ...


class KeyValues(Protocol):
    """The ``store`` node's data: per account, surviving executions. Every change is atomic.

    A key the store cannot keep is InvalidRequest, a value too large for it PayloadTooLarge.
    """

    def get(self, account_id: str, key: str) -> Any:
        """The value; raises KeyError."""

    def set(self, account_id: str, key: str, value: Any, ttl_s: float | None = None) -> None:
        """Store a value, in the place of an older one and of its time to live."""

    def delete(self, account_id: str, key: str) -> bool:
        """Remove a value; whether there was one."""

    def keys(self, account_id: str) -> Iterator[str]:
        """Every live key, in order."""

    def items(self, account_id: str) -> Iterator[tuple[str, Any]]:
        """Every live pair, sorted by key."""

    def increment(self, account_id: str, key: str, amount: int | float, operation_id: str) -> int | float:
        """Add and answer the new value; the same ``operation_id`` counts once. Raises TypeError on a non-number."""

    def append(self, account_id: str, key: str, value: Any, operation_id: str) -> None:
        """Append to a list, creating it; the same ``operation_id`` counts once. Raises TypeError on a non-list."""

    def clear(self, account_id: str) -> int:
        """Delete everything; answers how many."""


class Schedules(Protocol):
    """Cron jobs that run a definition. Rows are JSON objects as the cron node shows them."""

    def create(self, execution: ExecutionFacts, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Make a job, or replace the account's job of the same ``id``; its row.

        ``spec`` has ``id``, ``schedule``, ``timezone``, ``flow_id``, ``node_id`` and ``payload`` (an object). Raises
        InvalidRequest, NotFound for a flow that is not in the org, Conflict when there are too many jobs.
        """

    def list(self, execution: ExecutionFacts) -> list[dict[str, Any]]:
        """Every job of the account in the org, by id."""

    def get(self, execution: ExecutionFacts, job_id: str) -> dict[str, Any] | None:
        """One job with its payload and last executions."""

    def delete(self, execution: ExecutionFacts, job_id: str) -> bool:
        """Remove a job; whether there was one."""


class OperationResults(Protocol):
    """Stored results of operations an author named with ``idempotency_key``."""

    def get(self, org_id: str, key: str) -> Any | None:
        """The result, or None when there is none or its time is over."""

    def put(self, org_id: str, key: str, value: Any, ttl_s: float) -> None:
        """Keep a result for ``ttl_s`` seconds; one that is there already stays."""


@dataclass(frozen=True, slots=True)
class KindServices:
    """Ports a kind may use."""

    language: Language
    http: OutboundClient
    keyvalues: KeyValues
    schedules: Schedules
    operations: OperationResults
    wall_clock_limit_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt of one node. ``params`` have their templates expanded and the prep hook applied.

    ``idempotency_key`` is the same for every attempt of this visit and item; ``attempt`` counts from 1.
    """

    node: Node
    params: dict[str, Any]
    input: Any
    scope: Scope
    execution: ExecutionFacts
    attempt: int
    idempotency_key: str
    services: KindServices
    log: LogSink
    used: UsageSink = lambda usage: None
    stopping: Callable[[], bool] = lambda: False

    def require(self, name: str) -> Any:
        """The parameter ``name``; a missing or empty one fails the node for good."""
        value = self.params.get(name)
        if value is None or value == "":
            raise NodeFailed(f"{name} parameter is required", retryable=False)
        return value


@dataclass(frozen=True, slots=True)
class Done:
    """The node ended well. ``actions`` are candidate edges in order; ``shared`` replaces the shared scope if given."""

    output: Any
    actions: tuple[str, ...] = GENERIC_ACTIONS
    shared: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """The node is not done: call ``resume`` at ``until_ms`` (epoch ms, None = never) or when ``key`` is signalled.

    Without ``key`` it is a plain timer. ``state`` is kept and handed to ``resume``.
    """

    until_ms: int | None = None
    key: str | None = None
    state: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Why ``resume`` is called: the signalled ``value``, or the deadline (``timed_out``)."""

    timed_out: bool
    value: Any = None
    state: Any = None


Outcome = Done | Wait


class NodeFailed(Exception):
    """The attempt failed. ``retryable`` says whether the author's retry applies.

    ``actions`` are candidate error edges in order.
    """

    def __init__(
        self, message: str, *, retryable: bool = True, actions: tuple[str, ...] = ("error",), output: Any = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable
        self.actions = actions
        self.output = output


class NodeKind:
    """Base of every kind. ``parameters`` is the JSON Schema of ``params`` (templates are allowed anywhere)."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    effectful: ClassVar[bool] = False
    description: ClassVar[str] = ""
    parameters: ClassVar[dict[str, Any]] = {"type": "object"}

    def run(self, call: Call) -> Outcome:
        """The node's work."""
        raise NotImplementedError

    def resume(self, call: Call, answer: Answer) -> Outcome:
        """Continue after a :class:`Wait`; only waiting kinds are resumed."""
        raise NodeFailed(f"{self.name} does not wait", retryable=False)


@dataclass(slots=True)
class Registry:
    """Kinds by name and alias."""

    _kinds: dict[str, NodeKind] = field(default_factory=dict)

    def register(self, kind: NodeKind) -> None:
        """Add a kind; a name taken twice is a programming error."""
        for name in (kind.name, *kind.aliases):
            if name in self._kinds:
                raise ValueError(f"two node kinds are called {name}")
            self._kinds[name] = kind

    def get(self, name: str) -> NodeKind | None:
        """The kind of this name or alias."""
        return self._kinds.get(name)

    def all(self) -> list[NodeKind]:
        """Every kind once, by name."""
        return sorted({id(kind): kind for kind in self._kinds.values()}.values(), key=lambda kind: kind.name)
