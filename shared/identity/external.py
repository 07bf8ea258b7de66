"""People whom another provider vouches for: who they are there, and which account is theirs.

An identity is known by its issuer and subject and belongs to one account. It is linked to an account that exists by
its e-mail address, and only if the provider says that the address is verified. Whoever registered an address that
nobody had verified may not be who owns it: what they could sign in with ends when its owner comes.
Source: OpenID Connect Core 1.0, 5.7; docs/rulings.md#external-sign-in.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass

from shared.identity.names import is_same_address
from shared.identity.rosters import account_of_name, account_record
from shared.kit import clock
from shared.kit.errors import Unavailable
from shared.kit.logging import logger
from shared.store.models.identity import (
    AccountRecord,
    ExternalIdentity,
    ExternalLink,
    account_pk,
    external_pk,
    external_sk,
)
from shared.store.transaction import ConditionFailed, Transaction, read

log = logger("identity")

_ATTEMPTS = 16
_MOST_AT_ONCE = 40
"""Links that are ended together with the password: two writes each, of the hundred that a transaction has."""


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

    Raises Unavailable; of two sign-ins side by side both find the account.
    """
    for _ in range(_ATTEMPTS):
        known = read(ExternalIdentity, external_pk(external.digest), "external")
        if known is not None and account_record(known.account_id) is not None:
            return str(known.account_id)
        record = account_of_name(external.email) if external.email else None
        # A user name may look like an address without being the account's.
        if record is None or not is_same_address(record.email, external.email):
            return None
        tx = Transaction()
        if record.email_verified:
            still = (AccountRecord.deleting == False) & (AccountRecord.email == record.email)  # noqa: E712
            tx.check(AccountRecord, record.pk, "account", still & AccountRecord.email_verified.is_in(True), "account")
        else:
            _hand_over(tx, record, external)
        link(tx, external, record)
        # Somebody may have linked it, or changed the account.
        with contextlib.suppress(ConditionFailed):
            tx.commit()
            if not record.email_verified:
                log.warning(
                    "an address changed hands",
                    extra={"account_id": record.account_id},
                )
            return str(record.account_id)
    raise Unavailable("The account is being changed by others; try again")


def _hand_over(tx: Transaction, record: AccountRecord, external: External) -> None:
    """End the password, the sessions and the links of whoever registered an address that was never verified.

    Source: docs/rulings.md#external-sign-in.
    """
    # One to the very identity is another sign-in's, which was faster: this transaction fails on it.
    links = [row for row in _links_of(record.account_id) if row.digest != external.digest]
    for row in links[_MOST_AT_ONCE:]:
        _unlink(row, record.account_id)
    for row in links[:_MOST_AT_ONCE]:
        identity = ExternalIdentity(external_pk(row.digest), "external")
        tx.delete(identity, ExternalIdentity.account_id == record.account_id, "former")
        tx.delete(ExternalLink(row.pk, row.sk))
    actions = [
        AccountRecord.email_verified.set(True),
        AccountRecord.password_hash.remove(),
        AccountRecord.kept_session.remove(),
        AccountRecord.epoch.set(record.epoch + 1),
        AccountRecord.version.set(record.version + 1),
        AccountRecord.updated_ms.set(max(clock.now_ms(), int(record.updated_ms) + 1)),
    ]
    unchanged = (AccountRecord.version == record.version) & (AccountRecord.deleting == False)  # noqa: E712
    tx.update(record, actions, unchanged, "account")


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
    for row in _links_of(account_id):
        _unlink(row, account_id)


def _links_of(account_id: str) -> list[ExternalLink]:
    rows = ExternalLink.query(account_pk(account_id), ExternalLink.sk.startswith("external#"), consistent_read=True)
    return list(rows)


def _unlink(row: ExternalLink, account_id: str) -> None:
    identity = ExternalIdentity(external_pk(row.digest), "external")
    # It may be gone, or another account's by now.
    with contextlib.suppress(ConditionFailed):
        Transaction().delete(identity, ExternalIdentity.account_id == account_id).commit()
    Transaction().delete(ExternalLink(row.pk, row.sk)).commit()
