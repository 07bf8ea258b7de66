"""What one advance of one execution works with, and the few things every part of it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shared.engine.attempt import Attempts, Failure, Job, Result
from shared.engine.journal import Journal
from shared.engine.kinds.base import Answer, ExecutionFacts
from shared.engine.ports import Driver, Effect, Governance, Workers
from shared.engine.program import Node, Program
from shared.engine.repository import ExecutionRepository
from shared.engine.scope import ScopeFactory
from shared.engine.state import State, Token
from shared.kit import clock
from shared.store.models.executions import Control


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one advance. Delays up to ``inline_wait_ms`` are waited for in the process instead of parking.

    ``attempt_s`` bounds a single attempt, whatever its node says.
    """

    slice_s: float = 60.0
    max_visits: int = 10_000
    max_inflight: int = 64
    inline_wait_ms: int = 1_000
    attempt_s: float = 600.0


@dataclass(slots=True)
class Flight:
    """An attempt on a worker. ``begun`` is the monotonic second it started, None while it queues."""

    token: int
    limit_s: float
    begun: float | None = None

    def over_at(self) -> float | None:
        """The monotonic second at which it has taken too long."""
        return self.begun + self.limit_s if self.begun is not None else None


@dataclass(slots=True)
class Turn:
    """One advance. ``flights`` are the attempts that workers run, by the number given to the workers.

    ``control`` is the control item as it was when the lease was taken. ``execution`` is whom the nodes act for: of a
    child it is the parent, so that they see and do what they would there.
    """

    program: Program
    state: State
    journal: Journal
    execution: ExecutionFacts
    attempts: Attempts
    workers: Workers
    governance: Governance
    scopes: ScopeFactory
    limits: Limits
    control: Control
    repository: ExecutionRepository
    driver: Driver
    deadline_ms: int | None = None
    flights: dict[int, Flight] = field(default_factory=dict)
    launched: int = 0

    @property
    def max_visits(self) -> int:
        """Node visits after which the execution fails."""
        return min(self.limits.max_visits, self.program.max_visits or self.limits.max_visits)

    @property
    def room(self) -> int:
        """How many further attempts may run beside those under way."""
        return max(self.limits.max_inflight - len(self.flights), 0)

    def node(self, token: Token) -> Node:
        """Where a token is."""
        return self.program.nodes[token.node]

    def kind(self, node: str | None) -> str | None:
        """The kind of the node of this name."""
        return self.program.nodes[node].kind if node is not None else None

    def subject(self, token: Token) -> dict[str, Any]:
        """The fields that say which node of which visit a fact is about."""
        node = self.node(token)
        visit = token.visit or self.state.visits + 1
        subject = {"token": token.id, "node": node.name, "kind": node.kind, "visit": visit}
        return subject | {"item": token.branch, "group": token.group} if token.is_item else subject

    def job(self, token: Token) -> Job:
        """What to attempt for a token."""
        node = self.node(token)
        item = f":{token.branch}" if token.is_item else ""
        answer = Answer(**token.answer, state=token.wait_state) if token.answer is not None else None
        scope, redact = self.scopes.scope(self.state, token)
        return Job(
            node=node, input=self.state.item(token) if token.is_item else token.input, scope=scope,
            execution=self.execution, attempt=token.attempt, answer=answer, is_item=token.is_item, redact=redact,
            idempotency_key=f"{self.execution.id}:{node.name}:{token.visit}{item}", params=token.wait_params,
        )  # fmt: skip

    def effect(self, token: Token) -> Effect:
        """The attempt a token is about to make. Its key tells it from every other one of this execution."""
        item = f":{token.branch}" if token.is_item else ""
        key = f"{self.control.execution_id}:{token.id}:{token.came}{item}:{token.attempt}"
        return Effect(self.execution, self.node(token), key)

    def governed(self, token: Token, job: Job) -> Result:
        """Attempt an effect, and tell governance what it used."""
        effect = self.effect(token)
        result = self.attempts.run(job)
        self.governance.after(effect, result.usage, failed=isinstance(result.outcome, Failure))
        return result

    def launch(self, token: Token, work: Callable[[], Result]) -> None:
        """Hand an attempt to the workers."""
        limit_ms = self.node(token).timeout_ms
        limit_s = self.limits.attempt_s if limit_ms is None else min(limit_ms / 1000, self.limits.attempt_s)
        flight = Flight(token.id, limit_s)

        def fly() -> Result:
            flight.begun = clock.monotonic()
            return work()

        token.status = "running"
        self.launched += 1
        self.flights[self.launched] = flight
        self.workers.submit(self.launched, fly)

    def landed(self, number: int) -> Token | None:
        """The token whose attempt came back; None when it is not waited for any more."""
        flight = self.flights.pop(number, None)
        token = self.state.tokens.get(flight.token) if flight is not None else None
        return token if token is not None and token.status == "running" else None

    def due_ms(self) -> int | None:
        """When the next timer, retry or time limit of a wait comes."""
        return min((token.due_ms for token in self.state.tokens.values() if token.due_ms is not None), default=None)
