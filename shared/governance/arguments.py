"""Arguments of a tool call as clients tell of them: as Python writes values (``'EU'``, ``500``, ``True``), some hidden.

NullRun's SDK sends the repr of each argument, cut after 50 characters, and ``***`` for what is secret. Other clients
send plain JSON, so a value is compared both as it came and as it reads in Python.
Source: NullRun docs, Human approval; docs/rulings.md#rule-predicates.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from shared.kit import json

MASK = "***"
CUT = "...<truncated>"

_WORDS: Mapping[str, Any] = {"True": True, "False": False, "None": None}
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?|[+-]?inf|nan")
_DECIMAL = re.compile(r"Decimal\('([^']+)'\)")

# Only escapes that a repr has: Python warns of others.
_ESCAPE = r"\\(?:[\\'nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})"
_QUOTED = re.compile(rf"""'(?:[^'\\\n\r\0]|{_ESCAPE})*'|"(?:[^"\\\n\r\0]|{_ESCAPE})*\"""")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument. ``text`` is what it reads as; ``raw`` is what came. Of a hidden one only the beginning is known."""

    value: Any
    raw: str
    is_hidden: bool = False

    @property
    def text(self) -> str:
        """The argument as text."""
        return self.value if isinstance(self.value, str) else self.raw

    @property
    def is_text(self) -> bool:
        """Whether a hidden argument is known to be a text."""
        return self.raw[:1] in ("'", '"')

    def may_be(self, expected: Any) -> bool:
        """Whether it is ``expected`` (a text, number, boolean or null), or could be for all that is known of it."""
        if self.is_hidden:
            return repr(expected).startswith(self.raw) or str(expected).startswith(self.raw)
        if isinstance(expected, bool) or expected is None:
            return self.value is expected
        if isinstance(expected, str):
            return expected in (self.text, self.raw)
        number = number_of(self.value)
        return number is not None and number == Decimal(str(expected))


def arguments_of(impact: Mapping[str, Any]) -> Mapping[str, Any]:
    """The named arguments of a tool call, as they came; of other impacts none."""
    params = impact.get("params")
    if impact.get("kind") != "tool_call" or not isinstance(params, dict):
        return {}
    named = params.get("kwargs")
    return named if isinstance(named, dict) else params


def argument_of(came: Any) -> Argument:
    """One argument as it came."""
    if not isinstance(came, str):
        return Argument(came, json.dumps(came))
    if came == MASK:
        return Argument(None, "", is_hidden=True)
    if came.endswith(CUT):
        return Argument(None, came.removesuffix(CUT), is_hidden=True)
    return Argument(_read(came), came)


def number_of(value: Any) -> Decimal | None:
    """A number, or a text that is one, exactly; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, str):
        text = value.strip().replace("_", "")
        return Decimal(text) if _NUMBER.fullmatch(text) else None
    return None


def _read(text: str) -> Any:
    """What a repr stands for, where that is a text, a boolean or None; numbers stay as they are written."""
    if text in _WORDS:
        return _WORDS[text]
    wrapped = _DECIMAL.fullmatch(text)
    if wrapped is not None:
        return wrapped[1]
    if not _QUOTED.fullmatch(text):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
