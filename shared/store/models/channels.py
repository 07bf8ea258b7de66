"""WebSocket connections and what they listen to.

connection#<id> / connection            who opened it; read when it sends or closes
connection#<id> / channel#<channel>     one per channel it listens to, so that closing finds them
connection#beat#<n> / <connection id>   that it must hear something every few minutes, in one of a few turns
<org>#<channel> / <connection id>       the listener: how far it has read, and who is sending to it now
<org>#acks / <message>#<connection id>  that a client has confirmed a message
"""

from __future__ import annotations

from pynamodb.attributes import BinaryAttribute, NumberAttribute, UnicodeAttribute

from shared.store.base import Record, TableMeta


def connection_pk(connection_id: str) -> str:
    """Partition key of a connection. Its id is all that a message or a close of API Gateway names."""
    return f"connection#{connection_id}"


def beat_pk(turn: int) -> str:
    """Partition key of the connections, whosever they are, that hear something in this turn."""
    return f"connection#beat#{turn}"


def channel_pk(org_id: str, channel: str) -> str:
    """Partition key of a channel's listeners."""
    return f"{org_id}#{channel}"


def acks_pk(org_id: str) -> str:
    """Partition key of what clients of the org have confirmed."""
    return f"{org_id}#acks"


def ack_sk(message_id: str, connection_id: str) -> str:
    """Sort key of one connection's confirmation."""
    return f"{message_id}#{connection_id}"


class Connection(Record):
    """An open WebSocket. ``protocol`` says what its client may send and hear, ``beat`` in which turn it hears a pong.

    One opened with an API key has that key's id and workflow, and ``sealed`` is what its messages are signed with.
    """

    class Meta(TableMeta):
        table = "channels"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="connection")
    connection_id = UnicodeAttribute()
    org_id = UnicodeAttribute()
    account_id = UnicodeAttribute()
    protocol = UnicodeAttribute()
    connected_ms = NumberAttribute()
    key_id = UnicodeAttribute(null=True)
    workflow_id = UnicodeAttribute(null=True)
    sealed = BinaryAttribute(null=True, legacy_encoding=False)
    beat = NumberAttribute(null=True)


class Listening(Record):
    """That a connection listens to a channel, kept with the connection."""

    class Meta(TableMeta):
        table = "channels"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    channel = UnicodeAttribute()


class Beat(Record):
    """That a connection must not be silent for long: who carries it would take it for dead."""

    class Meta(TableMeta):
        table = "channels"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    connection_id = UnicodeAttribute()


class Ack(Record):
    """That a client has confirmed a message; kept for a day."""

    class Meta(TableMeta):
        table = "channels"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    message_id = UnicodeAttribute()
    connection_id = UnicodeAttribute()
    key_id = UnicodeAttribute(null=True)
    received_ms = NumberAttribute()


class Listener(Record):
    """A connection's place in a channel. ``cursor`` is the journal index of the next fact to send, -1 at first.

    What it has of an API key is its connection's, here so that a broadcast need not read every connection.

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
    key_id = UnicodeAttribute(null=True)
    workflow_id = UnicodeAttribute(null=True)
    sealed = BinaryAttribute(null=True, legacy_encoding=False)
    claim = UnicodeAttribute(null=True)
    claim_until = NumberAttribute(null=True)
