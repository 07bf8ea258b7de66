"""Members of an org: who they are, what they may do, and how they leave. Source: NullRun docs, HTTP API, Members.

Every change claims the org's next version in its transaction, so that of two owners who leave side by side the second
sees that it is the last one. Sessions act in an org by membership: a removal bites at the next request.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.governance.events import Actor, Fact, add_event
from shared.governance.frames import member_removed
from shared.governance.pages import Part, part_of
from shared.identity import (
    Account,
    Principal,
    Role,
    account_record,
    as_of_now,
    get_org,
    member_of,
    members,
    move_version,
    people,
    remove_member,
    role_of,
    set_role,
)
from shared.kit.errors import Conflict, Forbidden, NotFound, Unavailable
from shared.store.models.identity import AccountRecord, OrgMember, OrgRecord
from shared.store.transaction import ConditionFailed, Transaction

_ATTEMPTS = 64


@dataclass(frozen=True, slots=True)
class Member:
    """A member; ``id`` is the account's."""

    id: str
    email: str
    name: str
    role: Role
    joined_ms: int


class Members:
    """The members of the principal's org."""

    def list(self, principal: Principal, *, limit: int, cursor: str | None = None) -> Part[Member]:
        """Everybody in the org, oldest account first. Raises Forbidden for an API key."""
        principal.require_account()
        rows = sorted(members(principal.org_id), key=lambda row: row.account_id)
        part = part_of(rows, limit, cursor, lambda row: row.account_id)
        known = people(row.account_id for row in part.items)
        return part.of([_view(row, known.get(row.account_id)) for row in part.items])

    def change_role(self, principal: Principal, account_id: str, role: Role) -> Member:
        """Give a member another role. Only an owner makes and unmakes owners.

        Raises Forbidden, NotFound, and Conflict for the last owner.
        """
        principal.require_role("admin")
        for _ in range(_ATTEMPTS):
            org, member, account = _found(principal.org_id, account_id)
            acting = as_of_now(principal)
            acting.require_role("admin")
            if "owner" in (role, member.role):
                _require_owner(acting)
            if member.role != role:
                _keep_an_owner(org.org_id, member)
                tx = Transaction()
                move_version(tx, org, "org")
                set_role(tx, org.org_id, account_id, role)
                details = {"email": account.email, "from": member.role, "to": role}
                fact = Fact("member.role_changed", ("member", account_id), details=details)
                add_event(tx, org.org_id, Actor.of(principal), fact)
                try:
                    tx.commit()
                except ConditionFailed:
                    continue
                member.role = role
            return _view(member, Account.of(account))
        raise _busy()

    def remove(self, principal: Principal, account_id: str) -> None:
        """Remove a member, who loses the org at once; whose home it was is signed out, too. Members may leave.

        Raises Forbidden, NotFound, and Conflict for the last owner.
        """
        principal.require_account()
        if account_id != principal.account_id:
            principal.require_role("admin")
        for _ in range(_ATTEMPTS):
            org, member, account = _found(principal.org_id, account_id)
            if account_id != principal.account_id:
                acting = as_of_now(principal)
                acting.require_role("admin")
                if member.role == "owner":
                    _require_owner(acting)
            _keep_an_owner(org.org_id, member)
            tx = Transaction()
            move_version(tx, org, "org")
            remove_member(tx, org.org_id, account, end_sessions=True)
            details = {"email": account.email, "role": member.role, "left": account_id == principal.account_id}
            gone = member_removed(account_id)
            fact = Fact("member.removed", ("member", account_id), details=details, control=[gone])
            add_event(tx, org.org_id, Actor.of(principal), fact)
            try:
                tx.commit()
            except ConditionFailed:
                continue
            return
        raise _busy()


def _found(org_id: str, account_id: str) -> tuple[OrgRecord, OrgMember, AccountRecord]:
    """The org, its member and the member's account, the org read first. Raises NotFound."""
    org = get_org(org_id)
    if org is None:
        raise NotFound("There is no such organisation")
    member = member_of(org_id, account_id)
    account = None if member is None else account_record(account_id)
    if member is None or account is None:
        raise NotFound("There is no such member")
    return org, member, account


def _keep_an_owner(org_id: str, member: OrgMember) -> None:
    """Raise Conflict when the member is the only owner; the org's version proves that it is still so."""
    if member.role != "owner":
        return
    if not any(other.role == "owner" and other.account_id != member.account_id for other in members(org_id)):
        raise Conflict("The organisation's last owner must stay one; make another member an owner first")


def _require_owner(principal: Principal) -> None:
    if principal.role != "owner":
        raise Forbidden("Only an owner may make, change or remove owners")


def _view(row: OrgMember, account: Account | None) -> Member:
    """The member; one whose account is being removed has no name any more."""
    email, name = ("", "") if account is None else (account.email, account.name)
    return Member(row.account_id, email, name, role_of(row.role), int(row.since_ms))


def _busy() -> Unavailable:
    return Unavailable("The organisation's members are being changed by others; try again")
