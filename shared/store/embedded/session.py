"""Rows for items: what a request does to SQLite inside its transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from shared.kit import clock
from shared.store.embedded.codec import decode, encode
from shared.store.embedded.metering import Usage, projected
from shared.store.embedded.numbers import parse
from shared.store.embedded.rejection import Rejection
from shared.store.embedded.tables import Index, Key, Table, index_numbers, not_found, parse_table
from shared.store.embedded.values import Item, kind_of

Encoded = tuple[bytes, bool]
"""An item as its row holds it: JSON, and whether it has binary values."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An item as found: its row, contents, size in bytes, and the row's own form of the contents."""

    row: int
    item: Item
    size: int
    encoded: Encoded


class Session:
    """One request's view of the database. ``changed`` tells that the change stream has grown."""

    __slots__ = ("_sql", "_tables", "changed", "usage")

    def __init__(self, connection: sqlite3.Connection, *, exact: bool = True) -> None:
        self._sql = connection
        self._tables: dict[str, Table] = {}
        self.changed = False
        self.usage = Usage(exact)

    def table(self, name: str) -> Table:
        """The table, or ResourceNotFoundException."""
        found = self._tables.get(name)
        if found is None:
            row = self._sql.execute("SELECT number, definition FROM tables WHERE name = ?", (name,)).fetchone()
            if row is None:
                raise not_found()
            found = self._tables[name] = parse_table(*row)
        return found

    def get(self, table: Table, key: Key) -> Stored | None:
        """One item."""
        row = self._sql.execute(
            "SELECT id, size, binary, body FROM items WHERE tbl = ? AND pk = ? AND sk = ?",
            (table.number, key.pk, key.sk),
        ).fetchone()
        return None if row is None else Stored(row[0], decode(row[3], row[2]), row[1], (row[3], bool(row[2])))

    def table_rows(self, table: Table, where: str, arguments: list[Any]) -> Iterator[Item]:
        """The items of a table that match, in the order ``where`` ends with."""
        # The text of ``where`` is made of the engine's own column names and operators; every value is a parameter.
        rows = self._sql.execute(
            f"SELECT binary, body FROM items WHERE tbl = ? AND {where}",  # noqa: S608
            (table.number, *arguments),
        )
        for binary, body in rows:
            yield decode(body, binary)

    def index_rows(self, index: Index, where: str, arguments: list[Any]) -> Iterator[Item]:
        """The items of an index that match, cut to what the index projects."""
        rows = self._sql.execute(
            f"SELECT i.binary, i.body FROM entries e CROSS JOIN items i ON i.id = e.item WHERE e.idx = ? AND {where}",  # noqa: S608
            (index.number, *arguments),
        )
        for binary, body in rows:
            yield projected(index, decode(body, binary))

    def put(self, table: Table, key: Key, old: Stored | None, item: Item, size: int) -> None:
        """Store a whole item of ``size`` bytes over ``old``."""
        body, binary = encode(item)
        if old is None:
            row = self._sql.execute(
                "INSERT INTO items (tbl, pk, sk, size, binary, expires, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (table.number, key.pk, key.sk, size, binary, _expiry(table, item), body),
            ).lastrowid
            self._index(table, key, None, item, row or 0)
        else:
            if old.item == item:
                return
            self._sql.execute(
                "UPDATE items SET size = ?, binary = ?, expires = ?, body = ? WHERE id = ?",
                (size, binary, _expiry(table, item), body, old.row),
            )
            self._index(table, key, old.item, item, old.row)
        self._record(table, "MODIFY" if old else "INSERT", item, old.encoded if old else None, (body, binary))

    def delete(self, table: Table, key: Key, old: Stored, *, expired: bool = False) -> None:
        """Remove an item; ``expired`` marks the change as TTL's."""
        self._sql.execute("DELETE FROM items WHERE id = ?", (old.row,))
        self._index(table, key, old.item, None, old.row)
        self._record(table, "REMOVE", old.item, old.encoded, None, expired=expired)

    def reindex(self, table: Table) -> None:
        """Rebuild a table's index entries and expiry times from its items."""
        self._sql.execute("DELETE FROM entries WHERE idx >= ? AND idx < ?", index_numbers(table.number))
        rows = self._sql.execute("SELECT id, binary, body FROM items WHERE tbl = ?", (table.number,)).fetchall()
        for row, binary, body in rows:
            item = decode(body, binary)
            self._sql.execute("UPDATE items SET expires = ? WHERE id = ?", (_expiry(table, item), row))
            if all(_fits(index, item) for index in table.indexes):
                self._index(table, table.key_in(item), None, item, row)

    def _index(self, table: Table, key: Key, old: Item | None, new: Item | None, row: int) -> None:
        for index in table.indexes:
            before = index.entry(old) if old is not None else None
            after = index.entry(new) if new is not None else None
            if before is not None and before != after:
                self._sql.execute(
                    "DELETE FROM entries WHERE idx = ? AND pk = ? AND sk = ? AND base_pk = ? AND base_sk = ?",
                    (index.number, *before, key.pk, key.sk),
                )
            if after is not None and before != after:
                self._sql.execute(
                    "INSERT INTO entries (idx, pk, sk, base_pk, base_sk, item) VALUES (?, ?, ?, ?, ?, ?)",
                    (index.number, *after, key.pk, key.sk, row),
                )
            if before is not None or after is not None:
                self.usage.index_write(index, old, new, moved=before != after)

    def _record(
        self, table: Table, event: str, item: Item, old: Encoded | None, new: Encoded | None, *, expired: bool = False
    ) -> None:
        view = table.view
        if view is None:
            return
        keys, binary = encode(table.keys(item))
        images: list[bytes | None] = []
        for image, wanted in ((old, "OLD"), (new, "NEW")):
            if image is None or wanted not in view:
                images.append(None)
                continue
            images.append(image[0])
            binary = binary or image[1]
        self._sql.execute(
            "INSERT INTO changes (tbl, event, at_ms, view, expired, keys, old, new, binary) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (table.name, event, clock.now_ms(), view, expired, keys, *images, binary),
        )
        self.changed = True

    def remember(self, token: str, digest: bytes, lifetime_ms: int) -> bool:
        """Note a transaction's token; False when the same transaction was already done."""
        now = clock.now_ms()
        # A token that is over is one nobody has used.
        noted = self._sql.execute(
            "INSERT INTO tokens VALUES (?, ?, ?) ON CONFLICT (token) DO UPDATE "
            "SET digest = excluded.digest, until_ms = excluded.until_ms WHERE until_ms <= ?",
            (token, digest, now + lifetime_ms, now),
        ).rowcount
        if noted:
            return True
        (known,) = self._sql.execute("SELECT digest FROM tokens WHERE token = ?", (token,)).fetchone()
        if known != digest:
            raise Rejection(
                "IdempotentParameterMismatchException",
                "The ClientRequestToken was used with other parameters within the last ten minutes",
            )
        return False


def _fits(index: Index, item: Item) -> bool:
    keys = [key for key in (index.hash, index.range) if key is not None and key.name in item]
    return all(kind_of(item[key.name]) == key.kind for key in keys)


def _expiry(table: Table, item: Item) -> int | None:
    if table.ttl is None:
        return None
    value = item.get(table.ttl)
    if value is None or "N" not in value:
        return None
    seconds = parse(value["N"])
    # SQLite holds 64-bit integers; a time beyond them is a time that never comes.
    return int(seconds) if abs(Decimal(seconds)) < 2**62 else None
