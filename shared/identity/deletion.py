"""Removing an account and all that is only its own, so that a crash half-way loses nothing and leaves nothing.

    live ──begin: one transaction──▶ deleting ──finish: hooks, memberships, links, orgs──▶ gone
                                        ▲  │
                                        └──┘ crash: the sweep calls finish again; every step may run twice

From ``begin`` on nobody can sign in, the names are free and the orgs take no new members. An org that its last member
deletes goes the same way, without an account.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.identity import orgs
from shared.identity.deployment import count_administrators
from shared.identity.external import forget_links
from shared.identity.names import fold
from shared.identity.principal import Principal
from shared.identity.rosters import remove_member
from shared.kit import clock
from shared.kit.errors import Conflict, Unavailable
from shared.store.models.identity import (
    ACCOUNTS_PK,
    DELETIONS_PK,
    AccountListing,
    AccountRecord,
    DeletionRecord,
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
from shared.store.transaction import ConditionFailed, Transaction, read

_ATTEMPTS = 16
_MOST_ORGS = 30
_ORG = "org#"


@dataclass(frozen=True, slots=True)
class Departure:
    """Whose data go: the account's own, and all in the orgs that go with it (the default org is only emptied).

    ``account_id`` is empty where an org goes without an account.
    """

    account_id: str
    org_ids: Sequence[str]


CleanupHook = Callable[[Departure], None]
"""Removes one domain's data of a departure. May be called again for the same one."""


@dataclass(frozen=True, slots=True)
class _Owned:
    """An org the account owns, and who owns it afterwards: others already, a successor, or nobody (then it goes)."""

    org: OrgRecord
    shared: bool = False
    successor: str | None = None


class Deletion:
    """Deletes accounts. Domains add their clean-up to ``hooks``."""

    def __init__(self) -> None:
        self.hooks: list[CleanupHook] = []

    def begin(self, record: AccountRecord, principal: Principal) -> None:
        """Make the account unusable, for good. Raises Conflict for the last administrator, or an org's last owner."""
        for _ in range(_ATTEMPTS):
            owned = self._owned(record, principal)
            try:
                self._transaction(record, owned).commit()
                return
            except ConditionFailed as failed:
                if "administrators" in failed.failures:
                    raise Conflict("The last administrator cannot be deleted") from None
                current = read(AccountRecord, record.pk, "account")
                if current is None or current.deleting:
                    return
                record = current
        raise Unavailable("The account is being changed by others; try again")

    def _owned(self, record: AccountRecord, principal: Principal) -> list[_Owned]:
        """Orgs the account owns. Raises Conflict when one of them has other members but no other owner."""
        found: list[_Owned] = []
        for membership in orgs.memberships(record.account_id):
            org = orgs.get_org(membership.org_id)
            if org is None or membership.role != "owner":
                continue
            others = [member for member in orgs.members(org.org_id) if member.account_id != record.account_id]
            if any(member.role == "owner" for member in others):
                found.append(_Owned(org, shared=True))
            elif others:
                raise Conflict(f"The account is the last owner of the organisation {org.name}, which has other members")
            elif org.org_id == orgs.DEFAULT_ORG_ID:
                found.append(_Owned(org, successor=_other_administrator(record, principal)))
            else:
                found.append(_Owned(org))
        if len(found) > _MOST_ORGS:
            raise Conflict(f"The account owns more than {_MOST_ORGS} organisations; delete some of them first")
        return found

    def _transaction(self, record: AccountRecord, owned: list[_Owned]) -> Transaction:
        tx = Transaction()
        unchanged = (AccountRecord.version == record.version) & (AccountRecord.deleting == False)  # noqa: E712
        tx.update(
            record, [AccountRecord.deleting.set(True), AccountRecord.password_hash.remove()], unchanged, "account"
        )
        tx.delete(AccountListing(ACCOUNTS_PK, record.account_id))
        for name in {fold(record.username), fold(record.email)}:
            tx.delete(LoginName(login_pk(name), "login"))
        if record.administrator:
            count_administrators(tx, -1)
        for item in owned:
            self._give_up(tx, record.account_id, item)
        gone = [item.org.org_id for item in owned if not item.shared]
        return tx.put(DeletionRecord(DELETIONS_PK, record.account_id, org_ids=" ".join(gone), since_ms=clock.now_ms()))

    def _give_up(self, tx: Transaction, account_id: str, owned: _Owned) -> None:
        org = owned.org
        # The half that counts leaves at once: of two owners deleted side by side the second must see it.
        tx.delete(OrgMember(org_pk(org.org_id), member_sk(account_id)))
        if owned.shared or owned.successor is not None:
            orgs.move_version(tx, org, f"org {org.org_id}")
        else:
            unchanged = (OrgRecord.version == org.version) & (OrgRecord.deleting == False)  # noqa: E712
            actions = [OrgRecord.deleting.set(True), OrgRecord.version.set(org.version + 1)]
            tx.update(org, actions, unchanged, f"org {org.org_id}")
        if owned.successor is not None:
            orgs.add_member(tx, org.org_id, owned.successor, "owner")

    def begin_org(self, tx: Transaction, org: OrgRecord, owner: AccountRecord) -> str:
        """Add the writes that take an org from its last member; what :meth:`finish` then takes.

        The transaction fails under the label ``org`` when the org's members changed since it was read.
        """
        unchanged = (OrgRecord.version == org.version) & (OrgRecord.deleting == False)  # noqa: E712
        tx.update(org, [OrgRecord.deleting.set(True), OrgRecord.version.set(org.version + 1)], unchanged, "org")
        remove_member(tx, org.org_id, owner, end_sessions=False)
        going = f"{_ORG}{org.org_id}"
        tx.put(DeletionRecord(DELETIONS_PK, going, org_ids=org.org_id, since_ms=clock.now_ms()))
        return going

    def finish(self, going: str) -> None:
        """Remove the data of an account (by its id), or an org, that is going; harmless when that is done already."""
        pending = read(DeletionRecord, DELETIONS_PK, going)
        if pending is None:
            return
        account_id = "" if going.startswith(_ORG) else going
        departure = Departure(account_id, tuple(pending.org_ids.split()))
        for hook in self.hooks:
            hook(departure)
        if account_id:
            for membership in orgs.memberships(account_id):
                _leave(membership.org_id, account_id)
            forget_links(account_id)
        for org_id in departure.org_ids:
            if org_id != orgs.DEFAULT_ORG_ID:
                Transaction().delete(OrgRecord(org_pk(org_id), "org")).commit()
        tx = Transaction().delete(DeletionRecord(DELETIONS_PK, going))
        if account_id:
            tx.delete(AccountRecord(account_pk(account_id), "account"))
        tx.commit()

    def pending(self, older_than_ms: int = 60_000) -> list[str]:
        """What began to go a while ago and is not gone: ids of accounts, and orgs as :meth:`begin_org` names them."""
        before = clock.now_ms() - older_than_ms
        found = DeletionRecord.query(DELETIONS_PK, consistent_read=True)
        return [record.sk for record in found if record.since_ms <= before]


def _leave(org_id: str, account_id: str) -> None:
    tx = Transaction().delete(OrgMember(org_pk(org_id), member_sk(account_id)))
    tx.delete(Membership(account_pk(account_id), membership_sk(org_id))).commit()


def _other_administrator(record: AccountRecord, principal: Principal) -> str | None:
    """Who owns the default org next: the administrator who deletes, else the longest-standing other one."""
    if principal.account_id != record.account_id and principal.deployment_admin:
        return principal.account_id
    rows = AccountListing.query(
        ACCOUNTS_PK, filter_condition=AccountListing.administrator.is_in(True), consistent_read=True
    )
    other = next((row.sk for row in rows if row.sk != record.account_id), None)
    if other is None:
        raise Conflict("The last administrator cannot be deleted")
    return other
