from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from functions.accounts.app import handler as accounts
from functions.auth.app import handler as auth
from functions.signup.app import handler
from functions.workflows.app import handler as workflows
from shared.composition import Services
from shared.governance.keys import ApiKeys
from shared.identity import DEFAULT_ORG_ID, account_of_name
from shared.kit.errors import Unavailable
from tests.support.apigw import Answer, bearer, call
from tests.support.deployment import PASSWORD, deployment, sign_in
from tests.support.orgs import register

PATH, SESSION = "/api/v1/auth/register", "/api/v1/auth/session"
ADA = {"email": "ada@example.com", "password": PASSWORD, "name": "Ada"}


def post(body: Any, **headers: str) -> Answer:
    return call(
        handler, "POST", PATH, headers={name.replace("_", "-"): text for name, text in headers.items()}, json=body
    )


def test_201_everything_to_begin_with(services: Services) -> None:
    """Account, org, session, workflow, key and secret; the first account administers the deployment."""
    status, _, body = post(ADA)
    assert status == 201
    assert body.keys() == {
        "user_id", "organization_id", "organization_name", "session_token", "expires_at", "workflow_id", "key_id",
        "api_key", "key", "secret_key", "key_prefix", "role", "user",
    }  # fmt: skip
    assert (body["organization_id"], body["organization_name"]) == (DEFAULT_ORG_ID, "Default")
    assert body["user"] == {"id": body["user_id"], "email": "ada@example.com", "name": "Ada"}
    assert (body["api_key"], body["role"]) == (body["key"], "owner")
    assert body["key"].startswith(body["key_prefix"])
    known = services.governance.authenticator.check(body["key"])
    assert (known.org_id, known.workflow_id, known.key_id) == (DEFAULT_ORG_ID, body["workflow_id"], body["key_id"])
    assert known.secret == body["secret_key"]
    headers = bearer(body["session_token"])
    assert call(accounts, "GET", "/api/v1/accounts/me", headers=headers).body["role"] == "admin"
    (workflow,) = call(workflows, "GET", f"/api/v1/orgs/{DEFAULT_ORG_ID}/workflows", headers=headers).body["workflows"]
    assert (workflow["id"], workflow["name"]) == (body["workflow_id"], "default")


def test_201_the_second_gets_an_org_of_its_own(services: Services) -> None:
    """Named after the person; the session acts in it, and the same password signs in."""
    post(ADA)
    body = post({"email": "Bo@Example.com", "password": PASSWORD, "name": "Bo"}).body
    assert body["organization_id"] != DEFAULT_ORG_ID
    assert body["organization_name"] == "Bo's workspace"
    person = sign_in("bo@example.com")
    assert (person.id, person.org_id) == (body["user_id"], body["organization_id"])
    assert call(accounts, "GET", "/api/v1/accounts/me", headers=person.headers).body["role"] == "user"


def test_409_for_a_taken_address(services: Services) -> None:
    """Whatever the case of the letters; a user name that looks like one counts."""
    post(ADA)
    result = post(ADA | {"email": "ADA@example.com"})
    assert (result.status, result.body["error"], result.body["details"]["field"]) == (409, "conflict", "email")
    made = call(accounts, "POST", "/api/v1/accounts", json={"username": "eve@example.com", "password": PASSWORD})
    assert made.status == 201
    assert post(ADA | {"email": "eve@example.com"}).status == 409


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"email": None}, "email"),
        ({"email": ""}, "email"),
        ({"email": "ada"}, "email"),
        ({"email": 5}, "email"),
        ({"email": "x" * 250 + "@example.com"}, "email"),
        ({"password": None}, "password"),
        ({"password": "elevenchars"}, "password"),
        ({"password": "x" * 257}, "password"),
        ({"password": 5}, "password"),
        ({"name": None}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\x00b"}, "name"),
    ],
)
def test_422_names_the_field(services: Services, changed: dict[str, Any], field: str) -> None:
    """Missing, mistyped, too short and too long; nothing is made."""
    result = post(ADA | changed)
    assert (result.status, result.body["error"]) == (422, "validation_error")
    assert result.body["details"]["field"] == field
    assert account_of_name("ada@example.com") is None


@pytest.mark.parametrize("password", ["twelve chars", "x" * 256])
def test_passwords_have_12_to_256_characters(services: Services, password: str) -> None:
    """Both ends included."""
    assert post(ADA | {"password": password}).status == 201


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"name":"\\udfff"}'])
def test_400_for_what_is_no_object(services: Services, raw: bytes) -> None:
    """In NullRun's form."""
    result = call(handler, "POST", PATH, raw=raw)
    assert (result.status, result.body["error_code"]) == (400, "INVALID_JSON")


def test_413(services: Services) -> None:
    """The body limit."""
    assert post(ADA | {"name": "x" * 5_000_000}).status == 413


def test_401_where_sign_up_is_closed(tmp_path: Path) -> None:
    """Judged before the body."""
    with deployment(tmp_path, open_signup=False):
        result = call(handler, "POST", PATH, raw=b"{")
        assert (result.status, result.body["error"]) == (401, "unauthorized")


def test_the_bootstrap_token_opens_the_first_sign_up(tmp_path: Path) -> None:
    """As for FlowRunner's sign-up: the first account only."""
    with deployment(tmp_path, open_signup=False) as parts:
        options = parts.identity.accounts._options
        parts.identity.accounts._options = type(options)(open_signup=False, bootstrap_token=lambda: "t0ken")
        assert post(ADA).status == 401
        assert post(ADA, x_signalbox_bootstrap="wrong").status == 401
        assert post(ADA, x_signalbox_bootstrap="t0ken").status == 201
        assert post(ADA | {"email": "b@example.com"}, x_signalbox_bootstrap="t0ken").status == 401


def test_a_repetition_with_a_key_is_the_same_answer(services: Services) -> None:
    """Key and secret included: the caller may have lost the first one."""
    first, again = post(ADA, idempotency_key="k"), post(ADA, idempotency_key="k")
    assert (first.status, again.status, again.raw) == (201, 201, first.raw)


def test_a_crash_after_the_account_is_repaired_by_a_repetition(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same request with the same key goes on: one account, one workflow, a key that works."""
    post(ADA)
    bo = ADA | {"email": "bo@example.com"}

    def dies(*_: Any) -> None:
        raise Unavailable("The store is out of reach")

    with monkeypatch.context() as broken:
        broken.setattr(ApiKeys, "mint", dies)
        assert post(bo, idempotency_key="k").status == 503
    assert post(bo).status == 409
    result = post(bo, idempotency_key="k")
    assert result.status == 201
    account = account_of_name("bo@example.com")
    assert account is not None
    assert account.account_id == result.body["user_id"]
    services.governance.authenticator.check(result.body["key"])
    headers = bearer(result.body["session_token"])
    path = f"/api/v1/orgs/{result.body['organization_id']}/workflows"
    assert call(workflows, "GET", path, headers=headers).body["total"] == 1


def test_a_crash_is_repaired_by_hand_as_well(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever signs in can make a workflow and mint a key."""
    with monkeypatch.context() as broken:
        broken.setattr(ApiKeys, "mint", lambda *_: (_ for _ in ()).throw(Unavailable("The store is out of reach")))
        assert post(ADA).status == 503
    person = sign_in("ada@example.com")
    (workflow,) = call(workflows, "GET", f"/api/v1/orgs/{person.org_id}/workflows", headers=person.headers).body[
        "workflows"
    ]
    sent = {"name": "prod", "workflow_id": workflow["id"]}
    minted = call(workflows, "POST", f"/api/v1/orgs/{person.org_id}/api-keys", headers=person.headers, json=sent)
    assert minted.status == 201


# Sessions


def test_end_session_204_in_both_apis(services: Services) -> None:
    """This session is over everywhere, others go on."""
    ada = register("ada@example.com")
    other = sign_in("ada@example.com")
    result = call(handler, "DELETE", SESSION, headers=ada.headers)
    assert (result.status, result.raw) == (204, b"")
    assert call(handler, "DELETE", SESSION, headers=ada.headers).status == 401
    assert call(auth, "POST", "/api/v1/auth/refresh", headers=ada.headers).status == 401
    assert call(auth, "POST", "/api/v1/auth/refresh", headers=other.headers).status == 200


def test_logout_ends_the_session_here_too(services: Services) -> None:
    """One sign-in is one session, whichever API ends it."""
    ada = register("ada@example.com")
    assert call(auth, "POST", "/api/v1/auth/logout", headers=ada.headers).status == 200
    result = call(handler, "DELETE", SESSION, headers=ada.headers)
    assert (result.status, result.body["error"]) == (401, "unauthorized")


@pytest.mark.parametrize("headers", [{}, bearer("x"), {"x-api-key": "nr_live_" + "x" * 32}])
def test_end_session_401(services: Services, headers: dict[str, str]) -> None:
    """No session to end."""
    assert call(handler, "DELETE", SESSION, headers=headers).status == 401


def test_sign_in_tells_every_org(services: Services) -> None:
    """`organizations` and `role`, for clients of either API."""
    ada = register("ada@example.com")
    for sent in ({"email": "ada@example.com"}, {"username": "ada@example.com"}):
        body = call(auth, "POST", "/api/v1/auth/login", json=sent | {"password": PASSWORD}).body
        assert body["organizations"] == [{"id": ada.org_id, "name": "Default", "role": "owner"}]
        assert (body["organization_id"], body["role"]) == (ada.org_id, "owner")
