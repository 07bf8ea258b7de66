"""Alerts and where they are sent.

<org>#alerts / <alert>               an alert; its id is derived from what it is about, so that it exists once
<org>#alert-channels / <channel>     where alerts go; its secret parts are sealed
<org>#deliveries / <delivery>        one alert on its way to one channel, or a mail on its way to a person
<org>#notifications / <account>      what a member wants to hear of
<org>#alert-pauses / <incident>      the alert of its kind that was sent last; for a while no other is
"""

from __future__ import annotations

from pynamodb.attributes import BinaryAttribute, BooleanAttribute, NumberAttribute, UnicodeAttribute

from shared.store.base import Record
from shared.store.models.governance import DueIndex, GovernanceMeta


def alerts_pk(org_id: str) -> str:
    """Partition key of the org's alerts; ids sort by time."""
    return f"{org_id}#alerts"


def alert_channels_pk(org_id: str) -> str:
    """Partition key of the org's alert channels."""
    return f"{org_id}#alert-channels"


def deliveries_pk(org_id: str) -> str:
    """Partition key of the org's deliveries."""
    return f"{org_id}#deliveries"


def notifications_pk(org_id: str) -> str:
    """Partition key of what the org's members want to hear of."""
    return f"{org_id}#notifications"


def alert_pauses_pk(org_id: str) -> str:
    """Partition key of which alert of each kind was sent last."""
    return f"{org_id}#alert-pauses"


class Alert(Record):
    """An alert. ``severity``: Critical, Warning, Info. ``category``: Prevented, System. Money in cents.

    ``announced`` once its deliveries are written.
    """

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    org_id = UnicodeAttribute()
    alert_id = UnicodeAttribute()
    severity = UnicodeAttribute()
    category = UnicodeAttribute()
    incident_type = UnicodeAttribute()
    title = UnicodeAttribute()
    message = UnicodeAttribute()
    workflow_id = UnicodeAttribute(null=True)
    current_cents = NumberAttribute(null=True)
    threshold_cents = NumberAttribute(null=True)
    dismissed = BooleanAttribute(default=False)
    announced = BooleanAttribute(default=False)
    created_ms = NumberAttribute()


class AlertChannel(Record):
    """A channel. ``config`` is a JSON object that may be shown; ``sealed`` holds the whole one."""

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    org_id = UnicodeAttribute()
    channel_id = UnicodeAttribute()
    name = UnicodeAttribute()
    channel_type = UnicodeAttribute()
    config = UnicodeAttribute()
    sealed = BinaryAttribute(legacy_encoding=False)
    enabled = BooleanAttribute(default=True)
    revision = NumberAttribute(default=1)
    last_sent_ms = NumberAttribute(null=True)
    last_error = UnicodeAttribute(null=True)
    created_ms = NumberAttribute()


class Delivery(Record):
    """One message to one receiver. ``status``: pending, delivered, failed. ``most_attempts`` bounds its attempts.

    ``payload`` is JSON: what a channel is sent, or ``subject`` and ``text`` of a mail to ``recipient``.
    """

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    kind = UnicodeAttribute(default="delivery")
    org_id = UnicodeAttribute()
    delivery_id = UnicodeAttribute()
    channel_id = UnicodeAttribute(null=True)
    recipient = UnicodeAttribute(null=True)
    payload = UnicodeAttribute()
    status = UnicodeAttribute()
    alert_id = UnicodeAttribute(null=True)
    attempts = NumberAttribute(default=0)
    most_attempts = NumberAttribute(default=3)
    last_error = UnicodeAttribute(null=True)
    created_ms = NumberAttribute()
    due_shard = UnicodeAttribute(null=True)
    due_ms = NumberAttribute(null=True)
    due = DueIndex()


class NotificationSettings(Record):
    """What one member wants to hear of: a JSON object of booleans; what is missing is true."""

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    choices = UnicodeAttribute()


class AlertPause(Record):
    """The alert of its kind that was sent last, and when it arose."""

    class Meta(GovernanceMeta):
        pass

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    alert_id = UnicodeAttribute()
    since_ms = NumberAttribute()
