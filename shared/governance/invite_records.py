"""Stored invites: reading them, and what has become of them. Source: docs/rulings.md#invites."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pynamodb.expressions.condition import Condition

from shared.identity import Principal, Role, role_of
from shared.kit import clock
from shared.kit.errors import Gone, NotFound
from shared.store.models.alerts import Delivery, deliveries_pk
from shared.store.models.invites import Invite, invites_pk
from shared.store.transaction import read, read_each

LIFE_MS = 7 * 24 * 3600 * 1000
"""How long an invite may be accepted."""

KEPT_S = 90 * 24 * 3600
"""How long an invite, and the pointer of a token, is kept after that."""

_AT_ONCE = 100
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OVER = {
    "accepted": "The invite has been accepted",
    "declined": "The invite has been declined",
    "revoked": "The invite has been revoked",
    "expired": "The invite has expired; ask for a new one",
}


@dataclass(frozen=True, slots=True)
class InviteView:
    """An invite. ``status``: pending, accepted, declined, revoked, expired; ``send_status``: how its mail fares."""

    id: str
    email: str
    role: Role
    status: str
    send_status: str
    expires_ms: int
    created_ms: int


def status_of(record: Invite) -> str:
    """What has become of an invite."""
    is_late = record.status == "pending" and record.expires_ms <= clock.now_ms()
    return "expired" if is_late else str(record.status)


def invites_of(org_id: str) -> Sequence[Invite]:
    """The org's invites, oldest first, read consistently."""
    now = clock.now_ms()
    return [record for record in Invite.query(invites_pk(org_id), consistent_read=True) if not record.is_expired(now)]


def new_invite(principal: Principal, email: str, role: Role, invite_id: str) -> Invite:
    """An invite from now on, without token and mail, not stored yet."""
    now = clock.now_ms()
    return Invite(
        invites_pk(principal.org_id), invite_id, org_id=principal.org_id, invite_id=invite_id, email=email, role=role,
        status="pending", invited_by=principal.account_id, expires_ms=now + LIFE_MS, created_ms=now,
        ttl=(now + LIFE_MS) // 1000 + KEPT_S,
    )  # fmt: skip


def require_invite(org_id: str, invite_id: str) -> Invite:
    """The invite. Raises NotFound."""
    record = read(Invite, invites_pk(org_id), invite_id) if _ID.fullmatch(invite_id) else None
    if record is None:
        raise NotFound("There is no such invite")
    return record


def require_open(record: Invite) -> None:
    """Raise Gone unless the invite may be accepted."""
    reason = _OVER.get(status_of(record))
    if reason is not None:
        raise Gone(reason)


def unused(record: Invite) -> Condition:
    """That the invite is still pending under the same token; that it is in time was judged just now."""
    same: Condition = (Invite.status == "pending") & (Invite.digest == record.digest)
    return same


def views_of(records: Sequence[Invite]) -> list[InviteView]:
    """The invites as they are shown."""
    sent = []
    for start in range(0, len(records), _AT_ONCE):
        some = records[start : start + _AT_ONCE]
        sent += read_each(*((Delivery, deliveries_pk(record.org_id), record.delivery_id) for record in some))
    return [
        # A delivery is kept for 30 days; what is older arrived or never will.
        view_of(record, str(delivery.status) if isinstance(delivery, Delivery) else "unknown")
        for record, delivery in zip(records, sent, strict=True)
    ]


def view_of(record: Invite, send_status: str) -> InviteView:
    """One invite as it is shown."""
    return InviteView(
        record.invite_id, record.email, role_of(record.role), status_of(record), send_status, int(record.expires_ms),
        int(record.created_ms),
    )  # fmt: skip
