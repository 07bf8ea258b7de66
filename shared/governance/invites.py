"""Invites: a person is asked by e-mail to join an org, and joins by the token in the mail.

    create ──▶ pending ──accept──▶ accepted      of accept, decline and revoke exactly one happens: each is one
                 │  ▲ ──decline──▶ declined      conditional write of the invite, and accept makes the membership
            7 days │ resend ─────▶ revoked       in the same transaction
                 ▼  │ (a new token)
               expired

Only a keyed digest of the token is kept. Whatever changes members or pending invites claims the org's next version, so
that duplicates and seats are exact. Source: NullRun docs, HTTP API, Invites; docs/rulings.md#invites.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.governance.events import Actor, Fact, Outcome, add_event
from shared.governance.forms import email_of
from shared.governance.invite_records import (
    KEPT_S,
    LIFE_MS,
    InviteView,
    invites_of,
    new_invite,
    require_invite,
    require_open,
    status_of,
    unused,
    view_of,
    views_of,
)
from shared.governance.messages import mail_delivery
from shared.governance.orgsettings import org_settings
from shared.governance.pages import Part, part_of
from shared.governance.plans import SeatLimitExceeded, plan
from shared.identity import (
    Principal,
    Role,
    account_of_name,
    add_member,
    as_of_now,
    fold,
    get_org,
    member_of,
    members,
    move_version,
    role_of,
)
from shared.kit import clock, crypto, ids
from shared.kit.errors import Conflict, Forbidden, Gone, InvalidRequest, NotFound, TooManyRequests, Unavailable
from shared.store.models.identity import AccountRecord, OrgRecord
from shared.store.models.invites import Invite, InvitePointer, invites_pk, token_pk
from shared.store.transaction import ConditionFailed, Transaction, read

if TYPE_CHECKING:
    from shared.kit.settings import Settings

MOST_MAILS = 10
"""Invites an org mails to one address in a day, resent ones too: nobody asked for them."""

MOST_INVITES = 500
"""Invites an org sends in a day."""

_ATTEMPTS = 64
_DAY_MS = 24 * 3600 * 1000
_PREFIX = "inv_"
_TOKEN = re.compile(r"inv_[A-Za-z0-9_-]{20,64}")


@dataclass(frozen=True, slots=True)
class NewInvite:
    """An invite with its token, which is told now and never again."""

    invite: InviteView
    token: str
    url: str


@dataclass(frozen=True, slots=True)
class OpenInvite:
    """A pending invite that a token was right for, and its org."""

    record: Invite
    org: OrgRecord


class Invites:
    """Invites of the principal's org, and what the holder of a token may do."""

    def __init__(self, root_secret: bytes, settings: Settings) -> None:
        self._key = crypto.derive(root_secret, "invites")
        self._settings = settings

    # By members of the org

    def list(self, principal: Principal, *, limit: int, cursor: str | None = None) -> Part[InviteView]:
        """Every invite of the last 90 days, oldest first. Raises Forbidden."""
        principal.require_role("admin")
        part = part_of(invites_of(principal.org_id), limit, cursor, lambda record: record.invite_id)
        return part.of(views_of(part.items))

    def create(self, principal: Principal, email: str, role: Role) -> NewInvite:
        """Invite somebody by e-mail. Only an owner invites owners.

        Raises Forbidden, Unprocessable for a bad address, InvalidRequest for one's own, Conflict for a member's or one
        that is invited already, SeatLimitExceeded, TooManyRequests.
        """
        principal.require_role("admin")
        email = email_of(email)
        for _ in range(_ATTEMPTS):
            org = _require_org(principal.org_id)
            _require_inviter(principal, role)
            self._refuse_known(principal, email)
            self._require_seat(org.org_id)
            _require_patience(org.org_id, email)
            record = new_invite(principal, email, role, ids.uuid7())
            tx = Transaction()
            move_version(tx, org, "org")
            token = self._send(tx, org, record, principal)
            tx.put(record, Invite.pk.does_not_exist(), "invite")
            details = {"email": email, "role": role}
            add_event(tx, org.org_id, Actor.of(principal), _fact("team.invite", record, details))
            try:
                tx.commit()
            except ConditionFailed:
                continue
            return self._told(record, token)
        raise _busy()

    def _refuse_known(self, principal: Principal, email: str, *, besides: str = "") -> None:
        """Raise when the address is the inviter's, a member's, or on a pending invite other than ``besides``."""
        account = account_of_name(email)
        if account is not None and fold(account.email) == fold(email):
            if account.account_id == principal.account_id:
                raise InvalidRequest.field("email", "This is your own address; you are a member already")
            if member_of(principal.org_id, account.account_id) is not None:
                raise Conflict.field("email", "Who has this address is a member already")
        pending = (record for record in invites_of(principal.org_id) if status_of(record) == "pending")
        if any(fold(record.email) == fold(email) and record.invite_id != besides for record in pending):
            raise Conflict.field("email", "This address is invited already; resend or revoke that invite")

    def _require_seat(self, org_id: str, *, besides: str = "") -> None:
        """Raise SeatLimitExceeded when members and pending invites other than ``besides`` take every seat."""
        if not self._settings.plan_enforcement:
            return
        chosen = plan(org_settings(org_id).plan)
        promised = [record for record in invites_of(org_id) if status_of(record) == "pending"]
        taken = len(members(org_id)) + sum(record.invite_id != besides for record in promised)
        if not chosen.allows("seats", taken + 1):
            raise SeatLimitExceeded(chosen, taken)

    def revoke(self, principal: Principal, invite_id: str) -> None:
        """Take an invite back. Raises Forbidden, NotFound, and Gone when it is over already."""
        principal.require_role("admin")
        for _ in range(_ATTEMPTS):
            record = require_invite(principal.org_id, invite_id)
            if self._end(record, "revoked", Actor.of(principal), "team.invite_revoked"):
                return
        raise _busy()

    def resend(self, principal: Principal, invite_id: str) -> NewInvite:
        """Mail the invite again, with a new token and seven new days; the tokens before are void.

        One that has expired may be sent again. Raises as :meth:`create`, and NotFound, Gone.
        """
        principal.require_role("admin")
        for _ in range(_ATTEMPTS):
            org = _require_org(principal.org_id)
            record = require_invite(principal.org_id, invite_id)
            if status_of(record) != "expired":
                require_open(record)
            _require_inviter(principal, record.role)
            self._refuse_known(principal, record.email, besides=invite_id)
            self._require_seat(org.org_id, besides=invite_id)
            _require_patience(org.org_id, record.email)
            unchanged = (Invite.status == "pending") & (Invite.revision == record.revision)
            record.revision += 1
            record.expires_ms = clock.now_ms() + LIFE_MS
            record.ttl = record.expires_ms // 1000 + KEPT_S
            tx = Transaction()
            move_version(tx, org, "org")
            token = self._send(tx, org, record, principal)
            tx.put(record, unchanged, "invite")
            details = {"email": record.email, "role": record.role}
            add_event(tx, org.org_id, Actor.of(principal), _fact("team.invite_resent", record, details))
            try:
                tx.commit()
            except ConditionFailed:
                continue
            return self._told(record, token)
        raise _busy()

    def _send(self, tx: Transaction, org: OrgRecord, record: Invite, principal: Principal) -> str:
        """Give the invite a new token and put the mail that carries it; the token."""
        token = _PREFIX + ids.token()
        record.digest, record.delivery_id = self._digest(token), ids.uuid7()
        pointer = InvitePointer(token_pk(record.digest), "invite", org_id=org.org_id, invite_id=record.invite_id)
        pointer.ttl = record.ttl
        tx.put(pointer, InvitePointer.pk.does_not_exist(), "token")
        text = (
            f"{principal.username} invites you to join {org.name} as {record.role}.\n\n"
            f"Accept or decline: {self.url(token)}\n\n"
            f"The invite is good until {clock.rfc3339(int(record.expires_ms))}. "
            "If you did not expect it, you need do nothing.\n"
        )
        subject = f"Invitation to {org.name}"
        tx.put(mail_delivery(org.org_id, record.delivery_id, record.email, subject=subject, text=text))
        return token

    def url(self, token: str) -> str:
        """Where the holder of a token is sent."""
        return f"{self._settings.public_url.rstrip('/')}/invite?token={token}"

    def _told(self, record: Invite, token: str) -> NewInvite:
        return NewInvite(view_of(record, "pending"), token, self.url(token))

    def _digest(self, token: str) -> str:
        return crypto.digest(self._key, token)

    # By the holder of a token

    def find(self, token: str) -> OpenInvite:
        """The pending invite of a token. Raises NotFound, and Gone when it is over."""
        pointer = read(InvitePointer, token_pk(self._digest(token)), "invite") if _TOKEN.fullmatch(token) else None
        record = None if pointer is None else read(Invite, invites_pk(pointer.org_id), pointer.invite_id)
        if record is None:
            raise NotFound("There is no such invite")
        require_open(record)
        if record.digest != self._digest(token):
            raise Gone("The invite was sent again; use the newer mail")
        org = get_org(record.org_id)
        if org is None:
            raise Gone("The organisation does not exist any more")
        return OpenInvite(record, org)

    def accept(self, token: str, account: AccountRecord) -> OpenInvite:
        """Have an account join, if the invite is to its address. Raises NotFound, Gone, Conflict."""
        for _ in range(_ATTEMPTS):
            found = self.find(token)
            if fold(account.email) != fold(found.record.email):
                raise Conflict(f"The invite is to another address; sign in as {found.record.email}")
            if member_of(found.org.org_id, account.account_id) is not None:
                raise Conflict("You are a member of this organisation already")
            tx = Transaction()
            same = (AccountRecord.deleting == False) & (AccountRecord.email == account.email)  # noqa: E712
            tx.check(AccountRecord, account.pk, "account", same, "account")
            self.add_joining(tx, found, account)
            try:
                tx.commit()
            except ConditionFailed as failed:
                if "account" in failed.failures:
                    raise Conflict("The account was changed meanwhile; sign in again") from None
                continue
            return found
        raise _busy()

    def add_joining(self, tx: Transaction, found: OpenInvite, account: AccountRecord) -> None:
        """Add the writes by which an account joins: the invite is used, the membership made."""
        record, org = found.record, found.org
        move_version(tx, org, "org")
        add_member(tx, org.org_id, account.account_id, role_of(record.role))
        actions = [Invite.status.set("accepted"), Invite.account_id.set(account.account_id)]
        tx.update(record, actions, unused(record), "invite")
        actor = Actor("user", account.account_id, account.username)
        details = {"email": record.email, "role": record.role, "invite_id": record.invite_id}
        add_event(tx, org.org_id, actor, Fact("member.joined", ("member", account.account_id), details=details))

    def decline(self, token: str) -> None:
        """Turn the invite down. Raises NotFound, Gone."""
        for _ in range(_ATTEMPTS):
            record = self.find(token).record
            if self._end(record, "declined", Actor("user", "", record.email), "team.invite_declined", "denied"):
                return
        raise _busy()

    def _end(self, record: Invite, status: str, actor: Actor, action: str, outcome: Outcome = "success") -> bool:
        """End a pending invite; whether this call did. Raises Gone when it is over already."""
        require_open(record)
        tx = Transaction()
        tx.update(record, [Invite.status.set(status)], unused(record), "invite")
        details = {"email": record.email, "role": record.role}
        add_event(tx, record.org_id, actor, _fact(action, record, details, outcome))
        try:
            tx.commit()
        except ConditionFailed:
            return False
        return True

    def revoke_all(self, principal: Principal) -> None:
        """Take every pending invite of the org back. Harmless when repeated."""
        principal.require_role("operator")
        for record in invites_of(principal.org_id):
            if status_of(record) == "pending":
                # One that ends meanwhile is over, too.
                self._end(record, "revoked", Actor.of(principal), "team.invite_revoked")


def _require_inviter(principal: Principal, role: str) -> None:
    """Raise Forbidden unless the caller, as it stands now, may invite somebody to be this."""
    acting = as_of_now(principal)
    acting.require_role("admin")
    if role == "owner" and acting.role != "owner":
        raise Forbidden("Only an owner may invite owners")


def _require_patience(org_id: str, email: str) -> None:
    """Raise TooManyRequests when the org has mailed too many invites of late, to this address or at all."""
    since = clock.now_ms() - _DAY_MS
    recent = [record for record in invites_of(org_id) if int(record.expires_ms) - LIFE_MS > since]
    mails = sum(int(record.revision) for record in recent if fold(record.email) == fold(email))
    if mails >= MOST_MAILS:
        raise TooManyRequests(
            "This address was mailed too many invites; try again tomorrow", retry_after=_DAY_MS // 1000
        )
    if len(recent) >= MOST_INVITES:
        raise TooManyRequests("The organisation has sent too many invites; try again tomorrow", retry_after=3600)


def _require_org(org_id: str) -> OrgRecord:
    org = get_org(org_id)
    if org is None:
        raise NotFound("There is no such organisation")
    return org


def _fact(action: str, record: Invite, details: dict[str, str], outcome: Outcome = "success") -> Fact:
    return Fact(action, ("invite", record.invite_id), outcome, details=details)


def _busy() -> Unavailable:
    return Unavailable("The organisation's members are being changed by others; try again")
