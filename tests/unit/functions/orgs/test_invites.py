from __future__ import annotations

from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from functions.auth.app import handler as auth
from functions.orgs.app import handler
from shared.composition import Services
from shared.governance.invite_records import LIFE_MS
from shared.identity import account_of_name
from shared.kit import clock, json
from shared.store.models.alerts import Delivery, deliveries_pk
from shared.store.models.governance import Event, OrgSettings, events_pk, settings_pk
from shared.store.transaction import Transaction
from tests.support.apigw import bearer, call
from tests.support.deployment import Person, deployment, sign_in
from tests.support.orgs import invite, join, register
from tests.support.time import HeldClock

NEW = {"name": "Dan", "password": "another long one 7"}
UNKNOWN = "inv_" + "x" * 43


def path_of(org: Person, invite_id: str = "", rest: str = "") -> str:
    return f"/api/v1/orgs/{org.org_id}/invites" + (f"/{invite_id}{rest}" if invite_id else "")


def public(token: str, rest: str = "") -> str:
    return f"/api/v1/invites/{token}{rest}"


def deliveries(org: Person) -> list[Delivery]:
    return list(Delivery.query(deliveries_pk(org.org_id)))


def actions(org: Person) -> list[str]:
    return [event.action for event in Event.query(events_pk(org.org_id))]


def after(seconds: float) -> Any:
    return clock.use(HeldClock(clock.now_ms() + round(seconds * 1000)))


# Making


def test_create_201(bob: Person) -> None:
    """The invite with its token, which is mailed in the same transaction."""
    made = invite(bob, "  dan@example.com ", "member")
    assert made["email"] == "dan@example.com"
    assert (made["role"], made["status"], made["last_send_status"]) == ("operator", "pending", "pending")
    assert made["invite_url"] == f"/invite?token={made['token']}"
    assert clock.parse_rfc3339(made["expires_at"]) - clock.parse_rfc3339(made["created_at"]) == LIFE_MS
    (mail,) = deliveries(bob)
    assert (mail.recipient, mail.status) == ("dan@example.com", "pending")
    told = json.loads(mail.payload)
    assert "Bob's workspace" in told["subject"]
    assert made["invite_url"] in told["text"]
    assert "team.invite" in actions(bob)


def test_the_token_is_not_stored(services: Services, bob: Person) -> None:
    """The store has a digest of it; only the mail, until it is sent, has the token itself."""
    made = invite(bob, "dan@example.com")
    assert services.store is not None
    rows = services.store._make_api_call("Scan", {"TableName": "signalbox-governance"})["Items"]
    assert [row["sk"]["S"] for row in rows if made["token"] in str(row)] == [deliveries(bob)[0].delivery_id]


def test_the_mail_arrives_and_is_forgotten(services: Services, bob: Person) -> None:
    """Sent as every other message; then the invite says so, and the token is nowhere in the store."""
    made = invite(bob, "dan@example.com")
    assert services.governance.deliveries.deliver(bob.org_id, deliveries(bob)[0].delivery_id)
    (file,) = (services.settings.data / "mail").iterdir()
    told = message_from_bytes(file.read_bytes(), policy=default)
    assert (told["To"], told["Subject"]) == ("dan@example.com", "Invitation to Bob's workspace")
    assert made["invite_url"] in told.get_content()
    (row,) = call(handler, "GET", path_of(bob), headers=bob.headers).body["invites"]
    assert row["last_send_status"] == "delivered"
    assert services.store is not None
    assert made["token"] not in str(services.store._make_api_call("Scan", {"TableName": "signalbox-governance"}))


def test_the_url_is_the_deployments(tmp_path: Path) -> None:
    """Links lead to the public address, whatever host the request named."""
    with deployment(tmp_path, public_url="https://box.example.com/"):
        made = invite(register("ada@example.com"), "dan@example.com")
    assert made["invite_url"] == f"https://box.example.com/invite?token={made['token']}"


def test_the_default_role_is_operator(bob: Person) -> None:
    """Where nobody says otherwise."""
    answer = call(handler, "POST", path_of(bob), headers=bob.headers, json={"email": "dan@example.com"})
    assert (answer.status, answer.body["role"]) == (201, "operator")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"email": ""}, "email"),
        ({"email": "dan"}, "email"),
        ({"email": "dan@example.com\nBcc: eve@example.com"}, "email"),
        ({"email": "x" * 250 + "@example.com"}, "email"),
        ({"email": 5}, "email"),
        ({"email": "dan@example.com", "role": "boss"}, "role"),
        ({"email": "dan@example.com", "role": ""}, "role"),
        ({"email": "dan@example.com", "role": None}, "role"),
    ],
)
def test_create_422(bob: Person, body: Any, field: str) -> None:
    """Bad addresses and roles; nothing is mailed."""
    result = call(handler, "POST", path_of(bob), headers=bob.headers, json=body)
    assert (result.status, result.body["details"]["field"]) == (422, field)
    assert deliveries(bob) == []


def test_create_400_for_oneself_and_for_what_is_no_object(bob: Person) -> None:
    """Whoever invites is a member already."""
    own = call(handler, "POST", path_of(bob), headers=bob.headers, json={"email": "BOB@example.com"})
    assert (own.status, own.body["error"]) == (400, "bad_request")
    assert call(handler, "POST", path_of(bob), headers=bob.headers, raw=b"nonsense").status == 400


def test_create_409_for_members_and_repetitions(bob: Person, cyd: Person) -> None:
    """Whatever the case of the letters."""
    join(bob.org_id, cyd, "viewer")
    member = call(handler, "POST", path_of(bob), headers=bob.headers, json={"email": "Cyd@Example.com"})
    assert (member.status, member.body["error"]) == (409, "conflict")
    invite(bob, "dan@example.com")
    again = call(handler, "POST", path_of(bob), headers=bob.headers, json={"email": "DAN@example.com"})
    assert (again.status, again.body["error"]) == (409, "conflict")


def test_who_let_an_invite_expire_can_be_invited_again(bob: Person) -> None:
    """An expired invite is in nobody's way."""
    first = invite(bob, "dan@example.com")
    with after(LIFE_MS / 1000):
        bob = sign_in("bob@example.com")
        second = invite(bob, "dan@example.com")
        assert call(handler, "GET", public(first["token"])).status == 410
        assert call(handler, "GET", public(second["token"])).status == 200
        # Sent again, the first would be a second one to the same address.
        assert call(handler, "POST", path_of(bob, first["id"], "/resend"), headers=bob.headers).status == 409


@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_403_below_admin(bob: Person, cyd: Person, role: Any) -> None:
    """Invites are the admins', seeing them as well."""
    made = invite(bob, "dan@example.com")
    join(bob.org_id, cyd, role)
    for method, path in (
        ("POST", path_of(bob)),
        ("GET", path_of(bob)),
        ("DELETE", path_of(bob, made["id"])),
        ("POST", path_of(bob, made["id"], "/resend")),
    ):
        assert call(handler, method, path, headers=cyd.headers, json={"email": "eve@example.com"}).status == 403


def test_only_owners_invite_owners(bob: Person, cyd: Person) -> None:
    """An admin invites up to admins, and does not send an owner's invite again."""
    join(bob.org_id, cyd, "admin")
    sent = {"email": "eve@example.com", "role": "owner"}
    assert call(handler, "POST", path_of(bob), headers=cyd.headers, json=sent).status == 403
    made = invite(bob, "eve@example.com", "owner")
    assert call(handler, "POST", path_of(bob, made["id"], "/resend"), headers=cyd.headers).status == 403
    assert invite(cyd, "fay@example.com", "admin", bob.org_id)["role"] == "admin"


def test_create_429_without_a_seat(tmp_path: Path) -> None:
    """Members and pending invites fill the plan's seats; only where plans are enforced."""
    with deployment(tmp_path, plan_enforcement=True, default_plan="starter"):
        bob = register("bob@example.com")
        for name in ("dan", "eve"):
            invite(bob, f"{name}@example.com")
        full = call(handler, "POST", path_of(bob), headers=bob.headers, json={"email": "fay@example.com"})
        assert (full.status, full.body["error"]) == (429, "seat_limit_exceeded")
        assert full.body["details"] | {"upgrade_url": ""} == {
            "resource": "seats",
            "current": 3,
            "limit": 3,
            "upgrade_url": "",
        }
        assert int(full.headers["retry-after"]) == full.body["retry_after"] > 0
        # One that ends leaves its seat; one that is sent again has its own.
        (first, _) = call(handler, "GET", path_of(bob), headers=bob.headers).body["invites"]
        assert call(handler, "POST", path_of(bob, first["id"], "/resend"), headers=bob.headers).status == 200
        assert call(handler, "DELETE", path_of(bob, first["id"]), headers=bob.headers).status == 204
        last = invite(bob, "fay@example.com")
        bottom = OrgSettings(settings_pk(bob.org_id), "settings")
        Transaction().update(bottom, [OrgSettings.plan.set("lite")]).commit()
        assert call(handler, "POST", path_of(bob, last["id"], "/resend"), headers=bob.headers).status == 429


# Looking


def test_list_200(bob: Person) -> None:
    """With status and what became of the mail, without tokens, part by part."""
    first, second = invite(bob, "dan@example.com"), invite(bob, "eve@example.com", "viewer")
    mail = deliveries(bob)[0]
    Transaction().update(mail, [Delivery.status.set("delivered")]).commit()
    call(handler, "POST", public(second["token"], "/decline"))
    one = call(handler, "GET", path_of(bob) + "?limit=1", headers=bob.headers).body
    rest = call(handler, "GET", path_of(bob) + f"?cursor={one['next_cursor']}", headers=bob.headers).body
    rows = one["invites"] + rest["invites"]
    assert [(row["id"], row["status"], row["last_send_status"]) for row in rows] == [
        (first["id"], "pending", "delivered"),
        (second["id"], "declined", "pending"),
    ]
    assert (one["total"], rest["next_cursor"]) == (2, None)
    assert "token" not in rows[0]
    assert call(handler, "GET", path_of(bob) + "?limit=0", headers=bob.headers).status == 400
    with after(LIFE_MS / 1000):
        bob = sign_in("bob@example.com")
        (expired, _) = call(handler, "GET", path_of(bob), headers=bob.headers).body["invites"]
        assert expired["status"] == "expired"


def test_an_invite_whose_mail_is_forgotten_is_still_listed(bob: Person) -> None:
    """Deliveries are kept for a shorter time than invites."""
    invite(bob, "dan@example.com")
    Transaction().delete(deliveries(bob)[0]).commit()
    (row,) = call(handler, "GET", path_of(bob), headers=bob.headers).body["invites"]
    assert row["last_send_status"] == "unknown"


# Revoking, sending again


def test_revoke_204_ends_the_token(bob: Person) -> None:
    """At once, for reading, accepting and declining."""
    made = invite(bob, "dan@example.com")
    assert call(handler, "DELETE", path_of(bob, made["id"]), headers=bob.headers).status == 204
    for method, rest in (("GET", ""), ("POST", "/accept"), ("POST", "/decline")):
        answer = call(handler, method, public(made["token"], rest), json=NEW if method == "POST" else None)
        assert (answer.status, answer.body["error"]) == (410, "gone")
    again = call(handler, "DELETE", path_of(bob, made["id"]), headers=bob.headers)
    assert again.status == 410
    assert "team.invite_revoked" in actions(bob)


def test_resend_200_replaces_the_token(bob: Person) -> None:
    """The old token is void, the new one good for seven days from now, and mailed."""
    made = invite(bob, "dan@example.com")
    with after(24 * 3600 - 60):
        again = call(handler, "POST", path_of(bob, made["id"], "/resend"), headers=bob.headers)
        assert again.status == 200
        assert (again.body["id"], again.body["status"]) == (made["id"], "pending")
        assert again.body["token"] != made["token"]
        assert clock.parse_rfc3339(again.body["expires_at"]) > clock.parse_rfc3339(made["expires_at"])
        assert call(handler, "GET", public(made["token"])).status == 410
        assert call(handler, "GET", public(again.body["token"])).status == 200
    assert len(deliveries(bob)) == 2
    assert len(call(handler, "GET", path_of(bob), headers=bob.headers).body["invites"]) == 1


def test_resend_200_revives_what_has_expired(bob: Person) -> None:
    """Late is not over: the host may try again."""
    made = invite(bob, "dan@example.com")
    with after(LIFE_MS / 1000 + 60):
        bob = sign_in("bob@example.com")
        again = call(handler, "POST", path_of(bob, made["id"], "/resend"), headers=bob.headers)
        assert (again.status, again.body["status"]) == (200, "pending")
        assert call(handler, "GET", public(again.body["token"])).status == 200


def test_resend_410_for_what_is_over(bob: Person) -> None:
    """Accepted, declined and revoked invites are not revived."""
    made = invite(bob, "dan@example.com")
    call(handler, "POST", public(made["token"], "/decline"))
    assert call(handler, "POST", path_of(bob, made["id"], "/resend"), headers=bob.headers).status == 410


@pytest.mark.parametrize("invite_id", ["x", "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7", "x" * 3000, "%00"])
def test_404_for_unknown_invites(bob: Person, cyd: Person, invite_id: str) -> None:
    """Malformed ids and another org's."""
    others = invite(cyd, "eve@example.com")["id"]
    for one in (invite_id, others):
        assert call(handler, "DELETE", path_of(bob, one), headers=bob.headers).status == 404
        assert call(handler, "POST", path_of(bob, one, "/resend"), headers=bob.headers).status == 404


# The holder of a token


def test_show_200(bob: Person) -> None:
    """What the holder must know to decide, and nothing else."""
    made = invite(bob, "dan@example.com", "viewer")
    status, _, body = call(handler, "GET", public(made["token"]))
    assert (status, body) == (
        200,
        {
            "organization_name": "Bob's workspace",
            "email": "dan@example.com",
            "role": "viewer",
            "status": "pending",
            "expires_at": made["expires_at"],
        },
    )


@pytest.mark.parametrize("token", [UNKNOWN, "x", "inv_", "inv_" + "x" * 5000, "%00"])
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("POST", "/accept"), ("POST", "/decline")])
def test_404_for_unknown_tokens(services: Services, token: str, method: str, rest: str) -> None:
    """Guesses, whatever the body."""
    assert call(handler, method, public(token, rest), json={} if rest else None).status == 404


def test_410_when_it_is_too_late(bob: Person) -> None:
    """After seven days, to the millisecond."""
    made = invite(bob, "dan@example.com")
    with clock.use(HeldClock(clock.parse_rfc3339(made["expires_at"]) - 1)):
        assert call(handler, "GET", public(made["token"])).status == 200
    with clock.use(HeldClock(clock.parse_rfc3339(made["expires_at"]))):
        for method, rest in (("GET", ""), ("POST", "/accept"), ("POST", "/decline")):
            assert call(handler, method, public(made["token"], rest), json=NEW if rest else None).status == 410


def test_accept_200_with_a_session(bob: Person, cyd: Person) -> None:
    """The invited person joins with the role of the invite; the home stays; the token is used up."""
    made = invite(bob, "Cyd@example.com", "admin")
    status, _, body = call(handler, "POST", public(made["token"], "/accept"), headers=cyd.headers)
    assert (status, body["organization_id"], body["role"], body["user_id"]) == (200, bob.org_id, "admin", cyd.id)
    headers = bearer(body["session_token"])
    found = call(handler, "GET", "/api/v1/orgs", headers=headers).body["organizations"]
    assert {(row["id"], row["role"]) for row in found} == {(cyd.org_id, "owner"), (bob.org_id, "admin")}
    assert call(handler, "POST", public(made["token"], "/accept"), headers=cyd.headers).status == 410
    assert sign_in("cyd@example.com").org_id == cyd.org_id
    (row,) = call(handler, "GET", path_of(bob), headers=bob.headers).body["invites"]
    assert row["status"] == "accepted"
    assert "member.joined" in actions(bob)


def test_accept_409_with_another_persons_session(bob: Person, cyd: Person) -> None:
    """The invite stays good for whom it was meant."""
    made = invite(bob, "dan@example.com")
    answer = call(handler, "POST", public(made["token"], "/accept"), headers=cyd.headers)
    assert (answer.status, answer.body["error"]) == (409, "conflict")
    assert call(handler, "GET", public(made["token"])).status == 200


def test_accept_409_for_whoever_is_a_member_by_now(bob: Person, cyd: Person) -> None:
    """The role there is stays."""
    made = invite(bob, "cyd@example.com", "owner")
    join(bob.org_id, cyd, "viewer")
    assert call(handler, "POST", public(made["token"], "/accept"), headers=cyd.headers).status == 409


def test_accept_401_with_a_bad_session(bob: Person) -> None:
    """Wrong credentials are not none."""
    made = invite(bob, "dan@example.com")
    answer = call(handler, "POST", public(made["token"], "/accept"), headers=bearer("x"), json=NEW)
    assert answer.status == 401


def test_accept_200_makes_an_account(bob: Person) -> None:
    """Whose home is the org that invited, whose address the invite has verified, and who can sign in."""
    made = invite(bob, "dan@example.com", "viewer")
    status, _, body = call(handler, "POST", public(made["token"], "/accept"), json=NEW)
    assert (status, body["organization_id"], body["role"]) == (200, bob.org_id, "viewer")
    dan = sign_in("dan@example.com", str(NEW["password"]))
    assert (dan.id, dan.org_id) == (body["user_id"], bob.org_id)
    members = call(handler, "GET", f"/api/v1/orgs/{bob.org_id}/members", headers=dan.headers).body["members"]
    assert [(row["name"], row["role"]) for row in members if row["id"] == dan.id] == [("Dan", "viewer")]
    login = call(auth, "POST", "/api/v1/auth/login", json={"email": "dan@example.com", "password": NEW["password"]})
    assert login.body["organizations"] == [{"id": bob.org_id, "name": "Bob's workspace", "role": "viewer"}]
    assert call(handler, "POST", public(made["token"], "/accept"), json=NEW).status == 410


def test_accept_works_where_sign_up_is_closed(tmp_path: Path) -> None:
    """An invite is the permission."""
    with deployment(tmp_path) as parts:
        bob = register("bob@example.com")
        made = invite(bob, "dan@example.com")
        parts.identity.accounts._options = type(parts.identity.accounts._options)(open_signup=False)
        assert call(handler, "POST", public(made["token"], "/accept"), json=NEW).status == 200


def test_accept_409_when_the_address_has_an_account(bob: Person, cyd: Person) -> None:
    """It tells to sign in; nobody's password is set by an invite."""
    made = invite(bob, "cyd@example.com")
    answer = call(handler, "POST", public(made["token"], "/accept"), json=NEW)
    assert answer.status == 409
    assert "sign in" in answer.body["message"]
    assert sign_in("cyd@example.com").id == cyd.id


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"password": "another long one 7"}, "name"),
        ({"name": "Dan"}, "password"),
        ({"name": "Dan", "password": "elevenchars"}, "password"),
        ({"name": "Dan", "password": "x" * 257}, "password"),
        ({"name": " ", "password": "another long one 7"}, "name"),
        ({"name": 5, "password": "another long one 7"}, "name"),
        ({"name": "Dan", "password": None}, "password"),
    ],
)
def test_accept_422(bob: Person, body: Any, field: str) -> None:
    """Missing, short and mistyped; nothing is made, the invite stays good."""
    made = invite(bob, "dan@example.com")
    answer = call(handler, "POST", public(made["token"], "/accept"), json=body)
    assert (answer.status, answer.body["details"]["field"]) == (422, field)
    assert account_of_name("dan@example.com") is None
    assert call(handler, "GET", public(made["token"])).status == 200


def test_accept_400_for_what_is_no_object(bob: Person) -> None:
    """An empty body is an empty form, another is not."""
    made = invite(bob, "dan@example.com")
    assert call(handler, "POST", public(made["token"], "/accept"), raw=b"[]").status == 400
    assert call(handler, "POST", public(made["token"], "/accept")).status == 422


def test_accept_is_repeatable_with_a_key(bob: Person) -> None:
    """The same answer, one membership."""
    made = invite(bob, "dan@example.com")
    headers = {"idempotency-key": "k"}
    first = call(handler, "POST", public(made["token"], "/accept"), headers=headers, json=NEW)
    again = call(handler, "POST", public(made["token"], "/accept"), headers=headers, json=NEW)
    assert (first.status, again.status, again.raw) == (200, 200, first.raw)


def test_decline_200(bob: Person) -> None:
    """Once; the host sees it and may invite again."""
    made = invite(bob, "dan@example.com")
    answer = call(handler, "POST", public(made["token"], "/decline"))
    assert (answer.status, answer.body) == (200, {"status": "declined"})
    assert call(handler, "POST", public(made["token"], "/decline")).status == 410
    assert "team.invite_declined" in actions(bob)
    assert invite(bob, "dan@example.com")["id"] != made["id"]


def test_413_for_endless_bodies(bob: Person) -> None:
    """The body limit holds on every route that takes one."""
    long = {"email": "x" * 5_000_000}
    assert call(handler, "POST", path_of(bob), headers=bob.headers, json=long).status == 413
    assert call(handler, "POST", public(UNKNOWN, "/accept"), json=long).status == 413
