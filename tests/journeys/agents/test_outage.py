"""A server that demands signatures, and that goes away and comes back, under NullRun's SDK."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests

from tests.support.agents import Agent, Team, undelivered
from tests.support.server import serving

pytestmark = pytest.mark.slow

FUNCTION = """
ran = []

@nullrun.protect
def act(name):
    ran.append(name)
    runtime.track_llm(40_000, 0, model="gpt-4o")
    return name
"""


class Unavailable(BaseHTTPRequestHandler):
    """What stands before a server that is away: 503, and not in the API's form."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is printed."""


@contextmanager
def away(port: int) -> Iterator[None]:
    """503 to everybody at the port."""
    with HTTPServer(("127.0.0.1", port), Unavailable) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield
        server.shutdown()
        thread.join()


def test_signed_only_and_away_for_a_while(tmp_path: Path, agent_of_worker: Agent) -> None:
    """Where every request must be signed, the SDK works from its API key alone. While the server is away the gate
    lets calls pass and the tool check stops them, so no body runs; when it is back the program goes on by itself, and
    what it had collected arrives."""
    agent = agent_of_worker
    demanding = {"SIGNALBOX_HMAC_REQUIRED": "true"}
    with serving(tmp_path / "data", environment=demanding) as server:
        team, port = Team.register(server.url), server.url.rpartition(":")[2]
        # While the SDK sends what it has collected to a server that is away it holds its calls back, for minutes.
        kept = agent.start(server.url, team.key, FLUSH_INTERVAL_MS="600000")
        agent.run(FUNCTION)
        assert agent.run('act("a")') == "a"
        assert team.workflow["spent_cents"] == 10
        unsigned = requests.post(f"{server.url}/api/v1/gate", json={}, headers={"X-API-Key": team.key}, timeout=30)
        assert (unsigned.status_code, unsigned.json()["error_code"]) == (401, "HMAC_MISMATCH")
    with away(int(port)):
        raised = agent.refused('act("b")')
    assert (raised.kind, raised.code) == ("NullRunBlockedException", "NR-B002")
    with serving(tmp_path / "data", "--port", port, environment=demanding):
        assert agent.run('act("c")') == "c"
        assert agent.run("ran") == ["a", "c"]
        assert team.workflow["spent_cents"] == 20
        agent.stop()
        assert undelivered(kept) == []
        assert {row["result"] for row in team.get("/executions")["executions"]} == {"completed"}
