"""The embedded engine: DynamoDB's operations on SQLite, behind the interface of a botocore client."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from shared.kit import ids
from shared.store.base import Record, table_definitions
from shared.store.embedded import definitions, migration, queries, reads, writes
from shared.store.embedded.faults import Fault, Faults
from shared.store.embedded.metering import Requests, Usage
from shared.store.embedded.outbox import Outbox
from shared.store.embedded.rejection import Rejection
from shared.store.embedded.session import Session
from shared.store.embedded.storage import Storage
from shared.store.embedded.tables import Key

Request = dict[str, Any]
Answer = dict[str, Any]
Planner = Callable[[Request], Callable[[Session], Answer]]

_READS: dict[str, Planner] = {
    "GetItem": reads.single,
    "BatchGetItem": reads.batch,
    "TransactGetItems": reads.transaction,
    "Query": queries.query,
    "Scan": queries.scan,
}
_WRITES: dict[str, Planner] = {
    "PutItem": lambda request: writes.single("PutItem", request),
    "UpdateItem": lambda request: writes.single("UpdateItem", request),
    "DeleteItem": lambda request: writes.single("DeleteItem", request),
    "BatchWriteItem": writes.batch,
    "TransactWriteItems": writes.transaction,
}
_ABOUT_TABLES: dict[str, Callable[[Request], Callable[[sqlite3.Connection], Answer]]] = {
    "CreateTable": definitions.create,
    "UpdateTable": definitions.update,
    "DeleteTable": definitions.drop,
    "UpdateTimeToLive": definitions.update_ttl,
    "DescribeTable": definitions.describe,
    "DescribeTimeToLive": definitions.describe_ttl,
    "ListTables": definitions.list_all,
}
_ENDPOINT = "embedded://store"


class EmbeddedEngine:
    """DynamoDB on one SQLite file, or in memory. Safe for threads; a file is safe for processes too."""

    # PynamoDB asks a client for its signer's credentials and keeps the client when there is no signer.
    _request_signer = None
    meta = SimpleNamespace(endpoint_url=_ENDPOINT)

    def __init__(self, storage: Storage, faults: Faults | None = None) -> None:
        self.faults = faults
        self.requests = Requests()
        self.stream = Outbox(storage)
        self._storage = storage

    @classmethod
    def open(cls, path: str | Path = ":memory:", faults: Faults | None = None) -> EmbeddedEngine:
        """Open or create a database file; its folder must exist. ``:memory:`` keeps nothing."""
        return cls(Storage(path), faults)

    def close(self) -> None:
        """Close the file. Everything acknowledged is on disk already."""
        self._storage.close()

    def subscribe(self) -> Outbox:
        """The change stream."""
        return self.stream

    def create_tables(self, *models: type[Record]) -> None:
        """Make the models' tables what the models say; models that share a table share its indexes.

        A missing table is created. One that an earlier version created with other indexes, stream or TTL settings gets
        the new ones, and its indexes are filled from its items. Keys cannot change.
        """
        for definition, ttl in table_definitions(*models):
            try:
                self._storage.write(migration.work(definition, ttl))
            except Rejection as refusal:
                raise refusal.as_client_error("CreateTable") from refusal

    def purge_expired(self, now_ms: int, limit: int = 1000) -> int:
        """Remove up to ``limit`` items whose time to live ended before ``now_ms``; how many there were."""

        def work(sql: sqlite3.Connection) -> tuple[int, bool]:
            session = Session(sql)
            rows = sql.execute(
                "SELECT t.name, i.pk, i.sk FROM items i JOIN tables t ON t.number = i.tbl "
                "WHERE i.expires IS NOT NULL AND i.expires < ? ORDER BY i.expires LIMIT ?",
                (now_ms // 1000, limit),
            ).fetchall()
            for name, pk, sk in rows:
                table, key = session.table(name), Key(pk, sk)
                found = session.get(table, key)
                if found is not None:
                    session.delete(table, key, found, expired=True)
            sql.execute("DELETE FROM tokens WHERE until_ms < ?", (now_ms,))
            return len(rows), session.changed

        count, changed = self._storage.write(work)
        if changed:
            self.stream.announce()
        return count

    def _make_api_call(self, operation: str, request: Request) -> Answer:
        """Carry out one operation; errors are the ones botocore raises."""
        fault = self.faults.before(operation, request) if self.faults is not None else None
        if fault is not None:
            return self._faulty(operation, request, fault)
        return self._call(operation, request)

    def _call(self, operation: str, request: Request) -> Answer:
        try:
            if operation in _ABOUT_TABLES:
                about = _ABOUT_TABLES[operation](request)
                return (
                    self._storage.read(about)
                    if operation[0] in "DL" and operation != "DeleteTable"
                    else (self._storage.write(about))
                )
            if operation in _READS:
                return self._read(operation, request, _READS[operation](request))
            if operation in _WRITES:
                return self._write(operation, request, _WRITES[operation](request))
            raise Rejection("UnknownOperationException", f"{operation} is not supported")
        except Rejection as refusal:
            raise refusal.as_client_error(operation) from refusal

    def _read(self, operation: str, request: Request, work: Callable[[Session], Answer]) -> Answer:
        def run(sql: sqlite3.Connection) -> tuple[Answer, Usage]:
            session = Session(sql)
            return work(session), session.usage

        answer, usage = self._storage.read(run, snapshot=operation == "TransactGetItems")
        return self._metered(operation, request, answer, usage)

    def _write(self, operation: str, request: Request, work: Callable[[Session], Answer]) -> Answer:
        session: Session | None = None
        exact = self.requests.are_heard or _tells_capacity(request)

        def run(sql: sqlite3.Connection) -> Answer:
            nonlocal session
            session = Session(sql, exact=exact)
            return work(session)

        try:
            answer = self._storage.write(run)
        except Rejection:
            if session is not None:
                self.requests.announce(operation, _tables(request), session.usage)
            raise
        if session is None:
            raise Rejection("InternalServerError", "The store did not run the request")
        if session.changed:
            self.stream.announce()
        return self._metered(operation, request, answer, session.usage)

    def _metered(self, operation: str, request: Request, answer: Answer, usage: Usage) -> Answer:
        tables = _tables(request)
        self.requests.announce(operation, tables, usage)
        if _tells_capacity(request):
            capacity = [{"TableName": name, "CapacityUnits": usage.read + usage.write} for name in tables]
            answer["ConsumedCapacity"] = capacity[0] if "TableName" in request else capacity
        return answer

    def _faulty(self, operation: str, request: Request, fault: Fault) -> Answer:
        if fault is Fault.FAILED:
            raise EndpointConnectionError(endpoint_url=_ENDPOINT)
        if fault is Fault.THROTTLED:
            refusal = Rejection(
                "ProvisionedThroughputExceededException", "The level of configured throughput was exceeded"
            )
            raise refusal.as_client_error(operation)
        if fault is Fault.CONFLICT:
            _conflict(operation, request)
        if operation == "TransactWriteItems" and not request.get("ClientRequestToken"):
            # botocore adds a token of its own, so that its retries of a transaction are idempotent.
            request = {**request, "ClientRequestToken": ids.uuid4()}
        self._call(operation, request)
        if fault is Fault.ANSWER_LOST:
            raise ReadTimeoutError(endpoint_url=_ENDPOINT)
        return self._call(operation, request)


def _conflict(operation: str, request: Request) -> NoReturn:
    if operation != "TransactWriteItems":
        raise Rejection("TransactionConflictException", "Transaction is ongoing for the item").as_client_error(
            operation
        )
    reasons: list[dict[str, str]] = [{"Code": "None"} for _ in request["TransactItems"]]
    reasons[0] = {"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"}
    codes = ", ".join(reason["Code"] for reason in reasons)
    message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    raise Rejection("TransactionCanceledException", message, CancellationReasons=reasons).as_client_error(operation)


def _tells_capacity(request: Request) -> bool:
    return request.get("ReturnConsumedCapacity") in ("TOTAL", "INDEXES")


def _tables(request: Request) -> tuple[str, ...]:
    if "TableName" in request:
        return (request["TableName"],)
    if "RequestItems" in request:
        return tuple(request["RequestItems"])
    return tuple(dict.fromkeys(next(iter(action.values()))["TableName"] for action in request["TransactItems"]))
