"""Requests about tables themselves: create, describe, list, update, delete, time to live."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any

from shared.store.embedded.rejection import Rejection, invalid
from shared.store.embedded.tables import check_definition, index_numbers, not_found

Request = dict[str, Any]
Answer = dict[str, Any]


def create(request: Request) -> Callable[[sqlite3.Connection], Answer]:
    """CreateTable; the table is ready at once."""
    check_definition(request)

    def work(sql: sqlite3.Connection) -> Answer:
        name = request["TableName"]
        if sql.execute("SELECT 1 FROM tables WHERE name = ?", (name,)).fetchone():
            raise Rejection("ResourceInUseException", f"Table already exists: {name}")
        sql.execute("INSERT INTO tables (name, definition) VALUES (?, ?)", (name, json.dumps(request)))
        return {"TableDescription": _description(sql, name)}

    return work


def describe(request: Request) -> Callable[[sqlite3.Connection], Answer]:
    """DescribeTable."""
    return lambda sql: {"Table": _description(sql, request["TableName"])}


def list_all(request: Request) -> Callable[[sqlite3.Connection], Answer]:
    """ListTables, by name."""
    limit = min(request.get("Limit") or 100, 100)
    after = request.get("ExclusiveStartTableName") or ""

    def work(sql: sqlite3.Connection) -> Answer:
        rows = sql.execute(
            "SELECT name FROM tables WHERE name > ? ORDER BY name LIMIT ?", (after, limit + 1)
        ).fetchall()
        names = [name for (name,) in rows[:limit]]
        return {"TableNames": names, **({"LastEvaluatedTableName": names[-1]} if len(rows) > limit else {})}

    return work


def drop(request: Request) -> Callable[[sqlite3.Connection], Answer]:
    """DeleteTable, with everything in it. Its items leave no change records."""

    def work(sql: sqlite3.Connection) -> Answer:
        name = request["TableName"]
        number, _ = _row(sql, name)
        description = _description(sql, name)
        sql.execute("DELETE FROM items WHERE tbl = ?", (number,))
        sql.execute("DELETE FROM entries WHERE idx >= ? AND idx < ?", index_numbers(number))
        sql.execute("DELETE FROM tables WHERE number = ?", (number,))
        return {"TableDescription": {**description, "TableStatus": "DELETING"}}

    return work


def update(request: Request) -> Callable[[sqlite3.Connection], Answer]:
    """UpdateTable: throughput is accepted and ignored, the stream can be switched; indexes are fixed at creation."""
    if any("Create" in change or "Delete" in change for change in request.get("GlobalSecondaryIndexUpdates") or []):
        invalid("Indexes of an existing table cannot be created or deleted")

    def work(sql: sqlite3.Connection) -> Answer:
        name = request["TableName"]
        number, definition = _row(sql, name)
        for key in ("StreamSpecification", "ProvisionedThroughput", "BillingMode"):
            if key in request:
                definition[key] = request[key]
        _save(sql, number, definition)
        return {"TableDescription": _description(sql, name)}

    return work


def update_ttl(request: Request) -> Callable[[sqlite3.Connection], Answer]:
    """UpdateTimeToLive. Items already there are indexed by their expiry when they are next written."""

    def work(sql: sqlite3.Connection) -> Answer:
        number, definition = _row(sql, request["TableName"])
        specification = request["TimeToLiveSpecification"]
        definition["_ttl"] = specification["AttributeName"] if specification["Enabled"] else None
        _save(sql, number, definition)
        return {"TimeToLiveSpecification": specification}

    return work


def describe_ttl(request: Request) -> Callable[[sqlite3.Connection], Answer]:
    """DescribeTimeToLive."""

    def work(sql: sqlite3.Connection) -> Answer:
        _, definition = _row(sql, request["TableName"])
        attribute = definition.get("_ttl")
        if attribute is None:
            return {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": attribute}}

    return work


def _row(sql: sqlite3.Connection, name: str) -> tuple[int, dict[str, Any]]:
    row = sql.execute("SELECT number, definition FROM tables WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise not_found(name)
    return row[0], json.loads(row[1])


def _save(sql: sqlite3.Connection, number: int, definition: dict[str, Any]) -> None:
    sql.execute("UPDATE tables SET definition = ? WHERE number = ?", (json.dumps(definition), number))


def _description(sql: sqlite3.Connection, name: str) -> dict[str, Any]:
    number, definition = _row(sql, name)
    count, size = sql.execute("SELECT count(*), coalesce(sum(size), 0) FROM items WHERE tbl = ?", (number,)).fetchone()
    description = {key: value for key, value in definition.items() if not key.startswith("_") and key != "Tags"}
    for index in description.get("GlobalSecondaryIndexes") or []:
        index["IndexStatus"] = "ACTIVE"
    return {
        **description,
        "TableStatus": "ACTIVE",
        "ItemCount": count,
        "TableSizeBytes": size,
        "TableArn": f"arn:aws:dynamodb:local:000000000000:table/{name}",
    }
