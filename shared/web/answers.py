"""Successful answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from starlette.responses import Response

from shared.identity.principal import Principal
from shared.kit import json

ANSWER_BYTES = 5 * 1024 * 1024
"""Largest answer; a list ends early rather than exceed it."""

T = TypeVar("T", covariant=True)
U = TypeVar("U")


class PageLike(Protocol[T]):
    """A part of a list: ``total`` counts all of it."""

    @property
    def items(self) -> Sequence[T]: ...

    @property
    def total(self) -> int: ...

    @property
    def limit(self) -> int: ...

    @property
    def offset(self) -> int: ...


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(json.dumpb(body), status, headers, "application/json")


def fitting(rows: Iterable[Any], room: int = ANSWER_BYTES) -> list[Any]:
    """Rows until together they would have more than ``room`` bytes; the first one in any case."""
    found: list[Any] = []
    for row in rows:
        room -= json.size(row) + 1
        if room < 0 and found:
            break
        found.append(row)
    return found


def page_answer(name: str, page: PageLike[U], row: Callable[[U], Any]) -> Response:
    """``{<name>: [...], total, limit, offset}``. Source: FlowRunner API Reference, List Flows."""
    rows = fitting(row(item) for item in page.items)
    return answer({name: rows, "total": page.total, "limit": page.limit, "offset": page.offset})


def list_answer(principal: Principal, name: str, page: PageLike[U], row: Callable[[U], Any]) -> Response:
    """A page for the documented dialect, the bare rows for the command line client."""
    if principal.dialect == "legacy":
        return answer(fitting(row(item) for item in page.items))
    return page_answer(name, page, row)


def done(principal: Principal, message: str) -> Response:
    """What a deletion answers: 200 with a message; to the command line client 204 and nothing."""
    if principal.dialect == "legacy":
        return Response(status_code=204)
    return answer({"message": message})
