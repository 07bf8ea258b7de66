"""WebSockets of the one-process host while the store is away: the client is told to come back, and no trace is left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from functions.channels.handshake import Admission
from functions.local import websockets
from shared.adapters.embedded.sockets import TRY_AGAIN_LATER, Sockets
from shared.kit.errors import Unauthorized, Unavailable
from shared.push import POLICY_VIOLATION, Connection
from shared.store.models.channels import connection_pk

CONNECT, MESSAGE = {"type": "websocket.connect"}, {"type": "websocket.receive", "text": "{}"}
LEFT = {"type": "websocket.disconnect", "code": 1000}
CONNECTION = Connection(connection_pk("c"), "connection", connection_id="c")
ADMITTED, STAYING = Admission(CONNECTION), Admission(CONNECTION, stays=True)


def away(*given: Any) -> None:
    raise Unavailable("The store cannot be reached; try again")


def conversation(sockets: Sockets, *said: dict[str, Any]) -> list[dict[str, Any]]:
    """What the server sends to a client that says this."""
    sent: list[dict[str, Any]] = []
    left = list(said)

    async def receive() -> Any:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    async def converse() -> None:
        (route,) = websockets.websocket_routes(sockets)
        scope = {"type": "websocket", "path": "/api/v1/ws", "headers": [], "query_string": b"", "subprotocols": []}
        await route.app(scope, receive, send)

    asyncio.run(converse())
    return sent


@pytest.mark.parametrize("failing", ["begin", "receive"])
def test_a_store_that_is_away_ends_the_connection(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 1013, try again later, whether it fails at the beginning or at a message."""
    for name in ("admit", "begin", "receive", "disconnect"):
        monkeypatch.setattr(websockets, name, away if name == failing else lambda *given: ADMITTED)
    sockets = Sockets()
    sent = conversation(sockets, CONNECT, MESSAGE)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert sent[1]["code"] == TRY_AGAIN_LATER
    assert not sockets.in_use


def test_a_connection_that_cannot_be_forgotten_is_over_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows lapse by themselves."""
    for name in ("admit", "begin", "receive", "disconnect"):
        monkeypatch.setattr(websockets, name, away if name == "disconnect" else lambda *given: ADMITTED)
    sockets = Sockets()
    assert [message["type"] for message in conversation(sockets, CONNECT, MESSAGE, LEFT)] == ["websocket.accept"]
    assert not sockets.in_use


def test_a_client_that_would_not_come_back_is_not_ended_by_a_lost_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """NullRun's SDK never connects again, so what the store does not take is lost alone."""
    for name in ("admit", "begin", "receive", "disconnect"):
        monkeypatch.setattr(websockets, name, away if name == "receive" else lambda *given: STAYING)
    sent = conversation(Sockets(), CONNECT, MESSAGE, MESSAGE, LEFT)
    assert [message["type"] for message in sent] == ["websocket.accept"]


def test_a_key_that_was_revoked_meanwhile_closes_with_1008(monkeypatch: pytest.MonkeyPatch) -> None:
    """A revocation between the handshake and the connection's row is told as a policy violation."""

    def revoked(*given: Any) -> None:
        raise Unauthorized("The API key has been revoked")

    for name in ("admit", "begin", "receive", "disconnect"):
        monkeypatch.setattr(websockets, name, revoked if name == "begin" else lambda *given: STAYING)
    sent = conversation(Sockets(), CONNECT)
    assert sent[-1] == {"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "The API key has been revoked"}
