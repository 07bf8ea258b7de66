"""JSON as it goes over the wire and into the store: UTF-8, compact, integers exact at any length, no NaN."""

from __future__ import annotations

import json as _json
from math import isinf
from typing import Any, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_encode = _json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def dumps(value: Any) -> str:
    """Compact JSON text; a lone surrogate becomes its escape, as JSON.stringify writes it, so that it can be sent.

    Raises TypeError for what JSON cannot carry, ValueError for NaN, infinities and cycles.
    """
    text = _encode(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def dumpb(value: Any) -> bytes:
    """As :func:`dumps`, in UTF-8."""
    return _encode(value).encode("utf-8", "backslashreplace")


def is_unicode(value: Any) -> bool:
    """Whether every text in a JSON value is one that can be stored and sent as it is: none has a lone surrogate."""
    try:
        _encode(value).encode()
    except UnicodeEncodeError:
        return False
    return True


def loads(data: str | bytes) -> Any:
    """Parse JSON text. Raises ValueError when it is none; NaN and numbers that no double can hold are none.

    Bytes are UTF-8. Python's own reading of bytes would let other encodings pass, and half of a surrogate pair.
    """
    text = data if isinstance(data, str) else data.decode("utf-8-sig")
    return _json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)


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
