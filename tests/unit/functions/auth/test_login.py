from __future__ import annotations

from typing import Any

import jwt
import pytest

from functions.auth.app import handler
from shared.composition import Services
from shared.kit import clock
from tests.support.apigw import bearer, call
from tests.support.deployment import PASSWORD, Person
from tests.support.time import HeldClock

LOGIN, LEGACY = "/api/v1/auth/login", "/api/v1/login"


@pytest.mark.parametrize("name", ["bob@example.com", "BOB@example.com"])
def test_200_by_user_name(bob: Person, name: str) -> None:
    """The documented fields and those of the other API; the token is a JWT and `expires_at` its end."""
    result = call(handler, "POST", LOGIN, json={"username": name, "password": PASSWORD})
    assert result.status == 200
    body = result.body
    assert (body["account_id"], body["username"]) == (bob.id, "bob@example.com")
    claims = jwt.decode(body["token"], options={"verify_signature": False})
    assert clock.parse_rfc3339(body["expires_at"]) == claims["exp"] * 1000
    assert body["expires_at"].endswith("Z")
    assert body["session_token"] == body["token"]
    assert body["user"] == {"id": bob.id, "email": "bob@example.com", "name": "bob@example.com"}
    assert (body["organization_id"], body["role"]) == (bob.org_id, "owner")


def test_200_by_address(bob: Person) -> None:
    """A body with `email` signs in as well and reads the same answer."""
    result = call(handler, "POST", LOGIN, json={"email": "bob@example.com", "password": PASSWORD})
    assert (result.status, result.body["account_id"]) == (200, bob.id)


def test_unknown_fields_are_ignored(bob: Person) -> None:
    """A newer client's extra fields do no harm."""
    body = {"username": "bob@example.com", "password": PASSWORD, "remember": True}
    assert call(handler, "POST", LOGIN, json=body).status == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "username"),
        ({"password": PASSWORD}, "username"),
        ({"username": "a", "email": "b", "password": PASSWORD}, "username"),
        ({"username": "", "password": PASSWORD}, "username"),
        ({"username": None, "password": PASSWORD}, "username"),
        ({"username": 5, "password": PASSWORD}, "username"),
        ({"username": "ada"}, "password"),
        ({"username": "ada", "password": ""}, "password"),
        ({"username": "ada", "password": 5}, "password"),
        ({"username": "ada", "password": None}, "password"),
    ],
)
def test_400_names_the_field(ada: Person, body: Any, field: str) -> None:
    """Neither or both names, missing and mistyped fields: FlowRunner's envelope with details."""
    result = call(handler, "POST", LOGIN, json=body)
    assert (result.status, result.body["error"]["code"]) == (400, "invalid_request")
    assert result.body["error"]["details"]["field"] == field


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"x"'])
def test_400_for_what_is_no_object(ada: Person, raw: bytes) -> None:
    """In FlowRunner's envelope on both paths."""
    for path in (LOGIN, LEGACY):
        result = call(handler, "POST", path, raw=raw)
        assert (result.status, result.body["error"]["code"]) == (400, "invalid_request")


def test_400_reads_as_the_caller_expects(ada: Person) -> None:
    """Who sends `email` is a client of the other API and gets its form."""
    result = call(handler, "POST", LOGIN, json={"email": "", "password": PASSWORD})
    assert (result.status, result.body["error"], result.body["error_code"]) == (400, "bad_request", "BAD_REQUEST")


def test_401_does_not_say_what_was_wrong(ada: Person) -> None:
    """Unknown user and wrong password are the same answer, to the byte."""
    wrong = call(handler, "POST", LOGIN, json={"username": "ada", "password": "wrong password"})
    unknown = call(handler, "POST", LOGIN, json={"username": "nobody", "password": PASSWORD})
    assert wrong.status == unknown.status == 401
    assert wrong.raw == unknown.raw
    assert wrong.body["error"]["code"] == "unauthorized"
    other = call(handler, "POST", LOGIN, json={"email": "nobody@example.com", "password": PASSWORD})
    assert (other.status, other.body["error"]) == (401, "unauthorized")


def test_429_after_five_failures(ada: Person) -> None:
    """With the seconds to wait, for existing and invented names alike, in the caller's form."""
    for name in ("ada", "nobody"):
        for _ in range(5):
            assert call(handler, "POST", LOGIN, json={"username": name, "password": "wrong"}).status == 401
        locked = call(handler, "POST", LOGIN, json={"username": name, "password": PASSWORD})
        assert locked.status == 429
        assert 0 < int(locked.headers["retry-after"]) <= 300
    other = call(handler, "POST", LOGIN, json={"email": "ada", "password": PASSWORD})
    assert (other.status, other.body["error"]) == (429, "rate_limit_exceeded")


def test_413_for_an_endless_password(ada: Person) -> None:
    """The body limit holds before anybody looks at it."""
    assert call(handler, "POST", LOGIN, json={"username": "ada", "password": "x" * 5_000_000}).status == 413


def test_405_names_the_method(services: Services) -> None:
    """Signing in is a POST."""
    result = call(handler, "GET", LOGIN)
    assert (result.status, result.headers["allow"]) == (405, "OPTIONS, POST")


def test_the_legacy_path_gives_legacy_tokens(ada: Person, services: Services) -> None:
    """The command line client's sign-in reads `token`, and its token chooses the dialect everywhere."""
    result = call(handler, "POST", LEGACY, json={"username": "ada", "password": PASSWORD})
    assert result.status == 200
    assert {"token", "account_id", "username", "expires_at"} <= result.body.keys()
    assert services.identity.authenticator.authenticate(f"Bearer {result.body['token']}").dialect == "legacy"
    assert call(handler, "POST", LEGACY, json={"email": "ada@local", "password": PASSWORD}).status == 400


def test_refresh_200(ada: Person) -> None:
    """Another token of the same account, the same fields; the old one goes on."""
    result = call(handler, "POST", "/api/v1/auth/refresh", headers=ada.headers)
    assert result.status == 200
    assert result.body["account_id"] == ada.id
    assert result.body["token"] != ada.token
    for token in (ada.token, result.body["token"]):
        assert call(handler, "POST", "/api/v1/auth/refresh", headers=bearer(token)).status == 200


@pytest.mark.parametrize("path", ["/api/v1/auth/refresh", "/api/v1/auth/logout"])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer x"}, {"authorization": "nonsense"}])
def test_refresh_and_logout_401(ada: Person, path: str, headers: dict[str, str]) -> None:
    """No or bad credentials."""
    result = call(handler, "POST", path, headers=headers)
    assert (result.status, result.body["error"]["code"]) == (401, "unauthorized")


def test_logout_200_then_401(ada: Person) -> None:
    """The documented message; afterwards this token is dead at every path, others are not."""
    other = call(handler, "POST", "/api/v1/auth/refresh", headers=ada.headers).body["token"]
    result = call(handler, "POST", "/api/v1/auth/logout", headers=ada.headers)
    assert (result.status, result.body) == (200, {"message": "Logged out successfully"})
    for path in ("/api/v1/auth/refresh", "/api/v1/auth/logout"):
        assert call(handler, "POST", path, headers=ada.headers).status == 401
    assert call(handler, "POST", "/api/v1/auth/logout", headers=bearer(other)).status == 200


def test_an_expired_token_is_401(ada: Person) -> None:
    """After 24 hours."""
    with clock.use(HeldClock(clock.now_ms() + 24 * 3600 * 1000)):
        assert call(handler, "POST", "/api/v1/auth/refresh", headers=ada.headers).status == 401
