"""From the change stream to WebSocket messages.

A change record is a hint of where to look, never the data. For each listener of the channel it names, the relay claims
the listener, reads the journal from its cursor, sends, and moves the cursor. Replay and live are therefore one path: a
new listener is itself a change record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from shared.kit import clock
from shared.kit.errors import NotFound, SignalboxError
from shared.kit.logging import logger
from shared.push.connections import CLAIM_MS, Connections
from shared.push.ports import Busy, Gone, Memo, Reader, Sender
from shared.store.base import table_name
from shared.store.models.channels import Listener, acks_pk, channel_pk
from shared.store.stream import ChangeRecord

log = logger("relay")

Handler = Callable[[ChangeRecord], None]
"""Acts on the change records it cares about."""


class Follower(Protocol):
    """Acts on change records that came together."""

    def handle(self, records: Sequence[ChangeRecord]) -> list[int]:
        """Act on those it cares about; the sequences of those that must come again."""
        ...


Place = tuple[str, str]
"""A channel's partition key, and one of its listeners or "" for all."""

Hint = tuple[str, str, str, str]
"""A change record's table, keys and event."""


class Relay:
    """Sends what happened to whoever listens. ``readers`` are named by a listener's projection.

    A connection younger than ``young_ms`` that cannot be found is taken for one whose handshake is under way.
    ``others`` see the records too, one by one, and ``followers`` all that came together.
    """

    def __init__(
        self, connections: Connections, sender: Sender, readers: Mapping[str, Reader], *,
        young_ms: int = 0, others: Iterable[Handler] = (), followers: Iterable[Follower] = (),
    ) -> None:  # fmt: skip
        self._connections = connections
        self._sender = sender
        self._readers = readers
        self._young_ms = young_ms
        self._others = tuple(others)
        self._followers = tuple(followers)
        self._full: dict[str, dict[str, Listener]] = {}

    def handle(self, records: Iterable[ChangeRecord]) -> list[int]:
        """Act on records in order; the sequences of those that must come again.

        Records that name the same place are one hint, because the journal is read after all of them were committed; so
        are, to the others, records of one item and event. One that fails holds up nothing else.
        """
        batch = list(records)
        failed: list[int] = []
        done: set[Place] = set()
        told: set[Hint] = set()
        memo: Memo = {}
        for record in batch:
            try:
                place = _place(record)
                if place is not None and place not in done and self._sender.in_use:
                    self._deliver_to(*place, memo)
                    done.add(place)
                self._tell(record, told)
            except SignalboxError as error:
                log.warning("change record not handled yet", extra={"sequence": record.sequence, "reason": str(error)})
                failed.append(record.sequence)
            except Exception:
                log.exception("change record not handled", extra={"sequence": record.sequence})
                failed.append(record.sequence)
        for follower in self._followers:
            try:
                failed += follower.handle(batch)
            except Exception:
                log.exception("change records not followed")
                failed += [record.sequence for record in batch]
        return list(dict.fromkeys(failed))

    def _tell(self, record: ChangeRecord, told: set[Hint]) -> None:
        hint = (record.table, record.keys["pk"]["S"], record.keys["sk"]["S"], record.event)
        if hint not in told:
            for handler in self._others:
                handler(record)
            told.add(hint)

    def _deliver_to(self, pk: str, connection_id: str, memo: Memo) -> None:
        for listener in self._connections.listeners(pk, connection_id):
            self._deliver(listener, memo)

    @property
    def holds_back(self) -> bool:
        """Whether messages wait for a connection to take more."""
        return bool(self._full)

    def resume(self, connection_id: str) -> None:
        """Go on with a connection that did not accept more and now does. After an error it is held back as before."""
        waiting = self._full.pop(connection_id, {})
        try:
            for pk in list(waiting):
                self._deliver(waiting[pk], {})
                del waiting[pk]
        finally:
            if waiting:
                self._full[connection_id] = waiting | self._full.get(connection_id, {})

    def _deliver(self, listener: Listener, memo: Memo) -> None:
        """Send a listener what it has not had, as far as its connection takes it."""
        reader = self._readers.get(listener.projection)
        claimed = self._connections.claim(listener) if reader is not None else None
        if reader is None or claimed is None:
            return
        cursor, final = int(claimed.cursor), False
        try:
            for reached in self._send(claimed, reader, memo):
                cursor, final = reached
        except Gone:
            self._lost(claimed, cursor)
            return
        except NotFound:
            final = True
        except Exception:
            self._connections.settle(claimed, cursor)
            raise
        if final:
            # The listener goes with its cursor. One whose cursor was moved past the end would never be ended again.
            self._end(claimed, reader)
        else:
            self._connections.settle(claimed, cursor)

    def _send(self, listener: Listener, reader: Reader, memo: Memo) -> Iterator[tuple[int, bool]]:
        """Send from the listener's cursor on; after each step the cursor reached, and whether that was the end."""
        renew_at = clock.now_ms() + CLAIM_MS // 2
        for step in reader.steps(listener, memo):
            if step.texts and not self._sender.accepts(listener.connection_id):
                self._full.setdefault(listener.connection_id, {})[listener.pk] = listener
                return
            if clock.now_ms() >= renew_at:
                if not self._connections.renew(listener):
                    raise Busy("The claim was lost")
                renew_at = clock.now_ms() + CLAIM_MS // 2
            for text in step.texts:
                self._sender.send(listener.connection_id, text)
            yield step.cursor, step.final
            if step.final:
                return

    def _end(self, listener: Listener, reader: Reader) -> None:
        if reader.closes:
            self._sender.close(listener.connection_id)
            self._connections.close(listener.connection_id)
        else:
            self._connections.leave(listener.org_id, listener.connection_id, listener.channel)

    def _lost(self, listener: Listener, cursor: int) -> None:
        """The connection is not there: not yet, when it is young, else no more."""
        young = clock.now_ms() - int(listener.connected_ms) < self._young_ms
        if young and self._connections.get(listener.connection_id) is not None:
            self._connections.settle(listener, cursor)
            raise Busy("The connection cannot be reached yet")
        self._connections.close(listener.connection_id)


def _place(record: ChangeRecord) -> Place | None:
    """Whom a record concerns; None when nobody could be."""
    pk, sk = record.keys["pk"]["S"], record.keys["sk"]["S"]
    if record.event == "REMOVE":
        return None
    if record.table == table_name("executions") and sk.startswith("journal#"):
        org_id, _, execution_id = pk.partition("#")
        return channel_pk(org_id, execution_channel(execution_id)), ""
    if record.table == table_name("channels") and record.event == "INSERT":
        return None if pk.startswith("connection#") or pk.endswith(acks_pk("")) else (pk, sk)
    return None


def execution_channel(execution_id: str) -> str:
    """The channel of one execution's journal."""
    return f"execution#{execution_id}"
