"""API Gateway's WebSocket routes: who may connect, what messages do, and that nothing is revealed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from functions.channels.app import PATH_PARAMETER, handler
from functions.channels.protocol import LARGEST_MESSAGE
from shared.dialects.flowrunner.readers import PAGE, SUBSCRIPTION
from shared.engine.views import ExecutionView
from shared.identity import Principal
from shared.kit.errors import NotFound
from shared.push import Gone
from shared.store.models.channels import Listener, channel_pk
from tests.support.deployment import Person, cheap_identity, deployment, sign_up
from tests.support.push import RecordingSender

VIEW = ExecutionView("exec-1", 1, "flow", "f", 1, "a", "running", 0)


class Engine:
    """Knows one execution of one org, by its id and its number."""

    def __init__(self) -> None:
        self.org_id = ""

    def get(self, principal: Principal, execution_id: str) -> ExecutionView:
        if principal.org_id != self.org_id or execution_id not in ("exec-1", "1"):
            raise NotFound("no such execution")
        return replace(VIEW)


class World:
    def __init__(self, services: Any) -> None:
        self.services = services
        self.sender = RecordingSender()
        self.engine = Engine()
        services.__dict__ |= {"identity": cheap_identity(), "sender": self.sender, "engine": self.engine}
        services.identity.prepare()
        self.ada, self.bob = sign_up("ada"), sign_up("bob")
        self.engine.org_id = self.ada.org_id

    def connect(self, path: str, person: Person | None, *, by_query: bool = False, **query: str) -> dict[str, Any]:
        asked = {PATH_PARAMETER: path, **query}
        headers = {"Host": "h"}
        if person is not None and by_query:
            asked["token"] = person.token
        elif person is not None:
            headers["Authorization"] = f"Bearer {person.token}"
        context = {"routeKey": "$connect", "connectionId": "c1"}
        event = {"requestContext": context, "headers": headers, "queryStringParameters": asked}
        answer: dict[str, Any] = handler(event, None)
        return answer

    def say(self, message: Any) -> None:
        body = message if isinstance(message, str) else json.dumps(message)
        answer = handler({"requestContext": {"routeKey": "$default", "connectionId": "c1"}, "body": body}, None)
        assert answer == {"statusCode": 200}

    def heard(self) -> list[Listener]:
        return self.services.connections.listeners(channel_pk(self.ada.org_id, "execution#exec-1"))  # type: ignore[no-any-return]

    def replies(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.sender.to("c1")]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with deployment(tmp_path) as services:
        yield World(services)


@pytest.mark.parametrize("by_query", [False, True])
def test_the_owner_hears_the_execution(world: World, by_query: bool) -> None:
    """Header or query token: the connection is stored and listens from the journal's beginning; nothing is sent yet."""
    assert world.connect("/ws/executions/exec-1", world.ada, by_query=by_query) == {"statusCode": 200}
    (listener,) = world.heard()
    assert (listener.projection, listener.cursor, listener.connection_id) == (PAGE, -1, "c1")
    assert world.sender.sent == []


def test_the_number_names_the_same_execution(world: World) -> None:
    """A connection by the execution's number hears the channel of its id."""
    world.connect("/ws/executions/1", world.ada)
    assert len(world.heard()) == 1


@pytest.mark.parametrize(
    ("path", "who", "status"),
    [
        ("/ws/executions/exec-1", None, 401),
        ("/ws/executions/exec-1", "bob", 404),
        ("/ws/executions/unknown", "ada", 404),
        ("/ws/elsewhere", "ada", 404),
        ("/ws/executions/exec-1/more", "ada", 404),
        ("/api/v1/ws", None, 401),
        ("", "ada", 404),
    ],
)
def test_a_handshake_is_refused_in_the_envelope(world: World, path: str, who: str | None, status: int) -> None:
    """No token, another tenant, unknown execution or path: refused, and no row is stored."""
    person = getattr(world, who) if who else None
    answer = world.connect(path, person)
    assert answer["statusCode"] == status
    assert json.loads(answer["body"])["error"]["message"]
    assert world.services.connections.get("c1") is None and world.heard() == []


def test_a_forged_token_is_refused(world: World) -> None:
    """A token we did not sign opens nothing."""
    forged = replace(world.ada, token=world.ada.token[:-4] + "AAAA")
    assert world.connect("/ws/executions/exec-1", forged)["statusCode"] == 401


def test_a_fault_of_ours_is_told_without_detail(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected failure refuses with 500 and no trace of why."""
    monkeypatch.setattr(world.engine, "get", lambda *args: 1 / 0)
    answer = world.connect("/ws/executions/exec-1", world.ada)
    assert answer["statusCode"] == 500 and "division" not in answer["body"]


def test_the_pages_channel_ignores_what_clients_say(world: World) -> None:
    """The server only sends there."""
    world.connect("/ws/executions/exec-1", world.ada)
    world.say({"type": "ping"})
    assert world.sender.sent == []


def test_ping_is_answered(world: World) -> None:
    """The subscription channel answers ping with pong."""
    world.connect("/api/v1/ws", world.ada)
    world.say({"type": "ping"})
    (reply,) = world.replies()
    assert reply["type"] == "pong" and reply["timestamp"].endswith("Z")


def test_subscribing_and_unsubscribing(world: World) -> None:
    """A subscription is a listener; subscribing again starts it afresh; unsubscribing ends it."""
    world.connect("/api/v1/ws", world.ada)
    world.say({"type": "subscribe", "execution_id": "exec-1"})
    (listener,) = world.heard()
    assert listener.projection == SUBSCRIPTION
    claimed = world.services.connections.claim(listener)
    world.services.connections.settle(claimed, 5)
    world.say({"type": "subscribe", "execution_id": "exec-1"})
    assert [row.cursor for row in world.heard()] == [-1]
    world.say({"type": "unsubscribe", "execution_id": "exec-1"})
    assert world.heard() == []


@pytest.mark.parametrize("execution_id", ["unknown", "exec-1"])
def test_another_tenants_execution_is_denied(world: World, execution_id: str) -> None:
    """Unknown and foreign executions get the same answer."""
    world.connect("/api/v1/ws", world.bob)
    world.say({"type": "subscribe", "execution_id": execution_id})
    assert world.replies()[0]["message"] == "Execution not found or access denied"
    assert world.heard() == []


@pytest.mark.parametrize(
    "message",
    [
        "",
        "no json",
        "[]",
        '{"type": "dance"}',
        '{"type": "subscribe"}',
        '{"type": "subscribe", "execution_id": 7}',
        "[" * 9999,
        '{"type": "ping", "x": "' + "x" * LARGEST_MESSAGE + '"}',
    ],
)
def test_a_bad_message_is_answered_with_an_error(world: World, message: str) -> None:
    """Nothing a client says breaks its connection."""
    world.connect("/api/v1/ws", world.ada)
    world.say(message)
    (reply,) = world.replies()
    assert reply["type"] == "error" and reply["message"]


def test_a_closed_connection_is_forgotten(world: World) -> None:
    """After $disconnect no row is left; a late message or second close changes nothing."""
    world.connect("/ws/executions/exec-1", world.ada)
    for _ in range(2):
        handler({"requestContext": {"routeKey": "$disconnect", "connectionId": "c1"}}, None)
    world.say({"type": "ping"})
    assert world.heard() == [] and world.services.connections.get("c1") is None and world.sender.sent == []


def test_a_reply_to_a_gone_client_forgets_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that left before its answer is cleaned up."""
    world.connect("/api/v1/ws", world.ada)

    def gone(connection_id: str, text: str) -> None:
        raise Gone("gone")

    monkeypatch.setattr(world.sender, "send", gone)
    world.say({"type": "ping"})
    assert world.services.connections.get("c1") is None


def test_half_a_surrogate_pair_in_a_message_is_answered(world: World) -> None:
    """What comes back can be sent."""
    world.connect("/api/v1/ws", world.ada)
    world.say('{"type": "subscribe", "execution_id": "\\ud800"}')
    (text,) = world.sender.to("c1")
    assert json.loads(text)["execution_id"] == "\ud800"
    text.encode()
