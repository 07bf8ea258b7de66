"""Sessions with an author's PostgreSQL server, over checked connections, with nothing of this machine's own access."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import certifi
import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from shared.engine.connectors.sqlvalues import arguments, load_as_json, plain
from shared.engine.connectors.tunnel import TunnelPort
from shared.engine.kinds.base import Call, NodeFailed
from shared.engine.kinds.outward import reaching
from shared.engine.kinds.records import whole
from shared.engine.kinds.scripting import seconds, text_of
from shared.kit import json

DEFAULT_TIMEOUT_S = 30.0
MOST_ROWS = 10_000
LARGEST_RESULT = 5 * 1024 * 1024
MOST_BYTES = 32 * 1024 * 1024
"""Most a server may send in one session."""
SSL_MODES = ("disable", "prefer", "require", "verify-full")

_WHERE = re.compile(r'(connection failed: )?connection to server at "[^"]*"( \([^)]*\))?, port \d+( failed)?: ')
# The connection, the server's resources, other transactions: what may be different next time.
_PASSING = ("08", "40", "53", "55", "57", "58")


@dataclass(frozen=True, slots=True)
class Place:
    """A database and who asks: an author's connection data."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    dbname: str
    sslmode: str | None
    seconds: float

    @classmethod
    def of(cls, call: Call) -> Place:
        """The connection data of a node's parameters."""
        params = call.params
        host, user = _text(params, "host", "localhost"), _text(params, "user", "postgres")
        port = whole(params.get("port") or 5432, "port", least=1, most=65535)
        sslmode = params.get("sslmode") or None
        if sslmode not in (None, *SSL_MODES):
            raise NodeFailed(f"sslmode must be one of {', '.join(SSL_MODES)}", retryable=False)
        wanted = seconds(params.get("timeout") or DEFAULT_TIMEOUT_S, "timeout")
        limit = min(max(wanted, 0.1), call.services.wall_clock_limit_s)
        password, dbname = _text(params, "password", ""), _text(params, "dbname", "postgres")
        return cls(host, port, user, password, dbname, sslmode, limit)

    @property
    def name(self) -> str:
        """Host and port, as messages show them."""
        return f"PostgreSQL at {self.host}:{self.port}"

    def security(self, *, public: bool) -> dict[str, Any]:
        """How libpq protects the session; without a verified server no password is sent in the clear."""
        mode = self.sslmode or ("require" if public else "prefer")
        if public and mode in ("disable", "prefer"):
            message = f"sslmode {mode} is only for servers the deployment's settings name"
            raise NodeFailed(message, retryable=False)
        auth = {"require_auth": "!password"} if public and mode != "verify-full" else {}
        return {"sslmode": mode, "sslrootcert": certifi.where() if mode == "verify-full" else ""} | auth


class Session:
    """An open connection; every statement outside :meth:`transaction` takes effect on its own."""

    def __init__(self, connection: psycopg.Connection[DictRow]) -> None:
        self._connection = connection
        self._size = 0

    def run(
        self, query: str | sql.Composable, args: Sequence[str | None] = ()
    ) -> list[dict[str, Any]] | dict[str, int]:
        """The rows of a statement, or ``{rows_affected}`` of one that has none. Arguments are $1, $2, …"""
        cursor = self._connection.execute(_composable(query), args)
        while cursor.nextset():
            """The last of several statements counts."""
        if cursor.description is None:
            return {"rows_affected": max(cursor.rowcount, 0)}
        if cursor.rowcount > MOST_ROWS:
            raise NodeFailed(f"the result has more than {MOST_ROWS} rows; add a LIMIT", retryable=False)
        rows = [{name: plain(value) for name, value in row.items()} for row in cursor]
        self._size += json.size(rows)
        if self._size > LARGEST_RESULT:
            raise NodeFailed("the result is larger than 5 MB; select less or add a LIMIT", retryable=False)
        return rows

    def rows(self, query: str | sql.Composable, args: Sequence[str | None] = ()) -> list[dict[str, Any]]:
        """The rows of a statement that has some."""
        found = self.run(query, args)
        return found if isinstance(found, list) else []

    def many(self, query: sql.Composable, rows: Sequence[Sequence[str | None]]) -> int:
        """Run a statement for each list of arguments; how many rows were affected in all."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_composable(query), rows)
            return max(cursor.rowcount, 0)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements inside take effect, or none."""
        with self._connection.transaction():
            yield


@contextmanager
def session(call: Call, place: Place) -> Iterator[Session]:
    """A session that ends with the block. What fails inside is NodeFailed."""

    def dial() -> Any:
        return call.services.http.connect(place.host, place.port, timeout_s=place.seconds)

    try:
        with reaching():
            port = TunnelPort(dial, seconds=place.seconds, most_bytes=MOST_BYTES)
    except OSError as error:
        raise NodeFailed(f"{place.name}: {error.strerror or error}") from None
    try:
        with _explained(place, port), _connect(place, port) as connection:
            yield Session(connection)
    finally:
        port.close()


@contextmanager
def _connect(place: Place, port: TunnelPort) -> Iterator[psycopg.Connection[DictRow]]:
    # Files and variables of this machine, which libpq would use where a value is missing, are all answered here.
    connection = psycopg.Connection[DictRow].connect(
        host=place.host, hostaddr="127.0.0.1", port=port.number, user=place.user, password=place.password,
        dbname=place.dbname, connect_timeout=max(math.ceil(place.seconds), 2), passfile=os.devnull, options="",
        sslcertmode="disable", gssencmode="disable", target_session_attrs="any", client_encoding="utf8",
        application_name="signalbox", autocommit=True, prepare_threshold=None, row_factory=dict_row,
        cursor_factory=psycopg.RawCursor, **place.security(public=port.is_public),
    )  # fmt: skip
    try:
        load_as_json(connection)
        # The server gives up a little earlier than we do, so that the author reads its message.
        milliseconds = str(max(int(place.seconds * 900), 1))
        connection.execute(
            "SELECT set_config('statement_timeout', $1, false), set_config('TimeZone', 'UTC', false),"
            " set_config('DateStyle', 'ISO, YMD', false), set_config('IntervalStyle', 'iso_8601', false),"
            " set_config('bytea_output', 'hex', false)",
            [milliseconds],
        )
        yield connection
    finally:
        connection.close()


@contextmanager
def _explained(place: Place, port: TunnelPort) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        if port.cut:
            raise NodeFailed(f"{place.name}: {port.cut}") from None
        raise _failure(place, error) from None
    except (ValueError, RecursionError) as error:
        raise NodeFailed(f"{place.name}: {error}", retryable=False) from None


def _failure(place: Place, error: psycopg.Error) -> NodeFailed:
    said = error.diag
    if said.message_primary is None:
        # Where libpq tries with and without TLS it reports both, a line each.
        told = (line.strip() for line in _WHERE.sub("", str(error)).splitlines())
        text = "; ".join(dict.fromkeys(line for line in told if line))
        if place.password:
            text = text.replace(place.password, "[redacted]")
        return NodeFailed(f"{place.name}: {text}", retryable=isinstance(error, psycopg.OperationalError))
    parts = [said.message_primary, said.message_detail, said.message_hint]
    position = f" (at character {said.statement_position})" if said.statement_position else ""
    text = "; ".join(part for part in parts if part) + position
    return NodeFailed(f"{place.name}: {text}", retryable=(error.sqlstate or "").startswith(_PASSING))


def identifier(name: Any, parameter: str) -> sql.Identifier:
    """A table's or column's name, quoted; ``schema.table`` has two parts. Raises NodeFailed."""
    parts = name.split(".") if isinstance(name, str) else []
    if not 1 <= len(parts) <= 2 or any(not 1 <= len(part.encode()) <= 63 or "\0" in part for part in parts):
        raise NodeFailed(f"{parameter} must be a name such as orders or sales.orders", retryable=False)
    return sql.Identifier(*parts)


def statement(value: Any, name: str) -> tuple[str, list[str | None]]:
    """``{query, args}``, or a query alone, as a statement with its arguments."""
    query, args = (value.get("query"), value.get("args")) if isinstance(value, dict) else (value, None)
    if not isinstance(query, str) or not query.strip():
        raise NodeFailed(f"{name} must be the text of an SQL statement", retryable=False)
    return query, arguments(args)


def _composable(query: str | sql.Composable) -> Any:
    return query.encode() if isinstance(query, str) else query


def _text(params: Mapping[str, Any], name: str, default: str) -> str:
    value = params.get(name)
    text = default if value is None or value == "" else text_of(value)
    if "\0" in text:
        raise NodeFailed(f"{name} must not contain NUL", retryable=False)
    return text
