"""The same handlers over a DynamoDB that is not ours."""

from __future__ import annotations

import pytest

from functions.accounts.app import handler as accounts
from functions.auth.app import handler as auth
from functions.secrets.app import handler as secrets
from tests.support.apigw import basic, bearer, call
from tests.support.deployment import PASSWORD, sign_in, sign_up


@pytest.mark.usefixtures("elsewhere")
def test_a_life_of_an_account() -> None:
    """Sign up, sign in both ways, store secrets, change, repeat with a key, log out, delete."""
    ada, bob = sign_up("ada"), sign_up("bob@example.com")
    path = f"/api/v1/accounts/{bob.id}"
    assert call(accounts, "GET", "/api/v1/accounts", headers=ada.headers).body["total"] == 2
    assert call(accounts, "GET", "/api/v1/accounts", headers=bob.headers).status == 403
    keyed = bob.headers | {"Idempotency-Key": "k"}
    first = call(secrets, "POST", f"{path}/secrets", headers=keyed, json={"key": "K", "value": "v"})
    again = call(secrets, "POST", f"{path}/secrets", headers=keyed, json={"key": "K", "value": "v"})
    assert (first.status, again.status, again.raw) == (201, 201, first.raw)
    assert call(secrets, "GET", f"{path}/secrets/K", headers=bob.headers).body == {"key": "K", "value": "v"}
    assert call(accounts, "PUT", path, headers=bob.headers, json={"email": "b@example.com"}).status == 200
    assert call(accounts, "POST", "/api/v1/accounts", json={"username": "ADA", "password": PASSWORD}).status == 409
    assert call(auth, "POST", "/api/v1/auth/login", json={"username": "ada", "password": "wrong"}).status == 401
    assert call(accounts, "GET", "/api/v1/accounts/me", headers=basic("ada", PASSWORD)).status == 200
    other = sign_in("b@example.com")
    assert call(auth, "POST", "/api/v1/auth/logout", headers=other.headers).status == 200
    assert call(accounts, "GET", "/api/v1/accounts/me", headers=bearer(other.token)).status == 401
    assert call(accounts, "DELETE", path, headers=bob.headers).status == 200
    assert call(accounts, "GET", path, headers=ada.headers).status == 404
    assert call(accounts, "DELETE", f"/api/v1/accounts/{ada.id}", headers=ada.headers).status == 409
