"""``store``: values that outlive an execution, per account. Source: FlowRunner language, store node."""

from __future__ import annotations

from typing import Any, ClassVar

from shared.engine.kinds.base import Call, Done, KeyValues, NodeFailed, NodeKind, Outcome
from shared.engine.kinds.records import FILTER, LIMIT, SORT, key_of, not_found, select, time_to_live
from shared.engine.kinds.scripting import DURATION, text_of
from shared.engine.kinds.secrecy import without_secrets
from shared.kit.errors import SignalboxError

OPERATIONS = ("set", "get", "delete", "list", "query", "increment", "append", "clear", "save", "load")


class Store(NodeKind):
    """``operation`` says what to do; increment and append count once for each visit of the node."""

    name: ClassVar[str] = "store"
    effectful: ClassVar[bool] = True
    description: ClassVar[str] = "Keep values of the account beyond this execution."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "required": ["operation"],
        "properties": {
            "operation": {"enum": list(OPERATIONS)},
            "key": {"type": "string"},
            "value": {"description": "Any value, up to 350 KB as JSON."},
            "ttl": DURATION | {"description": "How long set keeps the value; without it for good."},
            "amount": {"type": "number", "default": 1},
            "filter": FILTER,
            "sort": SORT,
            "limit": LIMIT,
            "file_path": {"description": "Accepted, without effect."},
            "auto_save": {"description": "Accepted, without effect."},
        },
    }

    def run(self, call: Call) -> Outcome:
        operation = call.require("operation")
        values, account_id = call.services.keyvalues, call.execution.account_id
        try:
            match operation:
                case "list":
                    return Done(list(values.keys(account_id)))
                case "query":
                    return Done(select(values.items(account_id), call.params))
                case "clear":
                    return Done({"cleared": True, "count": values.clear(account_id)})
                case "save":
                    return Done({"saved": True})
                case "load":
                    return Done({"loaded": True})
                case "set" | "get" | "delete" | "increment" | "append":
                    return Done(_with_key(call, operation, values, account_id, key_of(call.require("key"))))
        except (SignalboxError, TypeError) as error:
            retryable = isinstance(error, SignalboxError) and error.status >= 500
            raise NodeFailed(str(error), retryable=retryable) from None
        raise NodeFailed(f"operation must be one of {', '.join(OPERATIONS)}, not {text_of(operation)}", retryable=False)


def _with_key(call: Call, operation: str, values: KeyValues, account_id: str, key: str) -> Any:
    match operation:
        case "get":
            try:
                return values.get(account_id, key)
            except KeyError:
                raise not_found(key) from None
        case "delete":
            return {"deleted": values.delete(account_id, key), "key": key}
        case "increment":
            amount = call.params.get("amount", 1)
            if isinstance(amount, bool) or not isinstance(amount, int | float):
                raise NodeFailed("amount must be a number", retryable=False)
            total = values.increment(account_id, key, amount, call.idempotency_key)
            return {"key": key, "new_value": total, "incremented": amount}
    if "value" not in call.params:
        raise NodeFailed("value parameter is required", retryable=False)
    value = call.params["value"]
    if without_secrets(call, value) != value:
        message = "a stored value must not contain a secret, because later executions show it; read it from secrets"
        raise NodeFailed(message, retryable=False)
    if operation == "append":
        values.append(account_id, key, value, call.idempotency_key)
        return {"key": key, "appended": value}
    values.set(account_id, key, value, time_to_live(call.params.get("ttl")))
    return value
