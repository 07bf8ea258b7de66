"""Durations as flow authors write them: Go's notation (``500ms``, ``1.5s``, ``2m``, ``1h30m``)."""

from __future__ import annotations

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Seconds in ``text``. Raises ValueError for anything Go's ParseDuration refuses, and for negative ones."""
    source = text.strip()
    if source in ("0", "+0"):
        return 0.0
    body = source.removeprefix("+")
    position, total = 0, 0.0
    while position < len(body):
        part = _PART.match(body, position)
        if part is None:
            break
        total += float(part[1]) * _UNITS[part[2]]
        position = part.end()
    if not body or position != len(body):
        raise ValueError(f"not a duration: {text!r}; write for example 500ms, 1.5s, 2m or 1h30m")
    return total
