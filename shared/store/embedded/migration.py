"""Tables as the models want them, whatever an earlier version of the program left in the file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any

from shared.store.embedded.rejection import Rejection
from shared.store.embedded.session import Session
from shared.store.embedded.tables import check_definition


def work(request: dict[str, Any], ttl: str | None) -> Callable[[sqlite3.Connection], None]:
    """Create the table of a CreateTable request, or bring it up to date; nothing happens when it is."""
    check_definition(request)
    wanted = {**request, "_ttl": ttl}

    def run(sql: sqlite3.Connection) -> None:
        name = request["TableName"]
        row = sql.execute("SELECT number, definition FROM tables WHERE name = ?", (name,)).fetchone()
        if row is None:
            sql.execute("INSERT INTO tables (name, definition) VALUES (?, ?)", (name, json.dumps(wanted)))
            return
        number, stored = row[0], json.loads(row[1])
        if stored == wanted:
            return
        if _keys(stored) != _keys(wanted):
            raise Rejection("ValidationException", f"The keys of table {name} cannot change")
        sql.execute("UPDATE tables SET definition = ? WHERE number = ?", (json.dumps(wanted), number))
        session = Session(sql)
        session.reindex(session.table(name))

    return run


def _keys(definition: dict[str, Any]) -> list[tuple[str, str, str]]:
    kinds = {entry["AttributeName"]: entry["AttributeType"] for entry in definition["AttributeDefinitions"]}
    return [
        (entry["KeyType"], entry["AttributeName"], kinds[entry["AttributeName"]]) for entry in definition["KeySchema"]
    ]
