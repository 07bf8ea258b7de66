"""People whom another provider vouches for: who they are there, and which account is theirs.

An identity is known by its issuer and subject and belongs to one account. It is linked to an account that exists by
its e-mail address, and only if the provider says that the address is verified.
Source: OpenID Connect Core 1.0, 5.7; docs/rulings.md#external-sign-in.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass

from shared.identity.names import fold
from shared.identity.rosters import account_of_name, account_record
from shared.store.models.identity import (
    AccountRecord,
    ExternalIdentity,
    ExternalLink,
    account_pk,
    external_pk,
    external_sk,
)
from shared.store.transaction import ConditionFailed, Transaction, read


@dataclass(frozen=True, slots=True)
class External:
    """Somebody at another provider. ``email`` is empty unless the provider says that it is verified."""

    issuer: str
    subject: str
    email: str
    name: str

    @property
    def digest(self) -> str:
        """Under what it is found."""
        parts = (self.issuer.encode("utf-8", "surrogatepass"), self.subject.encode("utf-8", "surrogatepass"))
        return hashlib.sha256(b"".join(len(part).to_bytes(8) + part for part in parts)).hexdigest()


def linked_account(external: External) -> str | None:
    """The account of an identity; it is linked now if an account has its verified e-mail address. None: there is none.

    Raises nothing: of two sign-ins side by side both find the account.
    """
    known = read(ExternalIdentity, external_pk(external.digest), "external")
    if known is not None and account_record(known.account_id) is not None:
        return str(known.account_id)
    record = account_of_name(external.email) if external.email else None
    # A user name may look like an address without being the account's.
    if record is None or fold(record.email) != fold(external.email):
        return None
    tx = Transaction()
    still = (AccountRecord.deleting == False) & (AccountRecord.email == record.email)  # noqa: E712
    tx.check(AccountRecord, record.pk, "account", still, "account")
    link(tx, external, record)
    try:
        tx.commit()
    except ConditionFailed:
        # Somebody linked it, or changed the account; whoever comes next sees what is so.
        again = read(ExternalIdentity, external_pk(external.digest), "external")
        return None if again is None or account_record(again.account_id) is None else str(again.account_id)
    return str(record.account_id)


def link(tx: Transaction, external: External, record: AccountRecord) -> None:
    """Give an identity to an account, unless another live account has it (label ``external``)."""
    digest = external.digest
    known = read(ExternalIdentity, external_pk(digest), "external")
    # What belonged to an account that is gone is free again.
    free = ExternalIdentity.pk.does_not_exist()
    if known is not None and account_record(known.account_id) is None:
        free = free | (ExternalIdentity.account_id == known.account_id)
    tx.put(
        ExternalIdentity(
            external_pk(digest), "external", account_id=record.account_id, issuer=external.issuer,
            subject=external.subject,
        ),
        free,
        "external",
    )  # fmt: skip
    tx.put(ExternalLink(record.pk, external_sk(digest), digest=digest, issuer=external.issuer))


def forget_links(account_id: str) -> None:
    """Remove what an account that goes was linked to. Harmless when repeated."""
    pk = account_pk(account_id)
    for row in list(ExternalLink.query(pk, ExternalLink.sk.startswith("external#"), consistent_read=True)):
        identity = ExternalIdentity(external_pk(row.digest), "external")
        # It may be gone, or another account's by now.
        with contextlib.suppress(ConditionFailed):
            Transaction().delete(identity, ExternalIdentity.account_id == account_id).commit()
        Transaction().delete(ExternalLink(pk, row.sk)).commit()
