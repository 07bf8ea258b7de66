"""What the relay could not hand on.

<org>#backlog / backlog              that operations of the org wait to be handed on
"""

from __future__ import annotations

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from shared.store.base import Record
from shared.store.models.governance import DueIndex, GovernanceMeta


def backlog_pk(org_id: str) -> str:
    """Partition key of the mark that operations of the org wait to be handed on."""
    return f"{org_id}#backlog"


class Backlog(Record):
    """That operations of the org, asked at ``since_ms`` or later, were not handed on by the relay."""

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="backlog")
    kind = UnicodeAttribute(default="backlog")
    org_id = UnicodeAttribute()
    since_ms = NumberAttribute()
    revision = NumberAttribute(default=1)
    due_shard = UnicodeAttribute()
    due_ms = NumberAttribute()
    due = DueIndex()
