"""From the tree to plain values, and what the parts of a flow file demand of theirs."""

from __future__ import annotations

from collections.abc import Mapping as Map
from typing import Any

from shared.dialects.flowrunner.tree import Mapping, Scalar, Sequence, Tree, is_null, refusal
from shared.kit.durations import parse_duration

LONGEST_MS = 366 * 24 * 3600 * 1000
"""Longest duration a flow file may name."""

LONGEST_NAME = 200
"""Characters of a flow's, node's or action's name."""

_NOTHING: Map[str, Any] = {}


def plain(tree: Tree, schema: Map[str, Any] = _NOTHING) -> Any:
    """The value as JSON. Where ``schema`` takes text only, an unquoted scalar is the text as written.

    So ``key: 007`` and ``action: yes`` reach a node type as their authors see them.
    """
    match tree:
        case Mapping():
            named, others = schema.get("properties", _NOTHING), schema.get("additionalProperties")
            rest = others if isinstance(others, Map) else _NOTHING
            return {key: plain(value, named.get(key, rest)) for key, value in tree.pairs.items()}
        case Sequence():
            items = schema.get("items", _NOTHING)
            return [plain(item, items if isinstance(items, Map) else _NOTHING) for item in tree.items]
        case Scalar():
            return tree.text if schema.get("type") == "string" and tree.value is not None else tree.value


def mapping(tree: Tree | None, what: str) -> Mapping:
    """A mapping; nothing is an empty one. Raises Unprocessable."""
    if isinstance(tree, Mapping):
        return tree
    if tree is None or is_null(tree):
        return Mapping(tree.line if tree is not None else 0)
    raise refusal(f"{what} must be a mapping", tree.line)


def text(tree: Tree | None, what: str, *, longest: int = LONGEST_NAME) -> str:
    """A scalar as written; nothing is an empty text. Raises Unprocessable."""
    if tree is None or is_null(tree):
        return ""
    if not isinstance(tree, Scalar):
        raise refusal(f"{what} must be text", tree.line)
    if len(tree.text) > longest:
        raise refusal(f"{what} must have {longest} characters at most", tree.line)
    return tree.text


def integer(tree: Tree, what: str, least: int, most: int) -> int:
    """A whole number in bounds. Raises Unprocessable."""
    value = tree.value if isinstance(tree, Scalar) else None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:20])
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise refusal(f"{what} must be a whole number from {least} to {most}", tree.line)
    return value


def milliseconds(tree: Tree, what: str) -> int:
    """A duration: Go notation, or a number of seconds. Raises Unprocessable."""
    value = tree.value if isinstance(tree, Scalar) else None
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        found = parse_duration(value) * 1000 if isinstance(value, str) else float(value) * 1000
    except (ValueError, OverflowError):
        raise refusal(f"{what} must be a duration such as 500ms, 1.5s, 2m or 1h30m", tree.line) from None
    if not 0 <= found <= LONGEST_MS:
        raise refusal(f"{what} must be between 0 and 366 days", tree.line)
    return round(found)
