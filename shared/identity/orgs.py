"""Organisations and who belongs to them. Membership is written twice, under the account and under the org, together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from shared.identity.names import LOCAL_DOMAIN
from shared.identity.principal import ROLES, Role
from shared.kit import clock
from shared.store.models.identity import (
    AccountRecord,
    Membership,
    OrgMember,
    OrgRecord,
    account_pk,
    member_sk,
    membership_sk,
    org_pk,
)
from shared.store.transaction import Transaction, put_if_absent, read, read_together

DEFAULT_ORG_ID = "6f1d2a0e-9c55-5b0e-8a57-0d5ba7e2c001"
"""The org that exists from the start, the same in every deployment."""

_DEFAULT_ORG_NAME = "Default"


def ensure_default_org() -> None:
    """Create the default org where it is missing."""
    if read(OrgRecord, org_pk(DEFAULT_ORG_ID), "org") is None:
        put_if_absent(new_org(DEFAULT_ORG_ID, _DEFAULT_ORG_NAME, personal=False))


def new_org(org_id: str, name: str, *, personal: bool) -> OrgRecord:
    """An org without members, not stored yet."""
    now = clock.now_ms()
    return OrgRecord(
        org_pk(org_id), "org", org_id=org_id, name=name, personal=personal, deleting=False, version=0, created_ms=now
    )


def get_org(org_id: str) -> OrgRecord | None:
    """The org, unless it is gone or going."""
    found = read(OrgRecord, org_pk(org_id), "org")
    return None if found is None or found.deleting else found


def members(org_id: str) -> Sequence[OrgMember]:
    """Everybody in the org, read consistently."""
    return list(OrgMember.query(org_pk(org_id), OrgMember.sk.startswith("member#"), consistent_read=True))


def mail_addresses(org_id: str, roles: Collection[Role]) -> Mapping[str, str]:
    """Account id and e-mail address of the org's members of these roles; who gave no address is left out."""
    wanted = [(account_pk(row.account_id), "account") for row in members(org_id) if row.role in roles]
    found = AccountRecord.batch_get(wanted, consistent_read=True)
    return {
        row.account_id: row.email for row in found if not row.deleting and not row.email.endswith(f"@{LOCAL_DOMAIN}")
    }


def memberships(account_id: str) -> Sequence[Membership]:
    """Every org of the account, read consistently."""
    return list(Membership.query(account_pk(account_id), Membership.sk.startswith("org#"), consistent_read=True))


def role_in(org_id: str, account_id: str) -> Role | None:
    """The account's role in the org; None for who is no member, or being deleted with the org or without it."""
    member, account, org = read_together(
        (OrgMember, org_pk(org_id), member_sk(account_id)),
        (AccountRecord, account_pk(account_id), "account"),
        (OrgRecord, org_pk(org_id), "org"),
    )
    if not isinstance(member, OrgMember) or not isinstance(account, AccountRecord) or not isinstance(org, OrgRecord):
        return None
    if account.deleting or org.deleting:
        return None
    return next((role for role in ROLES if role == member.role), None)


def add_member(tx: Transaction, org_id: str, account_id: str, role: Role) -> None:
    """Put both halves of a membership; the caller moves the org's version in the same transaction."""
    tx.put(OrgMember(org_pk(org_id), member_sk(account_id), account_id=account_id, role=role, since_ms=clock.now_ms()))
    tx.put(Membership(account_pk(account_id), membership_sk(org_id), org_id=org_id, role=role))


def move_version(tx: Transaction, org: OrgRecord, label: str) -> None:
    """Claim the org's next version, on condition that nobody changed its members since ``org`` was read."""
    unchanged = (OrgRecord.version == org.version) & (OrgRecord.deleting == False)  # noqa: E712
    tx.update(org, [OrgRecord.version.set(org.version + 1)], unchanged, label)
