"""Filters, order and limits of stored values."""

from typing import Any

import pytest

from shared.engine.kinds import records
from shared.engine.kinds.base import NodeFailed
from shared.engine.kinds.records import key_of, same, select, whole

STORED: list[tuple[str, Any]] = [
    ("a", {"n": 1, "s": "Zoë", "tags": ["x", 1]}),
    ("b", {"n": 2.5, "s": "ada", "tags": []}),
    ("c", {"n": "1", "s": None}),
    ("d", {"n": True}),
    ("e", [1]),
    ("f", "text"),
]


def keys(**params: Any) -> list[str]:
    return [value["_key"] for value in select(STORED, params)]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ({}, "abcd"),
        (None, "abcd"),
        ({"n": 1}, "a"),
        ({"n": 1.0}, "a"),
        ({"n": {"$eq": True}}, "d"),
        ({"n": {"$ne": 1}}, "bcd"),
        ({"n": {"$gt": 1}}, "b"),
        ({"n": {"$gte": 1}}, "ab"),
        ({"n": {"$lt": 2.5}}, "a"),
        ({"n": {"$lte": 2.5, "$gt": 0}}, "ab"),
        ({"n": {"$gte": "0"}}, "c"),
        ({"n": {"$in": [1, "1"]}}, "ac"),
        ({"s": None}, "cd"),
        ({"s": {"$ne": None}}, "ab"),
        ({"s": {"$contains": "da"}}, "b"),
        ({"tags": {"$contains": 1}}, "a"),
        ({"tags": {"$contains": True}}, ""),
        ({"tags": []}, "b"),
        ({"_key": "c"}, "c"),
        ({"n": 1, "s": "ada"}, ""),
        ({"absent": {"$lt": 5}}, ""),
        ({"absent": {"$in": [None]}}, "abcd"),
    ],
)
def test_filters(condition: Any, found: str) -> None:
    """Only objects are found, and only those that pass every condition."""
    assert "".join(keys(filter=condition)) == found


@pytest.mark.parametrize("params", [{}, {"sort": "n"}, {"sort": "n", "limit": 1}])
def test_no_more_is_gathered_than_fits(monkeypatch: pytest.MonkeyPatch, params: dict[str, Any]) -> None:
    """An account's values, all together, may be larger than a process; what is left out by filter or limit is free."""
    monkeypatch.setattr(records, "LARGEST_MATCH", 60)
    with pytest.raises(NodeFailed, match="match; narrow the filter") as caught:
        select(STORED, params)
    assert caught.value.retryable is False
    assert len(select(STORED, params | {"filter": {"n": True}})) == 1
    assert len(select(STORED, {"limit": 1})) == 1


def test_order_and_limit() -> None:
    """Any field orders any values, upwards or downwards; the limit counts what passed."""
    assert "".join(keys(sort="n")) == "dabc"
    assert "".join(keys(sort="-n")) == "cbad"
    assert "".join(keys(sort="s")) == "cdab"
    assert "".join(keys(sort="-_key", limit=2)) == "dc"
    assert keys(limit=0) == list("abcd")
    assert keys(filter={"n": {"$gt": 1}}, limit=5.0) == ["b"]


def test_the_stored_value_is_not_changed() -> None:
    """The key is added to what is shown only."""
    assert select(STORED, {"limit": 1}) == [{"n": 1, "s": "Zoë", "tags": ["x", 1], "_key": "a"}]
    assert STORED[0][1] == {"n": 1, "s": "Zoë", "tags": ["x", 1]}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"filter": {"n": {"$like": 1}}}, r"unknown filter operator \$like; there are \$eq, \$ne"),
        ({"filter": {"n": {"$in": 1}}}, r"\$in needs a list"),
        ({"filter": "n = 1"}, "filter must be an object"),
        ({"sort": ["n"]}, "sort must be the name of a field"),
        ({"limit": -1}, "limit must be a whole number, at least 0"),
        ({"limit": "5"}, "limit must be a whole number"),
        ({"limit": True}, "limit must be a whole number"),
    ],
)
def test_bad_queries(params: dict[str, Any], message: str) -> None:
    """Refused for good, with what to write."""
    with pytest.raises(NodeFailed, match=message) as caught:
        select(STORED, params)
    assert caught.value.retryable is False


@pytest.mark.parametrize(("value", "text"), [("a", "a"), (5, "5"), (1.5, "1.5")])
def test_keys(value: Any, text: str) -> None:
    """Numbers may be keys."""
    assert key_of(value) == text


@pytest.mark.parametrize("value", [True, None, {}, ["a"]])
def test_what_is_no_key(value: Any) -> None:
    """Everything else is refused."""
    with pytest.raises(NodeFailed, match="key must be text"):
        key_of(value)


def test_whole_numbers() -> None:
    """Bounds are part of the message."""
    assert whole(5.0, "limit") == 5
    with pytest.raises(NodeFailed, match="port must be a whole number, between 1 and 9"):
        whole(10, "port", least=1, most=9)


def test_equality() -> None:
    """As JSON sees it, at any depth."""
    assert same({"a": [1, {"b": 2.0}]}, {"a": [1.0, {"b": 2}]})
    assert not same([1], [True]) and not same({"a": 1}, {"a": 1, "b": 2}) and not same(0, False) and not same([], {})
