"""The embedded change stream: rows written in the transaction of the change itself."""

from __future__ import annotations

import sqlite3
import threading

from shared.store.embedded.codec import decode
from shared.store.embedded.storage import Storage
from shared.store.stream import ChangeRecord

_POLL_S = 0.05


class Outbox:
    """Reads, awaits and trims change records (``shared.store.stream.ChangeStream``)."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._grown = threading.Condition()
        self._commits = 0

    def announce(self) -> None:
        """Wake whoever waits; called after a commit that added records."""
        with self._grown:
            self._commits += 1
            self._grown.notify_all()

    def read(self, after: int, limit: int = 100) -> list[ChangeRecord]:
        """Up to ``limit`` records with a sequence above ``after``, oldest first."""

        def work(sql: sqlite3.Connection) -> list[ChangeRecord]:
            rows = sql.execute(
                "SELECT sequence, tbl, event, at_ms, view, expired, keys, old, new, binary FROM changes "
                "WHERE sequence > ? ORDER BY sequence LIMIT ?",
                (after, limit),
            )
            return [_record(*row) for row in rows]

        return self._storage.read(work)

    def wait(self, after: int, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for a record above ``after``; whether there is one."""
        rest = timeout
        while True:
            with self._grown:
                seen = self._commits
            if self.last() > after:
                return True
            if rest <= 0:
                return False
            # Commits of other processes announce nothing here, so the wait is cut into short looks at the file.
            pause = rest if self._storage.in_memory else min(rest, _POLL_S)
            with self._grown:
                self._grown.wait_for(lambda seen=seen: self._commits != seen, pause)  # type: ignore[misc]
            rest -= pause

    def last(self) -> int:
        """The highest sequence in the outbox, 0 when it is empty."""
        row = self._storage.read(lambda sql: sql.execute("SELECT max(sequence) FROM changes").fetchone())
        return row[0] or 0

    def trim(self, upto: int) -> None:
        """Forget the records up to and including this sequence."""
        self._storage.write(lambda sql: sql.execute("DELETE FROM changes WHERE sequence <= ?", (upto,)).rowcount)


def _record(
    sequence: int, table: str, event: str, at_ms: int, view: str, expired: int,
    keys: bytes, old: bytes | None, new: bytes | None, binary: int,
) -> ChangeRecord:  # fmt: skip
    flag = bool(binary)
    return ChangeRecord(
        sequence=sequence,
        table=table,
        event=event,  # type: ignore[arg-type]
        keys=decode(keys, flag),
        old=None if old is None else decode(old, flag),
        new=None if new is None else decode(new, flag),
        at_ms=at_ms,
        view=view,
        expired=bool(expired),
    )
