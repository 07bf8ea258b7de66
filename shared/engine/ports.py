"""What the engine needs from outside, as protocols. Adapters and other domains implement them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from shared.engine.kinds.base import ExecutionFacts
from shared.engine.program import Node, Program


@dataclass(frozen=True, slots=True)
class DefinitionRef:
    """A version of a definition in the catalog."""

    org_id: str
    id: str
    version: int


class Programs(Protocol):
    """Compiled definitions."""

    def program(self, ref: DefinitionRef) -> Program:
        """The program of exactly this version; raises NotFound."""


class Secrets(Protocol):
    """Secret values of an account."""

    def values(self, org_id: str, account_id: str) -> Mapping[str, str]:
        """Every secret in clear, by key."""


class Driver(Protocol):
    """Whatever calls ``advance``: a worker loop, or a state machine.

    Both calls are short cuts; the sweep repeats them.
    """

    def start(self, org_id: str, execution_id: str, generation: int) -> None:
        """Begin a generation; one that exists already counts as done."""

    def wake(self, org_id: str, execution_id: str, generation: int, task_token: str | None) -> None:
        """End a park early; a token that is gone counts as done."""


@dataclass(frozen=True, slots=True)
class Effect:
    """An attempt that is about to reach outside. ``key`` is the same at every look at this attempt, and no other's."""

    execution: ExecutionFacts
    node: Node
    key: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an effect may start now: *allow*, *refuse* with a reason, or *hold*.

    What is held is asked about again when the execution is woken or at ``until_ms``; meanwhile it is shown as
    ``status``. A ``reason`` to hold is logged, once for what comes before its colon. Other elements of a batch wait for
    a held one; where it is held ``alone`` they are asked about all the same.
    """

    verdict: Literal["allow", "hold", "refuse"] = "allow"
    reason: str = ""
    until_ms: int | None = None
    status: Literal["paused", "waiting"] = "waiting"
    alone: bool = False


class Governance(Protocol):
    """Asked before every effect, and told what it used. Neither raises but for a store that is out of reach."""

    def before(self, effect: Effect) -> Decision: ...

    def after(self, effect: Effect, usage: Sequence[Mapping[str, Any]], *, failed: bool) -> None:
        """``usage`` has a row for each call of a model, also of an attempt that failed or waits."""


class AllowEverything:
    """The governance of executions that no workflow governs."""

    def before(self, effect: Effect) -> Decision:
        return Decision()

    def after(self, effect: Effect, usage: Sequence[Mapping[str, Any]], *, failed: bool) -> None:
        return


class Workers(Protocol):
    """Runs attempts side by side for one advance."""

    def submit(self, token: int, work: Callable[[], Any]) -> None:
        """Start ``work``; its return value comes out of :meth:`next`."""

    def next(self, timeout_s: float) -> tuple[int, Any] | None:
        """The next finished (token, value), or None when the time is over."""

    def close(self) -> None:
        """Forget what is still running; results are dropped."""


class Heart(Protocol):
    """Keeps the lease of an advance alive while an effect runs."""

    def beat(self, renew: Callable[[], bool]) -> Callable[[], None]:
        """Call ``renew`` every few seconds until the returned function is called or it answers False."""
