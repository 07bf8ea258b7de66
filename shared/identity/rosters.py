"""Who belongs to which org: looking up both ways, and the writes of a change.

A change is part of its caller's transaction, which moves the org's version as well: of two changes made side by side
one is made again, with what the other left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from shared.identity.names import fold, is_login_name
from shared.identity.orgs import add_member, get_org, memberships, new_org
from shared.identity.principal import ROLES, Principal, Role
from shared.identity.views import Account, OrgRole
from shared.kit import clock, ids
from shared.kit.errors import Forbidden
from shared.store.models.identity import (
    AccountRecord,
    LoginName,
    Membership,
    OrgMember,
    OrgRecord,
    account_pk,
    login_pk,
    member_sk,
    membership_sk,
    org_pk,
)
from shared.store.transaction import Transaction, read, read_each

_AT_ONCE = 100
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def people(account_ids: Iterable[str]) -> dict[str, Account]:
    """The accounts of these ids; those that do not exist are left out."""
    keys = [(account_pk(account_id), "account") for account_id in account_ids]
    return {record.account_id: Account.of(record) for record in AccountRecord.batch_get(keys, consistent_read=True)}


def account_record(account_id: str) -> AccountRecord | None:
    """The stored account, unless it is gone or going."""
    record = read(AccountRecord, account_pk(account_id), "account")
    return None if record is None or record.deleting else record


def account_of_name(name: str) -> AccountRecord | None:
    """The stored account that signs in with a user name or e-mail address."""
    login = read(LoginName, login_pk(fold(name)), "login") if is_login_name(name) else None
    return None if login is None else account_record(login.account_id)


def member_of(org_id: str, account_id: str) -> OrgMember | None:
    """The member, as the org sees it; None for what is no account's id."""
    return read(OrgMember, org_pk(org_id), member_sk(account_id)) if _ID.fullmatch(account_id) else None


def as_of_now(principal: Principal) -> Principal:
    """The caller with the role it has in its org by now: a change of members may have overtaken the request.

    Read after the org whose version is claimed, it is what the change is made by. Raises Forbidden.
    """
    member = member_of(principal.org_id, principal.account_id)
    if member is None:
        raise Forbidden("You are not a member of this organisation")
    return replace(principal, role=role_of(member.role))


def org_roles(account_id: str) -> Sequence[OrgRole]:
    """Every org the account is a member of, and as what; oldest org first."""
    mine = {item.org_id: role_of(item.role) for item in memberships(account_id)}
    wanted = list(mine)
    records: list[OrgRecord] = []
    for start in range(0, len(wanted), _AT_ONCE):
        keys = [(OrgRecord, org_pk(org_id), "org") for org_id in wanted[start : start + _AT_ONCE]]
        records += [record for record in read_each(*keys) if isinstance(record, OrgRecord) and not record.deleting]
    records.sort(key=lambda record: (int(record.created_ms), record.org_id))
    return [OrgRole(record.org_id, record.name, mine[record.org_id], int(record.created_ms)) for record in records]


def role_of(text: str) -> Role:
    """A stored role; one that this version does not know may do the least."""
    return next((role for role in ROLES if role == text), "viewer")


def rename_org(tx: Transaction, org: OrgRecord, name: str) -> None:
    """Call an org otherwise, unless it is going (label ``org``)."""
    tx.update(org, [OrgRecord.name.set(name)], OrgRecord.deleting == False, "org")  # noqa: E712


def set_role(tx: Transaction, org_id: str, account_id: str, role: Role) -> None:
    """Change both halves of a membership."""
    member = OrgMember(org_pk(org_id), member_sk(account_id))
    tx.update(member, [OrgMember.role.set(role)], OrgMember.pk.exists(), "member")
    membership = Membership(account_pk(account_id), membership_sk(org_id))
    tx.update(membership, [Membership.role.set(role)], Membership.pk.exists(), "membership")


def remove_member(tx: Transaction, org_id: str, account: AccountRecord, *, end_sessions: bool) -> None:
    """Remove both halves of a membership. Sessions act in an org by it, so they lose the org at once.

    Whose home the org was gets another one: an org the account belongs to, else a new one of its own. With
    ``end_sessions`` its sessions are over, too.
    """
    tx.delete(OrgMember(org_pk(org_id), member_sk(account.account_id)))
    tx.delete(Membership(account.pk, membership_sk(org_id)))
    live = AccountRecord.deleting == False  # noqa: E712
    if account.home_org != org_id:
        # The org may become its home meanwhile, when it loses the one it has.
        tx.check(AccountRecord, account.pk, "account", live & (AccountRecord.home_org != org_id), "account")
        return
    actions = [
        AccountRecord.home_org.set(_other_home(tx, org_id, account)),
        AccountRecord.version.set(account.version + 1),
        AccountRecord.updated_ms.set(max(clock.now_ms(), int(account.updated_ms) + 1)),
    ]
    if end_sessions:
        actions += [AccountRecord.epoch.set(account.epoch + 1), AccountRecord.kept_session.remove()]
    tx.update(account, actions, live & (AccountRecord.version == account.version), "account")


def _other_home(tx: Transaction, org_id: str, account: AccountRecord) -> str:
    for membership in memberships(account.account_id):
        if membership.org_id != org_id and get_org(membership.org_id) is not None:
            sk = membership_sk(membership.org_id)
            tx.check(Membership, account.pk, sk, Membership.pk.exists(), "home")
            return str(membership.org_id)
    fresh = new_org(ids.uuid4(), account.name, personal=True)
    tx.put(fresh, OrgRecord.pk.does_not_exist(), "home")
    add_member(tx, fresh.org_id, account.account_id, "owner")
    return str(fresh.org_id)
