from __future__ import annotations

from typing import Any

import pytest

from functions.orgs.app import handler
from shared.composition import Services
from shared.kit import json
from shared.store.models.governance import Event, events_pk
from tests.support.apigw import call
from tests.support.deployment import Person, sign_in
from tests.support.orgs import join, register

NOBODY = "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7"


def path_of(org: Person, member: Person | str | None = None) -> str:
    path = f"/api/v1/orgs/{org.org_id}/members"
    return path if member is None else f"{path}/{member if isinstance(member, str) else member.id}"


def events(org_id: str) -> list[tuple[str, Any]]:
    return [(event.action, json.loads(event.details)) for event in Event.query(events_pk(org_id))]


def roles(org: Person, viewer: Person) -> dict[str, str]:
    body = call(handler, "GET", path_of(org), headers=viewer.headers).body
    return {row["email"]: row["role"] for row in body["members"]}


# Listing


def test_list_200(bob: Person, cyd: Person) -> None:
    """Everybody, for any member; `id` and `user_id` are the account's."""
    join(bob.org_id, cyd, "viewer")
    status, _, body = call(handler, "GET", path_of(bob), headers=cyd.headers)
    assert (status, body["total"], body["next_cursor"]) == (200, 2, None)
    first = body["members"][0]
    assert first["joined_at"].endswith("Z")
    assert {name: first[name] for name in first if name != "joined_at"} == {
        "id": bob.id,
        "user_id": bob.id,
        "email": "bob@example.com",
        "name": "Bob",
        "role": "owner",
    }


def test_list_goes_on_at_the_cursor(bob: Person, cyd: Person) -> None:
    """Every member once."""
    join(bob.org_id, cyd, "viewer")
    first = call(handler, "GET", path_of(bob) + "?limit=1", headers=bob.headers).body
    rest = call(handler, "GET", path_of(bob) + f"?limit=1&cursor={first['next_cursor']}", headers=bob.headers).body
    assert [row["id"] for row in first["members"] + rest["members"]] == [bob.id, cyd.id]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "cursor=%00"])
def test_list_400(bob: Person, query: str) -> None:
    """Bad paging."""
    assert call(handler, "GET", f"{path_of(bob)}?{query}", headers=bob.headers).status == 400


# Roles


@pytest.mark.parametrize(("given", "role"), [("admin", "admin"), ("member", "operator"), ("viewer", "viewer")])
def test_change_200(bob: Person, cyd: Person, given: str, role: str) -> None:
    """The new role holds at the next request; `member` means operator."""
    join(bob.org_id, cyd, "operator" if role != "operator" else "viewer")
    status, _, body = call(handler, "PATCH", path_of(bob, cyd), headers=bob.headers, json={"role": given})
    assert (status, body["role"], body["id"]) == (200, role, cyd.id)
    assert roles(bob, cyd)["cyd@example.com"] == role
    told = [details for action, details in events(bob.org_id) if action == "member.role_changed"]
    assert [(one["email"], one["to"]) for one in told] == [("cyd@example.com", role)]


def test_the_same_role_changes_nothing(bob: Person, cyd: Person) -> None:
    """200, and nothing is told."""
    join(bob.org_id, cyd, "viewer")
    assert call(handler, "PATCH", path_of(bob, cyd), headers=bob.headers, json={"role": "viewer"}).status == 200
    assert "member.role_changed" not in dict(events(bob.org_id))


@pytest.mark.parametrize("role", ["", "boss", "Owner", "x" * 5000])
def test_change_422_for_an_unknown_role(bob: Person, cyd: Person, role: str) -> None:
    """The message names the roles there are."""
    join(bob.org_id, cyd, "viewer")
    result = call(handler, "PATCH", path_of(bob, cyd), headers=bob.headers, json={"role": role})
    assert (result.status, result.body["details"]["field"]) == (422, "role")


@pytest.mark.parametrize("body", [{}, {"role": None}, {"role": 5}, {"role": ["admin"]}])
def test_change_422_for_a_bad_body(bob: Person, cyd: Person, body: Any) -> None:
    """Missing and mistyped."""
    join(bob.org_id, cyd, "viewer")
    assert call(handler, "PATCH", path_of(bob, cyd), headers=bob.headers, json=body).status == 422


def test_change_400_for_what_is_no_object(bob: Person) -> None:
    """Invalid JSON."""
    assert call(handler, "PATCH", path_of(bob, bob), headers=bob.headers, raw=b"[").status == 400


@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_change_403_below_admin(bob: Person, cyd: Person, role: Any) -> None:
    """Roles are the admins' to give."""
    join(bob.org_id, cyd, role)
    assert call(handler, "PATCH", path_of(bob, cyd), headers=cyd.headers, json={"role": "admin"}).status == 403


def test_only_owners_make_and_unmake_owners(bob: Person, cyd: Person) -> None:
    """An admin neither rises, nor brings an owner down, nor removes one."""
    join(bob.org_id, cyd, "admin")
    dan = register("dan@example.com")
    join(bob.org_id, dan, "viewer")
    for member, role in ((cyd, "owner"), (dan, "owner"), (bob, "viewer")):
        answer = call(handler, "PATCH", path_of(bob, member), headers=cyd.headers, json={"role": role})
        assert answer.status == 403
    assert call(handler, "DELETE", path_of(bob, bob), headers=cyd.headers).status == 403
    assert call(handler, "PATCH", path_of(bob, dan), headers=bob.headers, json={"role": "owner"}).status == 200
    assert call(handler, "PATCH", path_of(bob, bob), headers=bob.headers, json={"role": "viewer"}).status == 200
    assert roles(bob, dan) == {"bob@example.com": "viewer", "cyd@example.com": "admin", "dan@example.com": "owner"}


def test_change_409_for_the_last_owner(bob: Person, cyd: Person) -> None:
    """An org never is without an owner."""
    join(bob.org_id, cyd, "admin")
    result = call(handler, "PATCH", path_of(bob, bob), headers=bob.headers, json={"role": "admin"})
    assert (result.status, result.body["error"]) == (409, "conflict")
    assert roles(bob, bob)["bob@example.com"] == "owner"


@pytest.mark.parametrize("member", [NOBODY, "x", "me", "x" * 3000, "%00", "%ED%A0%80"])
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_404_for_who_is_no_member(bob: Person, cyd: Person, method: str, member: str) -> None:
    """Unknown and malformed ids; a stranger's id is no other."""
    for one in (member, cyd.id):
        answer = call(handler, method, path_of(bob, one), headers=bob.headers, json={"role": "admin"})
        assert (answer.status, answer.body["error"]) == (404, "not_found")


# Leaving


def test_remove_204_bites_at_once(bob: Person, cyd: Person) -> None:
    """The member's sessions lose the org with the answer, and go on elsewhere."""
    join(bob.org_id, cyd, "operator")
    assert call(handler, "GET", path_of(bob), headers=cyd.headers).status == 200
    result = call(handler, "DELETE", path_of(bob, cyd), headers=bob.headers)
    assert (result.status, result.raw) == (204, b"")
    assert call(handler, "GET", path_of(bob), headers=cyd.headers).status == 403
    assert call(handler, "GET", path_of(cyd), headers=cyd.headers).status == 200
    assert call(handler, "DELETE", path_of(bob, cyd), headers=bob.headers).status == 404
    told = dict(events(bob.org_id))["member.removed"]
    assert told == {"email": "cyd@example.com", "role": "operator", "left": False}


def test_who_is_removed_from_home_is_signed_out(services: Services, bob: Person) -> None:
    """Its sessions are over; at the next sign-in it has an org of its own."""
    invited = call(
        handler, "POST", f"/api/v1/orgs/{bob.org_id}/invites", headers=bob.headers, json={"email": "dan@example.com"}
    ).body
    sent = {"name": "Dan", "password": "another long one 7"}
    joined = call(handler, "POST", f"/api/v1/invites/{invited['token']}/accept", json=sent).body
    assert joined["organization_id"] == bob.org_id
    headers = {"authorization": f"Bearer {joined['session_token']}"}
    assert call(handler, "GET", path_of(bob), headers=headers).status == 200
    assert call(handler, "DELETE", path_of(bob, joined["user_id"]), headers=bob.headers).status == 204
    assert call(handler, "GET", "/api/v1/orgs", headers=headers).status == 401
    again = sign_in("dan@example.com", "another long one 7")
    (home,) = call(handler, "GET", "/api/v1/orgs", headers=again.headers).body["organizations"]
    assert (home["id"], home["role"]) == (again.org_id, "owner")
    assert home["id"] != bob.org_id


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_members_may_leave(bob: Person, cyd: Person, role: Any) -> None:
    """Whatever their role, except the last owner's."""
    join(bob.org_id, cyd, role)
    assert call(handler, "DELETE", path_of(bob, cyd), headers=cyd.headers).status == 204
    assert roles(bob, bob) == {"bob@example.com": "owner"}
    assert dict(events(bob.org_id))["member.removed"]["left"] is True


def test_remove_403_below_admin(bob: Person, cyd: Person) -> None:
    """An operator removes nobody else."""
    join(bob.org_id, cyd, "operator")
    dan = register("dan@example.com")
    join(bob.org_id, dan, "viewer")
    assert call(handler, "DELETE", path_of(bob, dan), headers=cyd.headers).status == 403


def test_remove_409_for_the_last_owner(bob: Person, cyd: Person) -> None:
    """By itself as well."""
    join(bob.org_id, cyd, "admin")
    result = call(handler, "DELETE", path_of(bob, bob), headers=bob.headers)
    assert (result.status, result.body["error"]) == (409, "conflict")
    assert roles(bob, bob) == {"bob@example.com": "owner", "cyd@example.com": "admin"}
