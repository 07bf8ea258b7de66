"""Stand-ins for MCP servers, of Streamable HTTP and of HTTP with SSE; they refuse what the specification forbids."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any

from shared.kit import json
from tests.support.standin import Received, Reply

SESSION = "session-1"
KEEP_ALIVE_S = 0.02

Answer = dict[str, Any]
"""``{"result": …}`` or ``{"error": …}``."""


class _Server:
    """``answers`` by method: the rest of a response, or a function that makes it from the request's params."""

    def __init__(self, answers: dict[str, Answer | Callable[[Any], Answer]], *, version: str | None = None) -> None:
        self.answers = answers
        self.version = version
        self.methods: list[str] = []
        self.replies: list[Any] = []
        self.initialized = False

    def respond(self, message: Any) -> Any | None:
        """The response to a request, None for anything else."""
        if "method" not in message:
            self.replies.append(message)
            return None
        self.methods.append(message["method"])
        if "id" not in message:
            self.initialized = self.initialized or message["method"] == "notifications/initialized"
            return None
        head = {"jsonrpc": "2.0", "id": message["id"]}
        params = message["params"]
        if message["method"] == "initialize":
            assert set(params) == {"protocolVersion", "capabilities", "clientInfo"}
            info = {"capabilities": {}, "serverInfo": {"name": "stand-in", "version": "1"}}
            return head | {"result": {"protocolVersion": self.version or params["protocolVersion"]} | info}
        answer = self.answers.get(message["method"], {"error": {"code": -32601, "message": "Method not found"}})
        return head | (answer(params) if callable(answer) else answer)


class StreamableServer(_Server):
    """One endpoint, ``/mcp``. ``mode``: *json*, *events*, or *resumed* (the stream is cut and taken up by GET)."""

    def __init__(
        self, answers: dict[str, Answer | Callable[[Any], Answer]], *, mode: str = "json", version: str | None = None,
        extra: tuple[Any, ...] = (),
    ) -> None:  # fmt: skip
        super().__init__(answers, version=version)
        self.mode = mode
        self.extra = extra
        self.closed = False
        self._held: list[Any] = []

    def __call__(self, request: Received) -> Reply:
        problem = self._problem(request)
        if problem is not None:
            return Reply({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": problem}}, 400)
        if request.method == "DELETE":
            self.closed = True
            return Reply(status=204)
        if request.method == "GET":
            return self._events([("8", message) for message in self._held])
        response = self.respond(request.json)
        if response is None:
            return Reply(status=202)
        headers = {"Mcp-Session-Id": SESSION} if request.json["method"] == "initialize" else {}
        if self.mode == "json" or headers:
            return Reply(response, headers=headers)
        if self.mode == "events":
            return self._events([(None, message) for message in (*self.extra, response)])
        self._held = [response]
        return self._events([("7", None)], b"retry: 5\n")

    def _events(self, messages: list[tuple[str | None, Any]], prelude: bytes = b"") -> Reply:
        def pieces() -> Iterator[bytes]:
            yield b": welcome\n\n" + prelude
            for event_id, message in messages:
                head = f"id: {event_id}\n" if event_id else ""
                yield f"{head}data: {'' if message is None else json.dumps(message)}\n\n".encode()

        return Reply(headers={"Content-Type": "text/event-stream"}, pieces=pieces())

    def _problem(self, request: Received) -> str | None:
        headers = request.headers
        first = request.method == "POST" and request.json.get("method") == "initialize"
        accept = {"POST": "application/json, text/event-stream", "GET": "text/event-stream"}.get(request.method)
        if request.path != "/mcp":
            return "wrong path"
        if accept is not None and headers.get("accept") != accept:
            return "Not Acceptable"
        if request.method == "GET" and headers.get("last-event-id") != "7":
            return "unknown event"
        if first:
            return "a new session has no id" if "mcp-session-id" in headers else None
        if headers.get("mcp-session-id") != SESSION:
            return "missing session id"
        if headers.get("mcp-protocol-version") != (self.version or "2025-11-25"):
            return "wrong MCP-Protocol-Version"
        if request.method == "POST" and "id" in request.json and not self.initialized:
            return "not initialized"
        return None


class SseServer(_Server):
    """``GET /sse`` streams, ``POST /messages`` takes messages; ``endpoint`` is what the stream says of the latter."""

    def __init__(
        self, answers: dict[str, Answer | Callable[[Any], Answer]], *, endpoint: str | None = "/messages?s=1"
    ) -> None:
        super().__init__(answers, version="2024-11-05")
        self.endpoint = endpoint
        self._waiting: queue.Queue[Any] = queue.Queue()

    def __call__(self, request: Received) -> Reply:
        if (request.method, request.path) == ("GET", "/sse"):
            return Reply(headers={"Content-Type": "text/event-stream; charset=utf-8"}, pieces=self._stream())
        if (request.method, request.path, request.query) != ("POST", "/messages", "s=1"):
            return Reply({"error": "not found"}, 404)
        response = self.respond(request.json)
        if response is not None:
            self._waiting.put(response)
        return Reply(b"Accepted", 202)

    def _stream(self) -> Iterator[bytes]:
        if self.endpoint is None:
            return
        yield f"event: endpoint\r\ndata: {self.endpoint}\r\n\r\n".encode()
        while True:
            try:
                message = self._waiting.get(timeout=KEEP_ALIVE_S)
            except queue.Empty:
                yield b": still here\r\n\r\n"
            else:
                yield f"event: message\r\ndata: {json.dumps(message)}\r\n\r\n".encode()


class StatelessServer:
    """Protocol version 2026-07-28 and nothing else: no handshake, everything in each request's body and head."""

    def __init__(self, answers: dict[str, Answer | Callable[[Any], Answer]], *, marked: str | None = None) -> None:
        self.answers = answers
        self.marked = marked
        self.methods: list[str] = []

    def __call__(self, request: Received) -> Reply:
        message = request.json
        head = {"jsonrpc": "2.0", "id": message["id"]}
        self.methods.append(message["method"])
        problem = self._problem(request.headers, message)
        if problem is not None:
            return Reply(head | {"error": {"code": -32020, "message": f"Header mismatch: {problem}"}}, 400)
        if message["method"] not in self.answers:
            return Reply(head | {"error": {"code": -32601, "message": "Method not found"}}, 404)
        answer = self.answers[message["method"]]
        return Reply(head | (answer(message["params"]) if callable(answer) else answer))

    def _problem(self, headers: dict[str, str], message: Any) -> str | None:
        meta = message["params"].get("_meta", {})
        version = meta.get("io.modelcontextprotocol/protocolVersion")
        named = message["params"].get("name", message["params"].get("uri"))
        if version != "2026-07-28" or headers.get("mcp-protocol-version") != version:
            return "MCP-Protocol-Version"
        if "io.modelcontextprotocol/clientInfo" not in meta or "io.modelcontextprotocol/clientCapabilities" not in meta:
            return "_meta"
        if headers.get("mcp-method") != message["method"] or "mcp-session-id" in headers:
            return "Mcp-Method"
        if headers.get("mcp-name") != named:
            return "Mcp-Name"
        if self.marked and message["method"] == "tools/call" and self.marked not in headers:
            return self.marked
        return None
