"""The thread that reads the store's outbox for the relay."""

from __future__ import annotations

import queue
import threading

from shared.kit import clock
from shared.kit.logging import logger
from shared.push.relay import Relay
from shared.store.stream import ChangeRecord, ChangeStream

log = logger("relay")

BATCH = 500
IDLE_SECONDS = 0.5
PENDING_SECONDS = 0.05
PACE_SECONDS = 0.03
"""From one look at new records to the next: under load they come in batches, which cost little more than one record."""

TRIM_SECONDS = 1.0
MAX_TRIES = 5
"""How often a change record is tried; then it is dropped, so that it holds up nothing."""


class RelayThread:
    """Hands every change record to the relay once, in order; those it could not handle a few times more."""

    def __init__(self, stream: ChangeStream, relay: Relay) -> None:
        self._stream = stream
        self._relay = relay
        self._room: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._retries: list[tuple[int, ChangeRecord]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._after = 0
        self._trimmed = (0, 0.0)

    def run(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it still works."""
        return self._thread.is_alive()

    def room(self, connection_id: str) -> None:
        """A connection that was full takes messages again; from any thread."""
        self._room.put(connection_id)

    def close(self) -> None:
        """Stop after the batch under way. What was not handled is still in the outbox."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn()
            except Exception:
                log.exception("the relay stumbled; it goes on")
                self._stop.wait(IDLE_SECONDS)

    def _turn(self) -> None:
        self._resume()
        pending = self._relay.holds_back or self._retries
        if self._stream.wait(self._after, PENDING_SECONDS if pending else IDLE_SECONDS):
            begun = clock.monotonic()
            records = self._stream.read(self._after, BATCH)
            self._handle([(1, record) for record in records])
            self._after = max((record.sequence for record in records), default=self._after)
            self._stop.wait(begun + PACE_SECONDS - clock.monotonic())
        elif self._retries:
            again, self._retries = self._retries, []
            self._handle(again)
        self._trim()

    def _resume(self) -> None:
        while not self._room.empty():
            connection_id = self._room.get()
            try:
                self._relay.resume(connection_id)
            except Exception:
                # The sockets tell of room once; the next turn tries again.
                self._room.put(connection_id)
                raise

    def _handle(self, tries: list[tuple[int, ChangeRecord]]) -> None:
        failed = set(self._relay.handle(record for _, record in tries))
        for count, record in tries:
            if record.sequence not in failed:
                continue
            if count < MAX_TRIES:
                self._retries.append((count + 1, record))
            else:
                log.error("change record dropped", extra={"sequence": record.sequence})

    def _trim(self) -> None:
        """Forget handled records, at most once a second: each trim is a durable write."""
        oldest = min((record.sequence for _, record in self._retries), default=self._after + 1)
        upto, now = min(self._after, oldest - 1), clock.monotonic()
        if upto > self._trimmed[0] and now - self._trimmed[1] >= TRIM_SECONDS:
            self._stream.trim(upto)
            self._trimmed = (upto, now)
