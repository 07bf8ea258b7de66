"""Requests to one deployment, and the steps of a journey through it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import requests
from websockets.sync.client import ClientConnection, connect

END_S = 60.0
PAUSE_S = 0.2


class Failed(Exception):
    """A step of the journey went wrong."""


class Caller:
    """Sends requests to one deployment.

    ``host`` names it where the address alone does not. The path of a WebSocket is appended to ``websocket``, as a query
    value where that has a query.
    """

    def __init__(self, url: str, host: str, websocket: str) -> None:
        self.url, self.host, self.websocket = url.rstrip("/"), host, websocket
        self.session = requests.Session()
        if host:
            self.session.headers["Host"] = host

    def anonymous(self) -> Caller:
        """Another one of the same deployment, without credentials."""
        return Caller(self.url, self.host, self.websocket)

    def send(self, method: str, path: str, expected: int, **rest: Any) -> Any:
        """The answer's JSON. Raises Failed when the status is another one."""
        answer = self.session.request(method, f"{self.url}{path}", timeout=END_S, **rest)
        if answer.status_code != expected:
            raise Failed(f"{method} {path}: {answer.status_code} instead of {expected}: {answer.text[:500]}")
        return answer.json() if answer.content else None

    def connect(self, path: str, headers: dict[str, str]) -> ClientConnection:
        """An open WebSocket."""
        address = self.websocket + (quote(path, safe="") if "?" in self.websocket else path)
        return connect(address, additional_headers=headers, open_timeout=END_S)

    def make_flow(self, name: str, text: str) -> str:
        """Register a flow; answers its id."""
        made = self.send("POST", "/api/v1/flows", 201, json={"name": name, "definition": text})
        return str(made["id"])

    def run(self, flow_id: str, given: dict[str, Any]) -> str:
        """Start a flow; answers the execution's id."""
        return str(self.send("POST", f"/api/v1/flows/{flow_id}/run", 201, json={"input": given})["execution_id"])

    def ended(self, execution_id: str) -> Any:
        """The execution once it has ended."""
        path = f"/api/v1/executions/{execution_id}"
        return until(
            f"execution {execution_id} ends",
            lambda: self.send("GET", path, 200),
            lambda found: found["status"] not in ("running", "paused"),
        )


def until(what: str, look: Callable[[], Any], is_it: Callable[[Any], bool]) -> Any:
    """What ``look`` finds once it is as it should be. Raises Failed when it does not become so."""
    end = time.monotonic() + END_S
    while True:
        found = look()
        if is_it(found):
            return found
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {END_S:.0f} s; last found {found!r}")
        time.sleep(PAUSE_S)


def expect(what: str, found: object, expected: object) -> None:
    """Print the step. Raises Failed when it found something else."""
    if found != expected:
        raise Failed(f"{what}: found {found!r}, expected {expected!r}")
    print(f"ok  {what}", flush=True)
