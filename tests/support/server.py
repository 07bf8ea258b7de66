"""A real server process on a free port, as ``scripts/serve`` starts it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from shared.kit.json import loads as parse

ROOT = Path(__file__).resolve().parents[2]
READY = "Signalbox is ready at "
PATIENCE_S = 30.0
PASSWORD = "correct horse 42"


class NotServing(Exception):
    """The process ended before it was ready; the message is what it printed."""


class Server:
    """One process of ``python -m functions.local``; its output is kept."""

    def __init__(self, data: Path, *flags: str, environment: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "functions.local", "--port", "0", "--data", str(data), *flags]
        variables = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self.url = ""
        self._printed = threading.Condition()
        self._over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._printed:
                self.lines.append(line.rstrip("\n"))
                self._printed.notify_all()
        with self._printed:
            self._over = True
            self._printed.notify_all()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return "\n".join(self.lines)

    def wait_for(self, text: str) -> str:
        """The first printed line that contains ``text``. Raises NotServing when the process ends without it."""
        with self._printed:
            assert self._printed.wait_for(lambda: self._over or self._line(text) is not None, PATIENCE_S), self.output
        line = self._line(text)
        if line is None:
            raise NotServing(self.output)
        return line

    def _line(self, text: str) -> str | None:
        return next((line for line in self.lines if text in line), None)

    def ready(self) -> Server:
        """Wait until it serves."""
        self.url = self.wait_for(READY).partition(READY)[2].strip()
        return self

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal and wait for the end; the exit code."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        code = self._process.wait(PATIENCE_S)
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def kill(self) -> None:
        """``kill -9``."""
        self.stop(signal.SIGKILL)

    # People

    def sign_up(self, username: str, password: str = PASSWORD) -> None:
        """Make an account."""
        body = {"username": username, "password": password}
        assert requests.post(f"{self.url}/api/v1/accounts", json=body, timeout=30).status_code == 201

    def sign_in(self, username: str, password: str = PASSWORD, *, legacy: bool = False) -> Client:
        """A client with a session."""
        path = "/api/v1/login" if legacy else "/api/v1/auth/login"
        body = {"username": username, "password": password}
        answer = requests.post(f"{self.url}{path}", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        return Client(self.url, answer.json()["token"])

    def join(self, username: str) -> Client:
        """Sign up and in."""
        self.sign_up(username)
        return self.sign_in(username)


class Client:
    """Requests of one session."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token

    @property
    def headers(self) -> dict[str, str]:
        """The session's header."""
        return {"Authorization": f"Bearer {self.token}"}

    def websocket_url(self, path: str) -> str:
        """The WebSocket address of a path."""
        return self.url.replace("http", "ws", 1) + path

    def call(self, method: str, path: str, json: Any = None, **headers: str) -> requests.Response:
        """Send a request."""
        return requests.request(method, f"{self.url}{path}", json=json, headers=self.headers | headers, timeout=60)

    def create(self, definition: str, name: str = "Flow", **more: Any) -> str:
        """Register a flow; its id."""
        answer = self.call("POST", "/api/v1/flows", {"name": name, "definition": definition, **more})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def run(self, flow_id: str, input: dict[str, Any] | None = None) -> str:
        """Run a flow; the execution's id."""
        answer = self.call("POST", f"/api/v1/flows/{flow_id}/run", {"input": input or {}})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["execution_id"])

    def execution(self, execution_id: str) -> dict[str, Any]:
        """The execution as it is now."""
        answer = self.call("GET", f"/api/v1/executions/{execution_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def watch(self, execution_id: str) -> list[dict[str, Any]]:
        """Every message of the execution's channel until the server closes it: the way to wait for the end."""
        url = self.websocket_url(f"/ws/executions/{execution_id}")
        with connect(url, additional_headers=self.headers, open_timeout=PATIENCE_S) as socket:
            return received(socket)

    def finished(self, execution_id: str) -> dict[str, Any]:
        """Wait for the end and show the execution."""
        self.watch(execution_id)
        return self.execution(execution_id)


def received(socket: ClientConnection) -> list[dict[str, Any]]:
    """Every message until the server closes the connection; no message may be longer in coming than our patience."""
    messages: list[dict[str, Any]] = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            messages.append(parse(socket.recv(timeout=PATIENCE_S)))
    return messages


@contextmanager
def serving(data: Path, *flags: str, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """A server that is stopped, or killed if it does not stop, at the end of the block."""
    server = Server(data, *flags, environment=environment)
    try:
        yield server.ready()
    finally:
        try:
            server.stop()
        except subprocess.TimeoutExpired:
            server.kill()
