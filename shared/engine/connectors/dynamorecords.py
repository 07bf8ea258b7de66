"""Keys and values in a table of an author's DynamoDB: ``key`` (the partition key), ``value``, ``expires_at``."""

from __future__ import annotations

from typing import Any

from shared.engine.connectors.dynamodb import Dynamo, DynamoFailed, from_attributes, seconds_from_now, to_attributes
from shared.engine.kinds.base import NodeFailed
from shared.engine.kinds.records import key_of, time_to_live
from shared.kit import clock

NO_TABLE = "ResourceNotFoundException"


class DynamoRecords:
    """A table that is made when something is first written; until then it is empty."""

    def __init__(self, dynamo: Dynamo, table: str) -> None:
        self._dynamo = dynamo
        self._table = table

    def get(self, key: str) -> Any:
        """The value; raises KeyError."""
        try:
            answer = self._dynamo.ask("GetItem", TableName=self._table, Key={"key": {"S": key}}, ConsistentRead=True)
        except DynamoFailed as failed:
            if failed.kind != NO_TABLE:
                raise
            raise KeyError(key) from None
        item = from_attributes(answer.get("Item") or {})
        if not item or not _live(item):
            raise KeyError(key)
        return item.get("value")

    def set(self, key: str, value: Any, ttl_s: float | None) -> None:
        """Store a value, in the place of an older one and of its time to live."""
        self.write([_record(key, value, ttl_s)])

    def write(self, items: list[dict[str, Any]]) -> int:
        """Put items as they are; answers how many."""
        try:
            return self._dynamo.write(self._table, items)
        except DynamoFailed as failed:
            if failed.kind != NO_TABLE:
                raise
        self._create()
        return self._dynamo.write(self._table, items)

    def delete(self, key: str) -> bool:
        """Remove a value; whether there was one."""
        try:
            answer = self._dynamo.ask(
                "DeleteItem", TableName=self._table, Key={"key": {"S": key}}, ReturnValues="ALL_OLD"
            )
        except DynamoFailed as failed:
            if failed.kind != NO_TABLE:
                raise
            return False
        old = from_attributes(answer.get("Attributes") or {})
        return bool(old) and _live(old)

    def keys(self) -> list[str]:
        """Every live key, in order of code points."""
        return [item["key"] for item in self._items("key", "expires_at")]

    def items(self) -> list[tuple[str, Any]]:
        """Every live pair, by key."""
        return [(item["key"], item.get("value")) for item in self._items("key", "value", "expires_at")]

    def _items(self, *attributes: str) -> list[dict[str, Any]]:
        try:
            found = [item for item in self._dynamo.scan(self._table, attributes) if _is_record(item)]
        except DynamoFailed as failed:
            if failed.kind != NO_TABLE:
                raise
            return []
        return sorted(found, key=lambda item: item["key"])

    def _create(self) -> None:
        attribute = {"AttributeName": "key"}
        try:
            self._dynamo.ask(
                "CreateTable", TableName=self._table, BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[attribute | {"AttributeType": "S"}], KeySchema=[attribute | {"KeyType": "HASH"}],
            )  # fmt: skip
        except DynamoFailed as failed:
            # Another node made it a moment ago.
            if failed.kind != "ResourceInUseException":
                raise
        attempt = 0
        while self._dynamo.ask("DescribeTable", TableName=self._table).get("Table", {}).get("TableStatus") != "ACTIVE":
            self._dynamo.pause(attempt)
            attempt += 1


def pairs(items: list[Any]) -> list[dict[str, Any]]:
    """``{key, value, ttl}`` objects as the items ``set`` writes; of a key that comes twice, the last."""
    found: dict[str, dict[str, Any]] = {}
    for number, item in enumerate(items, start=1):
        if not isinstance(item, dict) or not item.keys() >= {"key", "value"}:
            raise NodeFailed(f"item {number} must be {{key, value}}; for other items name the table", retryable=False)
        key = key_of(item["key"])
        found[key] = _record(key, item["value"], time_to_live(item.get("ttl"), f"ttl of item {number}"))
    return list(found.values())


def put(dynamo: Dynamo, table: str, item: dict[str, Any]) -> None:
    """Put one item of any shape."""
    dynamo.ask("PutItem", TableName=table, Item=to_attributes(item))


def _record(key: str, value: Any, ttl_s: float | None) -> dict[str, Any]:
    record = {"key": key, "value": value}
    return record if ttl_s is None else record | {"expires_at": seconds_from_now(ttl_s)}


def _is_record(item: dict[str, Any]) -> bool:
    return isinstance(item.get("key"), str) and _live(item)


def _live(item: dict[str, Any]) -> bool:
    expires_at = item.get("expires_at")
    return not isinstance(expires_at, (int, float)) or clock.now_ms() < expires_at * 1000
