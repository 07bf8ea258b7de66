"""What both HTTP transports share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from shared.engine.kinds.base import NodeFailed
from shared.engine.mcp.session import ServerError, error_code
from shared.kit import json

_RETRYABLE = frozenset({408, 425, 429})
_HINTS = {
    401: "; set headers.Authorization",
    403: "; check headers.Authorization",
    404: "; check url, or whether the server ended the session",
    405: "; check url and connectionType",
}


class Answer(Protocol):
    """The head of a response."""

    @property
    def status(self) -> int: ...

    def header(self, name: str) -> str | None: ...


def check(answer: Answer, body: bytes = b"") -> None:
    """Raises NodeFailed unless the status is 2xx; a JSON-RPC error in the body is its reason."""
    status = answer.status
    if 200 <= status < 300:
        return
    code, reason = _error(body)
    hint = f": {reason}" if reason else _HINTS.get(status, "")
    # A lost session answers 404; the next attempt makes a new one.
    retryable = status >= 500 or status in _RETRYABLE or (status == 404 and code is None)
    raise ServerError(f"MCP server answered HTTP {status}{hint}", code=code, retryable=retryable)


def is_events(answer: Answer) -> bool:
    """Whether the response is a stream of events."""
    return (answer.header("Content-Type") or "").partition(";")[0].strip().lower() == "text/event-stream"


def parse(data: str | bytes) -> Any:
    """JSON-RPC messages. Raises NodeFailed for text that is no JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise NodeFailed("MCP server sent something that is no JSON") from None


class Headers:
    """The heads of a session's requests. The author's headers win over ours, and what the protocol needs over both."""

    def __init__(self, given: Mapping[str, str], *, key: str, attempt: int) -> None:
        self._given = given
        self._key = key
        self._attempt = attempt

    def of(self, needed: Mapping[str, str], message: Mapping[str, Any] | None = None) -> dict[str, str]:
        """The head of a request that carries ``message``; every JSON-RPC request has an idempotency key of its own."""
        ours = {"X-Signalbox-Attempt": str(self._attempt)}
        if message is not None and "id" in message and "method" in message:
            ours["Idempotency-Key"] = f"{self._key}:{message['id']}"
        return _over(needed, _over(self._given, ours))


def _over(winner: Mapping[str, str], loser: Mapping[str, str]) -> dict[str, str]:
    taken = {name.lower() for name in winner}
    return {**{name: value for name, value in loser.items() if name.lower() not in taken}, **winner}


def _error(body: bytes) -> tuple[int | None, str]:
    """Code and message of a JSON-RPC error."""
    try:
        error = json.loads(body)["error"]
        return error_code(error), str(error["message"])[:500]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, ""
