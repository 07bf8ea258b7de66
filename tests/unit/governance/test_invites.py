from __future__ import annotations

import hashlib
from functools import partial

import pytest

from shared.composition import Services
from shared.governance.invite_records import LIFE_MS, status_of
from shared.governance.registration import Joined
from shared.identity import Changes, Principal, account_of_name, member_of, members
from shared.kit import clock
from shared.kit.errors import Conflict, Gone, TooManyRequests
from shared.store.models.invites import Invite, InvitePointer, invites_pk
from tests.support.deployment import Person
from tests.support.orgs import join, register
from tests.support.time import HeldClock
from tests.support.workflows import raced

PASSWORD = "another long one 7"


@pytest.fixture
def bob(services: Services) -> Person:
    """The owner of an org that is not the default one."""
    register("ada@example.com")
    return register("bob@example.com")


@pytest.fixture
def boss(services: Services, bob: Person) -> Principal:
    """Bob, acting in his org."""
    return services.identity.authenticator.authenticate(f"Bearer {bob.token}")


def stored(bob: Person) -> list[Invite]:
    return list(Invite.query(invites_pk(bob.org_id)))


def test_an_invite_is_accepted_once(services: Services, boss: Principal, bob: Person) -> None:
    """Of many who make an account with one token one succeeds, and there is one account."""
    token = services.governance.invites.create(boss, "dan@example.com", "operator").token
    accept = services.governance.registration.accept_new
    outcomes = raced(*(lambda: accept(token, name="Dan", password=PASSWORD) for _ in range(4)))
    assert outcomes["done"] == 1
    assert outcomes["gone"] + outcomes["conflict"] == 3
    account = account_of_name("dan@example.com")
    assert account is not None
    assert [row.account_id for row in members(bob.org_id)] == sorted([bob.id, account.account_id])


@pytest.mark.parametrize("other", ["decline", "revoke"])
def test_of_two_ends_one_is_true(services: Services, boss: Principal, bob: Person, other: str) -> None:
    """Accepting races declining and revoking: the membership is there exactly if the invite says accepted."""
    dan, governance = register("dan@example.com"), services.governance
    session = services.identity.authenticator.authenticate(f"Bearer {dan.token}")
    for _ in range(5):
        made = governance.invites.create(boss, "dan@example.com", "viewer")
        ends = {
            "decline": partial(governance.invites.decline, made.token),
            "revoke": partial(governance.invites.revoke, boss, made.invite.id),
        }
        outcomes = raced(partial(governance.registration.accept, session, made.token), ends[other])
        assert outcomes == {"done": 1, "gone": 1}
        (latest,) = [record for record in stored(bob) if record.invite_id == made.invite.id]
        assert (member_of(bob.org_id, dan.id) is not None) == (latest.status == "accepted")
        if latest.status == "accepted":
            governance.members.remove(boss, dan.id)


def test_one_address_is_invited_once(services: Services, boss: Principal, bob: Person) -> None:
    """However many ask at once."""
    create = services.governance.invites.create
    outcomes = raced(*(lambda: create(boss, "dan@example.com", "viewer") for _ in range(4)))
    assert outcomes == {"done": 1, "conflict": 3}
    assert len(stored(bob)) == 1


def test_a_resending_races_an_acceptance(services: Services, boss: Principal, bob: Person) -> None:
    """The old token is either used or void; the new one is never good for a second joining."""
    dan, governance = register("dan@example.com"), services.governance
    session = services.identity.authenticator.authenticate(f"Bearer {dan.token}")
    made = governance.invites.create(boss, "dan@example.com", "viewer")
    outcomes = raced(
        lambda: governance.registration.accept(session, made.token),
        lambda: governance.invites.resend(boss, made.invite.id),
    )
    assert outcomes["done"] == 1
    assert len(stored(bob)) == 1
    assert (member_of(bob.org_id, dan.id) is not None) == (stored(bob)[0].status == "accepted")


def test_the_account_must_still_be_the_invited_one(services: Services, boss: Principal, bob: Person) -> None:
    """An account that was read before its address changed does not join by the old one."""
    dan, governance = register("dan@example.com"), services.governance
    token = governance.invites.create(boss, "dan@example.com", "viewer").token
    seen = account_of_name("dan@example.com")
    assert seen is not None
    session = services.identity.authenticator.authenticate(f"Bearer {dan.token}")
    services.identity.accounts.update(session, dan.id, Changes(email="elsewhere@example.com"))
    with pytest.raises(Conflict, match="changed"):
        governance.invites.accept(token, seen)
    assert member_of(bob.org_id, dan.id) is None


def test_records_outlive_the_invite_for_a_while(services: Services, boss: Principal, bob: Person) -> None:
    """So that a late visitor reads why, and nothing is kept for ever."""
    made = services.governance.invites.create(boss, "dan@example.com", "viewer")
    (record,) = stored(bob)
    assert int(record.ttl) * 1000 > int(record.expires_ms) == made.invite.expires_ms
    with clock.use(HeldClock(clock.now_ms() + LIFE_MS)):
        assert status_of(record) == "expired"
        with pytest.raises(Gone, match="expired"):
            services.governance.invites.find(made.token)
    assert int(record.ttl) - int(record.expires_ms) // 1000 <= 90 * 24 * 3600


def test_a_pointer_is_found_by_nobody_without_the_root_secret(services: Services, boss: Principal) -> None:
    """What is stored of a token is a keyed digest."""
    token = services.governance.invites.create(boss, "dan@example.com", "viewer").token
    assert services.store is not None
    rows = services.store._make_api_call("Scan", {"TableName": "signalbox-governance"})["Items"]
    (pointer,) = [row["pk"]["S"] for row in rows if row["pk"]["S"].startswith("invite#")]
    assert InvitePointer.get(pointer, "invite").org_id == boss.org_id
    assert hashlib.sha256(token.encode()).hexdigest() not in pointer


def test_joining_by_session_opens_a_session(services: Services, boss: Principal, bob: Person) -> None:
    """Whose orgs have the new one."""
    dan = register("dan@example.com")
    token = services.governance.invites.create(boss, "dan@example.com", "admin").token
    session = services.identity.authenticator.authenticate(f"Bearer {dan.token}")
    joined = services.governance.registration.accept(session, token)
    assert isinstance(joined, Joined)
    assert (joined.org_id, joined.role) == (bob.org_id, "admin")
    assert bob.org_id in {org.id for org in joined.session.orgs}


def test_an_org_that_goes_revokes_its_invites(services: Services, boss: Principal, bob: Person) -> None:
    """With everything else it gave out."""
    join(bob.org_id, register("dan@example.com"), "viewer")
    services.governance.invites.create(boss, "eve@example.com", "viewer")
    services.governance.invites.revoke_all(boss)
    services.governance.invites.revoke_all(boss)
    assert [record.status for record in stored(bob)] == ["revoked"]


def test_nobody_is_mailed_without_end(services: Services, boss: Principal) -> None:
    """Ten times a day, however the org goes about it; other addresses may be invited, and the next day this one."""
    invites = services.governance.invites
    for _ in range(5):
        made = invites.create(boss, "dan@example.com", "viewer").invite
        invites.resend(boss, made.id)
        invites.revoke(boss, made.id)
    with pytest.raises(TooManyRequests):
        invites.create(boss, "Dan@example.com", "viewer")
    eve = invites.create(boss, "eve@example.com", "viewer").invite
    for _ in range(9):
        invites.resend(boss, eve.id)
    with pytest.raises(TooManyRequests):
        invites.resend(boss, eve.id)
    with clock.use(HeldClock(clock.now_ms() + 24 * 3600 * 1000)):
        invites.resend(boss, eve.id)
        invites.create(boss, "dan@example.com", "viewer")


def test_an_org_sends_so_many_invites_a_day(
    services: Services, boss: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes an org to send mail through us does not get far."""
    monkeypatch.setattr("shared.governance.invites.MOST_INVITES", 2)
    for name in ("dan", "eve"):
        services.governance.invites.create(boss, f"{name}@example.com", "viewer")
    with pytest.raises(TooManyRequests):
        services.governance.invites.create(boss, "fay@example.com", "viewer")
