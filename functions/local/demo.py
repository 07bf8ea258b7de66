"""``--demo``: registers the example flows, runs one against a built-in HTTP target and prints its journal live; then
governs an agent.

Everything goes through the public API, as a client of this very server.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import yaml
from websockets.sync.client import connect

from functions.local.demo_agents import AgentDemo
from functions.local.target import Target
from shared.kit import ids, json
from shared.kit.logging import logger

FLOWS = Path(__file__).resolve().parents[2] / "docs" / "examples" / "flows"
SHOWN = "orders"
"""The example that is run: ``docs/examples/flows/orders.yaml``."""

USERNAME = "demo"
CREDENTIALS = "demo.json"
TIMEOUT_S = 30.0

COLOURS = {
    "execution_update": "36",
    "node_completed": "32",
    "log": "2",
    "execution_completed": "1;32",
    "execution_failed": "1;31",
    "execution_cancelled": "1;33",
}
LEVEL_COLOURS = {"warn": "33", "error": "31"}
MARKS = {
    "execution_update": "▶",
    "node_completed": "✔",
    "log": "·",
    "execution_completed": "■",
    "execution_failed": "✘",
    "execution_cancelled": "■",
}

log = logger("demo")

Print = Callable[[str], None]


class Demo:
    """The demonstration. ``allowed`` is what the outbound policy must allow for it."""

    def __init__(self, folder: Path, show: Print = lambda line: print(line, flush=True)) -> None:  # noqa: T201
        self._folder = folder
        self._print = show
        self._target = Target()
        self._colour = ("FORCE_COLOR" in os.environ or sys.stdout.isatty()) and "NO_COLOR" not in os.environ

    @property
    def allowed(self) -> str:
        """The target's host and port."""
        return self._target.address

    def close(self) -> None:
        """Stop the target."""
        self._target.close()

    def show(self, url: str) -> None:
        """Run the demonstration against the server at ``url``; a failure is told and stops nothing."""
        try:
            self._show(url)
        except requests.HTTPError as refused:
            self._print(f"  The demonstration stopped; the server goes on. It said: {_reason(refused.response)}")
        except Exception:
            log.exception("the demonstration stopped")
            self._print("  The demonstration stopped; the server goes on.")

    def _show(self, url: str) -> None:
        session = _Session(url, *self._credentials())
        flows = self._register(session)
        shown = flows[SHOWN]
        self._print(f"\nRunning {shown['name']} ({FLOWS.name}/{SHOWN}.yaml) against {self._target.url}\n")
        started = session.call("POST", f"/api/v1/flows/{shown['id']}/run", {"input": {"base_url": self._target.url}})
        for message in session.watch(started["execution_id"]):
            self._print(self.line(message))
        done = session.call("GET", f"/api/v1/executions/{started['execution_id']}")
        self._print(f"\n{done['status']} in {done.get('duration', 0)} ms; result:")
        self._print(json.dumps(done.get("result", done.get("error"))))
        AgentDemo(url, self._folder, session.call, self._print).show()
        self._print(
            f"\nSigned in as {USERNAME}; its password is in {self._folder / CREDENTIALS}. Ctrl-C stops the server."
        )

    def _credentials(self) -> tuple[str, str]:
        """The demo account's name and password, made at the first demonstration in this data folder."""
        path = self._folder / CREDENTIALS
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(json.dumps({"username": USERNAME, "password": ids.token(18)}))
        stored = json.loads(path.read_text())
        return stored["username"], stored["password"]

    def _register(self, session: _Session) -> dict[str, dict[str, Any]]:
        """Every example by file name, registered unless a flow of its name is there already."""
        known = {flow["name"]: flow for flow in session.call("GET", "/api/v1/flows?limit=100")["flows"]}
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(FLOWS.glob("*.yaml")):
            text = path.read_text()
            name = yaml.safe_load(text)["metadata"]["name"]
            if name not in known:
                row = {"name": name, "definition": text, "tags": ["example"]}
                known[name] = session.call("POST", "/api/v1/flows", row)
            found[path.stem] = known[name]
        self._print(f"\nRegistered {len(found)} example flows: {', '.join(found)}")
        return found

    def line(self, message: dict[str, Any]) -> str:
        """One journal line: time, mark, node, and what happened."""
        kind = message["type"]
        colour = LEVEL_COLOURS.get(message.get("level", ""), COLOURS.get(kind, "0"))
        moment = message["timestamp"][11:23]
        node = f"{message.get('node_id') or '':<14} {message.get('node_type') or '':<14}"
        return self._painted(colour, f"  {moment} {MARKS.get(kind, '?')} {node} {_what(message)}".rstrip())

    def _painted(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text


def _reason(answer: requests.Response) -> str:
    """The message of an error answer of either API; its status where there is none."""
    try:
        body = answer.json()
        return str(body["message"] if isinstance(body["error"], str) else body["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return f"{answer.status_code} {answer.reason}"


def _what(message: dict[str, Any]) -> str:
    match message["type"]:
        case "execution_update":
            return "starts"
        case "log":
            data = f"  {_short(message['data'])}" if "data" in message else ""
            return f"{message['message']}{data}"
        case "node_completed" | "execution_completed":
            return _short(message["result"])
        case "execution_failed":
            return str(message["error"])
    return str(message["type"])


def _short(value: Any, limit: int = 100) -> str:
    text = json.dumps(value)
    return text if len(text) <= limit else f"{text[:limit]}…"


class _Session:
    """A client of the server."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self._url = url
        sent = {"username": username, "password": password}
        answer = requests.post(f"{url}/api/v1/auth/login", json=sent, timeout=TIMEOUT_S)
        if answer.status_code == 401:
            requests.post(f"{url}/api/v1/accounts", json=sent, timeout=TIMEOUT_S).raise_for_status()
            answer = requests.post(f"{url}/api/v1/auth/login", json=sent, timeout=TIMEOUT_S)
        answer.raise_for_status()
        self._headers = {"Authorization": f"Bearer {answer.json()['token']}"}

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = requests.request(method, f"{self._url}{path}", json=body, headers=self._headers, timeout=TIMEOUT_S)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def watch(self, execution_id: str) -> Any:
        url = f"{self._url.replace('http', 'ws', 1)}/ws/executions/{execution_id}"
        with connect(url, additional_headers=self._headers) as socket:
            yield from (json.loads(text) for text in socket)
