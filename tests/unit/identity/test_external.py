from __future__ import annotations

import threading

import pytest

from shared.identity import Account, External, Identity, Principal, account_record, link, linked_account
from shared.identity.accounts import Changes
from shared.identity.external import forget_links
from shared.kit.errors import Unauthorized
from shared.store.models.identity import ExternalIdentity, ExternalLink, account_pk, external_pk
from shared.store.transaction import ConditionFailed, Transaction, read
from tests.support.deployment import PASSWORD

OCTO = External("https://github.com", "42", "bob@example.com", "Octo")


@pytest.fixture
def bob(identity: Identity) -> Account:
    """Somebody with an address."""
    return identity.accounts.sign_up(username="bob@example.com", password=PASSWORD)


def give(external: External, account: Account) -> None:
    record = account_record(account.id)
    assert record is not None
    tx = Transaction()
    link(tx, external, record)
    tx.commit()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (External("a", "1", "", ""), External("a", "2", "", "")),
        (External("a", "1", "", ""), External("b", "1", "", "")),
        (External("ab", "c", "", ""), External("a", "bc", "", "")),
    ],
)
def test_issuer_and_subject_make_an_identity(one: External, other: External) -> None:
    """Both together, told apart; name and address do not."""
    assert one.digest != other.digest
    assert one.digest == External(one.issuer, one.subject, "x@example.com", "X").digest


def test_a_verified_address_links(bob: Account) -> None:
    """Once; from then on the identity alone is enough."""
    assert linked_account(OCTO) == bob.id
    assert linked_account(External(OCTO.issuer, OCTO.subject, "", "")) == bob.id
    assert linked_account(External(OCTO.issuer, "43", "", "")) is None
    assert linked_account(External(OCTO.issuer, "43", "eve@example.com", "")) is None


def test_many_at_once_find_the_same_account(bob: Account) -> None:
    """However many sign in for the first time side by side."""
    found: list[str | None] = []
    threads = [threading.Thread(target=lambda: found.append(linked_account(OCTO))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [bob.id] * 6


def test_an_identity_has_one_account(identity: Identity, bob: Account) -> None:
    """A second one does not get it while the first lives."""
    cyd = identity.accounts.sign_up(username="cyd@example.com", password=PASSWORD)
    give(OCTO, bob)
    with pytest.raises(ConditionFailed):
        give(OCTO, cyd)
    assert linked_account(OCTO) == bob.id


def test_what_belonged_to_nobody_any_more_is_free(identity: Identity, bob: Account) -> None:
    """An identity whose account is gone can be given again."""
    cyd = identity.accounts.sign_up(username="cyd@example.com", password=PASSWORD)
    give(OCTO, bob)
    record = account_record(bob.id)
    assert record is not None
    Transaction().update(record, [type(record).deleting.set(True)]).commit()
    assert linked_account(External(OCTO.issuer, OCTO.subject, "", "")) is None
    give(OCTO, cyd)
    assert linked_account(OCTO) == cyd.id
    # Forgetting the first one's links leaves the second one's alone.
    forget_links(bob.id)
    assert linked_account(OCTO) == cyd.id


def test_forgetting_leaves_nothing(bob: Account) -> None:
    """Neither half, however often."""
    give(OCTO, bob)
    for _ in range(2):
        forget_links(bob.id)
    assert read(ExternalIdentity, external_pk(OCTO.digest), "external") is None
    assert list(ExternalLink.query(account_pk(bob.id), ExternalLink.sk.startswith("external#"))) == []


# An address that nobody had verified


def entered(identity: Identity, token: str) -> Principal:
    return identity.authenticator.authenticate(f"Bearer {token}")


def test_who_registered_an_address_of_others_loses_the_account(identity: Identity, bob: Account) -> None:
    """Its owner comes by a provider: the password and every session of before are over, Basic ones too."""
    session = identity.sessions.login(bob.email, PASSWORD)
    basic = "Basic Ym9iQGV4YW1wbGUuY29tOmNvcnJlY3QgaG9yc2UgNDI="
    assert (
        identity.authenticator.authenticate(basic).account_id == entered(identity, session.token).account_id == bob.id
    )
    assert linked_account(OCTO) == bob.id
    with pytest.raises(Unauthorized):
        identity.sessions.login(bob.email, PASSWORD)
    with pytest.raises(Unauthorized):
        entered(identity, session.token)
    with pytest.raises(Unauthorized):
        identity.authenticator.authenticate(basic)
    assert entered(identity, identity.sessions.begin(bob.id).token).account_id == bob.id


def test_the_session_kept_at_a_change_of_password_ends_too(identity: Identity, bob: Account) -> None:
    """Whoever holds it may be the one who registered the address."""
    session = identity.sessions.login(bob.email, PASSWORD)
    identity.accounts.update(entered(identity, session.token), bob.id, Changes(password="another long one 7"))
    assert entered(identity, session.token).account_id == bob.id
    assert linked_account(OCTO) == bob.id
    with pytest.raises(Unauthorized):
        entered(identity, session.token)


def test_a_verified_address_keeps_password_and_sessions(identity: Identity, bob: Account) -> None:
    """A second provider of the same person ends nothing."""
    linked_account(OCTO)
    principal = entered(identity, identity.sessions.begin(bob.id).token)
    identity.accounts.update(principal, bob.id, Changes(password=PASSWORD))
    session = identity.sessions.login(bob.email, PASSWORD)
    assert linked_account(External("https://accounts.google.com", "7", "BOB@example.com", "Bob")) == bob.id
    assert linked_account(OCTO) == bob.id
    assert entered(identity, session.token).account_id == bob.id


def test_a_changed_address_is_unverified_again(identity: Identity, bob: Account) -> None:
    """Who takes the address of others afterwards loses the account, and the provider's sign-in, to its owner."""
    linked_account(OCTO)
    session = identity.sessions.begin(bob.id)
    identity.accounts.update(entered(identity, session.token), bob.id, Changes(email="cyd@example.com"))
    cyd = External("https://accounts.google.com", "7", "cyd@example.com", "Cyd")
    assert linked_account(cyd) == bob.id
    assert linked_account(OCTO) is None
    assert linked_account(cyd) == bob.id
    with pytest.raises(Unauthorized):
        entered(identity, session.token)


@pytest.mark.parametrize("email", ["\uff42ob@example.com", "bob@ex\u1d43mple.com"])
def test_an_address_that_only_folds_alike_links_nothing(bob: Account, email: str) -> None:
    """Compatibility variants of letters may be a mailbox of somebody else."""
    assert linked_account(External(OCTO.issuer, OCTO.subject, email, "Eve")) is None
