"""Templates that only read a property, ``${input.body.id}``, answered without a worker.

Only own properties of JSON objects are read here; whatever has a meaning of its own in JavaScript (``length``, methods,
missing properties, numbers whose text differs) is left to the real engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shared.engine.expressions.base import Scope

UNKNOWN = object()
"""The answer when the real engine has to decide."""

_PATH = re.compile(r"\s*([A-Za-z]\w*)((?:\.[A-Za-z_]\w*)*)\s*", re.ASCII)
_PLAIN_DECIMAL = re.compile(r"-?\d+\.\d+")


def resolve(source: str, scope: Scope) -> Any:
    """The value of a dotted path, or UNKNOWN."""
    match = _PATH.fullmatch(source)
    if match is None:
        return UNKNOWN
    steps = match[2].split(".")[1:]
    if match[1] in ("input", "result", "output") and steps and isinstance(scope.input, dict):
        value, steps = _behind_input(steps[0], scope), steps[1:]
    else:
        value = _root(match[1], scope)
    for step in steps:
        if not isinstance(value, Mapping) or step not in value:
            return UNKNOWN
        value = value[step]
    return dict(value) if isinstance(value, Mapping) else value


def _behind_input(step: str, scope: Scope) -> Any:
    if step in scope.input:
        return scope.input[step]
    if step == "input" and scope.previous_input is not None:
        return scope.previous_input
    return scope.shared.get(step, UNKNOWN)


def _root(name: str, scope: Scope) -> Any:
    match name:
        case "input" | "result" | "output":
            return scope.input
        case "shared":
            return scope.shared
        case "results":
            return scope.results
        case "secrets":
            return scope.secrets
        case "execution":
            return scope.execution
        case "accountID":
            return scope.execution.get("account_id", UNKNOWN)
        case "item" if scope.has_item:
            return scope.item
        case "index" if scope.has_item:
            return scope.index
        case "error" if scope.error is not None:
            return scope.error
    return UNKNOWN


def text(value: Any) -> Any:
    """How JavaScript shows a value inside a text, or UNKNOWN for those that the real engine should show."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if _PLAIN_DECIMAL.fullmatch(repr(value)) and abs(value) < 1e15 and abs(value) >= 1e-4:
            return repr(value).removesuffix(".0")
    return UNKNOWN
