"""The server as a process: starting, stopping, dying, and what survives."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from websockets.sync.client import connect

from tests.support.server import ROOT, NotServing, Server, received, serving

pytestmark = pytest.mark.slow

WAITING = """
metadata: {name: Waiting}
nodes:
  gate:
    type: wait
    params: {key: go, timeout: 10m}
    next: {default: last}
  last:
    type: transform
    params: {script: "return {answer: input}"}
"""


def test_it_says_where_everything_is(server: Server) -> None:
    """The first lines name the API, the documentation, the data folder and how to sign up."""
    for text in ("/api/v1", "/docs", "/openapi.json", "data", "sign up", "curl -X POST"):
        assert text in server.output
    health = requests.get(f"{server.url}/health", timeout=30)
    assert health.status_code == 200 and health.json()["status"] == "ok"


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """After kill -9 the same session works, the flow waits where it was, and a signal completes it."""
    data = tmp_path / "data"
    first = Server(data).ready()
    ada = first.join("ada")
    flow_id = ada.create(WAITING)
    execution_id = ada.run(flow_id)
    first.kill()
    with serving(data) as second:
        ada.url = second.url
        assert ada.execution(execution_id)["status"] == "running"
        assert ada.call("GET", f"/api/v1/flows/{flow_id}").json()["definition"] == WAITING
        with connect(ada.websocket_url(f"/ws/executions/{execution_id}"), additional_headers=ada.headers) as socket:
            while json.loads(socket.recv(timeout=30)).get("type") != "execution_update":
                continue
            # The wait is open once its signal is accepted; until then the execution is still on its way to it.
            while ada.call("POST", f"/api/v1/executions/{execution_id}/signal/go", {"n": 1}).status_code == 404:
                continue
        assert ada.finished(execution_id)["result"] == {"answer": {"n": 1}}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly(tmp_path: Path, number: int) -> None:
    """Ctrl-C and SIGTERM end with code 0, without a trace, and clients are told to come back (1001)."""
    server = Server(tmp_path / "data").ready()
    ada = server.join("ada")
    execution_id = ada.run(ada.create(WAITING))
    with connect(ada.websocket_url(f"/ws/executions/{execution_id}"), additional_headers=ada.headers) as socket:
        socket.recv(timeout=30)
        assert server.stop(number) == 0
        received(socket)
    assert socket.protocol.close_code == 1001
    assert "Traceback" not in server.output


def test_two_servers_never_share_a_folder(tmp_path: Path) -> None:
    """The second one says who has the folder and ends."""
    with serving(tmp_path) as first:
        second = Server(tmp_path)
        with pytest.raises(NotServing, match="is in use by process"):
            second.ready()
        assert second.stop() == 1
        assert requests.get(f"{first.url}/health", timeout=30).status_code == 200


def test_the_command_works_from_another_folder(tmp_path: Path) -> None:
    """A wrong flag is a usage line, wherever the command is called."""
    command = [sys.executable, "-m", "functions.local", "--port", "x"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 2 and "usage: scripts/serve" in shown.stderr


def test_the_demo_shows_a_run(tmp_path: Path) -> None:
    """``--demo`` registers the examples, runs one and prints its journal with the result; then it governs an agent."""
    with serving(tmp_path / "data", "--demo", environment={"FORCE_COLOR": "1"}) as server:
        server.wait_for("Ctrl-C stops the server")
    assert "example flows" in server.output and "completed in" in server.output
    assert "\x1b[" in server.output
    assert "TOOL_BLOCKED" in server.output and "NULLRUN_API_KEY=nr_live_" in server.output
