"""JSON as it goes over the wire and into the store: UTF-8, compact, integers exact at any length, no NaN."""

from __future__ import annotations

import json as _json
from math import isinf
from typing import Any, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_encode = _json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def dumps(value: Any) -> str:
    """Compact JSON text. Raises TypeError for what JSON cannot carry, ValueError for NaN, infinities and cycles."""
    return _encode(value)


def dumpb(value: Any) -> bytes:
    """As :func:`dumps`, in UTF-8; a lone surrogate becomes its escape, as JSON.stringify writes it."""
    return _encode(value).encode("utf-8", "backslashreplace")


def loads(data: str | bytes) -> Any:
    """Parse JSON text. Raises ValueError when it is none; NaN, infinities and numbers too large to be finite are none."""
    return _json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)


def size(value: Any) -> int:
    """Length in bytes of the JSON text of ``value``."""
    return len(dumpb(value))


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError(f"the number {text} is too large")
    return number


def _refuse_constant(text: str) -> None:
    raise ValueError(f"JSON has no {text}")
