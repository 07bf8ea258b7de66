"""Parts of lists that go on at a cursor, which is the key of the last item before.

Source: docs/rulings.md#nullrun-lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """Items of a list with the key of each. ``total`` counts the whole list, ``more`` is whether any follow."""

    items: Sequence[T]
    keys: Sequence[str]
    total: int
    more: bool

    def of(self, items: Sequence[U]) -> Part[U]:
        """The same part with other items in the place of these, one for each."""
        return Part(items, self.keys, self.total, self.more)


def part_of(items: Sequence[T], limit: int, cursor: str | None, key: Callable[[T], str]) -> Part[T]:
    """Up to ``limit`` items after the one whose key ``cursor`` is, of a list sorted by its unique keys."""
    rest = [item for item in items if cursor is None or key(item) > cursor]
    shown = rest[:limit]
    return Part(shown, [key(item) for item in shown], len(items), len(rest) > len(shown))
