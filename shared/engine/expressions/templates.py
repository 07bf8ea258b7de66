"""Finding ``${…}`` in text, and walking a tree of parameters (FlowRunner language, templates in parameters)."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OPENING = "${"
VERBATIM = frozenset({"script", "condition_script", "processor_script", "hooks"})
"""Parameters whose text is a script, in which ``${`` belongs to the script's own template literals."""

MOST_UNCLOSED = 4
"""After so many openings without an end the rest of a text is plain, which keeps the search linear."""

LONGEST_EXPRESSION = 32 * 1024
"""An opening whose end is further away has none; nobody writes such an expression, and the search holds up others."""

Replace = Callable[[str, bool], Any]
"""(text, whether it is a mapping key) → what to put in its place."""

_CACHED_LENGTH = 4096
_STRING = r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'"""
_REGEX = r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.){0,100}+\]){1,1000}+/"
_REST = r"(?P<value>[\w$]+|[)\]])|(?P<space>\s+)|(?P<other>.)"
_COMMENT = r"(?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))"
_AFTER_VALUE = re.compile(rf"{_COMMENT}|(?P<string>{_STRING})|{_REST}", re.DOTALL)
_ELSEWHERE = re.compile(rf"{_COMMENT}|(?P<string>{_STRING}|{_REGEX})|{_REST}", re.DOTALL)
"""A slash divides after a value and begins a regular expression elsewhere."""

_LITERAL_TEXT = re.compile(r"(?:[^`\\$]|\\.|\$(?!\{))*(?P<end>`|\$\{)", re.DOTALL)
_NOT_A_VALUE = frozenset({"return", "typeof", "case", "in", "of", "delete", "void", "instanceof", "new"})


@dataclass(frozen=True, slots=True)
class Expression:
    """The source between the brackets of one ``${…}``."""

    source: str


Segment = str | Expression


def parse(text: str) -> tuple[Segment, ...]:
    """Plain text and expressions in turn. An opening without an end is plain text."""
    return _parse_cached(text) if len(text) <= _CACHED_LENGTH else _parse(text)


def _parse(text: str) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    plain_from = position = unclosed = 0
    while unclosed < MOST_UNCLOSED and (start := text.find(OPENING, position)) >= 0:
        position = start + len(OPENING)
        end = expression_end(text, position)
        if end is None:
            unclosed += 1
            continue
        if start > plain_from:
            segments.append(text[plain_from:start])
        segments.append(Expression(text[position:end]))
        plain_from = position = end + 1
    if plain_from < len(text):
        segments.append(text[plain_from:])
    return tuple(segments)


_parse_cached = functools.lru_cache(maxsize=2048)(_parse)


def expression_end(text: str, start: int) -> int | None:
    """Index of the bracket that closes the expression starting at ``start``, or None when there is none.

    Brackets are counted; those in strings, comments, regular expressions and template literals do not count.
    """
    closers = ["}"]
    position, after_value = start, False
    while position < min(len(text), start + LONGEST_EXPRESSION):
        if closers[-1] == "`":
            literal = _LITERAL_TEXT.match(text, position)
            if literal is None:
                return None
            position, after_value = literal.end(), literal["end"] == "`"
            closers[-1:] = [] if after_value else ["`", "}"]
            continue
        token = (_AFTER_VALUE if after_value else _ELSEWHERE).match(text, position)
        if token is None or token[0] in "\"'":
            return None
        position = token.end()
        if token.lastgroup in ("string", "value"):
            after_value = token[0] not in _NOT_A_VALUE
        elif token.lastgroup == "other":
            after_value = False
            if token[0] in "{`":
                closers.append("}" if token[0] == "{" else "`")
            elif token[0] == "}" and not _closed(closers):
                return position - 1
    return None


def _closed(closers: list[str]) -> bool:
    """Take the innermost bracket off; False when it was the last."""
    closers.pop()
    return bool(closers)


def found_in(params: Any) -> list[tuple[str, bool]]:
    """Every text that may hold an expression, once; keys of mappings only when they are one whole expression."""
    found: dict[tuple[str, bool], None] = {}
    replace(params, lambda text, is_key: found.setdefault((text, is_key)))
    return list(found)


def replace(params: Any, put: Replace) -> Any:
    """A copy of a node's parameters with every text of :func:`found_in` replaced."""
    if not isinstance(params, dict):
        return _replaced(params, put)
    result = {}
    for key, value in params.items():
        if key in VERBATIM:
            result[key] = value
        elif key == "conditions" and isinstance(value, list):
            result[key] = [_replaced_condition(one, put) for one in value]
        else:
            result[_key(key, put)] = _replaced(value, put)
    return result


def _replaced_condition(one: Any, put: Replace) -> Any:
    if not isinstance(one, dict):
        return _replaced(one, put)
    kept = {"condition": one["condition"]} if "condition" in one else {}
    return _replaced({key: value for key, value in one.items() if key != "condition"}, put) | kept


def _replaced(value: Any, put: Replace) -> Any:
    if isinstance(value, str):
        return put(value, False) if OPENING in value else value
    if isinstance(value, list):
        return [_replaced(child, put) for child in value]
    if isinstance(value, dict):
        return {_key(key, put): _replaced(child, put) for key, child in value.items()}
    return value


def _key(key: Any, put: Replace) -> Any:
    if not isinstance(key, str) or not key.startswith(OPENING):
        return key
    segments = parse(key)
    return put(key, True) if len(segments) == 1 and isinstance(segments[0], Expression) else key
