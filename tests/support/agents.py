"""Processes with NullRun's SDK as it is published, and the orgs they work for."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests

from tests.support.server import PASSWORD, PATIENCE_S, Client

PROGRAM = Path(__file__).with_name("agent_program.py")

START = """
import os
for name in [name for name in os.environ if name.startswith("NULLRUN_")]:
    del os.environ[name]
os.environ.update({variables!r})
runtime = nullrun.init({arguments})
"""
FOLLOWING = "until(lambda: runtime.status().ws_connected and runtime.status().workflow_state) and None"


class Raised(Exception):
    """An exception of a script: its class, the SDK's code, its text, and what else it told."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.kind: str = fields.pop("kind")
        self.code: str | None = fields.pop("error_code")
        self.text: str = fields.pop("text")
        self.fields = fields


class Agent:
    """One process; ``folder`` is its disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = (folder / "log").open("w")
        variables = {name: value for name, value in os.environ.items() if not name.startswith("NULLRUN_")}
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM)], cwd=folder, env=variables, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
        )  # fmt: skip
        self.is_busy = False
        """Whether a script is under way."""
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _next(self) -> dict[str, Any]:
        line = self._lines.get(timeout=2 * PATIENCE_S)
        assert line, self.log
        message: dict[str, Any] = json.loads(line)
        return message

    @property
    def log(self) -> str:
        """What the process has logged."""
        return (self.folder / "log").read_text()

    def run(self, script: str) -> Any:
        """Run a script; the value of its last expression. Raises Raised."""
        self.begin(script)
        return self.end()

    def refused(self, script: str) -> Raised:
        """Run a script that must raise; what it raised."""
        self.begin(script)
        return self.refused_in_the_end()

    def refused_in_the_end(self) -> Raised:
        """What the script under way raises, as it must."""
        try:
            value = self.end()
        except Raised as error:
            return error
        raise AssertionError(f"nothing was raised; the value is {value!r}")

    def begin(self, script: str) -> None:
        """Start a script that goes on while something else happens."""
        self.is_busy = True
        self._send({"run": script})

    def told(self) -> Any:
        """What the script under way says next."""
        message = self._next()
        assert "told" in message, (message, self.log)
        return message["told"]

    def end(self) -> Any:
        """The value of the script under way. Raises Raised."""
        message = self._next()
        self.is_busy = "told" in message
        if "raised" in message:
            raise Raised(message["raised"])
        assert "value" in message, (message, self.log)
        return message["value"]

    def start(self, url: str, key: str, arguments: str = "", **variables: str) -> Path:
        """Initialise the SDK, as its documentation says, through its environment; the folder of its undelivered events.

        An SDK that was initialised before is shut down by the new one. ``variables`` are without ``NULLRUN_``.
        """
        kept = self.folder / uuid4().hex
        kept.mkdir()
        given = {"API_URL": url, "API_KEY": key, "WAL_PATH": str(kept / "events")} | variables
        self.run(START.format(variables={f"NULLRUN_{name}": text for name, text in given.items()}, arguments=arguments))
        return kept

    def follow(self) -> None:
        """Wait until the WebSocket has told the SDK the state of its workflow."""
        self.run(FOLLOWING)

    def stop(self) -> None:
        """Shut the SDK down, which delivers what it has collected."""
        self.run("nullrun.shutdown()")

    def close(self) -> None:
        """Let it finish and wait for its end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        if self.is_busy:
            self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._reader.join()
        self._process.stdout.close()
        self._log.close()


@dataclass(frozen=True)
class Team:
    """A person with an org, and a workflow in it with a key."""

    person: Client
    org_id: str
    workflow_id: str
    key_id: str
    key: str
    secret: str

    @classmethod
    def register(cls, url: str) -> Team:
        """Someone new."""
        form = {"email": f"ada-{uuid4().hex}@example.com", "password": PASSWORD, "name": "Ada"}
        answer = requests.post(f"{url}/api/v1/auth/register", json=form, timeout=PATIENCE_S)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        person = Client(url, made["session_token"])
        return cls(
            person, made["organization_id"], made["workflow_id"], made["key_id"], made["api_key"], made["secret_key"]
        )

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """A request of the person, under the org's path; the answer's body."""
        answer = self.person.call(method, f"/api/v1/orgs/{self.org_id}{path}", body)
        assert answer.ok, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def post(self, path: str, **body: Any) -> Any:
        """POST under the org's path."""
        return self.call("POST", path, body)

    def get(self, path: str) -> Any:
        """GET under the org's path."""
        return self.call("GET", path)

    @property
    def workflow(self) -> Any:
        """The workflow as it is now."""
        return self.get(f"/workflows/{self.workflow_id}")


def undelivered(kept: Path) -> list[str]:
    """What the SDK could not deliver and left in its folder; its lock file, which is empty, is none of it."""
    return sorted(path.name for path in kept.iterdir() if path.stat().st_size)
