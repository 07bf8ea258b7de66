from __future__ import annotations

import threading

import pytest

from shared.identity import DEFAULT_ORG_ID, Account, Departure, Identity, Principal, account_record
from shared.identity.orgs import add_member, get_org, members, memberships, move_version
from shared.identity.principal import Role
from shared.kit.errors import Conflict, NotFound, Unauthorized
from shared.store.embedded import EmbeddedEngine
from shared.store.transaction import ConditionFailed, Transaction
from tests.support.deployment import PASSWORD
from tests.support.time import HeldClock


def session(identity: Identity, name: str) -> Principal:
    return identity.authenticator.authenticate(f"Bearer {identity.sessions.login(name, PASSWORD).token}")


@pytest.fixture
def ada(identity: Identity) -> Principal:
    """The first account, an administrator."""
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    return session(identity, "ada")


def person(identity: Identity, name: str) -> Account:
    return identity.accounts.sign_up(username=name, password=PASSWORD)


def join(org_id: str, account: Account, role: Role) -> None:
    org = get_org(org_id)
    assert org is not None
    tx = Transaction()
    move_version(tx, org, "org")
    add_member(tx, org_id, account.id, role)
    tx.commit()


def test_everything_of_it_goes(identity: Identity, ada: Principal, store: EmbeddedEngine) -> None:
    """Account, names, memberships and its own org are gone, every domain was told, and nothing mentions it any more."""
    bob = person(identity, "bob@example.com")
    told: list[Departure] = []
    identity.add_cleanup(told.append)
    identity.accounts.delete(session(identity, "bob@example.com"), bob.id)
    assert told == [Departure(bob.id, (bob.home_org,))]
    assert get_org(bob.home_org) is None
    with pytest.raises(NotFound):
        identity.accounts.get(ada, bob.id)
    with pytest.raises(Unauthorized):
        identity.sessions.login("bob@example.com", PASSWORD)
    left = str(store._make_api_call("Scan", {"TableName": "signalbox-identity"}))
    assert bob.id not in left
    assert "bob" not in left
    assert bob.home_org not in left
    assert person(identity, "bob@example.com").id != bob.id


def test_the_last_administrator_cannot_go(identity: Identity, ada: Principal) -> None:
    """409, and the account goes on as before."""
    person(identity, "bob")
    with pytest.raises(Conflict):
        identity.accounts.delete(ada, ada.account_id)
    assert session(identity, "ada").deployment_admin


def test_of_two_administrators_going_at_once_one_stays(identity: Identity, ada: Principal) -> None:
    """However they race, one administrator is left."""
    identity.accounts.create(ada, name="B", email="b@example.com", password=PASSWORD, role="admin")
    both = [ada, session(identity, "b@example.com")]
    results: list[object] = []

    def leave(who: Principal) -> None:
        try:
            identity.accounts.delete(who, who.account_id)
            results.append(None)
        except Conflict as error:
            results.append(error)

    threads = [threading.Thread(target=leave, args=(who,)) for who in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result is None for result in results) == 1


def test_the_default_org_outlives_its_owner(identity: Identity, ada: Principal) -> None:
    """Its data go with the account, the org stays and belongs to the administrator who deleted."""
    made = identity.accounts.create(ada, name="B", email="b@example.com", password=PASSWORD, role="admin")
    told: list[Departure] = []
    identity.add_cleanup(told.append)
    identity.accounts.delete(session(identity, "b@example.com"), ada.account_id)
    assert told == [Departure(ada.account_id, (DEFAULT_ORG_ID,))]
    assert get_org(DEFAULT_ORG_ID) is not None
    assert [(member.account_id, member.role) for member in members(DEFAULT_ORG_ID)] == [(made.id, "owner")]
    assert {item.org_id for item in memberships(made.id)} == {DEFAULT_ORG_ID, made.home_org}


def test_who_leaves_the_default_org_by_itself_is_followed_by_another_administrator(
    identity: Identity, ada: Principal
) -> None:
    """Without somebody else deleting, the longest-standing other administrator becomes the owner."""
    second, _ = (
        identity.accounts.create(ada, name=n, email=f"{n}@example.com", password=PASSWORD, role="admin") for n in "bc"
    )
    identity.accounts.delete(ada, ada.account_id)
    assert [member.account_id for member in members(DEFAULT_ORG_ID)] == [second.id]


def test_the_last_owner_of_a_shared_org_cannot_go(identity: Identity, ada: Principal) -> None:
    """Others would be left without an owner: 409 until there is another one."""
    bob, cyd = person(identity, "bob"), person(identity, "cyd")
    join(bob.home_org, cyd, "operator")
    with pytest.raises(Conflict):
        identity.accounts.delete(session(identity, "bob"), bob.id)
    join(bob.home_org, person(identity, "dan"), "owner")
    identity.accounts.delete(session(identity, "bob"), bob.id)
    org = get_org(bob.home_org)
    assert org is not None
    assert {member.role for member in members(bob.home_org)} == {"operator", "owner"}


def test_of_two_owners_going_at_once_the_org_keeps_one(identity: Identity, ada: Principal) -> None:
    """With a third member in the org, at most one of two owners can go."""
    bob, cyd, dan = (person(identity, name) for name in ("bob", "cyd", "dan"))
    join(bob.home_org, cyd, "owner")
    join(bob.home_org, dan, "viewer")
    outcomes: list[str] = []

    def leave(account: Account) -> None:
        try:
            identity.accounts.delete(ada, account.id)
            outcomes.append("gone")
        except Conflict:
            outcomes.append("kept")

    threads = [threading.Thread(target=leave, args=(account,)) for account in (bob, cyd)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["gone", "kept"]
    assert "owner" in {member.role for member in members(bob.home_org)}


def test_a_crash_half_way_is_finished_later(identity: Identity, ada: Principal, held: HeldClock) -> None:
    """From the first moment the account is unusable; what a broken clean-up left is removed when the sweep resumes."""
    bob = person(identity, "bob")
    broken = True

    def unreliable(departure: Departure) -> None:
        if broken:
            raise RuntimeError("the store is away")

    identity.add_cleanup(unreliable)
    with pytest.raises(RuntimeError):
        identity.accounts.delete(ada, bob.id)
    with pytest.raises(Unauthorized):
        identity.sessions.login("bob", PASSWORD)
    with pytest.raises(NotFound):
        identity.accounts.get(ada, bob.id)
    assert get_org(bob.home_org) is None
    broken = False
    assert identity.resume_deletions() == 0
    held.advance(61)
    assert identity.resume_deletions() == 1
    assert identity.resume_deletions() == 0
    assert memberships(bob.id) == []


def test_deleting_twice_is_404(identity: Identity, ada: Principal) -> None:
    """The second time there is no such account."""
    bob = person(identity, "bob")
    identity.accounts.delete(ada, bob.id)
    with pytest.raises(NotFound):
        identity.accounts.delete(ada, bob.id)


def test_the_list_and_the_count_follow(identity: Identity, ada: Principal) -> None:
    """A deleted account is in no list, and an administrator fewer is counted."""
    made = identity.accounts.create(ada, name="B", email="b@example.com", password=PASSWORD, role="admin")
    identity.accounts.delete(ada, made.id)
    assert identity.accounts.list(ada, limit=9, offset=0).total == 1
    with pytest.raises(Conflict):
        identity.accounts.delete(ada, ada.account_id)


def test_an_org_goes_without_its_account(identity: Identity, ada: Principal, held: HeldClock) -> None:
    """Nobody is a member from the first moment on; a crash before the hooks is made up for later."""
    bob, told = person(identity, "bob"), list[Departure]()
    org, record = get_org(bob.home_org), account_record(bob.id)
    assert org is not None
    assert record is not None
    tx = Transaction()
    going = identity.deletion.begin_org(tx, org, record)
    tx.commit()
    assert get_org(bob.home_org) is None
    assert bob.home_org not in {item.org_id for item in memberships(bob.id)}
    assert identity.deletion.pending() == []
    identity.add_cleanup(told.append)
    held.advance(61)
    assert identity.deletion.pending() == [going]
    assert (identity.resume_deletions(), identity.resume_deletions()) == (1, 0)
    assert told == [Departure("", (bob.home_org,))]
    assert identity.sessions.login("bob", PASSWORD).account.id == bob.id


def test_an_org_whose_members_changed_stays(identity: Identity, ada: Principal) -> None:
    """Whoever joins meanwhile is not left without it."""
    bob = person(identity, "bob")
    org, record = get_org(bob.home_org), account_record(bob.id)
    assert org is not None
    assert record is not None
    join(bob.home_org, person(identity, "cyd"), "viewer")
    tx = Transaction()
    identity.deletion.begin_org(tx, org, record)
    with pytest.raises(ConditionFailed):
        tx.commit()
    assert get_org(bob.home_org) is not None
