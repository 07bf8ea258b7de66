from __future__ import annotations

import pytest

from shared.identity import Account, Identity, account_of_name, account_record, get_org, member_of, org_roles, people
from shared.identity.orgs import add_member, members, memberships, move_version
from shared.identity.principal import Role
from shared.identity.rosters import remove_member, rename_org, role_of, set_role
from shared.kit.errors import Forbidden, Unauthorized
from shared.store.models.identity import Membership, OrgRecord, account_pk, membership_sk, org_pk
from shared.store.transaction import ConditionFailed, Transaction
from tests.support.apigw import basic
from tests.support.deployment import PASSWORD


def person(identity: Identity, name: str) -> Account:
    return identity.accounts.sign_up(username=name, password=PASSWORD)


@pytest.fixture
def bob(identity: Identity) -> Account:
    """Somebody with an org of his own."""
    person(identity, "ada")
    return person(identity, "bob")


def join(org_id: str, account: Account, role: Role) -> None:
    org = get_org(org_id)
    assert org is not None
    tx = Transaction()
    move_version(tx, org, "org")
    add_member(tx, org_id, account.id, role)
    tx.commit()


def leave(org_id: str, account: Account, *, end_sessions: bool) -> None:
    record = account_record(account.id)
    assert record is not None
    tx = Transaction()
    remove_member(tx, org_id, record, end_sessions=end_sessions)
    tx.commit()


def test_every_org_of_an_account_oldest_first(identity: Identity, bob: Account) -> None:
    """With name and role; one that is being deleted is none."""
    cyd = person(identity, "cyd")
    join(bob.home_org, cyd, "admin")
    assert [(org.id, org.name, org.role) for org in org_roles(cyd.id)] == [
        (bob.home_org, "bob", "admin"),
        (cyd.home_org, "cyd", "owner"),
    ]
    going = OrgRecord(org_pk(bob.home_org), "org")
    Transaction().update(going, [OrgRecord.deleting.set(True)]).commit()
    assert [org.id for org in org_roles(cyd.id)] == [cyd.home_org]
    assert org_roles("nobody") == []


def test_more_orgs_than_one_request_reads(identity: Identity, bob: Account) -> None:
    """All of them."""
    for number in range(101):
        other = person(identity, f"p{number}")
        join(other.home_org, bob, "viewer")
    assert len(org_roles(bob.id)) == 102


def test_a_role_that_nobody_knows_may_do_the_least(identity: Identity, bob: Account) -> None:
    """As an older version would read a newer one's."""
    assert [role_of(text) for text in ("owner", "viewer", "emperor", "")] == ["owner", "viewer", "viewer", "viewer"]
    Transaction().update(
        Membership(account_pk(bob.id), membership_sk(bob.home_org)), [Membership.role.set("emperor")]
    ).commit()
    assert org_roles(bob.id)[0].role == "viewer"


def test_looking_people_up(identity: Identity, bob: Account) -> None:
    """By id and by name, in whatever case; who is not there is left out."""
    assert people([bob.id, "nobody"]) == {bob.id: bob}
    found = account_of_name(" BOB@local ")
    assert found is not None
    assert found.account_id == bob.id
    assert account_of_name("nobody") is None
    assert account_of_name("") is None
    assert member_of(bob.home_org, "nobody") is None
    assert member_of(bob.home_org, bob.id) is not None


def test_both_halves_of_a_role_change(identity: Identity, bob: Account) -> None:
    """And none for who is no member."""
    tx = Transaction()
    set_role(tx, bob.home_org, bob.id, "viewer")
    tx.commit()
    assert [row.role for row in members(bob.home_org)] == ["viewer"]
    assert [row.role for row in memberships(bob.id)] == ["viewer"]
    tx = Transaction()
    set_role(tx, bob.home_org, "nobody", "owner")
    with pytest.raises(ConditionFailed):
        tx.commit()


def test_renaming(identity: Identity, bob: Account) -> None:
    """Not of an org that is going."""
    org = get_org(bob.home_org)
    assert org is not None
    tx = Transaction()
    rename_org(tx, org, "Rail")
    tx.commit()
    assert org_roles(bob.id)[0].name == "Rail"
    Transaction().update(org, [OrgRecord.deleting.set(True)]).commit()
    tx = Transaction()
    rename_org(tx, org, "Road")
    with pytest.raises(ConditionFailed):
        tx.commit()


def test_leaving_another_org_ends_no_session(identity: Identity, bob: Account) -> None:
    """The session acts there no more, and at home as before."""
    cyd = person(identity, "cyd")
    join(bob.home_org, cyd, "viewer")
    token = identity.sessions.login("cyd", PASSWORD).token
    identity.authenticator.authenticate(f"Bearer {token}", org=bob.home_org)
    leave(bob.home_org, cyd, end_sessions=True)
    with pytest.raises(Forbidden):
        identity.authenticator.authenticate(f"Bearer {token}", org=bob.home_org)
    assert identity.authenticator.authenticate(f"Bearer {token}").org_id == cyd.home_org


@pytest.mark.parametrize("end_sessions", [True, False])
def test_leaving_home(identity: Identity, bob: Account, end_sessions: bool) -> None:
    """The next home is an org the account belongs to; sessions go on there, or are over."""
    cyd = person(identity, "cyd")
    join(bob.home_org, cyd, "viewer")
    token = identity.sessions.login("cyd", PASSWORD).token
    leave(cyd.home_org, cyd, end_sessions=end_sessions)
    record = account_record(cyd.id)
    assert record is not None
    assert record.home_org == bob.home_org
    if end_sessions:
        with pytest.raises(Unauthorized):
            identity.authenticator.authenticate(f"Bearer {token}")
    else:
        principal = identity.authenticator.authenticate(f"Bearer {token}")
        assert (principal.org_id, principal.role) == (bob.home_org, "viewer")


def test_the_old_home_is_not_meant_by_its_name(identity: Identity, bob: Account) -> None:
    """Whoever names the org that was left is refused, not served in another."""
    token = identity.sessions.login("bob", PASSWORD).token
    leave(bob.home_org, bob, end_sessions=False)
    with pytest.raises(Forbidden):
        identity.authenticator.authenticate(f"Bearer {token}", org=bob.home_org)


def test_a_remembered_password_follows_the_home(identity: Identity, bob: Account) -> None:
    """HTTP Basic acts in the new home at once."""
    header = basic("bob", PASSWORD)["authorization"]
    assert identity.authenticator.authenticate(header).org_id == bob.home_org
    leave(bob.home_org, bob, end_sessions=False)
    record = account_record(bob.id)
    assert record is not None
    assert identity.authenticator.authenticate(header).org_id == record.home_org != bob.home_org


def test_an_account_that_goes_leaves_nothing(identity: Identity, bob: Account) -> None:
    """Removing it as a member fails: its deletion does that."""
    record = account_record(bob.id)
    assert record is not None
    tx = Transaction()
    remove_member(tx, bob.home_org, record, end_sessions=True)
    Transaction().update(record, [type(record).deleting.set(True)]).commit()
    with pytest.raises(ConditionFailed):
        tx.commit()
    assert account_record(bob.id) is None
