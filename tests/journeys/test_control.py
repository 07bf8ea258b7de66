"""The control plane of a real server, with a real client."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.server import PASSWORD, PATIENCE_S, Client, Server, serving

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Agent:
    """A workflow, and what its process knows."""

    person: Client
    org_id: str
    workflow_id: str
    key_id: str
    key: str
    secret: str

    @classmethod
    def of(cls, server: Server, name: str) -> Agent:
        """A new workflow of a new person's own org, with a key."""
        username = f"ada-{uuid4().hex}"
        server.sign_up(username)
        form = {"username": username, "password": PASSWORD}
        session = requests.post(f"{server.url}/api/v1/auth/login", json=form, timeout=PATIENCE_S).json()
        person, org_id = Client(server.url, session["token"]), session["organization_id"]
        workflow = person.call("POST", f"/api/v1/orgs/{org_id}/workflows", {"name": name})
        assert workflow.status_code == 201, workflow.text
        workflow_id = workflow.json()["id"]
        key = person.call("POST", f"/api/v1/orgs/{org_id}/api-keys", {"name": "prod", "workflow_id": workflow_id})
        assert key.status_code == 201, key.text
        minted = key.json()
        return cls(person, org_id, workflow_id, minted["id"], minted["key"], minted["secret_key"])

    def post(self, path: str, body: Any = None) -> None:
        """What an operator does."""
        answer = self.person.call("POST", f"/api/v1/orgs/{self.org_id}{path}", body or {})
        assert answer.status_code in (200, 204), answer.text

    @contextmanager
    def socket(self, key: str | None = None) -> Iterator[ClientConnection]:
        """The agent's WebSocket."""
        address = self.person.websocket_url(f"/ws/control/{self.org_id}")
        with connect(address, additional_headers={"X-API-Key": key or self.key}, open_timeout=PATIENCE_S) as opened:
            yield opened

    def is_signed(self, frame: dict[str, Any]) -> bool:
        """By the documented formula."""
        digest = hashlib.sha256(bytes.fromhex(frame["signed_payload"])).hexdigest()
        message = f"{frame['timestamp']}:{self.key}:{digest}"
        return bool(frame["signature"] == hmac.new(self.secret.encode(), message.encode(), hashlib.sha256).hexdigest())


def read_until(socket: ClientConnection, kind: str, **fields: Any) -> dict[str, Any]:
    """The first frame of this type with these fields."""
    while True:
        frame: dict[str, Any] = json.loads(socket.recv(timeout=PATIENCE_S))
        if frame["type"] == kind and fields.items() <= frame.items():
            return frame


def test_a_kill_reaches_the_agent(server: Server) -> None:
    """The state at first, then the kill, signed, under the id and under the name; it stays connected."""
    name = f"bot {uuid4().hex}"
    agent = Agent.of(server, name)
    with agent.socket() as socket:
        first = read_until(socket, "initial_state")
        known = {entry["workflow_id"]: entry["state"] for entry in first["workflows"]}
        assert known[agent.workflow_id] == known[name] == "Normal"
        agent.post(f"/workflows/{agent.workflow_id}/kill", {"reason": "runaway"})
        for text in (agent.workflow_id, name):
            frame = read_until(socket, "state_change", workflow_id=text)
            assert (frame["state"], frame["version"], frame["reason"]) == ("Killed", 2, "runaway")
            assert agent.is_signed(frame)
        socket.send(json.dumps({"type": "ack", "message_id": frame["message_id"], "received_at": 1_790_000_000}))
        socket.send(json.dumps({"type": "ping"}))
        assert read_until(socket, "pong") == {"type": "pong"}


def test_a_handshake_is_refused_before_it_is_one(server: Server) -> None:
    """A wrong key is 401, another org's 403, in NullRun's form."""
    agents = [Agent.of(server, "bot") for _ in range(2)]
    for key, status in (("nr_live_" + "x" * 32, 401), (agents[1].key, 403)):
        with pytest.raises(InvalidStatus) as refused, agents[0].socket(key):
            pass
        assert refused.value.response.status_code == status
        assert json.loads(refused.value.response.body)["error_code"]


def test_a_revoked_key_is_shown_out(server: Server) -> None:
    """With 1008, at once."""
    agent = Agent.of(server, "bot")
    with agent.socket() as socket:
        read_until(socket, "initial_state")
        agent.post(f"/api-keys/{agent.key_id}/revoke")
        with pytest.raises(ConnectionClosed) as closed:
            read_until(socket, "never")
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008


def test_a_server_that_was_killed_knows_every_state(tmp_path: Path) -> None:
    """After kill -9 a new connection begins with what was true before, and what the dead one left disturbs nobody."""
    with serving(tmp_path / "data") as before:
        agent = Agent.of(before, "bot")
        with agent.socket() as socket:
            read_until(socket, "initial_state")
            agent.post(f"/workflows/{agent.workflow_id}/pause")
            before.kill()
            with pytest.raises(ConnectionClosed):
                read_until(socket, "never")
    with serving(tmp_path / "data") as after:
        agent = replace(agent, person=Client(after.url, agent.person.token))
        with agent.socket() as socket:
            first = read_until(socket, "initial_state")
            known = {entry["workflow_id"]: entry["state"] for entry in first["workflows"]}
            assert known[agent.workflow_id] == known["bot"] == "Paused"
            agent.post(f"/workflows/{agent.workflow_id}/resume")
            frame = read_until(socket, "state_change", workflow_id=agent.workflow_id, version=3)
            assert frame["state"] == "Normal" and agent.is_signed(frame)
