"""The same handlers over a DynamoDB that is not ours."""

from __future__ import annotations

import pytest

from functions.auth.app import handler as auth
from functions.orgs.app import handler
from functions.signup.app import handler as signup
from tests.support.apigw import bearer, call
from tests.support.deployment import PASSWORD
from tests.support.orgs import invite, register


@pytest.mark.usefixtures("elsewhere")
def test_a_life_of_an_org() -> None:
    """Sign up, invite in both ways, change roles, rename, leave, delete, sign out."""
    register("ada@example.com")
    bob, cyd = register("bob@example.com"), register("cyd@example.com")
    org = f"/api/v1/orgs/{bob.org_id}"
    token = invite(bob, "cyd@example.com", "viewer")["token"]
    assert call(handler, "POST", f"/api/v1/invites/{token}/accept", headers=cyd.headers).status == 200
    made = invite(bob, "dan@example.com")
    resent = call(handler, "POST", f"{org}/invites/{made['id']}/resend", headers=bob.headers).body
    sent = {"name": "Dan", "password": PASSWORD}
    joined = call(handler, "POST", f"/api/v1/invites/{resent['token']}/accept", json=sent)
    assert (joined.status, joined.body["role"]) == (200, "operator")
    assert call(handler, "GET", f"/api/v1/invites/{made['token']}").status == 410
    assert call(handler, "PATCH", f"{org}/members/{cyd.id}", headers=bob.headers, json={"role": "owner"}).status == 200
    assert call(handler, "PATCH", org, headers=cyd.headers, json={"name": "Rail"}).body["name"] == "Rail"
    assert call(handler, "GET", f"{org}/members", headers=cyd.headers).body["total"] == 3
    assert {row["status"] for row in call(handler, "GET", f"{org}/invites", headers=bob.headers).body["invites"]} == {
        "accepted"
    }
    assert call(handler, "DELETE", f"{org}/members/{cyd.id}", headers=cyd.headers).status == 204
    assert call(handler, "DELETE", f"{org}/members/{bob.id}", headers=bob.headers).status == 409
    assert call(handler, "DELETE", org, headers=bob.headers).status == 409
    assert call(handler, "DELETE", f"{org}/members/{joined.body['user_id']}", headers=bob.headers).status == 204
    assert call(handler, "GET", "/api/v1/orgs", headers=bearer(joined.body["session_token"])).status == 401
    assert call(handler, "DELETE", org, headers=bob.headers).status == 204
    assert call(handler, "GET", org, headers=bob.headers).status == 403
    login = call(auth, "POST", "/api/v1/auth/login", json={"email": "bob@example.com", "password": PASSWORD}).body
    assert [row["role"] for row in login["organizations"]] == ["owner"]
    assert call(signup, "DELETE", "/api/v1/auth/session", headers=bob.headers).status == 204
    assert call(handler, "GET", "/api/v1/orgs", headers=bob.headers).status == 401
