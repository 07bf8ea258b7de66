"""``dynamodb``: keys and values, or items, in the author's own DynamoDB tables."""

from __future__ import annotations

from typing import Any, ClassVar

from shared.engine.connectors.dynamodb import MOST_ITEMS, Account, Dynamo, from_attributes, to_attributes
from shared.engine.connectors.dynamorecords import DynamoRecords, pairs, put
from shared.engine.kinds.base import Call, Done, NodeFailed, NodeKind, Outcome
from shared.engine.kinds.records import FILTER, LIMIT, SORT, key_of, not_found, select, time_to_live
from shared.engine.kinds.scripting import DURATION, text_of
from shared.kit import json

OPERATIONS = ("get", "set", "delete", "list", "query", "batch_write", "put")
DEFAULT_TABLE = "flowrunner_store"


class DynamoDb(NodeKind):
    """Signs with the node's own access key, never with the server's role."""

    name: ClassVar[str] = "dynamodb"
    effectful: ClassVar[bool] = True
    description: ClassVar[str] = "Keep values or items in a DynamoDB table."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "required": ["operation"],
        "properties": {
            "operation": {"enum": list(OPERATIONS)},
            "access_key_id": {"type": "string"},
            "secret_access_key": {"type": "string"},
            "session_token": {"type": "string", "description": "Of temporary access keys."},
            "region": {"type": "string"},
            "endpoint": {"type": "string", "description": "Another server that speaks DynamoDB."},
            "timeout": DURATION,
            "table_name": {"type": "string", "default": DEFAULT_TABLE, "description": "Where keys and values are."},
            "table": {"type": "string", "description": "A table of any shape: for put, batch_write, get and delete."},
            "item": {"type": "object", "description": "For put."},
            "items": {"type": "array", "items": {"type": "object"}, "description": "For batch_write."},
            "key": {"description": "Text; with table the primary key as an object."},
            "value": {},
            "ttl": DURATION,
            "filter": FILTER,
            "sort": SORT,
            "limit": LIMIT,
        },
    }

    def run(self, call: Call) -> Outcome:
        params, operation = call.params, call.require("operation")
        dynamo = Dynamo(call, Account.of(call))
        table = params.get("table") or params.get("table_name") or DEFAULT_TABLE
        if not isinstance(table, str):
            raise NodeFailed("table_name must be text", retryable=False)
        records = DynamoRecords(dynamo, table)
        match operation:
            case "list":
                return Done(records.keys())
            case "query":
                return Done(select(records.items(), params))
            case "put":
                item = call.require("item")
                if not isinstance(item, dict):
                    raise NodeFailed("item must be an object", retryable=False)
                put(dynamo, table, item)
                return Done(item)
            case "batch_write":
                items = _items(call.require("items"))
                # Only the table of keys and values is made when it is missing; nobody knows the shape of another.
                raw = params.get("table") is not None
                return Done({"written": dynamo.write(table, items) if raw else records.write(pairs(items))})
            case "get" | "set" | "delete":
                key = call.require("key")
                if isinstance(key, dict) and operation != "set":
                    return Done(_raw(dynamo, operation, table, key))
                return Done(_with_key(call, records, operation, key_of(key)))
        message = f"operation must be one of {', '.join(OPERATIONS)}, not {text_of(operation)}"
        raise NodeFailed(message, retryable=False)


def _with_key(call: Call, records: DynamoRecords, operation: str, key: str) -> Any:
    match operation:
        case "get":
            try:
                return records.get(key)
            except KeyError:
                raise not_found(key) from None
        case "delete":
            return {"deleted": records.delete(key), "key": key}
    if "value" not in call.params:
        raise NodeFailed("value parameter is required", retryable=False)
    records.set(key, call.params["value"], time_to_live(call.params.get("ttl")))
    return call.params["value"]


def _raw(dynamo: Dynamo, operation: str, table: str, key: dict[str, Any]) -> Any:
    question: dict[str, Any] = {"TableName": table, "Key": to_attributes(key)}
    if operation == "delete":
        old = dynamo.ask("DeleteItem", ReturnValues="ALL_OLD", **question).get("Attributes")
        return {"deleted": bool(old), "key": key}
    item = dynamo.ask("GetItem", ConsistentRead=True, **question).get("Item")
    if not item:
        raise not_found(json.dumps(key))
    return from_attributes(item)


def _items(items: Any) -> list[dict[str, Any]]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items) or len(items) > MOST_ITEMS:
        raise NodeFailed(f"items must be a list of at most {MOST_ITEMS} objects", retryable=False)
    return items
