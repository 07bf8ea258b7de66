"""What the operations of a stretch of time came to, counted once when nothing in it can change any more.

<org>#usage / span#<start>#<end>     one stretch, a day or a part of one
"""

from __future__ import annotations

from pynamodb.attributes import UnicodeAttribute

from shared.store.base import Record
from shared.store.models.governance import GovernanceMeta


def usage_pk(org_id: str) -> str:
    """Partition key of the org's counted stretches."""
    return f"{org_id}#usage"


def usage_sk(start_ms: int, end_ms: int) -> str:
    """Sort key of the stretch from ``start_ms`` until before ``end_ms``."""
    return f"span#{start_ms:015d}#{end_ms:015d}"


class UsageSpan(Record):
    """One stretch. ``counts`` is the JSON form of :class:`shared.governance.consumption.Usage`."""

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    counts = UnicodeAttribute()
