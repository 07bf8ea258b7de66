"""The engine itself: faults, scheduling hook, durability settings, errors."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from shared.kit.errors import Unavailable
from shared.store.embedded import EmbeddedEngine, Fault, installed
from shared.store.embedded.rejection import Rejection
from shared.store.embedded.storage import Storage
from tests.unit.store.conftest import Thing

KEY = {"pk": {"S": "o"}, "sk": {"S": "1"}}
TABLE = "signalbox-things"


class Plan:
    """Answers the faults given, by operation; remembers what was asked."""

    def __init__(self, **faults: Fault) -> None:
        self.faults = faults
        self.asked: list[tuple[str, Any]] = []

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        self.asked.append((operation, request))
        return self.faults.get(operation)


def _put(engine: EmbeddedEngine, **request: Any) -> Any:
    return engine._make_api_call("PutItem", {"TableName": TABLE, "Item": KEY, **request})


def _stored(engine: EmbeddedEngine) -> bool:
    return "Item" in engine._make_api_call("GetItem", {"TableName": TABLE, "Key": KEY})


@pytest.mark.parametrize(
    ("fault", "error", "stored"),
    [
        (Fault.FAILED, EndpointConnectionError, False),
        (Fault.THROTTLED, ClientError, False),
        (Fault.CONFLICT, ClientError, False),
        (Fault.ANSWER_LOST, ReadTimeoutError, True),
    ],
)
def test_faults(engine: EmbeddedEngine, fault: Fault, error: type[Exception], stored: bool) -> None:
    """Each fault raises what botocore would, and writes or does not."""
    engine.faults = Plan(PutItem=fault)
    with pytest.raises(error):
        _put(engine)
    assert _stored(engine) is stored


def test_a_repeated_write_fails_its_own_condition(engine: EmbeddedEngine) -> None:
    """A silent resend of a conditional put meets its own first success, as it does on AWS."""
    engine.faults = Plan(PutItem=Fault.REPEATED)
    with pytest.raises(ClientError) as caught:
        _put(engine, ConditionExpression="attribute_not_exists(pk)")
    assert caught.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert _stored(engine)


def test_a_repeated_transaction_succeeds(engine: EmbeddedEngine) -> None:
    """A silent resend of a transaction carries its token and changes nothing more."""
    engine.faults = Plan(TransactWriteItems=Fault.REPEATED)
    put = {"TableName": TABLE, "Item": KEY, "ConditionExpression": "attribute_not_exists(pk)"}
    engine._make_api_call("TransactWriteItems", {"TransactItems": [{"Put": put}]})
    assert _stored(engine)


def test_the_scheduling_hook_holds_no_lock(engine: EmbeddedEngine) -> None:
    """A request held in the hook does not hold up others."""
    arrived, go_on = threading.Event(), threading.Event()

    class Hold:
        def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
            if operation == "PutItem" and request["Item"]["sk"] == {"S": "1"}:
                arrived.set()
                go_on.wait(30)
            return None

    engine.faults = Hold()
    held = threading.Thread(target=_put, args=(engine,))
    held.start()
    arrived.wait(30)
    Thing("o", "2").save()
    assert [thing.sk for thing in Thing.query("o")] == ["2"]
    go_on.set()
    held.join()
    assert [thing.sk for thing in Thing.query("o")] == ["1", "2"]


def test_every_connection_of_a_file_is_durable(tmp_path: Path) -> None:
    """Write-ahead log and full synchronisation, in each thread's connection."""
    storage = Storage(tmp_path / "store.db")
    seen: list[tuple[Any, Any]] = []

    def look(sql: sqlite3.Connection) -> tuple[Any, Any]:
        return sql.execute("PRAGMA journal_mode").fetchone()[0], sql.execute("PRAGMA synchronous").fetchone()[0]

    thread = threading.Thread(target=lambda: seen.append(storage.read(look)))
    thread.start()
    thread.join()
    seen.append(storage.read(look))
    assert seen == [("wal", 2), ("wal", 2)]
    storage.close()


def test_connections_of_ended_threads_are_closed(tmp_path: Path) -> None:
    """Threads that come and go leave no connections behind."""
    storage = Storage(tmp_path / "store.db")
    for _ in range(20):
        thread = threading.Thread(target=lambda: storage.read(lambda sql: sql.execute("SELECT 1").fetchone()))
        thread.start()
        thread.join()
    assert len(storage._connections) <= 2
    storage.close()


@pytest.mark.parametrize("action", [_put, _stored])
def test_a_closed_engine_refuses(tmp_path: Path, action: Callable[[EmbeddedEngine], Any]) -> None:
    """After closing, requests fail with a server error instead of hanging or crashing."""
    engine = EmbeddedEngine.open(tmp_path / "store.db")
    engine.create_tables(Thing)
    engine.close()
    with pytest.raises(ClientError) as caught:
        action(engine)
    assert caught.value.response["Error"]["Code"] == "InternalServerError"


def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    """When the file cannot grow the write fails cleanly, and later ones work again."""
    engine = EmbeddedEngine.open(tmp_path / "store.db")
    engine.create_tables(Thing)
    pages = engine._storage.write(lambda sql: sql.execute("PRAGMA page_count").fetchone()[0])
    engine._storage.write(lambda sql: sql.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    with installed(engine):
        with pytest.raises(Exception, match="full"):
            Thing("o", "1", note="x" * 100_000).save()
        engine._storage.write(lambda sql: sql.execute("PRAGMA max_page_count = 1000000").fetchone())
        Thing("o", "1", note="x" * 100_000).save()
        assert len(Thing.get("o", "1").note or "") == 100_000
    engine.close()


def test_a_full_disk_fails_all_that_would_commit_together() -> None:
    """When SQLite gives up a shared transaction nobody in it is told that their write is done."""
    storage = Storage(":memory:")
    storage.write(lambda sql: sql.execute("CREATE TABLE t (x)").rowcount)
    entered, release = threading.Event(), threading.Event()
    outcomes: list[str] = []

    def hold(sql: sqlite3.Connection) -> None:
        pages = sql.execute("PRAGMA page_count").fetchone()[0]
        sql.execute(f"PRAGMA max_page_count = {pages + 1}").fetchone()
        entered.set()
        release.wait(30)

    def insert(size: int) -> None:
        try:
            storage.write(lambda sql: sql.execute("INSERT INTO t VALUES (zeroblob(?))", (size,)).rowcount)
            outcomes.append("done")
        except Rejection:
            outcomes.append("failed")

    holder = threading.Thread(target=lambda: storage.write(hold))
    holder.start()
    entered.wait(30)
    threads = [threading.Thread(target=insert, args=(size,)) for size in (10, 1_000_000, 10)]
    for thread in threads:
        thread.start()
    while len(storage._waiting) < len(threads):
        pass
    release.set()
    for thread in [holder, *threads]:
        thread.join(30)
    (count,) = storage.read(lambda sql: sql.execute("SELECT count(*) FROM t").fetchone())
    assert (outcomes, count) == (["failed"] * 3, 0)
    storage.write(lambda sql: sql.execute("PRAGMA max_page_count = 1000000").fetchone())
    insert(1_000_000)
    assert outcomes[-1] == "done"
    storage.close()


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    """A missing folder, a file that is no database and one of a newer version give a clear error at start."""
    (tmp_path / "text.db").write_text("this is no database, however long it may be" * 100)
    newer = Storage(tmp_path / "newer.db")
    newer.write(lambda sql: sql.execute("PRAGMA user_version = 99").rowcount)
    newer.close()
    for name, reason in (("none/store.db", "cannot be opened"), ("text.db", "not a database"), ("newer.db", "newer")):
        with pytest.raises(Unavailable, match=reason):
            EmbeddedEngine.open(tmp_path / name)


def test_unknown_operations_are_refused(engine: EmbeddedEngine) -> None:
    """What the engine does not do it says it does not."""
    with pytest.raises(ClientError, match="ExecuteStatement is not supported"):
        engine._make_api_call("ExecuteStatement", {"Statement": "SELECT"})


def test_consumed_capacity_on_request(engine: EmbeddedEngine) -> None:
    """ReturnConsumedCapacity brings the units of the request."""
    answer = _put(engine, ReturnConsumedCapacity="TOTAL")
    assert answer["ConsumedCapacity"] == {"TableName": TABLE, "CapacityUnits": 1}


def test_long_expressions_are_refused(engine: EmbeddedEngine) -> None:
    """An expression that would take forever to parse is refused before it does."""
    for text in ("NOT " * 900 + "a = b", "(" * 2000, "a = b AND " * 350 + "a = b"):
        with pytest.raises(ClientError) as caught:
            _put(engine, ConditionExpression=text)
        assert caught.value.response["Error"]["Code"] == "ValidationException"
