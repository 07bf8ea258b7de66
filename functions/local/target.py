"""A small HTTP service on this machine for the demo's flows to call."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from shared.kit import json

LARGEST_BODY = 1024 * 1024

ORDERS = [
    {"id": 1, "customer": "Ada", "total": 120, "paid": True},
    {"id": 2, "customer": "Grace", "total": 80, "paid": False},
    {"id": 3, "customer": "Edsger", "total": 310, "paid": True},
]


class Target:
    """``/orders`` and other paths answer data, ``/status/<n>`` that status, a POST echoes.

    ``/flaky`` fails every other time. ``calls`` counts requests by method and path.
    """

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self._lock = threading.Lock()
        target = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def do_GET(self) -> None:
                self._serve(None)

            def do_POST(self) -> None:
                size = min(int(self.headers.get("Content-Length") or 0), LARGEST_BODY)
                self._serve(self.rfile.read(size))

            def _serve(self, body: bytes | None) -> None:
                status, answer = target.answer(self.command, self.path, body)
                data = json.dumpb(answer)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                """The demo prints the journal; a second log would hide it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="demo-target", daemon=True).start()

    @property
    def address(self) -> str:
        """Host and port, as an allow-host pattern."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{self.address}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, target: str, body: bytes | None) -> tuple[int, object]:
        """Status and JSON for a request."""
        asked = urlsplit(target)
        with self._lock:
            name = f"{method} {asked.path}"
            count = self.calls[name] = self.calls.get(name, 0) + 1
        if asked.path.startswith("/status/"):
            text = asked.path.removeprefix("/status/")
            status = int(text) if text.isdecimal() and 200 <= int(text) <= 599 else 404
            return status, {"status": status}
        if asked.path == "/flaky":
            return (503, {"error": "try again"}) if count % 2 else (200, {"ok": True, "attempt": count})
        if method == "POST":
            return 200, {"received": _parsed(body), "path": asked.path}
        if asked.path == "/orders":
            return 200, {"orders": ORDERS}
        query = {key: values[-1] for key, values in parse_qs(asked.query).items()}
        return 200, {"key": "value", "path": asked.path, "query": query}


def _parsed(body: bytes | None) -> object:
    try:
        return json.loads(body or b"null")
    except ValueError:
        return (body or b"").decode("utf-8", "replace")
