"""JSON-RPC 2.0 with an MCP server: the handshake, requests, and what the server may ask meanwhile.

Source: Model Context Protocol Specification, Lifecycle; Pagination.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from shared.engine.kinds.base import NodeFailed
from shared.kit import clock

PROTOCOL_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""What is spoken, the preferred one first."""

CLIENT = {"name": "signalbox", "version": "1"}
MOST_PAGES = 100

METHOD_NOT_FOUND = -32601
_PERMANENT = frozenset({-32700, -32600, METHOD_NOT_FOUND, -32602, -32002})
"""Malformed, unknown method, bad parameters, unknown resource: another attempt would get the same answer."""

Message = dict[str, Any]


class Deadline:
    """One time limit over everything a session does."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._end = clock.monotonic() + limit_s

    def remaining_s(self) -> float:
        """Seconds left. Raises NodeFailed when there are none."""
        left = self._end - clock.monotonic()
        if left <= 0:
            raise NodeFailed(f"MCP server did not answer within {round(self._limit_s * 1000)} ms")
        return left


class Transport(Protocol):
    """Carries messages to one server."""

    def exchange(self, request: Message) -> Message:
        """Send a request and answer its response."""

    def notify(self, notification: Message) -> None:
        """Send a message that has no response."""

    def agreed(self, version: str) -> None:
        """The handshake settled on this version of the protocol."""


class Session:
    """A session with one server, from the handshake on."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._last_id = 0

    def initialize(self) -> None:
        """Agree on a version of the protocol. Raises NodeFailed when there is no common one."""
        offer = {"protocolVersion": PROTOCOL_VERSIONS[0], "capabilities": {}, "clientInfo": CLIENT}
        version = self.call("initialize", offer).get("protocolVersion")
        if version not in PROTOCOL_VERSIONS:
            spoken = ", ".join(PROTOCOL_VERSIONS)
            raise NodeFailed(f"MCP server speaks version {version} of the protocol, not {spoken}", retryable=False)
        self._transport.agreed(version)
        self._transport.notify({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of one request. Raises NodeFailed with the server's message when it is an error."""
        self._last_id += 1
        response = self._transport.exchange({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        if "error" in response:
            raise _failure(response["error"])
        result = response.get("result")
        if not isinstance(result, dict):
            raise NodeFailed("MCP server sent a response without a result")
        return result

    def list(self, method: str, name: str) -> dict[str, Any]:
        """The result of a list request with the entries of all its pages under ``name``."""
        entries: list[Any] = []
        cursor: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            result = self.call(method, cursor)
            page = result.get(name)
            entries += page if isinstance(page, list) else []
            if not result.get("nextCursor"):
                return {name: entries}
            cursor = {"cursor": result["nextCursor"]}
        raise NodeFailed(f"MCP server lists more than {MOST_PAGES} pages of {name}", retryable=False)


def response_in(received: Any, request_id: Any, reply: Callable[[Message], None]) -> Message | None:
    """The response to ``request_id`` among what was received; requests of the server are answered by ``reply``.

    Of these only ``ping`` means something here: the handshake offers no other capability.
    """
    found = None
    for message in _messages(received):
        if "method" in message:
            if "id" in message:
                reply(_reply_to(message))
        elif message.get("id") == request_id:
            found = message
    return found


def _messages(received: Any) -> Iterator[Message]:
    # Version 2025-03-26 allowed batches.
    for message in received if isinstance(received, list) else [received]:
        if isinstance(message, dict):
            yield message


def _reply_to(request: Message) -> Message:
    head = {"jsonrpc": "2.0", "id": request["id"]}
    if request["method"] == "ping":
        return head | {"result": {}}
    return head | {"error": {"code": METHOD_NOT_FOUND, "message": "this client does not offer that"}}


def _failure(error: Any) -> NodeFailed:
    error = error if isinstance(error, dict) else {}
    code, message = error.get("code"), str(error.get("message") or "no reason given")[:500]
    return NodeFailed(f"MCP error: {message} ({code})", retryable=code not in _PERMANENT)
