"""Bodies and lists as the NullRun API has them: a bad field is 422, a list goes on at a cursor.

Source: NullRun docs, HTTP API; docs/rulings.md#nullrun-lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from shared.governance.introspection import MAX_PROTOCOL, MIN_PROTOCOL
from shared.governance.pages import Part
from shared.kit.errors import InvalidRequest, Unprocessable
from shared.web.answers import answer, fitting
from shared.web.operation import header, query
from shared.web.requests import MAX_LIMIT, Body, Query

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

CURSOR_LIMIT = 50
"""Rows of a list where nobody says how many."""

_CURSOR = re.compile(r"[A-Za-z0-9_.:~-]{1,200}")

CURSORS = (
    query("limit", "integer", "Rows at most; more than 100 count as 100.", minimum=1, default=CURSOR_LIMIT),
    query("cursor", description="`next_cursor` of the part before; without it the list begins."),
)
"""The parameters of a list that goes on at a cursor."""


PROTOCOL = header("X-NULLRUN-PROTOCOL", "2, 3 or 4; without it 4.")
"""The header that :func:`require_protocol` reads."""


class InvalidJson(InvalidRequest):
    """The body is no JSON object."""

    code = "invalid_json"


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a list: ``limit`` rows after the one whose key ``cursor`` is."""

    limit: int
    cursor: str | None


def read_form(body: Body, model: type[M], *, optional: bool = False) -> M:
    """The body as ``model``. Raises InvalidJson (400) and Unprocessable (422) naming the first bad field."""
    try:
        return body.read(model, optional=optional)
    except InvalidRequest as error:
        if error.details is None:
            raise InvalidJson(error.message) from None
        raise Unprocessable(error.message, details=error.details) from None


def window_of(asked: Query) -> Window:
    """``limit`` (1 or more, at most 100 are given) and ``cursor``. Raises InvalidRequest."""
    limit, cursor = asked.integer("limit", CURSOR_LIMIT, least=1), asked.text("cursor") or None
    if cursor is not None and not _CURSOR.fullmatch(cursor):
        raise InvalidRequest.field("cursor", "Cursor must be the next_cursor of an earlier answer")
    return Window(min(limit, MAX_LIMIT), cursor)


def part_answer(name: str, part: Part[T], row: Callable[[T], dict[str, Any]], **more: Any) -> Response:
    """``{<name>: [...], total, next_cursor}`` and whatever ``more`` is given."""
    rows = fitting(row(item) for item in part.items)
    goes_on = part.more or len(rows) < len(part.items)
    following = part.keys[len(rows) - 1] if goes_on and rows else None
    return answer({name: rows, "total": part.total, "next_cursor": following, **more})


class ProtocolRefused(InvalidRequest):
    """The client speaks another version of the protocol, or does not say which."""

    def __init__(self, error_code: str, message: str) -> None:
        super().__init__(message)
        self.code = error_code.lower()
        self.body = {
            "error": self.code, "code": error_code, "error_code": error_code, "message": message,
            "error_message": message, "category": "infra", "retry_after_ms": None,
            "details": {"error_code": error_code, "min_protocol_version": 2, "max_protocol_version": 4},
        }  # fmt: skip


def require_protocol(request: Request) -> None:
    """Raise ProtocolRefused (400) unless ``X-NULLRUN-PROTOCOL`` is 2, 3 or 4, or absent, which stands for 4."""
    given = request.headers.get("x-nullrun-protocol")
    if given is None:
        return
    if not re.fullmatch(r"[0-9]{1,9}", given.strip()):
        raise ProtocolRefused("PROTOCOL_HEADER_INVALID", "X-NULLRUN-PROTOCOL must be a whole number")
    if int(given) < MIN_PROTOCOL:
        raise ProtocolRefused("PROTOCOL_TOO_OLD", "This protocol is too old; update the client")
    if int(given) > MAX_PROTOCOL:
        raise ProtocolRefused("PROTOCOL_TOO_NEW", "The server does not speak this protocol yet; update the server")
