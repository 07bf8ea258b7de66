"""What ``store``, ``postgres`` and ``dynamodb`` answer alike: filters, order and limits (docs/rulings.md#records)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from shared.engine.kinds.base import NodeFailed
from shared.engine.kinds.scripting import seconds
from shared.kit import json

KEY = "_key"
"""Where a found object carries the key it is stored under."""

FILTER = {
    "type": "object",
    "description": "Fields and their values, or an object of $eq, $ne, $gt, $gte, $lt, $lte, $in, $contains.",
}
SORT = {"type": "string", "description": "A field to sort by; a leading minus sorts from the highest."}
LIMIT = {"type": "integer", "minimum": 0, "description": "How many at most; 0 is no limit."}

LARGEST_MATCH = 16 * 1024 * 1024
"""Bytes of JSON text that the values which pass a filter may have together."""

_ABSENT = object()


def select(pairs: Iterable[tuple[str, Any]], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The object values that pass ``params["filter"]``, each with its key as ``_key``, sorted and limited.

    Without ``sort`` the order of ``pairs`` stays. Values that are no objects are left out. Raises NodeFailed when too
    much passes.
    """
    passes = _filter(params.get("filter"))
    passing = (shown for key, value in pairs if isinstance(value, dict) and passes(shown := value | {KEY: key}))
    sort, limit = params.get("sort"), whole(params.get("limit") or 0, "limit") or None
    if not sort:
        return list(_bounded(itertools.islice(passing, limit)))
    if not isinstance(sort, str):
        raise NodeFailed(
            "sort must be the name of a field, with a leading minus to sort from the highest", retryable=False
        )
    field = sort.removeprefix("-")
    found = sorted(_bounded(passing), key=lambda value: _rank(value.get(field, _ABSENT)), reverse=sort.startswith("-"))
    return found[:limit]


def _bounded(values: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    size = 0
    for value in values:
        size += json.size(value)
        if size > LARGEST_MATCH:
            raise NodeFailed(
                f"more than {LARGEST_MATCH // 2**20} MB of values match; narrow the filter", retryable=False
            )
        yield value


def whole(value: Any, name: str, *, least: int = 0, most: int = 2**53) -> int:
    """A whole number between ``least`` and ``most``; ``5.0`` is one, a text or a boolean is not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        bound = f"at least {least}" if most == 2**53 else f"between {least} and {most}"
        raise NodeFailed(f"{name} must be a whole number, {bound}", retryable=False)
    return value


def key_of(value: Any) -> str:
    """A key as text: numbers become text, everything else must be text."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise NodeFailed("key must be text", retryable=False)
    return value


def time_to_live(value: Any, name: str = "ttl") -> float | None:
    """How long a value is kept, in seconds; without end when there is no ``value``, or 0."""
    return None if value is None else seconds(value, name) or None


def not_found(key: str) -> NodeFailed:
    """The failure of reading a key nothing is stored under."""
    return NodeFailed(f"key not found: {key}", retryable=False)


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal: 1 equals 1.0, and true equals only true."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    return bool(left == right)


def _filter(wanted: Any) -> Callable[[Mapping[str, Any]], bool]:
    if not wanted:
        return lambda value: True
    if not isinstance(wanted, dict):
        raise NodeFailed("filter must be an object of fields and what they must be", retryable=False)
    tests = [(name, *test) for name, condition in wanted.items() for test in _tests(condition)]
    return lambda value: all(test(value.get(name, _ABSENT), operand) for name, test, operand in tests)


def _tests(condition: Any) -> Iterable[tuple[Callable[[Any, Any], bool], Any]]:
    if not isinstance(condition, dict) or not any(str(name).startswith("$") for name in condition):
        yield _OPERATORS["$eq"], condition
        return
    for name, operand in condition.items():
        if name not in _OPERATORS:
            raise NodeFailed(f"unknown filter operator {name}; there are {', '.join(_OPERATORS)}", retryable=False)
        if name == "$in" and not isinstance(operand, list):
            raise NodeFailed("$in needs a list", retryable=False)
        yield _OPERATORS[name], operand


def _equal(value: Any, operand: Any) -> bool:
    return operand is None if value is _ABSENT else same(value, operand)


def _contains(value: Any, operand: Any) -> bool:
    if isinstance(value, str):
        return isinstance(operand, str) and operand in value
    return isinstance(value, list) and any(same(one, operand) for one in value)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(value: Any, operand: Any) -> bool:
        return _comparable(value, operand) and compare(value, operand)

    return test


def _comparable(left: Any, right: Any) -> bool:
    if isinstance(left, str) or isinstance(right, str):
        return isinstance(left, str) and isinstance(right, str)
    return all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in (left, right))


def _rank(value: Any) -> tuple[int, Any]:
    """A total order over JSON values: absent and null, false, true, numbers, texts, the rest as they come."""
    if value is _ABSENT or value is None:
        return 0, 0
    if isinstance(value, bool):
        return 1, value
    if isinstance(value, (int, float)):
        return 2, value
    return (3, value) if isinstance(value, str) else (4, 0)


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": lambda value, operand: not _equal(value, operand),
    "$gt": _ordered(lambda value, operand: value > operand),
    "$gte": _ordered(lambda value, operand: value >= operand),
    "$lt": _ordered(lambda value, operand: value < operand),
    "$lte": _ordered(lambda value, operand: value <= operand),
    "$in": lambda value, operand: any(_equal(value, one) for one in operand),
    "$contains": _contains,
}
