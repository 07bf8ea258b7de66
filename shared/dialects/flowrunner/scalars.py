"""What an unquoted YAML scalar means. Sources: YAML 1.1, Language-Independent Types; docs/rulings.md#flow-yaml."""

from __future__ import annotations

import math
import re
from typing import Any

LONGEST_NUMBER = 64
"""Longer runs of digits are texts."""

_WORDS: dict[str, Any] = (
    {"": None, "~": None}
    | {
        spelling: value
        for word, value in (("null", None), ("true", True), ("yes", True), ("on", True))
        for spelling in (word, word.capitalize(), word.upper())
    }
    | {spelling: False for word in ("false", "no", "off") for spelling in (word, word.capitalize(), word.upper())}
)
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_BASED = re.compile(r"([-+]?)0([xob])([0-9a-fA-F_]*[0-9a-fA-F])")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_BASES = {"x": 16, "o": 8, "b": 2}


def resolve(text: str) -> Any:
    """None, a bool, an int, a finite float, or the text itself.

    What JSON cannot carry (dates, .inf, .nan) and what YAML's versions read as different numbers (0755, 1:30) is text.
    """
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > LONGEST_NUMBER or text[0] not in "+-.0123456789":
        return text
    if _DECIMAL.fullmatch(text):
        return int(text.replace("_", ""))
    based = _BASED.fullmatch(text)
    if based is not None:
        return _based(based, text)
    if _FLOAT.fullmatch(text):
        value = float(text.replace("_", ""))
        return value if math.isfinite(value) else text
    return text


def _based(match: re.Match[str], text: str) -> Any:
    try:
        value = int(match[3].replace("_", ""), _BASES[match[2]])
    except ValueError:
        return text
    return -value if match[1] == "-" else value
