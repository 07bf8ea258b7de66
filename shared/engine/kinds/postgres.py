"""``postgres``: SQL, or keys and values, in the author's own PostgreSQL database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from shared.engine.kinds.base import Call, Done, NodeFailed, NodeKind, Outcome
from shared.engine.kinds.records import FILTER, LIMIT, SORT, key_of, not_found, select, time_to_live
from shared.engine.kinds.scripting import DURATION, text_of

if TYPE_CHECKING:
    from shared.engine.connectors.postgres import Session

OPERATIONS = ("execute", "query", "transaction", "batch_insert", "get", "set", "delete", "list")
DEFAULT_TABLE = "flowrunner_store"

_ARGS = {"type": "array", "description": "Values of $1, $2, … in the statement."}
_STATEMENT = {
    "type": ["object", "string"],
    "properties": {"query": {"type": "string"}, "args": _ARGS},
    "required": ["query"],
}


class Postgres(NodeKind):
    """Connects with the node's own parameters, never with anything of the server's."""

    name: ClassVar[str] = "postgres"
    effectful: ClassVar[bool] = True
    description: ClassVar[str] = "Run SQL or keep values in a PostgreSQL database."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "operation": {"enum": list(OPERATIONS), "description": "execute, if there is a query."},
            "host": {"type": "string", "default": "localhost"},
            "port": {"type": "integer", "default": 5432},
            "user": {"type": "string", "default": "postgres"},
            "password": {"type": "string"},
            "dbname": {"type": "string", "default": "postgres"},
            "sslmode": {"enum": ["disable", "prefer", "require", "verify-full"]},
            "timeout": DURATION,
            "query": {"type": "string", "description": "An SQL statement with $1, $2, … for the arguments."},
            "args": _ARGS,
            "statements": {"type": "array", "items": _STATEMENT, "description": "For transaction: all or none."},
            "table": {"type": "string", "description": "For batch_insert."},
            "items": {"type": "array", "items": {"type": "object"}, "description": "For batch_insert: rows."},
            "columns": {"type": "array", "items": {"type": "string"}},
            "on_conflict": {"type": ["string", "array"], "items": {"type": "string"}},
            "on_conflict_action": {"type": "string", "description": "nothing (default) or update."},
            "table_name": {"type": "string", "default": DEFAULT_TABLE, "description": "Where keys and values are."},
            "key": {"type": "string"},
            "value": {},
            "ttl": DURATION,
            "filter": FILTER,
            "sort": SORT,
            "limit": LIMIT,
        },
    }

    def run(self, call: Call) -> Outcome:
        # Loaded when a node runs: the driver is large, and most deployments never need it.
        from shared.engine.connectors.postgres import Place, session

        params = call.params
        operation = params.get("operation") or ("execute" if params.get("query") else call.require("operation"))
        if operation not in OPERATIONS:
            message = f"operation must be one of {', '.join(OPERATIONS)}, not {text_of(operation)}"
            raise NodeFailed(message, retryable=False)
        work = _prepared(call, operation)
        with session(call, Place.of(call)) as opened:
            return Done(work(opened))


def _prepared(call: Call, operation: str) -> Any:
    """What to do in a session; what is wrong with the parameters is said before there is one."""
    from shared.engine.connectors.postgres import statement
    from shared.engine.connectors.sqlrecords import insert

    params = call.params
    match operation:
        case "execute" | "query" if operation == "execute" or params.get("query"):
            query, args = statement({"query": call.require("query"), "args": params.get("args")}, "query")
            return lambda session: session.run(query, args)
        case "transaction":
            statements = call.require("statements")
            if not isinstance(statements, list):
                raise NodeFailed("statements must be a list of {query, args}", retryable=False)
            parsed = [statement(one, f"statement {number}") for number, one in enumerate(statements, start=1)]
            return lambda session: _transaction(session, parsed)
        case "batch_insert":
            call.require("items")
            return lambda session: {"rows_affected": insert(session, params)}
    return _with_records(call, operation)


def _transaction(session: Session, statements: list[tuple[str, list[str | None]]]) -> dict[str, Any]:
    with session.transaction():
        return {"results": [session.run(query, args) for query, args in statements]}


def _with_records(call: Call, operation: str) -> Any:
    from shared.engine.connectors.sqlrecords import Records

    params = call.params
    table = params.get("table_name") or DEFAULT_TABLE
    match operation:
        case "list":
            return lambda session: Records(session, table).keys()
        case "query":
            return lambda session: select(Records(session, table).items(), params)
    key, value = key_of(call.require("key")), params.get("value")
    match operation:
        case "delete":
            return lambda session: {"deleted": Records(session, table).delete(key), "key": key}
        case "set":
            if "value" not in params:
                raise NodeFailed("value parameter is required", retryable=False)
            ttl_s = time_to_live(params.get("ttl"))

            def set_value(session: Session) -> Any:
                Records(session, table).set(key, value, ttl_s)
                return value

            return set_value

    def get_value(session: Session) -> Any:
        try:
            return Records(session, table).get(key)
        except KeyError:
            raise not_found(key) from None

    return get_value
