"""JSON values on their way into and out of a language whose numbers are doubles."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from shared.engine.expressions.base import Limits, ScriptLimit

_LONG_INTEGER = re.compile(r"(?<![\d.])-?\d{16,}(?![\d.eE])")


class Numbers:
    """Gives integers beyond 2**53 that passed through a script unchanged their last digits back.

    A double read back from a script that equals exactly one of the long integers that went in is taken to be it.
    """

    def __init__(self, sent: str) -> None:
        self._known: dict[float, int | None] = {}
        for text in _LONG_INTEGER.findall(sent):
            if len(text) <= MOST_DIGITS:
                exact = int(text)
                self._known[float(text)] = exact if self._known.get(float(text), exact) == exact else None

    def loads(self, text: str) -> Any:
        """Parse JSON text that came out of a worker. Raises ValueError, RecursionError."""
        if not self._known:
            return json.loads(text)
        return json.loads(text, parse_int=self._integer, parse_float=self._double)

    def _integer(self, text: str) -> int:
        exact = self._known.get(float(text)) if len(text) >= SHORTEST_INEXACT else None
        return int(text) if exact is None else exact

    def _double(self, text: str) -> float | int:
        number = float(text)
        exact = self._known.get(number)
        return number if exact is None else exact


MOST_DIGITS = 300
SHORTEST_INEXACT = 16


def too_deep(value: Any, depth: int) -> bool:
    """Whether containers are nested in ``value`` more than ``depth`` levels. Does not recurse."""
    level = [value]
    for _ in range(depth):
        level = [child for one in level if isinstance(one, (dict, list)) for child in _children(one)]
        if not level:
            return False
    return any(isinstance(one, (dict, list)) for one in level)


def _children(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def guarded(work: Callable[[], Any], limits: Limits) -> Any:
    """``work()``, with what JSON cannot carry turned into the author's error."""
    try:
        return work()
    except RecursionError:
        raise ScriptLimit(f"the data is nested more than {limits.depth} levels deep") from None
    except ValueError as error:
        raise ScriptLimit(f"the data cannot be written as JSON: {error}") from None
