"""What the kinds that run an author's script share: limits, log rows, durations, the candidate actions of a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shared.engine.expressions.base import DEFAULT_LIMITS, Evaluated, Limits, ScriptError
from shared.engine.kinds.base import GENERIC_ACTIONS, Call, NodeFailed
from shared.kit import json
from shared.kit.durations import parse_duration

LONGEST_WAIT_S = 366 * 24 * 3600.0
DURATION = {
    "type": ["string", "number"],
    "description": "Go notation such as 500ms, 1.5s or 1h30m; a number is seconds.",
}
SCRIPT = {"type": "string", "description": "Body of a JavaScript function (ES2020); return gives the value."}

_DECISIONS = ("action", "route", "branch", "branch_decision")


def run_script(
    call: Call, source: Any, *, extra: Mapping[str, Any] | None = None, own_limits: Limits | None = None
) -> Evaluated:
    """Run a script of the node with its console on the node's log, also when it fails. Raises ScriptError.

    Without ``own_limits`` the node's ``timeout`` parameter is the script's.
    """
    if not isinstance(source, str):
        raise NodeFailed("a script must be text", retryable=False)
    try:
        evaluated = call.services.language.call(source, call.scope, extra=extra, limits=own_limits or limits(call))
    except ScriptError as error:
        _print(call, error.logs)
        raise
    _print(call, evaluated.logs)
    return evaluated


def limits(call: Call) -> Limits:
    """The default limits, with the time the node's ``timeout`` parameter asks for."""
    wanted = call.params.get("timeout")
    if wanted is None:
        return DEFAULT_LIMITS
    longest = call.services.wall_clock_limit_s
    return replace(DEFAULT_LIMITS, time_s=min(max(seconds(wanted, "timeout"), 0.001), longest))


def _print(call: Call, rows: list[tuple[str, str]]) -> None:
    for level, message in rows:
        call.log(level, message)


def seconds(value: Any, name: str) -> float:
    """A duration parameter in seconds: Go notation, or a number of seconds."""
    try:
        found = parse_duration(value) if isinstance(value, str) else float(value)
    except (ValueError, TypeError, OverflowError):
        raise NodeFailed(f"{name} must be a duration such as 500ms, 1.5s or 1h30m", retryable=False) from None
    if isinstance(value, bool) or not 0 <= found <= LONGEST_WAIT_S:
        raise NodeFailed(f"{name} must be between 0 and 366 days", retryable=False)
    return found


def actions_of(value: Any) -> tuple[str, ...]:
    """Candidate actions of what a condition or router decided (FlowRunner language, candidate actions)."""
    if isinstance(value, dict):
        decisions = (value.get(name) for name in _DECISIONS)
        return (*(text for text in decisions if isinstance(text, str)), *GENERIC_ACTIONS)
    return text_of(value), "default"


def text_of(value: Any) -> str:
    """A JSON value as text: a text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def truthy(value: Any) -> bool:
    """JavaScript's idea of true: empty lists and objects are."""
    return isinstance(value, (list, dict)) or bool(value)
