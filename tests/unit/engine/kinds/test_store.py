"""The store node: every operation over the real key values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.engine.expressions.base import Scope
from shared.engine.keyvalues import StoredValues
from shared.engine.kinds.base import Done, KindServices, NodeFailed
from shared.engine.kinds.store import OPERATIONS, Store
from shared.kit.errors import Unavailable
from shared.store.embedded import EmbeddedEngine
from tests.support.time import HeldClock
from tests.unit.engine.kinds.conftest import CallFactory

Run = Callable[..., Any]


@pytest.fixture
def values(store: EmbeddedEngine) -> StoredValues:
    return StoredValues()


@pytest.fixture
def run(call: CallFactory, values: StoredValues) -> Run:
    """``run(operation, visit=…, **params)``: the output of one visit of the node."""
    visits = iter(range(1000))

    def make(
        operation: str | None, *, visit: str | None = None, keyvalues: Any = values, scope: Scope | None = None,
        **params: Any,
    ) -> Any:  # fmt: skip
        made = call({"operation": operation, **params} if operation is not None else params)
        services = cast(KindServices, SimpleNamespace(keyvalues=keyvalues))
        made = replace(made, services=services, idempotency_key=visit or f"visit-{next(visits)}")
        outcome = Store().run(replace(made, scope=scope or made.scope))
        assert isinstance(outcome, Done)
        return outcome.output

    return make


def refused(run: Run, message: str, *given: Any, **params: Any) -> None:
    """The node fails for good, with this message."""
    with pytest.raises(NodeFailed, match=message) as caught:
        run(*given, **params)
    assert caught.value.retryable is False


@pytest.mark.parametrize("operation", ["set", "append"])
def test_a_value_holds_no_secret(run: Run, operation: str) -> None:
    """An execution that has not read the secret would show it, so the node fails for good and stores nothing."""
    scope = Scope(secrets={"KEY": "hunter22"})
    refused(run, "must not contain a secret", operation, scope=scope, key="a", value={"token": "Bearer hunter22"})
    refused(run, "key not found: a", "get", key="a")


def test_set_get_delete(run: Run) -> None:
    """A value is answered by set and get, and gone after delete; null is a value."""
    assert run("set", key="a", value={"n": [1, 2]}) == {"n": [1, 2]}
    assert run("get", key="a") == {"n": [1, 2]}
    assert run("set", key="null", value=None) is None
    assert run("get", key="null") is None
    assert run("delete", key="a") == {"deleted": True, "key": "a"}
    assert run("delete", key="a") == {"deleted": False, "key": "a"}
    refused(run, "key not found: a", "get", key="a")


@pytest.mark.parametrize(("ttl", "lives_s"), [("90s", 90), (2, 2), ("500ms", 0.5)])
def test_time_to_live(run: Run, held: HeldClock, ttl: Any, lives_s: float) -> None:
    """Durations in Go notation or seconds; zero means without an end."""
    run("set", key="a", value=1, ttl=ttl)
    run("set", key="b", value=1, ttl=0)
    held.advance(lives_s - 0.001)
    assert run("list") == ["a", "b"]
    held.advance(0.001)
    assert run("list") == ["b"]


def test_list_is_sorted(run: Run) -> None:
    """Keys as texts, numbers too."""
    for key in ("b", "a", 10, 9):
        run("set", key=key, value=0)
    assert run("list") == ["10", "9", "a", "b"]


def test_increment(run: Run) -> None:
    """By one or by an amount; a repeated attempt of the same visit counts once."""
    assert run("increment", key="n") == {"key": "n", "new_value": 1, "incremented": 1}
    for _ in range(2):
        assert run("increment", key="n", amount=-2.5, visit="same") == {
            "key": "n", "new_value": -1.5, "incremented": -2.5,
        }  # fmt: skip
    assert run("get", key="n") == -1.5


def test_append(run: Run) -> None:
    """The list is made when missing; a repeated attempt of the same visit counts once."""
    assert run("append", key="l", value={"a": 1}) == {"key": "l", "appended": {"a": 1}}
    for _ in range(2):
        run("append", key="l", value=None, visit="same")
    assert run("get", key="l") == [{"a": 1}, None]


def test_clear(run: Run) -> None:
    """Everything of the account is gone."""
    run("set", key="a", value=1)
    run("set", key="b", value=1)
    assert run("clear") == {"cleared": True, "count": 2}
    assert run("list") == []


def test_save_and_load_are_accepted(run: Run) -> None:
    """Everything is kept anyway, so they and the file parameters have no effect."""
    assert run("save", file_path="/tmp/store.json") == {"saved": True}
    assert run("load", file_path="/tmp/store.json", auto_save=True) == {"loaded": True}


PEOPLE: dict[str, dict[str, Any]] = {
    "ada": {"age": 36, "city": "London", "tags": ["math", "code"], "admin": True},
    "bob": {"age": 7, "city": "Bonn", "tags": [], "admin": False},
    "cyd": {"age": 36.0, "city": "Lonsdale", "admin": 1},
    "dan": {"city": None},
}


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        ({}, "ada bob cyd dan"),
        ({"age": 36}, "ada cyd"),
        ({"age": {"$eq": 36}, "city": "London"}, "ada"),
        ({"admin": True}, "ada"),
        ({"age": {"$ne": 36}}, "bob dan"),
        ({"age": {"$gt": 7}}, "ada cyd"),
        ({"age": {"$gte": 7, "$lt": 36}}, "bob"),
        ({"age": {"$lte": 36}}, "ada bob cyd"),
        ({"city": {"$gt": "London"}}, "cyd"),
        ({"age": {"$gt": "7"}}, ""),
        ({"city": {"$in": ["Bonn", None]}}, "bob dan"),
        ({"city": {"$contains": "Lon"}}, "ada cyd"),
        ({"tags": {"$contains": "code"}}, "ada"),
        ({"age": None}, "dan"),
        ({"_key": {"$in": ["bob", "text"]}}, "bob"),
    ],
)
def test_query_filters(run: Run, wanted: dict[str, Any], keys: str) -> None:
    """Objects that pass every condition, each with its key; other values are no rows."""
    for key, value in {**PEOPLE, "text": "London", "list": [36]}.items():
        run("set", key=key, value=value)
    found = run("query", filter=wanted)
    assert [row["_key"] for row in found] == keys.split()
    assert all(row == {**PEOPLE[row["_key"]], "_key": row["_key"]} for row in found)


def test_query_sorts_and_limits(run: Run) -> None:
    """By a field or its reverse, equal ones by key; at most so many."""
    for key, value in PEOPLE.items():
        run("set", key=key, value=value)
    assert [row["_key"] for row in run("query", sort="age")] == ["dan", "bob", "ada", "cyd"]
    assert [row["_key"] for row in run("query", sort="-age", limit=2)] == ["ada", "cyd"]
    assert [row["_key"] for row in run("query", limit=1)] == ["ada"]
    assert len(run("query", limit=0)) == 4


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "operation parameter is required"),
        ({"operation": "drop"}, "operation must be one of set, get, .*, not drop"),
        ({"operation": ["set"]}, "operation must be one of"),
        ({"operation": "get"}, "key parameter is required"),
        ({"operation": "set", "value": 1}, "key parameter is required"),
        ({"operation": "set", "key": "a"}, "value parameter is required"),
        ({"operation": "append", "key": "a"}, "value parameter is required"),
        ({"operation": "set", "key": ["a"], "value": 1}, "key must be text"),
        ({"operation": "set", "key": "x" * 2000, "value": 1}, "key must be Unicode text of 1 to 1024 bytes"),
        ({"operation": "set", "key": "a", "value": 1, "ttl": "soon"}, "ttl must be a duration"),
        ({"operation": "set", "key": "a", "value": "x" * 400_000}, "400,002 bytes; 358,400 is the limit"),
        ({"operation": "increment", "key": "a", "amount": "2"}, "amount must be a number"),
        ({"operation": "increment", "key": "a", "amount": True}, "amount must be a number"),
        ({"operation": "query", "filter": "age > 3"}, "filter must be an object"),
        ({"operation": "query", "filter": {"a": {"$regex": "x"}}}, "unknown filter operator"),
        ({"operation": "query", "sort": 1}, "sort must be the name of a field"),
        ({"operation": "query", "limit": -1}, "limit must be a whole number"),
    ],
)
def test_what_is_refused(run: Run, params: dict[str, Any], message: str) -> None:
    """The author reads what to do; another attempt would not help. Nothing was stored."""
    refused(run, message, params.pop("operation", None), **params)
    assert run("list") == []


def test_values_of_the_wrong_kind(run: Run) -> None:
    """Incrementing a text or appending to it fails with what is wrong, and changes nothing."""
    run("set", key="a", value="text")
    refused(run, "a holds no number", "increment", key="a")
    refused(run, "a holds no list", "append", key="a", value=1)
    assert run("get", key="a") == "text"


def test_a_store_that_is_away_is_worth_another_attempt(run: Run) -> None:
    """The author's retry applies."""

    class Away:
        def keys(self, account_id: str) -> Iterator[str]:
            raise Unavailable("The store cannot be reached; try again")

    with pytest.raises(NodeFailed, match="cannot be reached") as caught:
        run("list", keyvalues=Away())
    assert caught.value.retryable is True


def test_the_schema_names_every_operation() -> None:
    """What the kind does is what its parameters say."""
    assert Store.parameters["properties"]["operation"]["enum"] == list(OPERATIONS)
    assert Store().effectful is True
