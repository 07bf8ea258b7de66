"""Connections and their listeners in the store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from shared.kit import clock, ids
from shared.kit.errors import InvalidRequest
from shared.push.ports import Busy
from shared.store.models.channels import (
    Ack,
    Beat,
    Connection,
    Listener,
    Listening,
    ack_sk,
    acks_pk,
    beat_pk,
    channel_pk,
    connection_pk,
)
from shared.store.transaction import ConditionFailed, Transaction, read, update_and_read, update_if

LIFE_SECONDS = 2 * 3600 + 600
"""How long rows of a connection are kept: API Gateway ends every connection after two hours."""

ACK_SECONDS = 24 * 3600
"""How long confirmations are kept."""

BEATS = 4
"""Turns, one a minute, in which connections hear something. API Gateway drops what is silent for ten minutes, so one
turn may be missed (Amazon API Gateway quotas, Idle connection timeout)."""

MAX_CHANNELS = 100
"""Channels one connection may listen to."""

CLAIM_MS = 5_000
"""How long a dead sender keeps others from sending to a listener."""

_CLAIM_TRIES = 130
_CLAIM_PAUSE_S = 0.05


class Connections:
    """Rows of the channels table. Who may listen to what is decided before a call gets here."""

    def open(self, connection: Connection, channel: str | None = None) -> None:
        """Keep a connection that was just accepted, and let it hear a channel; a repetition changes nothing.

        The listener's projection is the connection's protocol.
        """
        connection.ttl = clock.now_ms() // 1000 + LIFE_SECONDS
        tx = Transaction().put(connection, Connection.pk.does_not_exist())
        if connection.beat is not None:
            tx.put(_beat(connection))
        if channel is not None:
            for row in _rows(connection, channel, connection.protocol):
                tx.put(row)
        with contextlib.suppress(ConditionFailed):
            tx.commit()

    def get(self, connection_id: str) -> Connection | None:
        """The connection of this id, None when it is closed."""
        return read(Connection, connection_pk(connection_id), "connection")

    def listen(self, connection: Connection, channel: str, projection: str) -> bool:
        """Let a connection hear a channel from its beginning; False when it does already."""
        if self._channel_count(connection.connection_id) >= MAX_CHANNELS:
            raise InvalidRequest(f"A connection can watch at most {MAX_CHANNELS} executions")
        listener, mirror = _rows(connection, channel, projection)
        if read(Listener, listener.pk, listener.sk) is not None:
            return False
        Transaction().put(listener, label="listener").put(mirror, label="mirror").commit()
        return True

    def leave(self, org_id: str, connection_id: str, channel: str) -> None:
        """Stop hearing a channel; one that is not heard counts as done."""
        tx = Transaction().delete(Listener(channel_pk(org_id, channel), connection_id), label="listener")
        tx.delete(Listening(connection_pk(connection_id), f"channel#{channel}"), label="mirror").commit()

    def close(self, connection_id: str) -> None:
        """Forget a connection and everything it listened to."""
        connection = self.get(connection_id)
        if connection is None:
            return
        for row in self._listening(connection_id):
            self.leave(connection.org_id, connection_id, row.channel)
        tx = Transaction().delete(Connection(connection.pk, "connection"))
        if connection.beat is not None:
            tx.delete(Beat(beat_pk(int(connection.beat)), connection_id))
        tx.commit()

    def beating(self, turn: int) -> list[str]:
        """Ids of the connections that are to hear something in this turn, one of :data:`BEATS`."""
        now = clock.now_ms()
        rows = Beat.query(beat_pk(turn), consistent_read=True)
        return [row.connection_id for row in rows if not row.is_expired(now)]

    def prolong(self, connection_id: str) -> None:
        """Keep the rows of a connection that is alive; does something only once half of their time is over."""
        connection = self.get(connection_id)
        now = clock.now_ms() // 1000
        if connection is None or connection.ttl is None or connection.ttl - now > LIFE_SECONDS // 2:
            return
        ttl = now + LIFE_SECONDS
        tx = Transaction().update(connection, [Connection.ttl.set(ttl)], Connection.pk.exists())
        if connection.beat is not None:
            beat = _beat(connection)
            tx.update(beat, [Beat.ttl.set(ttl)], Beat.pk.exists())
        for row in self._listening(connection_id):
            listener = Listener(channel_pk(connection.org_id, row.channel), connection_id)
            tx.update(listener, [Listener.ttl.set(ttl)], Listener.pk.exists())
            tx.update(row, [Listening.ttl.set(ttl)], Listening.pk.exists())
        # It was closed, or left a channel, in the meantime.
        with contextlib.suppress(ConditionFailed):
            tx.commit()

    def acknowledge(self, connection: Connection, message_id: str) -> None:
        """Record that a client has confirmed a message."""
        now = clock.now_ms()
        ack = Ack(
            acks_pk(connection.org_id), ack_sk(message_id, connection.connection_id), message_id=message_id,
            connection_id=connection.connection_id, key_id=connection.key_id, received_ms=now,
            ttl=now // 1000 + ACK_SECONDS,
        )  # fmt: skip
        # Every copy of a frame is confirmed, and a read is cheaper than one more durable write.
        if read(Ack, ack.pk, ack.sk) is None:
            Transaction().put(ack).commit()

    def listeners(self, pk: str, connection_id: str = "") -> list[Listener]:
        """Everyone who hears the channel of this partition key, or the one of this connection."""
        if connection_id:
            one = read(Listener, pk, connection_id)
            return [] if one is None else [one]
        now = clock.now_ms()
        return [row for row in Listener.query(pk, consistent_read=True) if not row.is_expired(now)]

    def claim(self, listener: Listener) -> Listener | None:
        """The listener, now ours alone to send to; None when it left.

        Waits for another sender; raises Busy if that lasts. Two stream records may ask for the same listener at once
        (its own, and the journal's); the claim is what keeps their messages in order and single.
        """
        for _ in range(_CLAIM_TRIES):
            mine = Listener(listener.pk, listener.sk)
            now, token = clock.now_ms(), ids.uuid4()
            free = Listener.claim.does_not_exist() | (Listener.claim_until < now)
            actions = [Listener.claim.set(token), Listener.claim_until.set(now + CLAIM_MS)]
            if update_and_read(mine, actions, Listener.connection_id.exists() & free):
                return mine
            current = read(Listener, listener.pk, listener.sk)
            if current is None:
                return None
            if current.claim == token:
                return current
            clock.sleep(_CLAIM_PAUSE_S)
        raise Busy("Another sender holds the listener")

    def renew(self, listener: Listener) -> bool:
        """Keep a claim for another term; False when it was lost."""
        until = clock.now_ms() + CLAIM_MS
        key = Listener(listener.pk, listener.sk)
        return update_if(key, [Listener.claim_until.set(until)], Listener.claim == listener.claim)

    def settle(self, listener: Listener, cursor: int) -> bool:
        """Move the cursor and give the claim back; False when the claim was lost or the listener left."""
        actions = [Listener.cursor.set(cursor), Listener.claim.remove(), Listener.claim_until.remove()]
        return update_if(Listener(listener.pk, listener.sk), actions, Listener.claim == listener.claim)

    def _channel_count(self, connection_id: str) -> int:
        return sum(1 for _ in self._listening(connection_id))

    def _listening(self, connection_id: str) -> Iterator[Listening]:
        pk = connection_pk(connection_id)
        return iter(Listening.query(pk, Listening.sk.startswith("channel#"), consistent_read=True))


def _rows(connection: Connection, channel: str, projection: str) -> tuple[Listener, Listening]:
    """The rows of a connection that hears a channel from its beginning."""
    ttl = clock.now_ms() // 1000 + LIFE_SECONDS
    listener = Listener(
        channel_pk(connection.org_id, channel), connection.connection_id, org_id=connection.org_id,
        account_id=connection.account_id, channel=channel, connection_id=connection.connection_id,
        projection=projection, connected_ms=connection.connected_ms, cursor=-1, ttl=ttl, key_id=connection.key_id,
        workflow_id=connection.workflow_id, sealed=connection.sealed,
    )  # fmt: skip
    return listener, Listening(connection.pk, f"channel#{channel}", channel=channel, ttl=ttl)


def _beat(connection: Connection) -> Beat:
    turn, connection_id = int(connection.beat), connection.connection_id
    return Beat(beat_pk(turn), connection_id, connection_id=connection_id, ttl=connection.ttl)
