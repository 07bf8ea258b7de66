"""A page of rows that are made only when they are on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.kit import json
from shared.web.answers import ANSWER_BYTES
from shared.web.requests import Paging

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """A part of a list; ``total`` counts all of it."""

    items: Sequence[Row]
    total: int
    limit: int
    offset: int


def take(makers: Iterable[Callable[[], Row]], paging: Paging, room: int = ANSWER_BYTES) -> Rows:
    """The rows of one page; ends early when ``room`` bytes are full, but has at least one row."""
    items: list[Row] = []
    total, full = 0, False
    for make in makers:
        if paging.offset <= total < paging.offset + paging.limit and not full:
            row = make()
            room -= json.size(row)
            full = room < 0
            if not full or not items:
                items.append(row)
        total += 1
    return Rows(items, total, paging.limit, paging.offset)
