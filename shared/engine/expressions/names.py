"""Which names of the scope a source can reach, found in its text, so that only those are sent to a worker.

The text is searched, not parsed: a name in a string or comment counts as used. Code that builds names at run time
(``eval``, ``this``, escapes in identifiers …) is given everything.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from shared.engine.expressions.base import Scope
from shared.kit import json

Reach = frozenset[str] | None
"""The properties of a name that are used; None means any."""

PREVIOUS_OUTPUT = ("input", "result", "output")
_NAMES = (*PREVIOUS_OUTPUT, "shared", "results", "nodes", "secrets", "execution", "accountID", "item", "index", "error")
_MENTION = re.compile(rf"(?:(?<![\w$.])|(?<=\.\.\.))({'|'.join(_NAMES)})(?![\w$])(?:\s*\??\.\s*([A-Za-z_$][\w$]*))?")
_INDIRECT = re.compile(r"\\u|\b(?:eval|Function|constructor|globalThis|this)\b")
_INHERITED = re.compile(r"__\w+__|constructor|hasOwn\w*|isPrototypeOf|propertyIsEnumerable|to(?:Locale)?String|valueOf")
"""Properties every object has: using one may show any of the others."""

_EVERYTHING: Mapping[str, Reach] = dict.fromkeys(_NAMES)


@functools.lru_cache(maxsize=1024)
def reachable(source: str) -> Mapping[str, Reach]:
    """Names of the scope that ``source`` mentions, with the properties it reads of each."""
    if _INDIRECT.search(source):
        return _EVERYTHING
    found: dict[str, set[str] | None] = {}
    for name, prop in _MENTION.findall(source):
        known = found.setdefault(name, set())
        if not prop or _INHERITED.fullmatch(prop):
            found[name] = None
        elif known is not None:
            known.add(prop)
    return {name: None if props is None else frozenset(props) for name, props in found.items()}


def union(reaches: Iterable[Reach]) -> Reach:
    """Everything any of them reaches."""
    together: frozenset[str] = frozenset()
    for reach in reaches:
        if reach is None:
            return None
        together |= reach
    return together


def scope_message(
    source: str, scope: Scope, extra: Mapping[str, Any], output: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the worker needs to know to run ``source``, and the part of the shared scope that is in it."""
    reach = reachable(source)
    previous_output = [reach[name] for name in PREVIOUS_OUTPUT if name in reach and name not in extra]
    used = union(previous_output)
    message: dict[str, Any] = {"output": output, "names": {**_named(reach, scope), **extra}}
    message["back"] = [name for name in extra if name in source or reach is _EVERYTHING]
    message["sharedNamed"] = "shared" in reach and "shared" not in extra
    wanted = reach["shared"] if message["sharedNamed"] else frozenset()
    if previous_output:
        message["input"] = value = _part(scope.input, used)
        if isinstance(value, dict):
            wanted = union((wanted, used and used - value.keys() if used is not None else None))
            if scope.previous_input is not None and (used is None or "input" in used):
                message["previous"] = scope.previous_input
    shared: dict[str, Any] = _part(scope.shared, wanted)
    message["sharedText"] = json.dumps(shared)
    return message, shared


def _named(reach: Mapping[str, Reach], scope: Scope) -> dict[str, Any]:
    names: dict[str, Any] = {}
    if "results" in reach:
        names["results"] = _part(scope.results, reach["results"])
    if "nodes" in reach:
        names["nodes"] = {name: {"output": output} for name, output in _part(scope.results, reach["nodes"]).items()}
    if "secrets" in reach:
        names["secrets"] = _part(scope.secrets, reach["secrets"])
    if "execution" in reach:
        names["execution"] = dict(scope.execution)
    if "accountID" in reach:
        names["accountID"] = scope.execution.get("account_id")
    if scope.has_item:
        names |= {name: getattr(scope, name) for name in ("item", "index") if name in reach}
    if scope.error is not None and "error" in reach:
        names["error"] = scope.error
    return names


def _part(value: Any, used: Collection[str] | None) -> Any:
    if not isinstance(value, Mapping):
        return value
    return dict(value) if used is None else {key: value[key] for key in used if key in value}
