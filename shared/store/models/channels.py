"""WebSocket connections and what they listen to.

connection#<id> / connection            who opened it; read when it sends or closes
connection#<id> / channel#<channel>     one per channel it listens to, so that closing finds them
<org>#<channel> / <connection id>       the listener: how far it has read, and who is sending to it now
"""

from __future__ import annotations

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from shared.store.base import Record, TableMeta


def connection_pk(connection_id: str) -> str:
    """Partition key of a connection. Its id is all that a message or a close of API Gateway names."""
    return f"connection#{connection_id}"


def channel_pk(org_id: str, channel: str) -> str:
    """Partition key of a channel's listeners."""
    return f"{org_id}#{channel}"


class Connection(Record):
    """An open WebSocket. ``protocol`` says what its client may send and hear."""

    class Meta(TableMeta):
        table = "channels"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="connection")
    connection_id = UnicodeAttribute()
    org_id = UnicodeAttribute()
    account_id = UnicodeAttribute()
    protocol = UnicodeAttribute()
    connected_ms = NumberAttribute()


class Listening(Record):
    """That a connection listens to a channel, kept with the connection."""

    class Meta(TableMeta):
        table = "channels"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    channel = UnicodeAttribute()


class Listener(Record):
    """A connection's place in a channel. ``cursor`` is the journal index of the next fact to send, -1 at first.

    free ──claim──▶ claimed until ``claim_until`` ──settle──▶ free, cursor moved
                          └── its holder died: free when the time is over
    """

    class Meta(TableMeta):
        table = "channels"
        # A new listener is a hint to send it everything so far.
        stream_view_type = "KEYS_ONLY"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    org_id = UnicodeAttribute()
    account_id = UnicodeAttribute()
    channel = UnicodeAttribute()
    connection_id = UnicodeAttribute()
    projection = UnicodeAttribute()
    connected_ms = NumberAttribute()
    cursor = NumberAttribute()
    claim = UnicodeAttribute(null=True)
    claim_until = NumberAttribute(null=True)


CHANNEL_MODELS = (Connection, Listening, Listener)
"""Every model of the table, for whoever creates it."""
