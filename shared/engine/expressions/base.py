"""What an expression language is to the engine: data in, data out, within limits, never touching the host.

ScriptError            the author's code failed; ``line`` counts in the author's own text
├── ScriptTimeout      it ran too long
└── ScriptLimit        it wanted too much memory, or made too large or too deep a value
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.kit.errors import SignalboxError

LogRow = tuple[str, str]
"""(level, message); the level is debug, info, warn or error."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one evaluation may use: seconds, bytes of working memory, bytes of one result, levels of nesting in it."""

    time_s: float = 5.0
    memory: int = 64 * 1024 * 1024
    output: int = 1024 * 1024
    depth: int = 200


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Scope:
    """The names an expression sees (FlowRunner language, data in scripts). Every value is JSON.

    ``input`` is the previous node's output, ``previous_input`` what that node itself got; ``results`` are outputs by
    node name; ``item`` and ``index`` mean something when ``has_item``. Nothing here is ever changed by an evaluation.
    """

    input: Any = None
    previous_input: Any = None
    shared: dict[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    execution: Mapping[str, Any] = field(default_factory=dict)
    item: Any = None
    index: int | None = None
    error: Any = None
    has_item: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """Parameters with their templates expanded; a warning for each text that had to stay as it was."""

    value: Any
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What a script answered. ``shared`` is the whole shared scope when the script changed it, else None.

    ``extra`` holds the extra names as the script left them.
    """

    value: Any
    shared: dict[str, Any] | None = None
    logs: list[LogRow] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


class ScriptError(SignalboxError):
    """The author's code failed. ``logs`` is what it printed before that."""

    status, code = 422, "script_error"

    def __init__(self, message: str, line: int | None = None, *, logs: Sequence[LogRow] = ()) -> None:
        super().__init__(message)
        self.line = line
        self.logs = list(logs)


class ScriptTimeout(ScriptError):
    """The evaluation was stopped because its time was over."""


class ScriptLimit(ScriptError):
    """The evaluation was stopped, or its value refused, because of its size."""


class Language(Protocol):
    """An expression language. Implementations are safe to share between threads."""

    def render(self, params: Any, scope: Scope, *, limits: Limits = DEFAULT_LIMITS) -> Rendered:
        """Expand the templates in a node's parameters. Raises ScriptTimeout and ScriptLimit only."""

    def call(
        self,
        source: str,
        scope: Scope,
        *,
        extra: Mapping[str, Any] | None = None,
        expression: bool = False,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Evaluated:
        """Run a function body, or one ``expression``; ``extra`` are further names in scope. Raises ScriptError."""

    def evaluate(
        self, sources: Sequence[str], scope: Scope, *, limits: Limits = DEFAULT_LIMITS
    ) -> list[Evaluated | ScriptError]:
        """Evaluate several expressions in order, at the cost of one; what they write to the shared scope is dropped."""
