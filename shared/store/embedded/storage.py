"""SQLite beneath the engine: connections, transactions, group commit.

One file in WAL mode with ``synchronous=FULL``: a commit returns when its bytes are on disk. Writers that meet are
committed together: whoever holds the lock runs all waiting work in one SQLite transaction, each under its own
savepoint, so that they share one flush. Several processes may open the same file; SQLite's own lock orders them.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from shared.kit.errors import Unavailable
from shared.store.embedded.rejection import Rejection

T = TypeVar("T")

BUSY_TIMEOUT_S = 30.0
_BATCH = 64
# What one caller's work may raise; it is handed to that caller, whoever runs the batch.
_OWN_FAULTS = (Rejection, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tables (
  number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, definition TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS items (
  id INTEGER PRIMARY KEY, tbl INTEGER NOT NULL, pk BLOB NOT NULL, sk BLOB NOT NULL,
  size INTEGER NOT NULL, binary INTEGER NOT NULL, expires INTEGER, body BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS items_by_key ON items (tbl, pk, sk);
CREATE INDEX IF NOT EXISTS items_by_expiry ON items (expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS entries (
  idx INTEGER NOT NULL, pk BLOB NOT NULL, sk BLOB NOT NULL, base_pk BLOB NOT NULL, base_sk BLOB NOT NULL,
  item INTEGER NOT NULL, PRIMARY KEY (idx, pk, sk, base_pk, base_sk)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, tbl TEXT NOT NULL, event TEXT NOT NULL, at_ms INTEGER NOT NULL,
  view TEXT NOT NULL, expired INTEGER NOT NULL, keys BLOB NOT NULL, old BLOB, new BLOB, binary INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (
  token TEXT PRIMARY KEY, digest BLOB NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tokens_by_end ON tokens (until_ms);
"""


class _Connection:
    """A SQLite connection that closes itself when its thread is gone."""

    def __init__(self, path: str) -> None:
        self.sqlite = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
        )

    def close(self) -> None:
        self.sqlite.close()

    def __del__(self) -> None:
        # A connection that could not be opened has nothing to close.
        if hasattr(self, "sqlite"):
            self.close()


class _Ticket(Generic[T]):
    """One caller's work and what became of it."""

    __slots__ = ("done", "error", "value", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        self.work = work
        self.done = False
        self.error: BaseException | None = None
        self.value: T | None = None

    def run(self, connection: sqlite3.Connection) -> bool:
        """Do the work; False when it refused, and its writes must be undone."""
        try:
            self.value = self.work(connection)
        except sqlite3.Error as error:
            self.error = _translated(error)
        except _OWN_FAULTS as error:
            self.error = error
        return self.error is None


class Storage:
    """A database file, or ``:memory:`` (one connection, one lock, gone with the object)."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.in_memory = self.path == ":memory:"
        self._lock = threading.Lock()
        self._waiting: deque[_Ticket[Any]] = deque()
        self._local = threading.local()
        self._connections: WeakSet[_Connection] = WeakSet()
        self._closed = False
        self._single: _Connection | None = None
        try:
            if self.in_memory:
                self._single = self._open()
            else:
                # SQLite gives its log files the mode of the database file: for its owner only.
                Path(path).touch(mode=0o600)
            self._prepare()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise Unavailable(f"The database {path} cannot be opened: {error}") from error

    def _open(self) -> _Connection:
        connection = _Connection(self.path)
        connection.sqlite.execute("PRAGMA foreign_keys=OFF")
        if not self.in_memory:
            connection.sqlite.execute("PRAGMA synchronous=FULL")
        self._connections.add(connection)
        return connection

    def _prepare(self) -> None:
        connection = self._connection()
        if not self.in_memory:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise Unavailable(f"The database {self.path} was written by a newer version of this program")
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _connection(self) -> sqlite3.Connection:
        if self._closed:
            raise Rejection("InternalServerError", "The store is closed")
        if self._single is not None:
            return self._single.sqlite
        held: _Connection | None = getattr(self._local, "connection", None)
        if held is None:
            held = self._local.connection = self._open()
        return held.sqlite

    def close(self) -> None:
        """Close every connection. What was committed stays."""
        with self._lock:
            self._closed = True
            for connection in list(self._connections):
                connection.close()

    def read(self, work: Callable[[sqlite3.Connection], T], *, snapshot: bool = False) -> T:
        """Run reads; with ``snapshot`` they all see the same moment."""
        try:
            if self._single is not None:
                with self._lock:
                    return work(self._connection())
            connection = self._connection()
            if not snapshot:
                return work(connection)
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise _translated(error) from error

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run work in a transaction; when this returns, its effects are durable. An exception undoes them."""
        ticket = _Ticket(work)
        self._waiting.append(ticket)
        with self._lock:
            while not ticket.done:
                self._commit_waiting(ticket)
        if ticket.error is not None:
            raise ticket.error
        return ticket.value  # type: ignore[return-value]

    def _commit_waiting(self, mine: _Ticket[Any]) -> None:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
        try:
            self._commit(batch)
        except (sqlite3.Error, Rejection) as error:
            failure = _translated(error) if isinstance(error, sqlite3.Error) else error
            for ticket in batch:
                ticket.error = failure
        except BaseException:
            # An interrupt hits whoever runs the batch; the others' work is undone, and one of them runs it again.
            self._waiting.extendleft(ticket for ticket in reversed(batch) if ticket is not mine)
            raise
        for ticket in batch:
            ticket.done = True

    def _commit(self, batch: list[_Ticket[Any]]) -> None:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            if len(batch) == 1:
                finished = batch[0].run(connection)
                if connection.in_transaction:
                    connection.execute("COMMIT" if finished else "ROLLBACK")
                return
            for ticket in batch:
                connection.execute("SAVEPOINT one")
                if not ticket.run(connection):
                    if not connection.in_transaction:
                        # SQLite itself gave up the whole transaction, as it does when the disk is full.
                        raise Rejection("InternalServerError", f"The store failed: {ticket.error}")
                    connection.execute("ROLLBACK TO one")
                connection.execute("RELEASE one")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _translated(error: sqlite3.Error) -> Rejection:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return Rejection("ProvisionedThroughputExceededException", "The store is busy; try again")
    return Rejection("InternalServerError", f"The store failed: {error}")
