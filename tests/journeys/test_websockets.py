"""Both WebSocket channels of a real server, with a real client."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from functions.local.target import Target
from tests.support.server import Client, Server, received

pytestmark = pytest.mark.slow

TALKING = """
metadata: {name: Talking}
nodes:
  first:
    type: transform
    params: {script: "console.log('hello'); return {n: 1}"}
    next: {default: gate}
  gate:
    type: wait
    params: {key: go, timeout: 1m}
    next: {default: last}
  last:
    type: transform
    params: {script: "return {n: 2}"}
"""
LARGE = """
metadata: {name: Large}
nodes:
  start:
    type: transform
    params: {script: "return {text: 'x'.repeat(100000)}"}
"""
CHATTY = """
metadata: {name: Chatty}
nodes:
  start:
    type: transform
    params: {script: "for (let i = 0; i < 900; i++) console.log(i + ' ' + 'x'.repeat(900))"}
    next: {default: again}
  again:
    type: transform
    params: {script: "for (let i = 900; i < 1800; i++) console.log(i + ' ' + 'x'.repeat(900))"}
"""


@pytest.fixture
def ada(server: Server) -> Client:
    return server.join(f"ada-{uuid4().hex}")


def channel(client: Client, path: str, **options: Any) -> ClientConnection:
    opened: ClientConnection = connect(client.websocket_url(path), additional_headers=client.headers, **options)
    return opened


def read_until(socket: ClientConnection, kind: str) -> list[dict[str, Any]]:
    """Messages up to and including the first of this type."""
    messages: list[dict[str, Any]] = []
    while not messages or messages[-1]["type"] != kind:
        messages.append(json.loads(socket.recv(timeout=30)))
    return messages


def test_replay_and_live_join_without_gap_or_double(ada: Client) -> None:
    """Watchers who come at the start, in the middle and after the end all get the same messages, then close 1000."""
    execution_id = ada.run(ada.create(TALKING))
    path = f"/ws/executions/{execution_id}"
    with channel(ada, path) as early:
        seen = [json.loads(early.recv(timeout=30)) for _ in range(5)]
        assert [message.get("node_id") for message in seen if message["type"] == "execution_update"] == [
            "first",
            "gate",
        ]
        with channel(ada, path) as middle:
            assert [json.loads(middle.recv(timeout=30)) for _ in range(5)] == seen
            answer = ada.call("POST", f"/api/v1/executions/{execution_id}/signal/go", {"ok": True})
            assert answer.status_code == 200, answer.text
            rest = received(early)
            assert received(middle) == rest
    assert (early.protocol.close_code, middle.protocol.close_code) == (1000, 1000)
    assert ada.watch(execution_id) == seen + rest
    assert rest[-1]["type"] == "execution_completed" and rest[-1]["result"] == {"n": 2}


def test_many_watchers_get_everything_in_order(ada: Client) -> None:
    """Twenty watchers of one busy execution, each with its own pace, get every message once and in order."""
    execution_id = ada.run(ada.create(CHATTY))
    with ThreadPoolExecutor(20) as pool:
        seen = list(pool.map(lambda _: ada.watch(execution_id), range(20)))
    said = [
        message["message"].split()[0] for message in seen[0] if message["type"] == "log" and "xxx" in message["message"]
    ]
    assert said == [str(number) for number in range(1800)]
    assert all(messages == seen[0] for messages in seen)


def test_a_slow_client_blocks_nobody(ada: Client) -> None:
    """While one client reads nothing another gets everything; the slow one gets it all once it reads."""
    execution_id = ada.run(ada.create(CHATTY))
    with channel(ada, f"/ws/executions/{execution_id}", max_queue=1) as slow:
        messages = ada.watch(execution_id)
        assert messages[-1]["type"] == "execution_completed"
        assert received(slow) == messages


def test_a_large_result_is_cut_in_messages_only(ada: Client) -> None:
    """What does not fit a frame is told by its size; REST has the whole."""
    execution_id = ada.run(ada.create(LARGE))
    final = ada.watch(execution_id)[-1]
    assert final["result"] == {"truncated": True, "size": 100_011}
    assert ada.execution(execution_id)["result"] == {"text": "x" * 100_000}


def test_a_browser_may_send_its_token_in_the_query(ada: Client) -> None:
    """Browsers cannot set the header of a handshake."""
    execution_id = ada.run(ada.create(LARGE))
    url = ada.websocket_url(f"/ws/executions/{execution_id}?token={ada.token}")
    with connect(url) as socket:
        assert received(socket)[-1]["type"] == "execution_completed"


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/ws/executions/{id}", "", 401),
        ("/ws/executions/{id}", "forged", 401),
        ("/ws/executions/{id}", "bob", 404),
        ("/ws/executions/00000000-0000-7000-8000-000000000000", "ada", 404),
        ("/ws/executions/", "ada", 404),
        ("/ws/elsewhere", "ada", 404),
        ("/api/v1/ws", "", 401),
    ],
)
def test_a_handshake_is_refused_with_the_envelope(
    server: Server, ada: Client, path: str, token: str, status: int
) -> None:
    """No token, a forged one, another tenant, an unknown execution or path: refused, and nothing is revealed."""
    execution_id = ada.run(ada.create(LARGE))
    tokens = {"ada": ada.token, "bob": server.join(f"bob-{uuid4().hex}").token if token == "bob" else ""}
    held = tokens.get(token, token)
    headers = {"Authorization": f"Bearer {held}"} if held else {}
    with pytest.raises(InvalidStatus) as refused:
        connect(ada.websocket_url(path.format(id=execution_id)), additional_headers=headers)
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body or b"")["error"]["message"]


def test_a_subscription_shows_status_logs_and_completion(ada: Client) -> None:
    """Subscribing answers the status at once; then come log rows, another status and ``complete``."""
    execution_id = ada.run(ada.create(TALKING))
    with channel(ada, "/api/v1/ws") as socket:
        socket.send(json.dumps({"type": "ping"}))
        assert read_until(socket, "pong")
        socket.send(json.dumps({"type": "subscribe", "execution_id": execution_id}))
        status = read_until(socket, "status")[-1]
        assert status["execution_id"] == execution_id and status["status"]["status"] == "running"
        ada.call("POST", f"/api/v1/executions/{execution_id}/signal/go", {})
        messages = read_until(socket, "complete")
        assert [message["type"] for message in messages[-2:]] == ["status", "complete"]
        assert messages[-1]["message"] == "Execution completed with status: completed"
        assert "Execution completed" in [message["message"] for message in messages if message["type"] == "log"]
        socket.send(json.dumps({"type": "subscribe", "execution_id": execution_id}))
        late = read_until(socket, "status")
        assert len(late) == 1 and late[0]["status"]["status"] == "completed"
        socket.send(json.dumps({"type": "unsubscribe", "execution_id": execution_id}))
        socket.send(json.dumps({"type": "subscribe", "execution_id": "unknown"}))
        assert read_until(socket, "error")[-1]["message"] == "Execution not found or access denied"
        socket.send("no json")
        socket.send(b"\x00binary")
        assert read_until(socket, "error") and read_until(socket, "error")


def test_a_cancelled_execution_ends_its_channel(ada: Client) -> None:
    """Cancelling a waiting execution sends the final message and closes."""
    execution_id = ada.run(ada.create(TALKING))
    with channel(ada, f"/ws/executions/{execution_id}") as socket:
        while json.loads(socket.recv(timeout=30)).get("node_id") != "gate":
            continue
        assert ada.call("DELETE", f"/api/v1/executions/{execution_id}").status_code == 200
        assert received(socket)[-1]["type"] == "execution_cancelled"
    assert socket.protocol.close_code == 1000


def test_the_target_is_called_once_per_node(ada: Client, target: Target) -> None:
    """Watching changes nothing: one HTTP node, one request."""
    path = f"/once-{uuid4().hex}"
    flow = (
        f"metadata: {{name: Once}}\nnodes:\n  start:\n    type: http.request\n    params: {{url: {target.url}{path}}}\n"
    )
    ada.finished(ada.run(ada.create(flow)))
    assert target.calls[f"GET {path}"] == 1
