"""One attempt of one node: templates, hooks, the kind's work, and what came of it. Touches no state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from shared.engine.expressions.base import LogRow, Scope, ScriptError
from shared.engine.kinds.base import Answer, Call, Done, ExecutionFacts, KindServices, NodeFailed, Registry, Wait
from shared.engine.program import Node
from shared.engine.state import Fact
from shared.kit import clock
from shared.kit.errors import SignalboxError
from shared.kit.logging import logger
from shared.outbound import OutboundError

Redact = Callable[[Any], Any]
"""Takes a JSON value and answers it without the secret values it contains."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to attempt. ``answer`` is set when a wait ended and the kind is to go on."""

    node: Node
    input: Any
    scope: Scope
    execution: ExecutionFacts
    attempt: int
    idempotency_key: str
    answer: Answer | None
    is_item: bool
    redact: Redact


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the attempt failed; ``actions`` are candidate error edges in order."""

    message: str
    retryable: bool = True
    actions: tuple[str, ...] = ("error",)
    output: Any = None


@dataclass(slots=True)
class Result:
    """What came of an attempt. ``shared`` and ``removed`` are changes to the shared scope."""

    outcome: Done | Wait | Failure
    logs: list[Fact] = field(default_factory=list)
    shared: dict[str, Any] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)


class Attempts:
    """Runs attempts with one set of kinds and services."""

    def __init__(self, registry: Registry, services: KindServices, stopping: Callable[[], bool] = lambda: False) -> None:
        self._registry = registry
        self._services = services
        self._stopping = stopping

    def effectful(self, node: Node) -> bool:
        """Whether the node reaches outside, so that its start must be journaled first."""
        kind = self._registry.get(node.kind)
        return kind is not None and kind.effectful and "exec" not in node.hooks

    def run(self, job: Job) -> Result:
        """Never raises: whatever goes wrong is a Failure the author can read."""
        attempt = _Attempt(job, self._registry, self._services, self._stopping)
        try:
            outcome: Done | Wait | Failure = attempt.outcome()
        except NodeFailed as failed:
            outcome = Failure(failed.message, failed.retryable, failed.actions, failed.output)
        except (ScriptError, OutboundError, SignalboxError) as error:
            outcome = Failure(str(error))
        except Exception:
            logger("engine").exception("node kind failed", extra={"execution_id": job.execution.id, "kind": job.node.kind})
            outcome = Failure(f"internal error in node type {job.node.kind}")
        return attempt.result(outcome)

    def post(self, job: Job, output: Any) -> Result:
        """Only the post hook, over the whole list a batch made."""
        attempt = _Attempt(job, self._registry, self._services, self._stopping)
        try:
            outcome: Done | Failure = Done(attempt.post(output))
        except ScriptError as error:
            outcome = Failure(str(error))
        return attempt.result(outcome)


class _Attempt:
    def __init__(self, job: Job, registry: Registry, services: KindServices, stopping: Callable[[], bool]) -> None:
        self._job = job
        self._registry = registry
        self._services = services
        self._stopping = stopping
        self._scope = job.scope
        self._before = job.scope.shared
        self._logs: list[Fact] = []

    def outcome(self) -> Done | Wait:
        job = self._job
        rendered = self._services.language.render(job.node.params, self._scope)
        for warning in rendered.warnings:
            self._log("warn", warning)
        params = self._prepare(rendered.value)
        if "exec" in job.node.hooks and job.answer is None:
            outcome: Done | Wait = Done(self._script(job.node.hooks["exec"], {"context": params})[0])
        else:
            outcome = self._work(params)
        if isinstance(outcome, Wait) or job.is_item or "post" not in job.node.hooks:
            return outcome
        return Done(self.post(outcome.output), outcome.actions, usage=outcome.usage)

    def _prepare(self, params: dict[str, Any]) -> dict[str, Any]:
        source = self._job.node.hooks.get("prep")
        if source is None:
            return params
        value, extra = self._script(source, {"context": params})
        prepared = value if isinstance(value, dict) else extra["context"]
        return prepared if isinstance(prepared, dict) else params

    def _work(self, params: dict[str, Any]) -> Done | Wait:
        job = self._job
        kind = self._registry.get(job.node.kind)
        if kind is None:
            raise NodeFailed(f"unknown node type {job.node.kind}", retryable=False)
        call = Call(
            node=job.node, params=params, input=job.input, scope=self._scope, execution=job.execution, attempt=job.attempt,
            idempotency_key=job.idempotency_key, services=self._services, log=self._log, stopping=self._stopping,
        )  # fmt: skip
        outcome = kind.run(call) if job.answer is None else kind.resume(call, job.answer)
        if isinstance(outcome, Done) and outcome.shared is not None:
            self._scope = replace(self._scope, shared=outcome.shared)
        return outcome

    def post(self, output: Any) -> Any:
        source = self._job.node.hooks.get("post")
        if source is None:
            return output
        value, extra = self._script(source, {"result": output})
        return extra["result"] if value is None else value

    def _script(self, source: str, extra: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        try:
            evaluated = self._services.language.call(source, self._scope, extra=extra)
        except ScriptError as error:
            self._print(error.logs)
            raise
        self._print(evaluated.logs)
        if evaluated.shared is not None:
            self._scope = replace(self._scope, shared=evaluated.shared)
        return evaluated.value, evaluated.extra

    def _print(self, rows: list[LogRow]) -> None:
        for level, message in rows:
            self._log(level, message)

    def _log(self, level: str, message: str, data: dict[str, Any] | None = None) -> None:
        fact: Fact = {"type": "log", "at": clock.now_ms(), "level": level, "message": message}
        fact |= {"node": self._job.node.name, "kind": self._job.node.kind}
        self._logs.append(fact | {"data": data} if data is not None else fact)

    def result(self, outcome: Done | Wait | Failure) -> Result:
        after, before, redact = self._scope.shared, self._before, self._job.redact
        changed = {key: value for key, value in after.items() if key not in before or before[key] != value} if after is not before else {}
        removed = [key for key in before if key not in after] if after is not before else []
        match outcome:
            case Done():
                outcome = Done(redact(outcome.output), outcome.actions, usage=outcome.usage)
            case Failure():
                outcome = Failure(redact(outcome.message), outcome.retryable, outcome.actions, redact(outcome.output))
        return Result(outcome, redact(self._logs), redact(changed), removed)
