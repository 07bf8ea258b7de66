"""How much of a list a caller gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from shared.identity.principal import Principal
from shared.kit import json
from shared.web.requests import Paging, Query

ANSWER_BYTES = 5 * 1024 * 1024
"""Largest answer; a list ends early rather than exceed it."""

WHOLE_LIST = 10_000
"""Rows the command line client gets: its lists are bare arrays, which it never pages through."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """A part of a list; ``total`` counts all of it."""

    items: Sequence[T]
    total: int
    limit: int
    offset: int


def list_paging(principal: Principal, query: Query) -> Paging:
    """``limit`` and ``offset`` of a list; without a limit the command line client gets the whole of it."""
    paging = query.paging()
    if principal.dialect == "legacy" and query.text("limit") is None:
        return Paging(WHOLE_LIST, paging.offset)
    return paging


def take(rows: Iterable[Callable[[], T]], paging: Paging, room: int = ANSWER_BYTES) -> Rows[T]:
    """The rows of one page, made only when they are on it; ends early when ``room`` bytes are full, but has one row."""
    items: list[T] = []
    total = 0
    for make in rows:
        if paging.offset <= total < paging.offset + paging.limit and room > 0:
            row = make()
            room -= json.size(row)
            if room > 0 or not items:
                items.append(row)
        total += 1
    return Rows(items, total, paging.limit, paging.offset)
