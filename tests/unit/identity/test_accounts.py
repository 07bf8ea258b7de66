from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from shared.identity import ANONYMOUS, DEFAULT_ORG_ID, Account, Changes, Identity, Principal
from shared.identity.orgs import get_org, members, memberships
from shared.kit import ids
from shared.kit.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unauthorized, Unprocessable
from shared.store.embedded import EmbeddedEngine, Fault
from tests.support.deployment import PASSWORD, cheap_identity
from tests.support.store import memory_store
from tests.support.time import HeldClock


def session(identity: Identity, name: str, password: str = PASSWORD) -> Principal:
    return identity.authenticator.authenticate(f"Bearer {identity.sessions.login(name, password).token}")


def sign_up(identity: Identity, name: str) -> Account:
    return identity.accounts.sign_up(username=name, password=PASSWORD)


def test_the_first_account_rules_the_default_org(identity: Identity) -> None:
    """The first is administrator, number 1, and owner of the default org; the next is a user in an org of its own."""
    first, second = sign_up(identity, "ada"), sign_up(identity, "bob")
    assert (first.role, first.user_id, first.home_org) == ("admin", 1, DEFAULT_ORG_ID)
    assert (second.role, second.user_id) == ("user", 2)
    assert second.home_org != DEFAULT_ORG_ID
    assert [(member.account_id, member.role) for member in members(DEFAULT_ORG_ID)] == [(first.id, "owner")]
    assert [(item.org_id, item.role) for item in memberships(second.id)] == [(second.home_org, "owner")]
    org = get_org(second.home_org)
    assert org is not None
    assert org.personal


def test_a_sign_up_that_is_tried_again_makes_one_account(identity: Identity) -> None:
    """Two attempts with the same account id make one account; another id meets the name that is taken."""
    account_id = ids.uuid7()
    first = identity.accounts.sign_up(username="ada", password=PASSWORD, account_id=account_id)
    again = identity.accounts.sign_up(username="ada", password=PASSWORD, account_id=account_id)
    assert again == first
    assert first.id == account_id
    with pytest.raises(Conflict):
        identity.accounts.sign_up(username="ada", password=PASSWORD, account_id=ids.uuid7())


def test_the_default_org_exists_before_anybody_does(identity: Identity) -> None:
    """Preparing a deployment makes it, and doing so again changes nothing."""
    identity.prepare()
    before = get_org(DEFAULT_ORG_ID)
    identity.prepare()
    after = get_org(DEFAULT_ORG_ID)
    assert before is not None
    assert after is not None
    assert after.attribute_values == before.attribute_values


def together(work: Callable[[int], Any], count: int) -> list[Any]:
    results: list[Any] = [None] * count
    gate = threading.Barrier(count)

    def run(number: int) -> None:
        gate.wait(30)
        try:
            results[number] = work(number)
        except Exception as error:  # noqa: BLE001 - what was raised is the result.
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_racers_one_is_first(identity: Identity) -> None:
    """Ten sign-ups at once: all succeed, one is administrator, the numbers are 1 to 10."""
    made = together(lambda number: sign_up(identity, f"racer{number}"), 10)
    assert sorted(account.user_id for account in made) == list(range(1, 11))
    assert [account.role for account in made].count("admin") == 1
    assert sum(account.home_org == DEFAULT_ORG_ID for account in made) == 1


def test_of_racers_for_a_name_one_gets_it(identity: Identity) -> None:
    """A name has one owner, whatever the case it was asked in."""
    sign_up(identity, "ada")
    made = together(lambda number: sign_up(identity, "Bob" if number % 2 else "bob"), 6)
    assert sum(isinstance(result, Account) for result in made) == 1
    assert sum(isinstance(result, Conflict) for result in made) == 5


def test_an_address_cannot_be_taken_as_a_user_name(identity: Identity) -> None:
    """User names and addresses share a namespace, also the address made up for a plain user name."""
    sign_up(identity, "ada@example.com")
    sign_up(identity, "bob")
    for name in ("ADA@example.com", "bob@local"):
        with pytest.raises(Conflict):
            sign_up(identity, name)


def test_sign_up_fills_in_what_was_not_asked(identity: Identity) -> None:
    """Name is the user name; e-mail the user name if it is an address, else at `local`."""
    plain, address = sign_up(identity, "ada"), sign_up(identity, "bob@example.com")
    assert (plain.name, plain.email) == ("ada", "ada@local")
    assert (address.username, address.email) == ("bob@example.com", "bob@example.com")


def test_a_closed_sign_up_is_closed(store: EmbeddedEngine) -> None:
    """With sign-up switched off nobody makes an account for themselves, the first included."""
    with pytest.raises(Unauthorized):
        sign_up(cheap_identity(open_signup=False), "ada")


def test_the_bootstrap_token_makes_the_first_account_and_no_other(store: EmbeddedEngine) -> None:
    """Where there is a token, the first sign-up needs it, and it works once."""
    identity = cheap_identity(open_signup=False, bootstrap_token=lambda: "one-time-token")
    for wrong in (None, "", "one-time-tokem"):
        with pytest.raises(Unauthorized):
            identity.accounts.sign_up(username="ada", password=PASSWORD, bootstrap_token=wrong)
    made = identity.accounts.sign_up(username="ada", password=PASSWORD, bootstrap_token="one-time-token")
    assert made.role == "admin"
    with pytest.raises(Unauthorized):
        identity.accounts.sign_up(username="eve", password=PASSWORD, bootstrap_token="one-time-token")


def test_a_bootstrap_token_guards_the_first_of_an_open_deployment(store: EmbeddedEngine) -> None:
    """Open sign-up with a token: the first needs it, later ones do not."""
    identity = cheap_identity(bootstrap_token=lambda: "one-time-token")
    with pytest.raises(Unauthorized):
        sign_up(identity, "eve")
    identity.accounts.sign_up(username="ada", password=PASSWORD, bootstrap_token="one-time-token")
    assert sign_up(identity, "bob").role == "user"


def test_an_administrator_makes_accounts(identity: Identity) -> None:
    """They get the role asked for, an org of their own, and sign in with their address."""
    sign_up(identity, "ada")
    admin = session(identity, "ada")
    made = identity.accounts.create(admin, name="Bob", email="Bob@example.com", password=PASSWORD, role="admin")
    assert (made.role, made.name, made.email, made.username) == ("admin", "Bob", "Bob@example.com", "Bob@example.com")
    bob = session(identity, "bob@EXAMPLE.com")
    assert (bob.org_id, bob.role, bob.deployment_admin) == (made.home_org, "owner", True)
    with pytest.raises(Conflict):
        identity.accounts.create(admin, name="B", email="bob@example.com", password=PASSWORD)
    with pytest.raises(Unprocessable):
        identity.accounts.create(admin, name="B", email="c@example.com", password=PASSWORD, role="root")
    with pytest.raises(InvalidRequest):
        identity.accounts.create(admin, name="B", email="c@example.com", password="short")


def test_users_do_not_manage_accounts(identity: Identity) -> None:
    """Listing and making accounts, and other people's accounts, are for administrators."""
    first = sign_up(identity, "ada")
    sign_up(identity, "bob")
    bob = session(identity, "bob")
    for attempt in (
        lambda: identity.accounts.list(bob, limit=10, offset=0),
        lambda: identity.accounts.create(bob, name="x", email="x@example.com", password=PASSWORD),
        lambda: identity.accounts.get(bob, first.id),
        lambda: identity.accounts.update(bob, first.id, Changes(name="x")),
        lambda: identity.accounts.delete(bob, first.id),
        lambda: identity.accounts.get(bob, "unknown"),
        lambda: identity.accounts.update(bob, bob.account_id, Changes(role="admin")),
    ):
        with pytest.raises(Forbidden):
            attempt()
    with pytest.raises(Unauthorized):
        identity.accounts.get(ANONYMOUS, first.id)


def test_lists_are_oldest_first_and_counted_before_paging(identity: Identity, held: HeldClock) -> None:
    """Pages follow each other without gap; the role filters and an unknown one keeps nobody."""
    made = [sign_up(identity, f"user{number}") for number in range(5)]
    admin = session(identity, "user0")
    page = identity.accounts.list(admin, limit=2, offset=1)
    assert ([row.id for row in page.items], page.total) == ([made[1].id, made[2].id], 5)
    assert (identity.accounts.list(admin, limit=2, offset=9).items, page.total) == ([], 5)
    assert [row.username for row in identity.accounts.list(admin, role="admin", limit=9, offset=0).items] == ["user0"]
    assert identity.accounts.list(admin, role="user", limit=9, offset=0).total == 4
    assert identity.accounts.list(admin, role="root", limit=9, offset=0).total == 0


def test_a_change_moves_the_time_and_keeps_the_rest(identity: Identity, held: HeldClock) -> None:
    """Only what is given changes, `updated` always grows, `created` never moves."""
    before = sign_up(identity, "ada")
    ada = session(identity, "ada")
    after = identity.accounts.update(ada, ada.account_id, Changes(name="Ada L."))
    assert (after.name, after.email, after.username, after.role) == ("Ada L.", before.email, "ada", "admin")
    assert after.created_ms == before.created_ms
    assert after.updated_ms > before.updated_ms


def test_a_new_address_signs_in_at_once_and_frees_the_old(identity: Identity) -> None:
    """The address moves in one step; as the user name too where it was one."""
    sign_up(identity, "ada@example.com")
    ada = session(identity, "ada@example.com")
    changed = identity.accounts.update(ada, ada.account_id, Changes(email="ada@new.example.com"))
    assert changed.username == "ada@new.example.com"
    assert session(identity, "ada@new.example.com").account_id == ada.account_id
    assert sign_up(identity, "ada@example.com").id != ada.account_id


def test_a_taken_address_is_refused(identity: Identity) -> None:
    """Changing to somebody else's name or address is 409 and changes nothing; to one's own it is fine."""
    sign_up(identity, "ada")
    sign_up(identity, "bob@example.com")
    ada = session(identity, "ada")
    for taken in ("BOB@example.com",):
        with pytest.raises(Conflict):
            identity.accounts.update(ada, ada.account_id, Changes(name="x", email=taken))
    assert identity.accounts.get(ada, ada.account_id).name == "ada"
    identity.accounts.update(ada, ada.account_id, Changes(email="ADA@local"))


def test_the_last_administrator_stays_one(identity: Identity) -> None:
    """Roles change by an administrator; the last one cannot give it up, of two racing only one can."""
    sign_up(identity, "ada")
    bob = sign_up(identity, "bob")
    ada = session(identity, "ada")
    with pytest.raises(Conflict):
        identity.accounts.update(ada, ada.account_id, Changes(role="user"))
    with pytest.raises(Unprocessable):
        identity.accounts.update(ada, bob.id, Changes(role="root"))
    assert identity.accounts.update(ada, bob.id, Changes(role="admin")).role == "admin"
    both = [ada, session(identity, "bob")]
    results = together(
        lambda number: identity.accounts.update(both[number], both[number].account_id, Changes(role="user")), 2
    )
    assert sum(isinstance(result, Conflict) for result in results) == 1


def test_an_unknown_account_is_404_to_an_administrator(identity: Identity) -> None:
    """Only who may see any account learns that one is not there."""
    sign_up(identity, "ada")
    for unknown in ("unknown", "x" * 5000, "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7", "a#b", ""):
        with pytest.raises(NotFound):
            identity.accounts.get(session(identity, "ada"), unknown)


class _EveryAnswerOnceLost:
    """Loses the answer of every other write."""

    def __init__(self) -> None:
        self.writes = 0

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        if operation != "TransactWriteItems":
            return None
        self.writes += 1
        return Fault.ANSWER_LOST if self.writes % 2 else None


def test_lost_answers_make_no_second_account(held: HeldClock) -> None:
    """When answers of the store are lost, an account is still made once, with one number, and is no conflict."""
    with memory_store(faults=_EveryAnswerOnceLost()):
        identity = cheap_identity()
        assert [sign_up(identity, name).user_id for name in ("ada", "bob")] == [1, 2]
        assert identity.accounts.list(session(identity, "ada"), limit=9, offset=0).total == 2
