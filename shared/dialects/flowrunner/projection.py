"""What FlowRunner shows of a journal: execution rows, log rows, WebSocket messages. Pure functions of facts.

Sources: FlowRunner API Reference, sections Flow Execution and WebSocket API; ``docs/rulings.md#log-rows`` for what the
page leaves open. Times go out as RFC 3339 in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from shared.engine.views import LIVE, ExecutionView
from shared.kit import clock, json

Fact = dict[str, Any]
Row = dict[str, Any]

LEVELS = ("debug", "info", "warn", "error")
"""Levels of a log row, least first."""

FRAME_BYTES = 32 * 1024
"""Largest WebSocket message; API Gateway bills and cuts frames at this size (API Gateway quotas, WebSocket)."""

_STATUS_WORDS = {"completed": "completed", "failed": "failed", "expired": "failed", "canceled": "canceled"}
_SPELLINGS = {"cancelled": "canceled"}


def status_word(status: str) -> str:
    """FlowRunner's word for one of the engine's states: running, completed, failed or canceled."""
    return _STATUS_WORDS.get(status, "running")


def statuses_of(word: str) -> frozenset[str] | None:
    """The engine's states behind a FlowRunner status; None when there is no such status."""
    word = _SPELLINGS.get(word, word)
    found = frozenset(state for state in (*LIVE, *_STATUS_WORDS) if status_word(state) == word)
    return found or None


def as_object(value: Any) -> dict[str, Any]:
    """A result as an object: anything else is wrapped as ``{"result": value}``."""
    return value if isinstance(value, dict) else {"result": value}


def execution_row(view: ExecutionView, *, full: bool) -> Row:
    """An execution as FlowRunner shows it; ``full`` adds what only GET of one execution has: input and result.

    The second half are the fields the reference server answers beside those of its page.
    """
    status = status_word(view.status)
    started = clock.rfc3339(view.started_ms)
    row: Row = {"id": view.id, "flow_id": view.definition_id, "status": status, "kind": view.kind}
    row |= {"started_at": started, "start_time": started, "progress": 0 if status == "running" else 100}
    if view.ended_ms is not None and status != "running":
        ended = clock.rfc3339(view.ended_ms)
        row |= {"completed_at": ended, "end_time": ended, "duration": max(view.ended_ms - view.started_ms, 0)}
    if status in ("failed", "canceled"):
        row["error"] = view.error or status
    if full:
        row["input"] = view.input if view.input is not None else {}
        if view.current_node is not None:
            row["current_node"] = view.current_node
        if status == "completed":
            result = as_object(view.result)
            row |= {"result": result, "results": {**result, "action": "default"}}
    return row


# Log rows


def log_rows(fact: Fact, before: Fact | None = None) -> list[Row]:
    """The log rows of one fact, given the fact before it in the journal."""
    project = _ROWS.get(fact["type"])
    row = project(fact, before) if project is not None else None
    return [row] if row is not None else []


def _row(fact: Fact, level: str, message: str, data: Any = None) -> Row:
    row: Row = {"timestamp": clock.rfc3339(fact["at"]), "level": level, "message": message}
    if fact.get("node") is not None:
        row["node_id"] = fact["node"]
    if fact.get("kind") is not None:
        row["node_type"] = fact["kind"]
    if data is not None:
        row["data"] = as_object(data)
    return row


def _started_row(fact: Fact, before: Fact | None) -> Row:
    return _row(fact, "info", "Execution started")


def _log_row(fact: Fact, before: Fact | None) -> Row:
    return _row(fact, fact["level"], fact["message"], fact.get("data"))


def _finished_row(fact: Fact, before: Fact | None) -> Row | None:
    # One row per node: the elements of a batch are parts of their node.
    return None if "item" in fact else _row(fact, "debug", "Node completed")


def _failed_row(fact: Fact, before: Fact | None) -> Row | None:
    item = {"item": fact["item"]} if "item" in fact else {}
    if fact.get("retry_at") is not None:
        retry = {"attempt": fact["attempt"], "retry_at": clock.rfc3339(fact["retry_at"])}
        return _row(fact, "warn", fact["message"], retry | item)
    # A failed element fails its node, whose own failure follows.
    return None if item else _row(fact, "error", fact["message"])


def _wait_opened_row(fact: Fact, before: Fact | None) -> Row:
    until = {"until": clock.rfc3339(fact["until"])} if fact.get("until") is not None else {}
    key = {"key": fact["key"]} if fact.get("key") is not None else {}
    return _row(fact, "debug", "Node waits", key | until)


def _wait_ended_row(fact: Fact, before: Fact | None) -> Row:
    return _row(fact, "debug", "Wait ended", {"timed_out": bool(fact["timed_out"])})


def _command_row(fact: Fact, before: Fact | None) -> Row:
    return _row(fact, "debug", "Execution paused" if fact["command"] == "pause" else "Execution resumed")


def _ended_row(fact: Fact, before: Fact | None) -> Row | None:
    match fact["status"]:
        case "completed":
            return _row(fact, "info", "Execution completed")
        case "canceled":
            return _row(fact, "warn", "Execution cancelled")
    # The failure of the node that ended the execution has said it already.
    if before is not None and before["type"] == "node_failed" and before["message"] == fact.get("error"):
        return None
    return _row(fact, "error", _error_text(fact))


_ROWS: dict[str, Callable[[Fact, Fact | None], Row | None]] = {
    "started": _started_row,
    "log": _log_row,
    "node_finished": _finished_row,
    "node_failed": _failed_row,
    "wait_opened": _wait_opened_row,
    "wait_ended": _wait_ended_row,
    "command": _command_row,
    "ended": _ended_row,
}


# Messages of /ws/executions/{id}


def messages(execution_id: str, fact: Fact, before: Fact | None = None) -> list[Row]:
    """The messages of the page's channel for one fact, in order. Debug rows stay in the REST log."""
    sent = [_log_message(execution_id, row) for row in log_rows(fact, before) if row["level"] != "debug"]
    sent += _event_messages(execution_id, fact)
    return [cut(message) for message in sent]


def _log_message(execution_id: str, row: Row) -> Row:
    return {"type": "log", "execution_id": execution_id, **row}


def _event_messages(execution_id: str, fact: Fact) -> Iterator[Row]:
    head = {"execution_id": execution_id, "timestamp": clock.rfc3339(fact["at"])}
    whole_node = "item" not in fact
    if fact["type"] == "node_started" and whole_node and fact["attempt"] == 1:
        yield {"type": "execution_update", **head, "status": "running", **_node(fact)}
    elif fact["type"] == "node_finished" and whole_node:
        yield {"type": "node_completed", **head, **_node(fact), "result": as_object(fact["output"])}
    elif fact["type"] == "ended":
        yield _final_message(head, fact)


def _final_message(head: Row, fact: Fact) -> Row:
    match fact["status"]:
        case "completed":
            result = as_object(fact.get("result"))
            return {"type": "execution_completed", **head, "status": "completed", "result": result}
        case "canceled":
            return {"type": "execution_cancelled", **head, "status": "canceled"}
    return {"type": "execution_failed", **head, "status": "failed", "error": _error_text(fact), **_node(fact)}


def _node(fact: Fact) -> Row:
    named = {"node_id": fact.get("node"), "node_type": fact.get("kind")}
    return {name: value for name, value in named.items() if value is not None}


def _error_text(fact: Fact) -> str:
    return str(fact.get("error") or "the execution failed")


def is_final(fact: Fact) -> bool:
    """Whether nothing follows this fact."""
    return bool(fact["type"] == "ended")


# Messages of /api/v1/ws


def status_message(execution_id: str, view: ExecutionView) -> Row:
    """The answer to a subscription: the execution as it is now."""
    now = clock.rfc3339(clock.now_ms())
    return cut(
        {"type": "status", "execution_id": execution_id, "timestamp": now, "status": execution_row(view, full=True)}
    )


def update_messages(execution_id: str, fact: Fact, before: Fact | None, view: Callable[[], ExecutionView]) -> list[Row]:
    """The messages of the subscription channel for one fact; ``view`` loads the execution when it has ended."""
    sent: list[Row] = []
    for row in log_rows(fact, before):
        head = {"type": "log", "execution_id": execution_id, "timestamp": row["timestamp"]}
        sent.append({**head, "message": row["message"], "log": row})
    if is_final(fact):
        status = status_message(execution_id, view())
        word = status_word(fact["status"])
        complete = {**status, "type": "complete", "message": f"Execution completed with status: {word}"}
        sent += [status, complete]
    return [cut(message) for message in sent]


# Size

_CUT_FIRST = (("result",), ("data",), ("log", "data"), ("status", "results"), ("status", "result"), ("status", "input"))


def cut(message: Row, limit: int = FRAME_BYTES) -> Row:
    """``message``, its values replaced by ``{"truncated": true, "size": bytes}`` until it fits ``limit`` bytes."""
    if json.size(message) <= limit:
        return message
    shortened = dict(message)
    for path in _CUT_FIRST:
        _truncate(shortened, path)
        if json.size(shortened) <= limit:
            return shortened
    return {name: _shorten_texts(value, limit // 16) for name, value in shortened.items()}


def _truncate(message: Row, path: tuple[str, ...]) -> None:
    """Replace the object at ``path``; a parent is copied first, because the message may share it."""
    for name in path[:-1]:
        inner = message.get(name)
        if not isinstance(inner, dict):
            return
        message[name] = message = dict(inner)
    value = message.get(path[-1])
    if isinstance(value, dict):
        message[path[-1]] = {"truncated": True, "size": json.size(value)}


def _shorten_texts(value: Any, limit: int) -> Any:
    if isinstance(value, dict):
        return {name: _shorten_texts(inner, limit) for name, inner in value.items()}
    if not isinstance(value, str):
        return value
    encoded = value.encode("utf-8", "replace")
    return value if len(encoded) <= limit else encoded[: limit - 3].decode("utf-8", "ignore") + "…"
