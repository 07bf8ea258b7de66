"""Events that clients reported and that were counted.

<org>#tracked#<event> / tracked    a report; its repetition is answered and not counted
"""

from __future__ import annotations

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from shared.store.base import Record
from shared.store.models.governance import GovernanceMeta


def tracked_pk(org_id: str, event_id: str) -> str:
    """Partition key of a counted event."""
    return f"{org_id}#tracked#{event_id}"


def tracked_listing_pk(org_id: str, execution_id: str) -> str:
    """Under what the counted events of an execution are listed."""
    return f"{org_id}#execution#{execution_id}"


class TrackedIndex(GlobalSecondaryIndex["Tracked"]):
    """Counted events of an execution, oldest first: the same index, under partitions of their own."""

    class Meta:
        index_name = "by_org"
        projection = AllProjection()

    org_listing = UnicodeAttribute(hash_key=True)
    listed_at = UnicodeAttribute(range_key=True)


class Tracked(Record):
    """An event that was counted. ``digest`` is of the body, ``answer`` the stored answer; kept 30 days.

    Those that name an execution are listed under it.
    """

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="tracked")
    org_id = UnicodeAttribute()
    key_id = UnicodeAttribute()
    workflow_id = UnicodeAttribute()
    event_type = UnicodeAttribute()
    execution_id = UnicodeAttribute(null=True)
    digest = UnicodeAttribute()
    answer = UnicodeAttribute(null=True)
    details = UnicodeAttribute(default="{}")
    created_ms = NumberAttribute()
    org_listing = UnicodeAttribute(null=True)
    listed_at = UnicodeAttribute(null=True)
    by_execution = TrackedIndex()
