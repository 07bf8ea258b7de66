from __future__ import annotations

from typing import Any

import pytest

from functions.secrets.app import handler
from shared.kit import clock
from tests.support.apigw import basic, call
from tests.support.deployment import PASSWORD, Person

VALUE = "the-value-canary"


def path(who: Person, *more: str) -> str:
    return "/".join((f"/api/v1/accounts/{who.id}/secrets", *more))


def store(who: Person, key: str, value: str = VALUE) -> Any:
    return call(handler, "POST", path(who), headers=who.headers, json={"key": key, "value": value})


def test_create_201_and_list_200(bob: Person) -> None:
    """Rows hold name and times, never the value."""
    made = store(bob, "API_KEY")
    assert made.status == 201
    assert made.body.keys() == {"key", "created_at", "updated_at"}
    listed = call(handler, "GET", path(bob), headers=bob.headers)
    assert (listed.status, listed.body) == (200, {"secrets": [made.body], "total": 1})
    assert VALUE.encode() not in made.raw + listed.raw


def test_create_again_replaces(bob: Person) -> None:
    """The same name: the value is the new one, `created_at` stays, `updated_at` moves."""
    first, second = store(bob, "K", "one"), store(bob, "K", "two")
    assert second.status == 201
    assert second.body["created_at"] == first.body["created_at"]
    assert clock.parse_rfc3339(second.body["updated_at"]) > clock.parse_rfc3339(first.body["updated_at"])
    assert call(handler, "GET", path(bob, "K"), headers=bob.headers).body == {"key": "K", "value": "two"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"value": "v"}, "key"),
        ({"key": "", "value": "v"}, "key"),
        ({"key": 5, "value": "v"}, "key"),
        ({"key": "keys", "value": "v"}, "key"),
        ({"key": "a b", "value": "v"}, "key"),
        ({"key": "a/b", "value": "v"}, "key"),
        ({"key": "K"}, "value"),
        ({"key": "K", "value": ""}, "value"),
        ({"key": "K", "value": 5}, "value"),
        ({"key": "K", "value": None}, "value"),
        ({"key": "K", "value": "x" * 70000}, "value"),
    ],
)
def test_create_400(bob: Person, body: Any, field: str) -> None:
    """The field is named; the value is not repeated."""
    result = call(handler, "POST", path(bob), headers=bob.headers, json=body)
    assert (result.status, result.body["error"]["code"]) == (400, "invalid_request")
    assert result.body["error"]["details"]["field"] == field


def test_keys_200(bob: Person) -> None:
    """Names and how many; an empty list when there are none."""
    assert call(handler, "GET", path(bob, "keys"), headers=bob.headers).body == {"keys": [], "total": 0}
    for key in ("B", "A"):
        store(bob, key)
    assert call(handler, "GET", path(bob, "keys"), headers=bob.headers).body == {"keys": ["A", "B"], "total": 2}


def test_by_name(bob: Person) -> None:
    """Stored by name, empty too; shown; replaced where it exists."""
    made = call(handler, "POST", path(bob, "a.b@c-d_e"), headers=bob.headers, json={"value": ""})
    assert (made.status, made.body["key"]) == (201, "a.b@c-d_e")
    shown = call(handler, "GET", path(bob, "a.b@c-d_e"), headers=bob.headers)
    assert (shown.status, shown.body) == (200, {"key": "a.b@c-d_e", "value": ""})
    changed = call(handler, "PUT", path(bob, "a.b@c-d_e"), headers=bob.headers, json={"value": "new"})
    assert (changed.status, changed.body["created_at"]) == (200, made.body["created_at"])
    assert call(handler, "GET", path(bob, "a.b@c-d_e"), headers=bob.headers).body["value"] == "new"


def test_by_name_400(bob: Person) -> None:
    """A missing or mistyped value, and the reserved name."""
    for body in ({}, {"value": 5}, {"value": None}):
        assert call(handler, "POST", path(bob, "K"), headers=bob.headers, json=body).status == 400
    reserved = call(handler, "POST", path(bob, "keys"), headers=bob.headers, json={"value": "v"})
    assert reserved.status == 400
    store(bob, "K")
    assert call(handler, "PUT", path(bob, "K"), headers=bob.headers, raw=b"{").status == 400


def test_404_for_what_is_not_there(bob: Person) -> None:
    """Before the body is looked at."""
    for method in ("GET", "DELETE"):
        assert call(handler, method, path(bob, "MISSING"), headers=bob.headers).status == 404
    missing = call(handler, "PUT", path(bob, "MISSING"), headers=bob.headers, raw=b"{")
    assert (missing.status, missing.body["error"]["code"]) == (404, "not_found")


def test_delete_200_then_404(bob: Person) -> None:
    """The documented message; gone afterwards."""
    store(bob, "K")
    result = call(handler, "DELETE", path(bob, "K"), headers=bob.headers)
    assert (result.status, result.body) == (200, {"message": "Secret deleted successfully"})
    assert call(handler, "DELETE", path(bob, "K"), headers=bob.headers).status == 404


def test_delete_204_for_the_command_line_client(bob: Person) -> None:
    """Nothing in the body."""
    store(bob, "K")
    result = call(handler, "DELETE", path(bob, "K"), headers=basic("bob@example.com", PASSWORD))
    assert (result.status, result.raw) == (204, b"")


def test_401_and_403_for_everybody_else(ada: Person, bob: Person) -> None:
    """Administrators included, whether the secret exists or not, before the body is looked at."""
    store(bob, "K")
    calls = [
        ("GET", path(bob)),
        ("POST", path(bob)),
        ("GET", path(bob, "keys")),
        ("GET", path(bob, "K")),
        ("POST", path(bob, "K")),
        ("PUT", path(bob, "K")),
        ("DELETE", path(bob, "K")),
        ("GET", path(bob, "MISSING")),
        ("PUT", path(bob, "MISSING")),
    ]
    for method, where in calls:
        assert call(handler, method, where, raw=b"{").status == 401, (method, where)
        refused = call(handler, method, where, headers=ada.headers, raw=b"{")
        assert refused.status == 403, (method, where)
        assert VALUE.encode() not in refused.raw
    assert call(handler, "GET", path(bob, "K"), headers=bob.headers).body["value"] == VALUE


def test_405_on_secrets(bob: Person) -> None:
    """Each path says what it answers."""
    assert call(handler, "PUT", path(bob)).headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert call(handler, "PATCH", path(bob, "K")).headers["allow"] == "DELETE, GET, HEAD, OPTIONS, POST, PUT"
