"""One attempt of one node: templates, hooks, the kind's work, and what came of it. Touches no state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shared.engine.expressions.base import LogRow, Scope, ScriptError
from shared.engine.kinds.base import Answer, Call, Done, ExecutionFacts, KindServices, NodeFailed, Registry, Wait
from shared.engine.program import Node
from shared.engine.state import Fact
from shared.kit import clock, json
from shared.kit.errors import SignalboxError
from shared.kit.logging import logger

log = logger("engine")

Redact = Callable[[Any], Any]
"""Takes a JSON value and answers it without the secret values it contains."""

LONGEST_TEXT = 16 * 1024
"""Messages, of log rows and failures, are cut after so many characters."""

_DEEP = 400
_SHALLOW = 300


@dataclass(frozen=True, slots=True)
class Job:
    """What to attempt. ``answer`` is set when a wait ended and the kind is to go on.

    ``params`` are those it began with, when a prep hook made them; else they are made from the node's.
    """

    node: Node
    input: Any
    scope: Scope
    execution: ExecutionFacts
    attempt: int
    idempotency_key: str
    answer: Answer | None
    is_item: bool
    redact: Redact
    params: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the attempt failed; ``actions`` are candidate error edges in order."""

    message: str
    retryable: bool = True
    actions: tuple[str, ...] = ("error",)
    output: Any = None


@dataclass(slots=True)
class Result:
    """What came of an attempt. ``shared`` and ``removed`` are changes to the shared scope.

    ``params`` are what the prep hook made, for a node that waits and must not make them again. ``usage`` has a row for
    each call of a model.
    """

    outcome: Done | Wait | Failure
    logs: list[Fact] = field(default_factory=list)
    shared: dict[str, Any] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    params: dict[str, Any] | None = None
    usage: list[Mapping[str, Any]] = field(default_factory=list)


class Attempts:
    """Runs attempts with one set of kinds and services."""

    def __init__(
        self, registry: Registry, services: KindServices, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._registry = registry
        self._services = services
        self._stopping = stopping

    def stopping(self) -> bool:
        """Whether the process is about to end, so that nothing new should begin."""
        return self._stopping()

    def effectful(self, node: Node) -> bool:
        """Whether the node reaches outside, so that its start must be journaled first."""
        kind = self._registry.get(node.kind)
        return kind is not None and kind.effectful and "exec" not in node.hooks

    def run(self, job: Job) -> Result:
        """Never raises: whatever goes wrong is a Failure the author can read."""
        return self._attempt(job, lambda attempt: attempt.outcome())

    def post(self, job: Job, output: Any) -> Result:
        """Only the post hook, over the whole list a batch made. Never raises."""
        return self._attempt(job, lambda attempt: Done(attempt.post(output)))

    def _attempt(self, job: Job, work: Callable[[_Attempt], Done | Wait]) -> Result:
        attempt = _Attempt(job, self._registry, self._services, self._stopping)
        result = self._outcome(job, attempt, work)
        result.usage = [job.redact(row) for row in attempt.usage]
        return result

    def _outcome(self, job: Job, attempt: _Attempt, work: Callable[[_Attempt], Done | Wait]) -> Result:
        try:
            return attempt.result(work(attempt))
        except NodeFailed as failed:
            failure = Failure(failed.message, failed.retryable, failed.actions, failed.output)
        except SignalboxError as error:
            failure = Failure(str(error))
        except Exception:
            about = {"execution_id": job.execution.id, "kind": job.node.kind}
            log.exception("node kind failed", extra=about)
            failure = Failure(f"internal error in node type {job.node.kind}")
        try:
            return attempt.failed(failure)
        except Exception:
            # Rows or an output that cannot even be redacted are better lost than shown.
            log.exception("a failure cannot be told", extra={"execution_id": job.execution.id, "kind": job.node.kind})
            return Result(Failure(f"internal error in node type {job.node.kind}"))


class _Attempt:
    def __init__(self, job: Job, registry: Registry, services: KindServices, stopping: Callable[[], bool]) -> None:
        self._job = job
        self._registry = registry
        self._services = services
        self._stopping = stopping
        self._scope = job.scope
        self._before = job.scope.shared
        self._logs: list[Fact] = []
        self.usage: list[Mapping[str, Any]] = []
        self._keep: dict[str, Any] | None = None

    def outcome(self) -> Done | Wait:
        job = self._job
        params = job.params if job.params is not None else self._parameters()
        if "exec" in job.node.hooks and job.answer is None:
            outcome: Done | Wait = Done(self._script(job.node.hooks["exec"], {"context": params})[0])
        else:
            outcome = self._work(params)
        if isinstance(outcome, Wait):
            self._keep = params if "prep" in job.node.hooks else None
            return outcome
        if job.is_item or "post" not in job.node.hooks:
            return outcome
        return Done(self.post(outcome.output), outcome.actions, usage=outcome.usage)

    def _parameters(self) -> dict[str, Any]:
        scope = self._scope
        rendered = self._services.language.render(self._job.node.params, scope)
        for warning in rendered.warnings:
            self._log("warn", warning)
        params = self._prepare(rendered.value)
        if self._job.answer is not None:
            # The node goes on after a wait: what making its parameters wrote and printed has been recorded before.
            self._scope = scope
            self._logs.clear()
        return params

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
            node=job.node, params=params, input=job.input, scope=self._scope, execution=job.execution,
            attempt=job.attempt, idempotency_key=job.idempotency_key, services=self._services, log=self._log,
            used=self.usage.append, stopping=self._stopping,
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
        fact: Fact = {"type": "log", "at": clock.now_ms(), "level": level, "message": str(message)}
        fact |= {"node": self._job.node.name, "kind": self._job.node.kind}
        self._logs.append(fact | {"data": data} if data is not None and _is_json(data) else fact)

    def result(self, outcome: Done | Wait) -> Result:
        after, before, redact = self._scope.shared, self._before, self._job.redact
        changed: dict[str, Any] = {}
        removed: list[str] = []
        if after is not before:
            changed = {key: value for key, value in after.items() if key not in before or not _same(before[key], value)}
            removed = [key for key in before if key not in after]
        made = [outcome.output, outcome.usage] if isinstance(outcome, Done) else [outcome.state, outcome.key]
        if not _is_json([made, changed]):
            raise NodeFailed(
                f"node type {self._job.node.kind} made a value that is no JSON, or one nested too deeply",
                retryable=False,
            )
        kept: dict[str, Any] | None = None
        if isinstance(outcome, Wait) and redact(outcome.key) != outcome.key:
            raise NodeFailed("the key of a wait is shown to others and must not contain a secret", retryable=False)
        if isinstance(outcome, Done):
            outcome = Done(redact(outcome.output), tuple(redact(list(outcome.actions))), usage=redact(outcome.usage))
        else:
            outcome = replace(outcome, state=redact(outcome.state))
            if self._keep is not None and redact(self._keep) == self._keep:
                # Parameters with a secret in them are made again rather than stored.
                kept = self._keep
        return Result(outcome, self._rows(), redact(changed), redact(removed), kept)

    def failed(self, failure: Failure) -> Result:
        redact = self._job.redact
        message = cut(redact(failure.message))
        output = redact(failure.output) if _is_json(failure.output) else None
        return Result(Failure(message, failure.retryable, failure.actions, output), self._rows())

    def _rows(self) -> list[Fact]:
        redact = self._job.redact
        return [redact(row) | {"message": cut(redact(row["message"]))} for row in self._logs]


def cut(text: str) -> str:
    """A message no longer than the journal keeps."""
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _same(one: Any, other: Any) -> bool:
    # Python takes 1, 1.0 and True for equal; JSON does not.
    return one is other or (bool(one == other) and json.dumps(one) == json.dumps(other))


def _is_json(value: Any) -> bool:
    """Whether a value can be written as JSON, with room for the levels it will be nested in."""
    try:
        text = json.dumps(value)
        if text.count("[") + text.count("{") > _SHALLOW:
            for _ in range(_DEEP):
                value = [value]
            json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
