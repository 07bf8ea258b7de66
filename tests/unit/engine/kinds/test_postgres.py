"""postgres against a real server where one is installed; what needs none everywhere."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg import sql

from shared.engine.connectors import postgres as connector
from shared.engine.connectors.numbers import exact
from shared.engine.connectors.postgres import Place, Session, identifier
from shared.engine.connectors.sqlrecords import insert
from shared.engine.connectors.sqlvalues import approximate, argument
from shared.engine.connectors.tunnel import TunnelPort
from shared.engine.kinds.base import Done, NodeFailed
from shared.engine.kinds.postgres import Postgres
from shared.kit import json
from tests.support import postgres
from tests.support.postgres import HOST, PASSWORD
from tests.unit.engine.kinds.conftest import CallFactory

Run = Callable[..., Any]


@pytest.fixture(scope="session")
def port() -> Iterator[int]:
    reason = postgres.unavailable()
    if reason:
        pytest.skip(reason)
    with postgres.server() as running:
        yield running


@pytest.fixture
def run(call: CallFactory, port: int) -> Run:
    """Runs a node against the server; the output."""

    def execute(**params: Any) -> Any:
        outcome = Postgres().run(call({"host": HOST, "port": port, "password": PASSWORD} | params))
        assert isinstance(outcome, Done)
        assert json.loads(json.dumps(outcome.output)) == outcome.output
        return outcome.output

    return execute


@pytest.fixture
def table(run: Run, request: pytest.FixtureRequest) -> str:
    """An empty table of this test's own."""
    name = f"t_{abs(hash(request.node.name))}"
    run(query=f"CREATE TABLE {name} (id int PRIMARY KEY, name text DEFAULT 'none', tags text[], doc jsonb)")
    return name


def test_rows(run: Run) -> None:
    """A statement with rows answers them, one without how many it affected."""
    assert run(query="SELECT 1 AS a, 'x' AS b UNION SELECT 2, 'y' ORDER BY a") == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    assert run(operation="query", query="SELECT 1 AS a WHERE false") == []
    assert run(operation="execute", query="CREATE TEMP TABLE x (a int)") == {"rows_affected": 0}


def test_arguments_are_typed_by_the_server(run: Run, table: str) -> None:
    """Every JSON value fits where its column wants it, and none of it is ever SQL."""
    hostile = "'); DROP TABLE x; -- $1 %s \\ \""
    args = [1, hostile, ["a,b", 'c"\\', None], {"n": [1, 2.5, None, True]}]
    assert run(query=f"INSERT INTO {table} VALUES ($1, $2, $3, $4)", args=args) == {"rows_affected": 1}
    assert run(query=f"SELECT * FROM {table}") == [dict(zip(("id", "name", "tags", "doc"), args, strict=True))]
    assert run(query=f"SELECT id FROM {table} WHERE id = ANY($1) AND name LIKE $2", args=[[1, 2], "%DROP%"]) == [
        {"id": 1}
    ]
    row = run(
        query="SELECT $1::int + 1 AS a, $2::text AS b, $3::bool AS c, $4::timestamptz AS d, $5::numeric AS e, $6 AS f",
        args=[41, 42, True, "2026-01-01T00:00:00+01:00", 1.25, None],
    )
    assert row == [{"a": 42, "b": "42", "c": True, "d": "2025-12-31T23:00:00Z", "e": 1.25, "f": None}]
    assert run(query="SELECT id + 1 AS next FROM (VALUES (1)) AS t(id) LIMIT $1", args=[5]) == [{"next": 2}]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("42::bigint", 42),
        ("9223372036854775807", 9223372036854775807),
        ("1.50::numeric", 1.5),
        ("'NaN'::numeric", "NaN"),
        ("2.0::float8", 2),
        ("0.1::float4", 0.1),
        ("'-infinity'::float8", "-Infinity"),
        ("true", True),
        ("null", None),
        ("'x '::char(3)", "x  "),
        ("'2026-01-02'::date", "2026-01-02"),
        ("'infinity'::date", "infinity"),
        ("'03:04:05.5'::time", "03:04:05.5"),
        ("'2026-01-02 03:04:05.123456'::timestamp", "2026-01-02T03:04:05.123456"),
        ("'2026-01-02 03:04:05+02'::timestamptz", "2026-01-02T01:04:05Z"),
        ("'infinity'::timestamptz", "infinity"),
        ("'1 day 2 hours'::interval", "P1DT2H"),
        ("'6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        ("'\\xff00'::bytea", "/wA="),
        ("'{\"a\": [1, 2.5, null]}'::jsonb", {"a": [1, 2.5, None]}),
        ("'[1, \"x\"]'::json", [1, "x"]),
        ("'null'::json", None),
        ("array[[1,2],[3,null]]", [[1, 2], [3, None]]),
        ("array['2026-01-01'::date]", ["2026-01-01"]),
        ("array[1.5, 2]::numeric[]", [1.5, 2]),
        ("row(1, 'x')", ["1", "x"]),
        ("'10.0.0.1'::inet", "10.0.0.1"),
        ("int4range(1, 5)", "[1,5)"),
        ("'{[1,3)}'::int4multirange", "{[1,3)}"),
        ("'{a,b}'::text[]", ["a", "b"]),
        ("'(1,2)'::point", "(1,2)"),
        ("B'101'", "101"),
    ],
)
def test_columns_become_json(run: Run, written: str, value: Any) -> None:
    """Every type has a JSON form that loses nothing."""
    assert run(query=f"SELECT {written} AS v") == [{"v": value}]


def test_a_transaction_is_all_or_nothing(run: Run, table: str) -> None:
    """A failing statement undoes those before it; a good one answers what each did."""
    insertion = f"INSERT INTO {table} (id) VALUES ($1)"
    with pytest.raises(NodeFailed, match="duplicate key value"):
        run(operation="transaction", statements=[{"query": insertion, "args": [1]}, {"query": insertion, "args": [1]}])
    assert run(query=f"SELECT count(*) AS n FROM {table}") == [{"n": 0}]
    done = run(
        operation="transaction",
        statements=[
            {"query": insertion, "args": [1]},
            {"query": insertion, "args": [2]},
            f"SELECT sum(id) AS s FROM {table}",
        ],
    )
    assert done == {"results": [{"rows_affected": 1}, {"rows_affected": 1}, [{"s": 3}]]}


def test_batch_insert(run: Run, table: str) -> None:
    """Rows of objects; what an item leaves out gets the default, and conflicts end as the author says."""
    items = [{"id": 1, "name": "one", "tags": ["x"]}, {"id": 2}, {"id": 3, "doc": {"a": 1}}]
    assert run(operation="batch_insert", table=table, items=items) == {"rows_affected": 3}
    assert run(query=f"SELECT name FROM {table} ORDER BY id") == [{"name": "one"}, {"name": "none"}, {"name": "none"}]
    again = [{"id": 3, "name": "three"}, {"id": 4, "name": "four"}]
    with pytest.raises(NodeFailed, match=r"duplicate key value .*; Key \(id\)=\(3\) already exists"):
        run(operation="batch_insert", table=table, items=again[::-1])
    assert run(query=f"SELECT count(*) AS n FROM {table}") == [{"n": 3}]
    assert run(operation="batch_insert", table=table, items=again, on_conflict="id") == {"rows_affected": 1}
    changed = run(operation="batch_insert", table=table, items=again, on_conflict=["id"], on_conflict_action="update")
    assert changed == {"rows_affected": 2}
    assert run(query=f"SELECT name FROM {table} WHERE id = 3") == [{"name": "three"}]
    chosen = run(
        operation="batch_insert", table=f"public.{table}", items=[{"id": 9, "other": 1}], columns=["id", "name"]
    )
    assert chosen == {"rows_affected": 1}
    assert run(query=f"SELECT name FROM {table} WHERE id = 9") == [{"name": None}]


def test_keys_and_values(run: Run) -> None:
    """The operations of the store node, in a table that is made when it is first needed."""
    name = 'Odd "name"'
    assert run(operation="list", table_name=name) == []
    assert run(operation="set", table_name=name, key="b", value={"n": 1, "s": "x"}) == {"n": 1, "s": "x"}
    assert run(operation="set", table_name=name, key="a", value=[1, None]) == [1, None]
    run(operation="set", table_name=name, key="B", value={"n": 2})
    assert run(operation="get", table_name=name, key="a") == [1, None]
    assert run(operation="list", table_name=name) == ["B", "a", "b"]
    found = run(operation="query", table_name=name, filter={"n": {"$gte": 1}}, sort="-n", limit=1)
    assert found == [{"n": 2, "_key": "B"}]
    assert run(operation="delete", table_name=name, key="a") == {"deleted": True, "key": "a"}
    assert run(operation="delete", table_name=name, key="a") == {"deleted": False, "key": "a"}
    with pytest.raises(NodeFailed, match="key not found: a"):
        run(operation="get", table_name=name, key="a")


def test_values_expire(run: Run) -> None:
    """An expired value is gone for every operation, a longer one is not, and a new one lives on."""
    run(operation="set", table_name="ttl", key="gone", value={"a": 1}, ttl="1h")
    run(operation="set", table_name="ttl", key="back", value=1, ttl=3600)
    run(query="UPDATE ttl SET expires_at = expires_at - interval '1 hour'")
    run(operation="set", table_name="ttl", key="back", value={"a": 2}, ttl=0)
    run(operation="set", table_name="ttl", key="kept", value={"a": 3}, ttl="1h")
    assert run(operation="list", table_name="ttl") == ["back", "kept"]
    assert [one["_key"] for one in run(operation="query", table_name="ttl")] == ["back", "kept"]
    assert run(operation="delete", table_name="ttl", key="gone") == {"deleted": False, "key": "gone"}
    assert run(query="SELECT count(*) AS n FROM ttl") == [{"n": 2}]


def test_the_table_is_made_once(run: Run) -> None:
    """Several nodes that need it at the same time all succeed."""
    with ThreadPoolExecutor(6) as pool:
        writes = [pool.submit(run, operation="set", table_name="raced", key=str(n), value=n) for n in range(6)]
        assert [write.result() for write in writes] == list(range(6))
    assert len(run(operation="list", table_name="raced")) == 6


@pytest.mark.parametrize(
    ("params", "message", "retryable"),
    [
        ({"query": "SELEC 1"}, r'syntax error at or near "SELEC" \(at character 1\)', False),
        ({"query": "SELECT * FROM nowhere"}, 'relation "nowhere" does not exist', False),
        ({"query": "SELECT $1::int", "args": ["x"]}, "invalid input syntax for type integer", False),
        ({"query": "SELECT $2::int", "args": [1]}, "supplies 1 parameters|could not determine", False),
        ({"query": "SELECT $1", "args": ["a\0b"]}, "cannot contain NUL", False),
        ({"query": "SELECT $1", "args": ["\ud800"]}, "surrogates not allowed", False),
        ({"query": "SELECT generate_series(1, 10001)"}, "more than 10000 rows; add a LIMIT", False),
        ({"query": "SELECT repeat('x', 5300000)"}, "larger than 5 MB", False),
        ({"query": "SELECT pg_sleep(60)", "timeout": "700ms"}, "statement timeout|no end within", True),
        ({"query": "SELECT 1", "password": "wrong-word"}, "password authentication failed", True),
        ({"query": "SELECT 1", "password": None}, "no password supplied", True),
        ({"query": "SELECT 1", "dbname": "nowhere"}, 'database "nowhere" does not exist', True),
        ({"query": "SELECT 1", "sslmode": "verify-full"}, "certificate verify failed", True),
    ],
)
def test_failures_are_explained(run: Run, params: Any, message: str, retryable: bool) -> None:
    """What the server says reaches the author, what cannot change is not tried again, and no message has a password."""
    with pytest.raises(NodeFailed, match=message) as caught:
        run(**params)
    assert caught.value.retryable is retryable
    assert "wrong-word" not in caught.value.message and PASSWORD not in caught.value.message
    assert "\n" not in caught.value.message


def test_a_refusal_that_two_attempts_got_is_told_once(run: Run) -> None:
    """libpq connects with and without TLS where it may, and reports both."""
    with pytest.raises(NodeFailed) as caught:
        run(query="SELECT 1", password="wrong-word")
    assert caught.value.message.count("password authentication failed") == 1


def test_a_flood_is_cut(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large one value is, the process reads no more than the limit."""
    monkeypatch.setattr(connector, "MOST_BYTES", 1024 * 1024)
    with pytest.raises(NodeFailed, match="the server sent more than 1 MB"):
        run(query="SELECT repeat('x', 3000000)")


@pytest.mark.parametrize("mode", ["disable", "prefer", "require"])
def test_sessions_may_be_encrypted(run: Run, mode: str) -> None:
    """The author chooses; what is asked for is what there is."""
    found = run(query="SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", sslmode=mode)
    assert found == [{"ssl": mode != "disable"}]


def test_nothing_of_the_machine_is_used(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Neither variables nor a password file of the server's own give a node access or change what it does."""
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"*:*:*:*:{PASSWORD}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    with pytest.raises(NodeFailed, match="no password supplied"):
        run(query="SELECT 1", password=None)
    assert run(query="SHOW search_path") != [{"search_path": "elsewhere"}]


# What needs no server


def test_private_addresses_are_refused_by_the_guard(call: CallFactory) -> None:
    """The database is reached the guarded way, localhost included unless the settings name it."""
    with pytest.raises(NodeFailed, match=r"10\.0\.0\.1:5432 cannot be called") as caught:
        Postgres().run(call({"host": "10.0.0.1", "query": "SELECT 1"}))
    assert caught.value.retryable is False


def test_a_server_that_is_not_there(call: CallFactory) -> None:
    """A refused connection may be tried again."""
    with closing(socket.create_server((HOST, 0))) as listener:
        free = listener.getsockname()[1]
    with pytest.raises(NodeFailed, match=f"cannot connect to {HOST}:{free}") as caught:
        Postgres().run(call({"host": HOST, "port": free, "query": "SELECT 1"}))
    assert caught.value.retryable is True


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "operation parameter is required"),
        ({"operation": "drop"}, "operation must be one of execute, query"),
        ({"operation": "execute"}, "query parameter is required"),
        ({"query": 5}, "query must be the text of an SQL statement"),
        ({"query": "SELECT 1", "args": {"a": 1}}, "args must be a list"),
        ({"query": "SELECT 1", "args": [json.loads("[" * 390 + "]" * 390)]}, "nested deeper than an array can be"),
        ({"operation": "transaction"}, "statements parameter is required"),
        ({"operation": "transaction", "statements": "SELECT 1"}, "statements must be a list"),
        ({"operation": "transaction", "statements": ["SELECT 1", {}]}, "statement 2 must be the text"),
        ({"operation": "batch_insert"}, "items parameter is required"),
        ({"operation": "get"}, "key parameter is required"),
        ({"operation": "set", "key": "a"}, "value parameter is required"),
        ({"operation": "set", "key": "a", "value": 1, "ttl": "soon"}, "ttl must be a duration"),
        ({"operation": "delete", "key": {}}, "key must be text"),
        ({"query": "SELECT 1", "port": 0.5}, "port must be a whole number"),
        ({"query": "SELECT 1", "sslmode": "maybe"}, "sslmode must be one of"),
        ({"query": "SELECT 1", "user": "a\0"}, "user must not contain NUL"),
    ],
)
def test_bad_parameters_are_named(call: CallFactory, params: Any, message: str) -> None:
    """Said before anything is sent."""
    with pytest.raises(NodeFailed, match=message) as caught:
        Postgres().run(call({"host": "192.0.2.1"} | params))
    assert caught.value.retryable is False


@pytest.mark.parametrize(
    ("sslmode", "public", "answer"),
    [
        (None, False, {"sslmode": "prefer"}),
        (None, True, {"sslmode": "require", "require_auth": "!password"}),
        ("require", True, {"sslmode": "require", "require_auth": "!password"}),
        ("require", False, {"sslmode": "require"}),
        ("disable", False, {"sslmode": "disable"}),
        ("verify-full", True, {"sslmode": "verify-full"}),
        ("disable", True, None),
        ("prefer", True, None),
    ],
)
def test_passwords_do_not_leave_in_the_clear(sslmode: str | None, public: bool, answer: dict[str, str] | None) -> None:
    """To public servers only in TLS, and in plain only to one whose certificate is verified."""
    place = Place("db.test", 5432, "u", "p", "d", sslmode, 30.0)
    if answer is None:
        with pytest.raises(NodeFailed, match="only for servers the deployment's settings name"):
            place.security(public=public)
        return
    security = place.security(public=public)
    assert bool(security.pop("sslrootcert")) is (answer["sslmode"] == "verify-full")
    assert security == answer


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("x", "x"),
        (5, "5"),
        (1.5, "1.5"),
        (True, "true"),
        ({"a": [1]}, '{"a":[1]}'),
        ([1, None, "a\"b\\", [True]], '{"1",NULL,"a\\"b\\\\",{"true"}}'),
        ([], "{}"),
        ([{"a": 1}], '[{"a":1}]'),
        ([[{"a": 1}]], '[[{"a":1}]]'),
    ],
)  # fmt: skip
def test_arguments(value: Any, text: str | None) -> None:
    """Scalars are their text, lists arrays, objects JSON."""
    assert argument(value) == text


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0", 0), ("-7.00", -7), ("12.34", 12.34), ("1e3", 1000), ("3.3333333333333333", 10 / 3),
        ("99999999999999999999", 99999999999999999999), ("9007199254740993.5", "9007199254740993.5"),
        ("123456789012345.678", "123456789012345.678"), ("Infinity", "Infinity"), ("1" * 301, "1" * 301),
    ],
)  # fmt: skip
def test_numeric_keeps_its_value(written: str, value: Any) -> None:
    """A number where that is exact, or the rest of a division; text where an amount would lose digits."""
    assert exact(written) == value and type(exact(written)) is type(value)


def test_floats() -> None:
    """Whole floats are integers as far as they are exact, and JSON has no NaN."""
    assert [approximate(text) for text in ("5", "0.5", "1e300", "NaN")] == [5, 0.5, 1e300, "NaN"]


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("orders", '"orders"'), ("sales.orders", '"sales"."orders"'), ('x"; DROP TABLE y', '"x""; DROP TABLE y"'),
        ("", None), ("a.b.c", None), ("a.", None), (5, None), ("x" * 64, None), ("ü" * 32, None), ("a\0", None),
    ],
)  # fmt: skip
def test_names_are_quoted(name: Any, quoted: str | None) -> None:
    """A name is never more than a name."""
    if quoted is None:
        with pytest.raises(NodeFailed, match="table_name must be a name"):
            identifier(name, "table_name")
    else:
        assert identifier(name, "table_name").as_string() == quoted


class Recorded(Session):
    """A session that only notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def many(self, query: sql.Composable, rows: Any) -> int:
        self.asked.append((query.as_string(), rows))
        return len(rows)

    def transaction(self) -> Any:
        return closing(socket.socket())


@pytest.mark.parametrize(
    ("params", "ending"),
    [
        ({}, ""),
        ({"on_conflict": "a"}, ' ON CONFLICT ("a") DO NOTHING'),
        ({"on_conflict_action": "nothing"}, " ON CONFLICT DO NOTHING"),
        (
            {"on_conflict": "(a)", "on_conflict_action": "DO UPDATE"},
            ' ON CONFLICT ("a") DO UPDATE SET "b" = excluded."b"',
        ),
        ({"on_conflict": ["a", "b"], "on_conflict_action": "update"}, ' ON CONFLICT ("a", "b") DO NOTHING'),
        ({"on_conflict": 'a") DO NOTHING --'}, ' ON CONFLICT ("a"") DO NOTHING --") DO NOTHING'),
    ],
)
def test_insertions(params: dict[str, Any], ending: str) -> None:
    """Values are arguments; names and conflicts are built from quoted names and known words."""
    session = Recorded()
    assert insert(session, {"table": "t", "items": [{"a": 1, "b": "x"}]} | params) == 1
    assert session.asked == [(f'INSERT INTO "t" ("a", "b") VALUES ($1, $2){ending}', [["1", "x"]])]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"items": "x"}, "items must be a list of objects"),
        ({"items": [{}]}, "items must be a list of objects"),
        ({"items": [{"a": 1}] * 10_001}, "items must be no more than 10000"),
        ({"columns": []}, "columns must be a list"),
        ({"columns": [5]}, "columns must be names"),
        ({"table": None}, "table must be a name"),
        ({"on_conflict": 5}, "on_conflict must be a column"),
        ({"on_conflict_action": "update"}, "update needs the columns"),
        ({"on_conflict": "a", "on_conflict_action": "DO UPDATE SET x = 1"}, "must be nothing or update"),
    ],
)
def test_bad_insertions(params: dict[str, Any], message: str) -> None:
    """Refused with what to write instead."""
    with pytest.raises(NodeFailed, match=message):
        insert(Recorded(), {"table": "t", "items": [{"a": 1}]} | params)


def test_a_port_leads_to_one_connection_after_the_other() -> None:
    """libpq may come again; each time it gets a connection of its own, and closing ends them all."""
    with closing(socket.create_server((HOST, 0))) as listener:

        def dial() -> socket.socket:
            return socket.create_connection(listener.getsockname())

        port = TunnelPort(dial, seconds=10, most_bytes=100)
        for _ in range(2):
            with socket.create_connection((HOST, port.number)) as client:
                other, _ = listener.accept()
                with other:
                    client.sendall(b"ping")
                    assert other.recv(10) == b"ping"
                    other.sendall(b"pong")
                    assert client.recv(10) == b"pong"
        assert port.is_public is False and port.cut is None
        port.close()
        with pytest.raises(OSError):
            socket.create_connection((HOST, port.number))


def test_the_driver_is_the_one_we_know() -> None:
    """Strings travel untyped, which is what lets the server infer their types."""
    dumper = psycopg.adapters.get_dumper(str, psycopg.adapt.PyFormat.AUTO)
    assert dumper.oid == 0
