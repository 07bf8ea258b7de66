"""Invites of people into orgs.

<org>#invites / <invite>      an invite; ids sort by time
invite#<digest> / invite      which invite a token is; the one thing known before the org is
"""

from __future__ import annotations

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from shared.store.base import Record
from shared.store.models.governance import GovernanceMeta


def invites_pk(org_id: str) -> str:
    """Partition key of the org's invites."""
    return f"{org_id}#invites"


def token_pk(digest: str) -> str:
    """Partition key of the pointer from the digest of a token to its invite."""
    return f"invite#{digest}"


class Invite(Record):
    """An invite. ``status``: pending, accepted, declined, revoked; a pending one is over after ``expires_ms``.

    ``digest`` is of the newest token, never the token itself. ``delivery_id`` is the mail that carried it.
    """

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    org_id = UnicodeAttribute()
    invite_id = UnicodeAttribute()
    email = UnicodeAttribute()
    role = UnicodeAttribute()
    status = UnicodeAttribute()
    digest = UnicodeAttribute()
    delivery_id = UnicodeAttribute()
    invited_by = UnicodeAttribute()
    account_id = UnicodeAttribute(null=True)
    revision = NumberAttribute(default=1)
    expires_ms = NumberAttribute()
    created_ms = NumberAttribute()


class InvitePointer(Record):
    """From the digest of a token to its invite. It outlives the invite's token, so that an old one is known as such."""

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="invite")
    org_id = UnicodeAttribute()
    invite_id = UnicodeAttribute()
