"""A small HTTP server on loopback that stands in for somebody else's API and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from shared.kit import json


@dataclass(frozen=True, slots=True)
class Received:
    """One request; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer: a JSON value, bytes, or pieces of a body that are sent one by one."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Iterable[bytes] | None = None


Handler = Callable[[Received], Reply]


class StandIn:
    """``received`` holds every request in the order of arrival."""

    def __init__(self, handler: Handler) -> None:
        self.received: list[Received] = []
        self._handler = handler
        standin = self

        class Requests(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                """Nobody reads it."""

            def handle_one(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(self.command, parts.path, parts.query, headers, self.rfile.read(length))
                standin.received.append(received)
                try:
                    self.answer(standin._handler(received))
                except (BrokenPipeError, ConnectionResetError):
                    # The client has heard enough.
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one  # noqa: N815

            def answer(self, reply: Reply) -> None:
                body = reply.body if isinstance(reply.body, bytes) else json.dumpb(reply.body)
                kind = {} if isinstance(reply.body, bytes) else {"Content-Type": "application/json"}
                self.send_response(reply.status)
                for name, value in (kind | reply.headers).items():
                    self.send_header(name, value)
                if reply.pieces is None:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                for piece in [body] if reply.pieces is None else reply.pieces:
                    self.wfile.write(piece)
                    self.wfile.flush()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def serving(self) -> Iterator[StandIn]:
        """Serve inside the block; every thread has ended after it."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()
