from __future__ import annotations

import threading

import pytest

from shared.identity import Account, External, Identity, account_record, link, linked_account
from shared.identity.external import forget_links
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
