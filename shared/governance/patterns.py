"""Tool patterns: ``*`` is any run of characters, ``x|y`` is either, ``a.*`` is also ``a``; nothing else is special.

A pattern is about the whole name, in any case. A match takes time in proportion to pattern and name: there is nothing
to go back to. Source: NullRun docs, Policies, Tool patterns; docs/rulings.md#tool-patterns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.kit.errors import InvalidRequest

LONGEST_PATTERN = 4096
"""Bytes of a pattern, and characters of a tool's name."""

_FOREIGN = "?[]{}"


class PatternTooLong(InvalidRequest):
    """A pattern has too many bytes."""

    code = "pattern_too_long"


class InvalidGlob(InvalidRequest):
    """A pattern is not one."""

    code = "invalid_glob"


@dataclass(frozen=True, slots=True)
class _Glob:
    """One alternative: what the name begins with, what follows in this order, what it ends with."""

    head: str
    middle: tuple[str, ...]
    tail: str | None

    def matches(self, name: str) -> bool:
        if self.tail is None:
            return name == self.head
        place, end = len(self.head), len(name) - len(self.tail)
        if place > end or not name.startswith(self.head) or not name.endswith(self.tail):
            return False
        for part in self.middle:
            place = name.find(part, place, end)
            if place < 0:
                return False
            place += len(part)
        return True


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern ready for use; ``text`` is as it was written."""

    text: str
    globs: tuple[_Glob, ...]

    def matches(self, name: str) -> bool:
        """Whether it is about the tool of this name."""
        return self.matches_folded(name.casefold())

    def matches_folded(self, folded: str) -> bool:
        """As :meth:`matches`, for a name that is case-folded already."""
        return any(glob.matches(folded) for glob in self.globs)


def compile_pattern(text: str) -> Pattern:
    """The pattern of a text that was checked when it came in."""
    globs: list[_Glob] = []
    for alternative in text.casefold().split("|"):
        globs.append(_glob(alternative))
        if alternative.endswith(".*") and len(alternative) > 2:
            globs.append(_glob(alternative[:-2]))
    return Pattern(text, tuple(globs))


def checked_pattern(text: str) -> Pattern:
    """The pattern of a text somebody sent. Raises PatternTooLong and InvalidGlob."""
    if len(text.encode("utf-8", "surrogatepass")) > LONGEST_PATTERN:
        raise PatternTooLong(f"A tool pattern must have {LONGEST_PATTERN} bytes at most")
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in text):
        raise InvalidGlob("A tool pattern must not contain control characters")
    if "" in text.split("|"):
        raise InvalidGlob("A tool pattern, and each of its alternatives between |, must not be empty")
    foreign = next((character for character in text if character in _FOREIGN), None)
    if foreign is not None:
        raise InvalidGlob(f"A tool pattern knows * for any run of characters and | for alternatives, but no {foreign}")
    return compile_pattern(text)


def first_match(patterns: Sequence[Pattern], names: Iterable[str]) -> tuple[str, str] | None:
    """The text of the first pattern that is about one of the names, and that name; names count in their order."""
    for name in names:
        folded = name.casefold()
        found = next((pattern.text for pattern in patterns if pattern.matches_folded(folded)), None)
        if found is not None:
            return found, name
    return None


def _glob(alternative: str) -> _Glob:
    head, *rest = alternative.split("*")
    if not rest:
        return _Glob(head, (), None)
    return _Glob(head, tuple(part for part in rest[:-1] if part), rest[-1])
