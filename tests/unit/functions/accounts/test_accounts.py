from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from functions.accounts.app import handler
from functions.secrets.app import handler as secrets
from shared.composition import Services
from shared.kit import clock
from tests.support.apigw import basic, bearer, call
from tests.support.deployment import PASSWORD, Person, deployment, sign_in, sign_up

ACCOUNTS = "/api/v1/accounts"
FIELDS = {"id", "name", "email", "role", "created_at", "updated_at"}
NEW = {"name": "Cyd", "email": "cyd@example.com", "password": PASSWORD, "role": "user"}


def path(who: Person) -> str:
    return f"{ACCOUNTS}/{who.id}"


# Listing


def test_list_200(ada: Person, bob: Person) -> None:
    """Oldest first, the documented fields, nothing secret."""
    result = call(handler, "GET", ACCOUNTS, headers=ada.headers)
    assert result.status == 200
    assert {name: result.body[name] for name in ("total", "limit", "offset")} == {"total": 2, "limit": 10, "offset": 0}
    assert [row["id"] for row in result.body["accounts"]] == [ada.id, bob.id]
    for row in result.body["accounts"]:
        assert row.keys() >= FIELDS
        assert row["created_at"].endswith("Z")
    assert b"argon2" not in result.raw
    assert b"password" not in result.raw


def test_list_pages_and_filters(ada: Person, bob: Person) -> None:
    """`total` counts what the filter keeps, before paging; past the end the list is empty."""

    def rows(query: str) -> tuple[list[str], int]:
        body = call(handler, "GET", f"{ACCOUNTS}?{query}", headers=ada.headers).body
        return [row["id"] for row in body["accounts"]], body["total"]

    assert rows("limit=1&offset=1") == ([bob.id], 2)
    assert rows("offset=5") == ([], 2)
    assert rows("role=admin") == ([ada.id], 1)
    assert rows("role=user&limit=1") == ([bob.id], 1)
    assert rows("role=root") == ([], 0)


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "offset=-1", "offset=x"])
def test_list_400(ada: Person, query: str) -> None:
    """Bad paging."""
    assert call(handler, "GET", f"{ACCOUNTS}?{query}", headers=ada.headers).status == 400


def test_list_401_and_403_come_before_400(bob: Person) -> None:
    """Nobody learns what is wrong with a request they may not make."""
    assert call(handler, "GET", f"{ACCOUNTS}?limit=x").status == 401
    refused = call(handler, "GET", f"{ACCOUNTS}?limit=x", headers=bob.headers)
    assert (refused.status, refused.body["error"]["code"]) == (403, "forbidden")


# Making


def test_create_201(ada: Person) -> None:
    """The account with the role asked for; `user` by default; it signs in at once."""
    result = call(handler, "POST", ACCOUNTS, headers=ada.headers, json=NEW)
    assert result.status == 201
    assert result.body.keys() >= FIELDS
    assert (result.body["name"], result.body["email"], result.body["role"]) == ("Cyd", "cyd@example.com", "user")
    assert result.headers["location"] == f"{ACCOUNTS}/{result.body['id']}"
    assert sign_in("cyd@example.com").id == result.body["id"]
    made = call(handler, "POST", ACCOUNTS, headers=ada.headers, json=NEW | {"email": "d@example.com", "role": "admin"})
    assert made.body["role"] == "admin"
    without = {name: value for name, value in NEW.items() if name != "role"} | {"email": "e@example.com"}
    assert call(handler, "POST", ACCOUNTS, headers=ada.headers, json=without).body["role"] == "user"


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"name": None}, "name", "Name must be a string"),
        ({"name": ...}, "name", "Name is required"),
        ({"name": ""}, "name", "Name is required"),
        ({"name": "  "}, "name", "Name is required"),
        ({"email": ...}, "email", "Email is required"),
        ({"email": "nonsense"}, "email", None),
        ({"email": 5}, "email", None),
        ({"password": ...}, "password", "Password is required"),
        ({"password": "short"}, "password", None),
        ({"password": "x" * 257}, "password", None),
        ({"role": 5}, "role", None),
    ],
)
def test_create_400(ada: Person, change: dict[str, Any], field: str, reason: str | None) -> None:
    """Missing, empty and mistyped fields are named, with the reason."""
    body = {name: value for name, value in (NEW | change).items() if value is not ...}
    result = call(handler, "POST", ACCOUNTS, headers=ada.headers, json=body)
    assert (result.status, result.body["error"]["code"]) == (400, "invalid_request")
    assert result.body["error"]["details"]["field"] == field
    if reason is not None:
        assert result.body["error"]["details"]["reason"] == reason


def test_create_401_without_credentials(ada: Person) -> None:
    """The documented call needs an administrator; so does a body nobody can read."""
    assert call(handler, "POST", ACCOUNTS, json=NEW).status == 401
    assert call(handler, "POST", ACCOUNTS, raw=b"{").status == 401
    assert (
        call(handler, "POST", ACCOUNTS, headers=bearer("x"), json={"username": "x", "password": PASSWORD}).status == 401
    )


def test_create_403_for_users(bob: Person) -> None:
    """Before anybody looks at the body."""
    assert call(handler, "POST", ACCOUNTS, headers=bob.headers, json=NEW).status == 403
    assert call(handler, "POST", ACCOUNTS, headers=bob.headers, raw=b"{").status == 403


def test_create_409(ada: Person, bob: Person) -> None:
    """An address somebody signs in with, in any case."""
    result = call(handler, "POST", ACCOUNTS, headers=ada.headers, json=NEW | {"email": "BOB@example.com"})
    assert (result.status, result.body["error"]["code"]) == (409, "conflict")


def test_create_422(ada: Person) -> None:
    """A role there is not."""
    result = call(handler, "POST", ACCOUNTS, headers=ada.headers, json=NEW | {"role": "root"})
    assert (result.status, result.body["error"]["code"]) == (422, "validation_error")
    assert result.body["error"]["details"]["field"] == "role"


# Signing up


def test_sign_up_201(services: Services) -> None:
    """The first is administrator, the second is not; both get a row without anything secret."""
    first = call(handler, "POST", ACCOUNTS, json={"username": "ada", "password": PASSWORD})
    second = call(handler, "POST", ACCOUNTS, json={"username": "bob", "password": PASSWORD})
    assert (first.status, second.status) == (201, 201)
    assert (first.body["username"], first.body["role"], second.body["role"]) == ("ada", "admin", "user")
    assert PASSWORD.encode() not in first.raw


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "username"),
        ({"username": "cyd"}, "password"),
        ({"username": "cyd", "password": "short"}, "password"),
        ({"username": "a:b", "password": PASSWORD}, "username"),
        ({"username": 5, "password": PASSWORD}, "username"),
    ],
)
def test_sign_up_400(ada: Person, body: Any, field: str) -> None:
    """Bad fields are named."""
    result = call(handler, "POST", ACCOUNTS, json=body)
    assert (result.status, result.body["error"]["details"]["field"]) == (400, field)


def test_sign_up_409(ada: Person) -> None:
    """A name that is taken."""
    assert call(handler, "POST", ACCOUNTS, json={"username": "ADA", "password": PASSWORD}).status == 409


def test_sign_up_401_where_it_is_closed(tmp_path: Path) -> None:
    """Whatever the body."""
    with deployment(tmp_path, open_signup=False):
        for body in ({"username": "ada", "password": PASSWORD}, {}):
            assert call(handler, "POST", ACCOUNTS, json=body).status == 401


# One account


def test_get_200(ada: Person, bob: Person) -> None:
    """By itself, and by an administrator."""
    for who in (bob, ada):
        result = call(handler, "GET", path(bob), headers=who.headers)
        assert (result.status, result.body["id"], result.body["email"]) == (200, bob.id, "bob@example.com")


def test_get_403_and_404(ada: Person, bob: Person) -> None:
    """A user is refused for every other id, real or not; an administrator learns which exist."""
    assert call(handler, "GET", path(ada), headers=bob.headers).status == 403
    assert call(handler, "GET", f"{ACCOUNTS}/unknown", headers=bob.headers).status == 403
    assert call(handler, "GET", f"{ACCOUNTS}/unknown", headers=ada.headers).status == 404
    assert call(handler, "GET", path(ada)).status == 401


def test_me_200(bob: Person) -> None:
    """Who am I, in both dialects, with the user name."""
    for headers in (bob.headers, basic("bob@example.com", PASSWORD)):
        result = call(handler, "GET", f"{ACCOUNTS}/me", headers=headers)
        assert (result.status, result.body["id"], result.body["username"]) == (200, bob.id, "bob@example.com")
    assert call(handler, "GET", f"{ACCOUNTS}/me").status == 401


def test_refresh_token_200_and_401(ada: Person, services: Services) -> None:
    """The command line client's refresh: a legacy token of the same account."""
    result = call(handler, "POST", f"{ACCOUNTS}/refresh-token", headers=ada.headers)
    assert (result.status, result.body["account_id"]) == (200, ada.id)
    assert services.identity.authenticator.authenticate(f"Bearer {result.body['token']}").dialect == "legacy"
    assert call(handler, "POST", f"{ACCOUNTS}/refresh-token").status == 401


# Changing


def test_update_200(bob: Person) -> None:
    """What is given changes, times move as documented, and the new address signs in at once."""
    before = call(handler, "GET", path(bob), headers=bob.headers).body
    result = call(handler, "PUT", path(bob), headers=bob.headers, json={"name": "Bob B.", "email": "b@example.com"})
    assert result.status == 200
    assert (result.body["name"], result.body["email"], result.body["role"]) == ("Bob B.", "b@example.com", "user")
    assert result.body["created_at"] == before["created_at"]
    assert clock.parse_rfc3339(result.body["updated_at"]) > clock.parse_rfc3339(before["updated_at"])
    assert sign_in("b@example.com").id == bob.id
    assert call(handler, "PUT", path(bob), headers=bob.headers, json={}).status == 200


def test_update_by_an_administrator(ada: Person, bob: Person) -> None:
    """Including the role, which takes effect at once."""
    result = call(handler, "PUT", path(bob), headers=ada.headers, json={"role": "admin", "name": "Chief"})
    assert (result.status, result.body["role"]) == (200, "admin")
    assert call(handler, "GET", ACCOUNTS, headers=bob.headers).status == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [({"name": ""}, "name"), ({"email": "x"}, "email"), ({"password": "short"}, "password"), ({"name": 5}, "name")],
)
def test_update_400(bob: Person, body: Any, field: str) -> None:
    """Bad fields are named and nothing changes."""
    result = call(handler, "PUT", path(bob), headers=bob.headers, json=body)
    assert (result.status, result.body["error"]["details"]["field"]) == (400, field)


def test_update_in_the_order_of_tests(ada: Person, bob: Person) -> None:
    """Credentials, then rights, then existence, and only then the body."""
    assert call(handler, "PUT", path(bob), raw=b"{").status == 401
    assert call(handler, "PUT", path(ada), headers=bob.headers, raw=b"{").status == 403
    assert call(handler, "PUT", f"{ACCOUNTS}/unknown", headers=ada.headers, raw=b"{").status == 404
    assert call(handler, "PUT", path(bob), headers=bob.headers, raw=b"{").status == 400


def test_update_403_for_a_role_of_ones_own(bob: Person) -> None:
    """Nobody promotes themselves, not even to what they are."""
    for role in ("admin", "user", "root"):
        assert call(handler, "PUT", path(bob), headers=bob.headers, json={"role": role}).status == 403


def test_update_409(ada: Person, bob: Person) -> None:
    """A taken address, and the last administrator's role."""
    assert call(handler, "PUT", path(bob), headers=bob.headers, json={"email": "ada@local"}).status == 409
    assert call(handler, "PUT", path(ada), headers=ada.headers, json={"role": "user"}).status == 409


def test_update_422(ada: Person, bob: Person) -> None:
    """A role there is not."""
    assert call(handler, "PUT", path(bob), headers=ada.headers, json={"role": "root"}).status == 422


# Deleting


def test_delete_200_and_all_is_over(ada: Person, bob: Person) -> None:
    """By itself or an administrator; tokens and password stop at once; the second time it is gone."""
    assert (
        call(secrets, "POST", f"{path(bob)}/secrets", headers=bob.headers, json={"key": "K", "value": "v"}).status
        == 201
    )
    result = call(handler, "DELETE", path(bob), headers=bob.headers)
    assert (result.status, result.body) == (200, {"message": "Account deleted successfully"})
    assert call(handler, "GET", f"{ACCOUNTS}/me", headers=bob.headers).status == 401
    assert call(handler, "GET", f"{ACCOUNTS}/me", headers=basic("bob@example.com", PASSWORD)).status == 401
    assert call(handler, "GET", path(bob), headers=ada.headers).status == 404
    assert call(handler, "DELETE", path(bob), headers=ada.headers).status == 404
    again = sign_up("bob@example.com")
    assert again.id != bob.id
    assert call(secrets, "GET", f"{path(again)}/secrets", headers=again.headers).body["secrets"] == []


def test_delete_204_for_the_command_line_client(ada: Person, bob: Person) -> None:
    """Nothing in the body."""
    result = call(handler, "DELETE", path(bob), headers=basic("ada", PASSWORD))
    assert (result.status, result.raw) == (204, b"")


def test_delete_401_403_404_409(ada: Person, bob: Person) -> None:
    """Nobody, somebody else, nothing there, the last administrator."""
    assert call(handler, "DELETE", path(bob)).status == 401
    assert call(handler, "DELETE", path(ada), headers=bob.headers).status == 403
    assert call(handler, "DELETE", f"{ACCOUNTS}/unknown", headers=ada.headers).status == 404
    assert call(handler, "DELETE", path(ada), headers=ada.headers).status == 409


def test_405_on_accounts(services: Services) -> None:
    """The collection and one account say what they answer."""
    assert call(handler, "DELETE", ACCOUNTS).headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert call(handler, "PATCH", f"{ACCOUNTS}/x").headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"
