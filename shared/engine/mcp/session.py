"""JSON-RPC 2.0 with an MCP server: the handshake, requests, and what the server may ask meanwhile.

    initialize ──accepted──▶ a session, until the transport is left
        └──────unknown────▶ requests that carry everything themselves (version 2026-07-28)

Source: Model Context Protocol Specification, Lifecycle; Versioning and Compatibility; Pagination.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from shared.engine.kinds.base import NodeFailed
from shared.engine.mcp import stateless
from shared.kit import clock, json

PROTOCOL_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""What can be agreed on in a handshake, the preferred one first."""

CLIENT = {"name": "signalbox", "version": "1"}
MOST_PAGES = 100
LARGEST_LIST = 5 * 1024 * 1024
"""Bytes of JSON text that the entries of all pages may have together: as many as one answer."""

METHOD_NOT_FOUND = -32601
_PERMANENT = frozenset({-32700, -32600, -32602, -32002, *stateless.UNDERSTOOD_ERRORS})
"""Malformed, bad parameters, unknown resource or method: another attempt would get the same answer."""

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


class ServerError(NodeFailed):
    """The server answered with a JSON-RPC error; ``code`` is its number, if it has one."""

    def __init__(self, message: str, *, code: int | None, retryable: bool) -> None:
        super().__init__(message, retryable=retryable)
        self.code = code


class Transport(Protocol):
    """Carries messages to one server."""

    stateless: bool
    """Whether it can do without a handshake."""

    def exchange(self, request: Message, headers: Mapping[str, str] | None = None) -> Message:
        """Send a request, with ``headers`` where the transport has them, and answer its response."""

    def notify(self, notification: Message) -> None:
        """Send a message that has no response."""

    def agreed(self, version: str) -> None:
        """The handshake settled on this version of the protocol."""


class Session:
    """All that one operation asks of a server."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stateless = False
        self._last_id = 0

    def initialize(self) -> None:
        """Agree on a version of the protocol. Raises NodeFailed when there is no common one."""
        offer = {"protocolVersion": PROTOCOL_VERSIONS[0], "capabilities": {}, "clientInfo": CLIENT}
        try:
            version = self.call("initialize", offer).get("protocolVersion")
        except ServerError as error:
            if not self._transport.stateless or error.code not in stateless.UNDERSTOOD_ERRORS:
                raise
            self._stateless = True
            return
        if version not in PROTOCOL_VERSIONS:
            spoken = ", ".join(PROTOCOL_VERSIONS)
            raise NodeFailed(f"MCP server speaks version {version} of the protocol, not {spoken}", retryable=False)
        self._transport.agreed(version)
        self._transport.notify({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of one request. Raises NodeFailed with the server's message when it is an error."""
        try:
            return self._call(method, params, {})
        except ServerError as error:
            if not self._stateless or error.code != stateless.HEADER_MISMATCH or method != "tools/call":
                raise
        # The tool wants some of its arguments repeated in the head; its schema says which.
        tools = self.list("tools/list", "tools")["tools"]
        schema = next((tool.get("inputSchema") for tool in tools if tool.get("name") == params["name"]), None)
        return self._call(method, params, stateless.parameter_headers(schema, params["arguments"]))

    def _call(self, method: str, params: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        self._last_id += 1
        request: Message = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        if self._stateless:
            request["params"] = stateless.with_metadata(params, CLIENT)
            headers = headers | stateless.standard_headers(request)
        response = self._transport.exchange(request, headers)
        if "error" in response:
            raise failure(response["error"])
        result = response.get("result")
        if not isinstance(result, dict):
            raise NodeFailed("MCP server sent a response without a result")
        if result.get("resultType", "complete") != "complete":
            raise NodeFailed("MCP server asks for input that a flow cannot give", retryable=False)
        return result

    def list(self, method: str, name: str) -> dict[str, Any]:
        """The result of a list request with the entries of all its pages under ``name``."""
        entries: list[Any] = []
        cursor: dict[str, Any] = {}
        size = 0
        for _ in range(MOST_PAGES):
            result = self.call(method, cursor)
            page = result.get(name)
            found = [entry for entry in page if isinstance(entry, dict)] if isinstance(page, list) else []
            entries += found
            size += json.size(found)
            if size > LARGEST_LIST:
                raise NodeFailed(f"MCP server lists more than 5 MB of {name}", retryable=False)
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


def failure(error: Any) -> ServerError:
    """The exception for a JSON-RPC error."""
    error = error if isinstance(error, dict) else {}
    code, message = error_code(error), str(error.get("message") or "no reason given")[:500]
    return ServerError(f"MCP error: {message} ({code})", code=code, retryable=code not in _PERMANENT)


def error_code(error: Mapping[str, Any]) -> int | None:
    """The number of a JSON-RPC error; None for what is no number."""
    code = error.get("code")
    return code if isinstance(code, int) else None
