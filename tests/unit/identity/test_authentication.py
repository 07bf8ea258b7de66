from __future__ import annotations

import base64
import threading

import pytest

from shared.identity import Changes, Identity, Principal
from shared.identity.orgs import add_member, get_org, move_version
from shared.kit.errors import Forbidden, TooManyRequests, Unauthorized
from shared.store.transaction import Transaction
from tests.support.deployment import PASSWORD
from tests.support.time import HeldClock


@pytest.fixture
def ada(identity: Identity) -> Principal:
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    return identity.authenticator.authenticate(f"Bearer {identity.sessions.login('ada', PASSWORD).token}")


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def verifications(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every password checked against a hash."""
    seen: list[str] = []
    passwords = identity.sessions._passwords
    verify = passwords.verify

    def counted(self: object, stored: str | None, password: str) -> bool:
        seen.append(password)
        return verify(stored, password)

    monkeypatch.setattr(type(passwords), "verify", counted)
    return seen


def test_a_session_is_a_principal(identity: Identity, ada: Principal) -> None:
    """Who, where, as what: from the token and the stored account."""
    assert (ada.kind, ada.username, ada.role, ada.deployment_admin, ada.dialect) == (
        "session",
        "ada",
        "owner",
        True,
        "seed",
    )
    assert ada.token_id


@pytest.mark.parametrize(
    "header",
    [
        None, "", "Bearer", "Bearer ", "Bearer x.y.z", "bearer é", "Basic", "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(), "Digest x", "Token x", "x" * 9000,
    ],
)  # fmt: skip
def test_malformed_credentials_are_401(identity: Identity, ada: Principal, header: str | None) -> None:
    """Nothing but a well-formed scheme and valid credentials opens."""
    with pytest.raises(Unauthorized):
        identity.authenticator.authenticate(header)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_schemes_have_no_case(identity: Identity, ada: Principal, scheme: str) -> None:
    """RFC 9110: authentication schemes are compared without case."""
    token = identity.sessions.login("ada", PASSWORD).token
    assert identity.authenticator.authenticate(f"{scheme} {token}").account_id == ada.account_id


def test_a_deleted_account_is_401(identity: Identity, ada: Principal) -> None:
    """Its tokens and its password stop working at once."""
    identity.accounts.sign_up(username="bob", password=PASSWORD)
    token = identity.sessions.login("bob", PASSWORD).token
    bob = identity.authenticator.authenticate(basic("bob", PASSWORD))
    identity.accounts.delete(ada, bob.account_id)
    for header in (f"Bearer {token}", basic("bob", PASSWORD)):
        with pytest.raises(Unauthorized):
            identity.authenticator.authenticate(header)


def test_basic_reads_the_legacy_dialect_unless_told(identity: Identity, ada: Principal) -> None:
    """The password is the command line client's way in; a header chooses the dialect for both ways."""
    authenticate = identity.authenticator.authenticate
    token = f"Bearer {identity.sessions.login('ada', PASSWORD, dialect='legacy').token}"
    assert authenticate(basic("ada", PASSWORD)).dialect == "legacy"
    assert authenticate(basic("ada", PASSWORD)).kind == "basic"
    assert authenticate(basic("ada", PASSWORD), dialect="seed").dialect == "seed"
    assert authenticate(token).dialect == "legacy"
    assert authenticate(token, dialect="Seed").dialect == "seed"
    assert authenticate(token, dialect="else").dialect == "legacy"


def test_a_password_is_checked_once_a_minute(
    identity: Identity, ada: Principal, held: HeldClock, verifications: list[str]
) -> None:
    """Within a minute a right password is believed; after it, it is checked again."""
    for _ in range(5):
        identity.authenticator.authenticate(basic("ada", PASSWORD))
    assert len(verifications) == 1
    held.advance(60)
    identity.authenticator.authenticate(basic("ada", PASSWORD))
    assert len(verifications) == 2


def test_callers_at_the_same_time_share_one_check(identity: Identity, ada: Principal, verifications: list[str]) -> None:
    """Twenty requests at once with the same password are one verification."""
    threads = [
        threading.Thread(target=lambda: identity.authenticator.authenticate(basic("ada", PASSWORD))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(verifications) == 1


def test_a_new_password_ends_the_belief_in_the_old(identity: Identity, ada: Principal) -> None:
    """The old password is refused at once, although it was right a moment ago."""
    identity.authenticator.authenticate(basic("ada", PASSWORD))
    identity.accounts.update(ada, ada.account_id, Changes(password="another password"))
    with pytest.raises(Unauthorized):
        identity.authenticator.authenticate(basic("ada", PASSWORD))
    identity.authenticator.authenticate(basic("ada", "another password"))


def test_basic_is_locked_like_any_sign_in(identity: Identity, ada: Principal, held: HeldClock) -> None:
    """Five wrong passwords lock the name for Basic and for log-ins."""
    for _ in range(5):
        with pytest.raises(Unauthorized):
            identity.authenticator.authenticate(basic("ada", "wrong password"))
    for attempt in (
        lambda: identity.authenticator.authenticate(basic("ada", PASSWORD)),
        lambda: identity.sessions.login("ada", PASSWORD),
    ):
        with pytest.raises(TooManyRequests):
            attempt()


def test_a_colon_in_a_password_is_part_of_it(identity: Identity) -> None:
    """Only the first colon separates name and password."""
    identity.accounts.sign_up(username="ada", password="pass:word:1")
    assert identity.authenticator.authenticate(basic("ada", "pass:word:1")).username == "ada"


def test_the_acting_org_is_home_or_one_of_mine(identity: Identity, ada: Principal) -> None:
    """A member acts elsewhere with that org's role; anybody else is 403, for real and invented orgs alike."""
    identity.accounts.sign_up(username="bob", password=PASSWORD)
    header = f"Bearer {identity.sessions.login('bob', PASSWORD).token}"
    bob = identity.authenticator.authenticate(header)
    for foreign in (ada.org_id, "unknown", "x" * 100, f"{bob.org_id}#x"):
        with pytest.raises(Forbidden):
            identity.authenticator.authenticate(header, org=foreign)
    org = get_org(ada.org_id)
    assert org is not None
    tx = Transaction()
    move_version(tx, org, "org")
    add_member(tx, ada.org_id, bob.account_id, "viewer")
    tx.commit()
    acting = identity.authenticator.authenticate(header, org=ada.org_id)
    assert (acting.org_id, acting.role) == (ada.org_id, "viewer")
    assert identity.authenticator.authenticate(header).org_id == bob.org_id
    assert identity.authenticator.authenticate(header, org="").org_id == bob.org_id
    assert identity.authenticator.authenticate(basic("bob", PASSWORD), org=ada.org_id).role == "viewer"
