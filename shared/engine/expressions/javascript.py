"""JavaScript (ES2020) as an expression language: ``${…}`` templates, scripts and hooks of flows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.engine.expressions import paths, templates
from shared.engine.expressions.base import (
    DEFAULT_LIMITS,
    Evaluated,
    Limits,
    LogRow,
    Rendered,
    Scope,
    ScriptError,
    ScriptLimit,
    ScriptTimeout,
)
from shared.engine.expressions.names import scope_message
from shared.engine.expressions.pool import WorkerPool, timeout_message
from shared.engine.expressions.values import Numbers, guarded, too_deep
from shared.kit import json

Job = tuple[str, str]
"""(mode, source). Modes: ``body`` of a function, ``expression``, ``text`` for an expression inside a text."""

_FRAME = re.compile(r"<input>:(\d{1,6}):")
_HEADER_LINES = 2
"""Lines the engine puts before the body of a function."""

_SHOWN_TEMPLATE = 200


@dataclass(frozen=True, slots=True)
class _Pending:
    """A piece of a text whose value is the answer to this job."""

    job: int


class JavaScript:
    """The :class:`~shared.engine.expressions.base.Language` of flows. Every call gets a context of its own."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    def render(self, params: Any, scope: Scope, *, limits: Limits = DEFAULT_LIMITS) -> Rendered:
        """Expand templates; a text whose expression throws stays as it is, with a warning."""
        jobs: list[Job] = []
        planned = {(text, is_key): _pieces(text, is_key, scope, jobs) for text, is_key in templates.found_in(params)}
        if not planned:
            return Rendered(params)
        request = _Request(self._pool, jobs, scope, {}, limits) if jobs else None
        values: dict[tuple[str, bool], Any] = {}
        warnings: list[str] = []
        for (text, is_key), pieces in planned.items():
            try:
                settled = [_settled(piece, request) for piece in pieces]
                values[text, is_key] = settled[0] if len(settled) == 1 else "".join(settled)
            except (ScriptTimeout, ScriptLimit):
                raise
            except ScriptError as error:
                warnings.append(f"template left as it is: {text[:_SHOWN_TEMPLATE]}: {error.message}")
        return Rendered(templates.replace(params, lambda text, is_key: values.get((text, is_key), text)), warnings)

    def call(
        self,
        source: str,
        scope: Scope,
        *,
        extra: Mapping[str, Any] | None = None,
        expression: bool = False,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Evaluated:
        """Run a function body, or one expression."""
        extra = dict(extra or {})
        request = _Request(self._pool, [("expression" if expression else "body", source)], scope, extra, limits)
        answer = request.answer(0)
        return Evaluated(
            value=answer["value"],
            shared=request.shared(answer["shared"]),
            logs=_rows(answer["logs"]),
            extra=extra | answer["extra"],
        )

    def evaluate(
        self, sources: Sequence[str], scope: Scope, *, limits: Limits = DEFAULT_LIMITS
    ) -> list[Evaluated | ScriptError]:
        """Evaluate expressions in order in one context."""
        if not sources:
            return []
        request = _Request(self._pool, [("expression", source) for source in sources], scope, {}, limits)
        results: list[Evaluated | ScriptError] = []
        for index in range(len(sources)):
            try:
                answer = request.answer(index)
                results.append(Evaluated(answer["value"], logs=_rows(answer["logs"])))
            except ScriptError as error:
                results.append(error)
        return results


class _Request:
    """One round trip: jobs that share a context, and their answers."""

    def __init__(self, pool: WorkerPool, jobs: list[Job], scope: Scope, extra: dict[str, Any], limits: Limits) -> None:
        self._jobs, self._limits, self._scope = jobs, limits, scope
        message, self._sent_shared = scope_message("\n".join(source for _, source in jobs), scope, extra, limits.output)
        text = guarded(lambda: json.dumpb(message), limits).decode()
        memory = min(limits.memory, pool.memory)
        asked = {"memory": memory, "scope": text, "jobs": jobs}
        owner = str(scope.execution.get("account_id", ""))
        reply = pool.request("javascript", asked, time_s=limits.time_s, owner=owner)
        numbers = Numbers(text)
        found = guarded(lambda: numbers.loads(reply.decode()), limits)
        self._answers: list[dict[str, Any]] = found["answers"]
        self._stopped: str | None = found.get("stopped")
        self._logs = _rows(found.get("logs", []))

    def answer(self, index: int) -> dict[str, Any]:
        """The answer to a job. Raises the ScriptError it ended with."""
        if index >= len(self._answers):
            raise self._stop_error()
        answer = self._answers[index]
        if "failed" in answer:
            raise self._error(answer, self._jobs[index][1])
        if too_deep(answer["value"], self._limits.depth) or too_deep(answer["extra"], self._limits.depth + 1):
            raise ScriptLimit(_depth_message("the value", self._limits), logs=_rows(answer["logs"]))
        return answer

    def mode(self, index: int) -> str:
        """The mode of a job."""
        return self._jobs[index][0]

    def shared(self, left: Any) -> dict[str, Any] | None:
        """The shared scope after the script ``left`` its part of it so; None when nothing changed."""
        # Anything but an object comes from a toJSON of the author's and means nothing here.
        if not isinstance(left, dict):
            return None
        sent = self._sent_shared
        changed = {key: value for key, value in left.items() if key not in sent or _differs(sent[key], value)}
        removed = sent.keys() - left.keys()
        if not changed and not removed:
            return None
        if json.size(changed) > self._limits.output:
            raise self._too_large("what the script wrote to shared")
        if too_deep(changed, self._limits.depth + 1):
            raise ScriptLimit(_depth_message("shared", self._limits))
        return {key: value for key, value in self._scope.shared.items() if key not in removed} | changed

    def _too_large(self, what: str, logs: Sequence[LogRow] = ()) -> ScriptLimit:
        return ScriptLimit(f"{what} is larger than {self._limits.output} bytes", logs=logs)

    def _stop_error(self) -> ScriptError:
        stopped = self._stopped or "the script was stopped"
        if "interrupted" in stopped:
            return ScriptTimeout(timeout_message(self._limits.time_s), logs=self._logs)
        # The engine throws null when there is no memory left to make an error of.
        if "out of memory" in stopped or stopped == "null":
            return ScriptLimit(_memory_message(self._limits), logs=self._logs)
        return ScriptError(stopped, logs=self._logs)

    def _error(self, answer: dict[str, Any], source: str) -> ScriptError:
        logs = _rows(answer["logs"])
        stage, name, message = answer["failed"], answer["name"], answer["message"]
        if stage == "too large":
            return self._too_large("the value", logs)
        if name == "InternalError" and message == "out of memory":
            return ScriptLimit(_memory_message(self._limits), logs=logs)
        frame = _FRAME.search(answer["stack"])
        lines = source.count("\n") + 1
        line = min(max(int(frame[1]) - _HEADER_LINES, 1), lines) if frame is not None else None
        if stage == "syntax":
            return ScriptError(f"SyntaxError: {message}" + (f" (line {line})" if line else ""), line, logs=logs)
        if stage == "value" and message == "Maximum call stack size exceeded":
            return ScriptLimit(_depth_message("the value", self._limits), logs=logs)
        if stage == "value":
            return ScriptError(f"the value cannot be written as JSON: {message}", line, logs=logs)
        return ScriptError(message, line, logs=logs)


def _pieces(text: str, is_key: bool, scope: Scope, jobs: list[Job]) -> list[Any]:
    segments = templates.parse(text)
    typed = len(segments) == 1 and not is_key
    pieces: list[Any] = []
    for segment in segments:
        if isinstance(segment, str):
            pieces.append(segment)
            continue
        value = paths.resolve(segment.source, scope)
        known = value if typed else paths.text(value)
        if known is paths.UNKNOWN:
            known = _Pending(len(jobs))
            jobs.append(("expression" if typed else "text", segment.source))
        pieces.append(known)
    return pieces


def _settled(piece: Any, request: _Request | None) -> Any:
    if not isinstance(piece, _Pending) or request is None:
        return piece
    mode, value = request.mode(piece.job), request.answer(piece.job)["value"]
    return value if mode == "expression" or isinstance(value, str) else str(value)


def _differs(before: Any, after: Any) -> bool:
    """As JSON: unlike ``==`` this tells true from 1."""
    return json.dumps(before) != json.dumps(after)


def _memory_message(limits: Limits) -> str:
    return f"the script needs more than {limits.memory // (1024 * 1024)} MB of memory"


def _depth_message(what: str, limits: Limits) -> str:
    return f"{what} is nested more than {limits.depth} levels deep"


def _rows(rows: Sequence[Sequence[str]]) -> list[LogRow]:
    return [(level, message) for level, message in rows]
