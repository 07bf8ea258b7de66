from __future__ import annotations

from typing import Any

import pytest

from functions.auth.app import handler as auth
from functions.orgs.app import handler
from functions.signup.app import handler as signup
from functions.workflows.app import handler as workflows
from shared.composition import Services
from shared.identity import DEFAULT_ORG_ID, get_org
from shared.kit.errors import Unauthorized
from tests.support.apigw import basic, call
from tests.support.deployment import PASSWORD, Person, principal_of, sign_in
from tests.support.orgs import join, register

PLAN_FIELDS = {"id", "name", "limits", "features"}


def path_of(person: Person) -> str:
    return f"/api/v1/orgs/{person.org_id}"


def registered(email: str) -> Any:
    sent = {"email": email, "password": PASSWORD, "name": "Somebody"}
    return call(signup, "POST", "/api/v1/auth/register", json=sent).body


# Plans


def test_plans_200_without_credentials(services: Services) -> None:
    """Five plans, smallest first, each with every limit; -1 is none."""
    status, _, body = call(handler, "GET", "/api/v1/plans")
    assert (status, body["total"], body["next_cursor"]) == (200, 5, None)
    assert [plan["id"] for plan in body["plans"]] == ["lite", "starter", "growth", "scale", "enterprise_unlimited"]
    assert all(plan.keys() == PLAN_FIELDS for plan in body["plans"])
    growth = body["plans"][2]
    assert (growth["limits"]["workflows"], growth["limits"]["executions"]) == (50, 750_000)
    assert growth["features"]["audit_log"] is True
    assert body["plans"][0]["features"]["audit_log"] is False
    assert body["plans"][4]["limits"]["seats"] == -1


# Mine


def test_my_orgs_200(bob: Person, cyd: Person) -> None:
    """Every org of the caller with the role there, and no others."""
    join(cyd.org_id, bob, "viewer")
    status, _, body = call(handler, "GET", "/api/v1/orgs", headers=bob.headers)
    assert (status, body["total"]) == (200, 2)
    assert {(row["id"], row["role"]) for row in body["organizations"]} == {
        (bob.org_id, "owner"),
        (cyd.org_id, "viewer"),
    }


@pytest.mark.parametrize("path", ["/api/v1/orgs", f"/api/v1/orgs/{DEFAULT_ORG_ID}"])
def test_401_without_credentials(services: Services, path: str) -> None:
    """In NullRun's form."""
    status, _, body = call(handler, "GET", path)
    assert (status, body["error"], body["error_code"]) == (401, "unauthorized", "UNAUTHORIZED")


# One


def test_get_200(bob: Person, cyd: Person) -> None:
    """The org as its members see it."""
    join(bob.org_id, cyd, "viewer")
    status, _, body = call(handler, "GET", path_of(bob), headers=cyd.headers)
    assert status == 200
    assert body["created_at"].endswith("Z")
    assert {name: body[name] for name in body if name != "created_at"} == {
        "id": bob.org_id,
        "name": "Bob's workspace",
        "slug": "bob-s-workspace",
        "plan": "growth",
        "contact_email": None,
        "owner_user_id": bob.id,
        "member_count": 2,
    }


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("rest", ["", "/members", "/invites"])
def test_403_for_strangers(bob: Person, cyd: Person, method: str, rest: str) -> None:
    """Whoever is no member learns nothing, not even whether the org exists."""
    if (method, rest) in {("PATCH", "/members"), ("DELETE", "/members"), ("PATCH", "/invites"), ("DELETE", "/invites")}:
        method = "GET"
    mine = call(handler, method, path_of(bob) + rest, headers=cyd.headers, json={})
    none = call(handler, method, f"/api/v1/orgs/nothing{rest}", headers=cyd.headers, json={})
    assert (mine.status, none.status) == (403, 403)
    assert mine.raw == none.raw


def test_403_for_api_keys(services: Services) -> None:
    """A key of the org governs agents; it reads neither the org nor who belongs to it."""
    made = registered("first@example.com")
    headers = {"x-api-key": made["api_key"]}
    path = f"/api/v1/orgs/{made['organization_id']}"
    for method, rest in (("GET", ""), ("GET", "/members"), ("GET", "/invites"), ("PATCH", ""), ("DELETE", "")):
        assert call(handler, method, path + rest, headers=headers, json={}).status == 403
    assert call(handler, "POST", path + "/invites", headers=headers, json={}).status == 403


def test_patch_200(bob: Person) -> None:
    """What is given changes, what is left out stays, an empty address is none."""
    path = path_of(bob)
    body = call(handler, "PATCH", path, headers=bob.headers, json={"name": "Acme Rail & Söhne"}).body
    assert (body["name"], body["slug"], body["contact_email"]) == ("Acme Rail & Söhne", "acme-rail-sohne", None)
    body = call(handler, "PATCH", path, headers=bob.headers, json={"contact_email": "ops@example.com"}).body
    assert (body["name"], body["contact_email"]) == ("Acme Rail & Söhne", "ops@example.com")
    body = call(handler, "PATCH", path, headers=bob.headers, json={"contact_email": ""}).body
    assert body["contact_email"] is None
    assert call(handler, "GET", path, headers=bob.headers).body == body


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": 5}, "name"),
        ({"contact_email": "nobody"}, "contact_email"),
        ({"contact_email": 5}, "contact_email"),
        ({"contact_email": "x" * 300 + "@example.com"}, "contact_email"),
    ],
)
def test_patch_422(bob: Person, body: Any, field: str) -> None:
    """The field is named, nothing changes."""
    result = call(handler, "PATCH", path_of(bob), headers=bob.headers, json=body)
    assert (result.status, result.body["error"]) == (422, "validation_error")
    assert result.body["details"]["field"] == field
    assert call(handler, "GET", path_of(bob), headers=bob.headers).body["name"] == "Bob's workspace"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"name":"\\ud800"}', b'{"name":NaN}'])
def test_patch_400(bob: Person, raw: bytes) -> None:
    """What is no JSON object."""
    result = call(handler, "PATCH", path_of(bob), headers=bob.headers, raw=raw)
    assert (result.status, result.body["error_code"]) == (400, "INVALID_JSON")


@pytest.mark.parametrize("role", ["admin", "operator", "viewer"])
def test_patch_403_for_whoever_is_no_owner(bob: Person, cyd: Person, role: Any) -> None:
    """Judged before the body."""
    join(bob.org_id, cyd, role)
    assert call(handler, "PATCH", path_of(bob), headers=cyd.headers, raw=b"{").status == 403


# Deleting


def test_delete_204_ends_everything(services: Services, ada: Person) -> None:
    """The org is gone, its key is revoked, its workflow gone, its invites over; the person has another home."""
    made = registered("dan@example.com")
    dan = sign_in("dan@example.com")
    path = path_of(dan)
    sent = {"email": "eve@example.com"}
    token = call(handler, "POST", f"{path}/invites", headers=dan.headers, json=sent).body["token"]
    assert call(handler, "DELETE", path, headers=dan.headers).status == 204
    assert call(handler, "DELETE", path, headers=dan.headers).status == 403
    assert call(handler, "GET", path, headers=dan.headers).status == 403
    assert call(handler, "GET", f"/api/v1/invites/{token}").status == 410
    assert get_org(dan.org_id) is None
    with pytest.raises(Unauthorized, match="revoked"):
        services.governance.authenticator.authenticate(made["api_key"], fresh=True)
    # The session goes on, in the new home.
    (home,) = call(handler, "GET", "/api/v1/orgs", headers=dan.headers).body["organizations"]
    assert (home["role"], home["id"] != dan.org_id) == ("owner", True)
    listed = call(workflows, "GET", f"/api/v1/orgs/{home['id']}/workflows", headers=dan.headers)
    assert (listed.status, listed.body["total"]) == (200, 0)
    assert sign_in("dan@example.com").org_id == home["id"]
    assert principal_of(services, dan).org_id == home["id"]
    assert call(auth, "POST", "/api/v1/auth/refresh", headers=basic("dan@example.com", PASSWORD)).status == 200


def test_delete_404_for_members_who_are_no_owners(bob: Person, cyd: Person) -> None:
    """An admin cannot delete, and is told no more than that there is nothing of theirs."""
    join(bob.org_id, cyd, "admin")
    result = call(handler, "DELETE", path_of(bob), headers=cyd.headers)
    assert (result.status, result.body["error"]) == (404, "not_found")


def test_delete_409_with_other_members(bob: Person, cyd: Person) -> None:
    """They would be left without an org."""
    join(bob.org_id, cyd, "viewer")
    result = call(handler, "DELETE", path_of(bob), headers=bob.headers)
    assert (result.status, result.body["error"], result.body["error_code"]) == (
        409,
        "ORG_HAS_MEMBERS",
        "ORG_HAS_MEMBERS",
    )
    assert get_org(bob.org_id) is not None


def test_delete_409_for_the_default_org(ada: Person) -> None:
    """It exists from the start and for ever."""
    assert ada.org_id == DEFAULT_ORG_ID
    result = call(handler, "DELETE", path_of(ada), headers=ada.headers)
    assert (result.status, result.body["error"]) == (409, "conflict")


def test_the_home_after_a_deletion_is_an_org_the_person_belongs_to(bob: Person, cyd: Person) -> None:
    """Only who belongs nowhere else gets a new org."""
    join(cyd.org_id, bob, "viewer")
    assert call(handler, "DELETE", path_of(bob), headers=bob.headers).status == 204
    assert sign_in("bob@example.com").org_id == cyd.org_id


def test_405_and_404(services: Services) -> None:
    """In NullRun's form."""
    assert call(handler, "POST", "/api/v1/plans").status == 405
    assert call(handler, "GET", "/api/v1/plans/x").body["error"] == "not_found"


def test_413_for_an_endless_name(bob: Person) -> None:
    """The body limit holds."""
    assert call(handler, "PATCH", path_of(bob), headers=bob.headers, json={"name": "x" * 5_000_000}).status == 413


def test_of_a_deletion_and_a_joining_one_is_refused(services: Services, bob: Person) -> None:
    """An org that is being deleted takes nobody: the invite is over."""
    dan = register("dan@example.com")
    path = f"{path_of(bob)}/invites"
    token = call(handler, "POST", path, headers=bob.headers, json={"email": "dan@example.com"}).body["token"]
    assert call(handler, "DELETE", path_of(bob), headers=bob.headers).status == 204
    assert call(handler, "POST", f"/api/v1/invites/{token}/accept", headers=dan.headers).status == 410
