from __future__ import annotations

import jwt
import pytest

from shared.identity import DEFAULT_ORG_ID, Changes, Identity, Principal
from shared.identity.passwords import Passwords
from shared.kit.errors import Unauthorized
from shared.store.models.identity import AccountRecord, account_pk
from shared.store.transaction import read
from tests.support.deployment import PASSWORD, cheap_identity
from tests.support.time import HeldClock


def principal(identity: Identity, token: str) -> Principal:
    return identity.authenticator.authenticate(f"Bearer {token}")


def test_a_token_says_who_and_how_long(identity: Identity, held: HeldClock) -> None:
    """The claims are the documented ones, life is 24 hours, and `expires_ms` is the token's own end."""
    made = identity.accounts.sign_up(username="ada", password=PASSWORD)
    session = identity.sessions.login("ada", PASSWORD)
    claims = jwt.decode(session.token, options={"verify_signature": False})
    assert (claims["account_id"], claims["sub"], claims["username"], claims["iss"]) == (
        made.id,
        made.id,
        "ada",
        "flowrunner",
    )
    assert claims["exp"] - claims["iat"] == 24 * 3600
    assert claims["nbf"] == claims["iat"] == held.now_ms() // 1000
    assert claims["exp"] * 1000 == session.expires_ms
    assert (claims["dlt"], claims["org"], session.role) == ("seed", DEFAULT_ORG_ID, "owner")


def test_life_is_a_setting(store: object, held: HeldClock) -> None:
    """Tokens live as many hours as the deployment says."""
    identity = cheap_identity(token_hours=0.5)
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    token = identity.sessions.login("ada", PASSWORD).token
    held.advance(1799)
    principal(identity, token)
    held.advance(1)
    with pytest.raises(Unauthorized):
        principal(identity, token)


@pytest.mark.parametrize("name", ["ada", "ADA", "ada@local", " ada "])
def test_user_name_and_address_both_sign_in(identity: Identity, name: str) -> None:
    """Either name will do, in any case."""
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    assert identity.sessions.login(name, PASSWORD).account.username == "ada"


def test_wrong_name_and_wrong_password_look_the_same(identity: Identity) -> None:
    """The refusal does not tell which part was wrong."""
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    told = set()
    wrong = [("ada", "wrong password"), ("nobody", PASSWORD), ("", PASSWORD), ("x" * 5000, PASSWORD), ("ada", "")]
    for name, password in [*wrong, ("\ufdfa" * 200, PASSWORD)]:
        with pytest.raises(Unauthorized) as caught:
            identity.sessions.login(name, password)
        told.add(str(caught.value))
    assert len(told) == 1


def test_refreshing_gives_another_token_and_keeps_the_old(identity: Identity, held: HeldClock) -> None:
    """Within the same second too; each lives its own life and keeps the dialect unless another is asked for."""
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    old = identity.sessions.login("ada", PASSWORD, dialect="legacy").token
    new = identity.sessions.refresh(principal(identity, old)).token
    assert new != old
    assert principal(identity, new).dialect == principal(identity, old).dialect == "legacy"
    identity.sessions.logout(principal(identity, old))
    assert principal(identity, new).account_id
    seed = identity.sessions.login("ada", PASSWORD).token
    assert (
        principal(identity, identity.sessions.refresh(principal(identity, seed), dialect="legacy").token).dialect
        == "legacy"
    )


def test_logging_out_ends_this_session_only(identity: Identity, held: HeldClock) -> None:
    """The token is dead at once and stays so until it would have expired; other sessions go on."""
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    one, other = (identity.sessions.login("ada", PASSWORD).token for _ in range(2))
    identity.sessions.logout(principal(identity, one))
    for seconds in (0, 3600, 20 * 3600, 3 * 3600 - 10):
        held.advance(seconds)
        with pytest.raises(Unauthorized):
            principal(identity, one)
        principal(identity, other)


def test_logging_out_twice_is_harmless(identity: Identity) -> None:
    """The second time changes nothing."""
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    caller = principal(identity, identity.sessions.login("ada", PASSWORD).token)
    identity.sessions.logout(caller)
    identity.sessions.logout(caller)


def test_a_new_password_ends_the_other_sessions(identity: Identity) -> None:
    """The session that changed it goes on, and can be refreshed; every other one is over."""
    made = identity.accounts.sign_up(username="ada", password=PASSWORD)
    mine, other = (identity.sessions.login("ada", PASSWORD).token for _ in range(2))
    identity.accounts.update(principal(identity, mine), made.id, Changes(password="another password"))
    with pytest.raises(Unauthorized):
        principal(identity, other)
    refreshed = identity.sessions.refresh(principal(identity, mine)).token
    assert principal(identity, refreshed).account_id == made.id
    with pytest.raises(Unauthorized):
        identity.sessions.login("ada", PASSWORD)
    identity.sessions.login("ada", "another password")


def test_a_session_that_is_refreshed_meanwhile_ends_too(identity: Identity) -> None:
    """Whoever is shut out cannot get a new session by a request that was judged just before."""
    made = identity.accounts.sign_up(username="ada", password=PASSWORD)
    late, owner = (principal(identity, identity.sessions.login("ada", PASSWORD).token) for _ in range(2))
    identity.accounts.update(owner, made.id, Changes(password="another long one 7"))
    for token in (identity.sessions.refresh(late).token, identity.sessions.begin(made.id, late.epoch).token):
        with pytest.raises(Unauthorized):
            principal(identity, token)
    principal(identity, identity.sessions.begin(made.id).token)


def test_an_administrators_reset_ends_all_sessions(identity: Identity) -> None:
    """When somebody else sets the password, no session of the account survives."""
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    bob = identity.accounts.sign_up(username="bob", password=PASSWORD)
    token = identity.sessions.login("bob", PASSWORD).token
    admin = principal(identity, identity.sessions.login("ada", PASSWORD).token)
    identity.accounts.update(admin, bob.id, Changes(password="another password"))
    with pytest.raises(Unauthorized):
        principal(identity, token)


def test_hashes_are_renewed_at_sign_in(store: object) -> None:
    """A hash made with older parameters is replaced when its password is seen."""
    made = cheap_identity().accounts.sign_up(username="ada", password=PASSWORD)
    stronger = Identity.build(b"t" * 32, passwords=Passwords(passes=2, memory_kib=16))
    stronger.sessions.login("ada", PASSWORD)
    record = read(AccountRecord, account_pk(made.id), "account")
    assert record is not None
    assert "$m=16,t=2,p=1$" in (record.password_hash or "")
    stronger.sessions.login("ada", PASSWORD)
