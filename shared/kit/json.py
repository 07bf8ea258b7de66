"""JSON as it goes over the wire and into the store: UTF-8, compact, integers stay integers, no NaN."""

from __future__ import annotations

import json as _json
import math
from typing import Any

import orjson

type Json = None | bool | int | float | str | list[Json] | dict[str, Json]


def dumps(value: Any) -> str:
    """Compact JSON text. Raises TypeError for what JSON cannot carry and ValueError for NaN and infinities."""
    return dumpb(value).decode()


def dumpb(value: Any) -> bytes:
    """As :func:`dumps`, in bytes."""
    _refuse_non_finite(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        # orjson knows 64-bit integers only; the standard library carries longer ones.
        return _json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def loads(data: str | bytes) -> Any:
    """Parse JSON text. Raises ValueError when it is none."""
    return _json.loads(data, parse_constant=_refuse_constant) if _has_long_integer(data) else orjson.loads(data)


def size(value: Any) -> int:
    """Length in bytes of the JSON text of ``value``."""
    return len(dumpb(value))


def _refuse_non_finite(value: Any) -> None:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, float):
            if not math.isfinite(item):
                raise ValueError("JSON has no NaN and no infinity")
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)


def _refuse_constant(text: str) -> None:
    raise ValueError(f"JSON has no {text}")


def _has_long_integer(data: str | bytes) -> bool:
    """Whether a run of 19 digits occurs: such an integer may not fit 64 bits, and orjson would make it a float."""
    run = 0
    digits = "0123456789" if isinstance(data, str) else b"0123456789"
    if len(data) < 19:
        return False
    for probe in range(18, len(data), 19):
        if data[probe] not in digits:
            continue
        start = probe
        while start > 0 and data[start - 1] in digits:
            start -= 1
        end = probe
        while end + 1 < len(data) and data[end + 1] in digits:
            end += 1
        run = end - start + 1
        if run >= 19:
            return True
    return False
