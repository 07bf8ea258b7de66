"""Bodies and lists of the NullRun API. Source: docs/rulings.md#nullrun-lists."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.requests import Request

from shared.governance.pages import Part, part_of
from shared.kit.errors import InvalidRequest, Unprocessable
from shared.web.answers import ANSWER_BYTES
from shared.web.errors import render_error
from shared.web.nullrun import InvalidJson, part_answer, read_form, window_of
from shared.web.requests import Body, Query, WireModel


class Form(WireModel):
    """A text."""

    text: str = ""


def asked(query: str) -> Query:
    return Query(Request({"type": "http", "query_string": query.encode(), "headers": []}))


def listed(part: Part[Any]) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(bytes(part_answer("things", part, lambda item: {"id": item}, extra=1).body))
    return body


def test_read_form() -> None:
    """The fields; an empty body only where a body may be left out."""
    assert read_form(Body(b'{"text":"x","unknown":1}'), Form).text == "x"
    assert read_form(Body(b""), Form, optional=True).text == ""
    with pytest.raises(InvalidJson):
        read_form(Body(b""), Form)


@pytest.mark.parametrize("raw", [b"{", b"[]", b"null"])
def test_no_json_object_is_400(raw: bytes) -> None:
    """What is no object has a code of its own."""
    with pytest.raises(InvalidJson) as refused:
        read_form(Body(raw), Form)
    body = render_error("/api/v1/orgs/x", refused.value)
    assert (refused.value.status, body["error"], body["error_code"]) == (400, "invalid_json", "INVALID_JSON")


def test_a_bad_field_is_422() -> None:
    """It is named as one field and among the fields."""
    with pytest.raises(Unprocessable) as refused:
        read_form(Body(b'{"text":1}'), Form)
    body = render_error("/api/v1/orgs/x", refused.value)
    assert (refused.value.status, body["error"], body["error_code"]) == (422, "validation_error", "INVALID_FIELD")
    assert body["details"] == {
        "field": "text",
        "reason": "Text must be a string",
        "fields": {"text": "Text must be a string"},
    }


@pytest.mark.parametrize(
    ("query", "limit", "cursor"),
    [("", 50, None), ("limit=7&cursor=a-1", 7, "a-1"), ("limit=100000", 100, None), ("cursor=", 50, None)],
)
def test_window(query: str, limit: int, cursor: str | None) -> None:
    """50 rows unless asked for others, 100 at most."""
    window = window_of(asked(query))
    assert (window.limit, window.cursor) == (limit, cursor)


@pytest.mark.parametrize("query", ["limit=0", "limit=-5", "limit=a", "limit=1e3", "cursor=%00", "cursor=a%20b"])
def test_bad_windows(query: str) -> None:
    """They are refused, not guessed at."""
    with pytest.raises(InvalidRequest):
        window_of(asked(query))


def test_part_answer() -> None:
    """The rows, how many there are, where it goes on, and whatever else a list says."""
    items = ["a", "b", "c"]
    first = part_of(items, 2, None, lambda item: item)
    assert listed(first) == {"things": [{"id": "a"}, {"id": "b"}], "total": 3, "next_cursor": "b", "extra": 1}
    last = part_of(items, 2, "b", lambda item: item)
    assert listed(last) == {"things": [{"id": "c"}], "total": 3, "next_cursor": None, "extra": 1}
    nothing = part_of(items, 2, "c", lambda item: item)
    assert listed(nothing) == {"things": [], "total": 3, "next_cursor": None, "extra": 1}


def test_a_part_too_large_for_an_answer_ends_early() -> None:
    """The cursor is that of the last row that was given, so that none is lost."""
    third = ANSWER_BYTES // 5 * 2
    items = [letter * third for letter in "abc"]
    part = part_of(items, 3, None, lambda item: item[:1])
    body = listed(part)
    assert ([row["id"][:1] for row in body["things"]], body["next_cursor"]) == (["a", "b"], "b")
