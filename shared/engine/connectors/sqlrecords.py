"""Keys and values in a table of an author's PostgreSQL database, and rows inserted in one go."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from shared.engine.connectors.postgres import MOST_ROWS, Session, identifier
from shared.engine.connectors.sqlvalues import argument
from shared.engine.kinds.base import NodeFailed
from shared.kit import json

Found = TypeVar("Found")

_LIVE = sql.SQL("(expires_at IS NULL OR expires_at > now())")


class Records:
    """A table ``(key, value, expires_at)``, made when it is first needed."""

    def __init__(self, session: Session, table: Any) -> None:
        self._session = session
        self._table = identifier(table, "table_name")

    def get(self, key: str) -> Any:
        """The value; raises KeyError."""
        rows = self._rows("SELECT value FROM {table} WHERE key = $1 AND {live}", key)
        if not rows:
            raise KeyError(key)
        return rows[0]["value"]

    def set(self, key: str, value: Any, ttl_s: float | None) -> None:
        """Store a value, in the place of an older one and of its time to live."""
        self._rows(
            "INSERT INTO {table} (key, value, expires_at)"
            " VALUES ($1, $2::jsonb, now() + make_interval(secs => $3::float8))"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at",
            key, json.dumps(value), None if ttl_s is None else str(ttl_s),
        )  # fmt: skip
        if ttl_s is not None:
            # Rows another session is at are left for a later time.
            self._rows(
                "DELETE FROM {table} WHERE key IN (SELECT key FROM {table} WHERE expires_at <= now()"
                " LIMIT 100 FOR UPDATE SKIP LOCKED)"
            )

    def delete(self, key: str) -> bool:
        """Remove a value; whether there was one."""
        found = self._rows("DELETE FROM {table} WHERE key = $1 RETURNING {live} AS live", key)
        return any(row["live"] for row in found)

    def keys(self) -> list[str]:
        """Every live key, in order of code points."""
        return sorted(row["key"] for row in self._rows("SELECT key FROM {table} WHERE {live}"))

    def items(self) -> list[tuple[str, Any]]:
        """Every live pair, by key."""
        rows = self._rows("SELECT key, value FROM {table} WHERE {live}")
        return sorted(((row["key"], row["value"]) for row in rows), key=lambda pair: pair[0])

    def _rows(self, query: str, *args: str | None) -> list[dict[str, Any]]:
        composed = sql.SQL(query).format(table=self._table, live=_LIVE)
        return self._with_table(lambda: self._session.rows(composed, args))

    def _with_table(self, work: Callable[[], Found]) -> Found:
        try:
            return work()
        except psycopg.errors.UndefinedTable:
            self._create()
        return work()

    def _create(self) -> None:
        # CREATE TABLE IF NOT EXISTS fails when two sessions are at it at the same time; the lock lets one wait.
        with self._session.transaction():
            self._session.rows("SELECT pg_advisory_xact_lock(hashtext($1))", [self._table.as_string()])
            create = (
                "CREATE TABLE IF NOT EXISTS {table}"
                " (key text PRIMARY KEY, value jsonb NOT NULL, expires_at timestamptz)"
            )
            self._session.run(sql.SQL(create).format(table=self._table))


def insert(session: Session, params: Mapping[str, Any]) -> int:
    """``batch_insert``: objects as rows, all or none; how many rows were written."""
    table, items, columns = params.get("table") or params.get("table_name"), params.get("items"), params.get("columns")
    if not isinstance(items, list) or not all(isinstance(item, dict) and item for item in items):
        raise NodeFailed("items must be a list of objects, one for each row", retryable=False)
    if len(items) > MOST_ROWS:
        raise NodeFailed(f"items must be no more than {MOST_ROWS}", retryable=False)
    if columns is not None and not (isinstance(columns, list) and columns):
        raise NodeFailed("columns must be a list of names", retryable=False)
    affected = 0
    with session.transaction():
        # Items of the same columns go together; what an item leaves out gets the column's default.
        for names, group in itertools.groupby(items, key=lambda item: tuple(columns or item)):
            statement = _insertion(table, names, params)
            affected += session.many(statement, [[argument(item.get(name)) for name in names] for item in group])
    return affected


def _insertion(table: Any, columns: tuple[Any, ...], params: Mapping[str, Any]) -> sql.Composed:
    names = [_column(name) for name in columns]
    values = ", ".join(f"${number}" for number in range(1, len(names) + 1))
    insertion = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        identifier(table, "table"), sql.SQL(", ").join(names), sql.SQL(values)
    )  # fmt: skip
    return insertion + _on_conflict(columns, params)


def _on_conflict(columns: tuple[Any, ...], params: Mapping[str, Any]) -> sql.Composed:
    target, written = params.get("on_conflict") or [], params.get("on_conflict_action")
    if not target and not written:
        return sql.Composed([])
    keys = [name.strip() for name in target.strip("() ").split(",")] if isinstance(target, str) else target
    if not isinstance(keys, list):
        raise NodeFailed("on_conflict must be a column or a list of columns", retryable=False)
    action = str(written or "nothing").lower().removeprefix("do ").strip()
    where = sql.SQL(" ({})").format(sql.SQL(", ").join(map(_column, keys))) if keys else sql.SQL("")
    changed = [_column(name) for name in columns if name not in keys]
    if action == "nothing" or (action == "update" and keys and not changed):
        return sql.SQL(" ON CONFLICT{} DO NOTHING").format(where)
    if action != "update" or not keys:
        raise NodeFailed(
            "on_conflict_action must be nothing or update; update needs the columns of on_conflict", retryable=False
        )
    updates = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(name) for name in changed)
    return sql.SQL(" ON CONFLICT{} DO UPDATE SET {}").format(where, updates)


def _column(name: Any) -> sql.Identifier:
    if not isinstance(name, str) or not 1 <= len(name.encode()) <= 63 or "\0" in name:
        raise NodeFailed("columns must be names of at most 63 bytes", retryable=False)
    return sql.Identifier(name)
