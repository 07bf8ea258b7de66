"""``/ws/control/{org_id}`` behind API Gateway and in the one-process host: who may connect, and what messages do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from functions.auth.app import handler as auth
from functions.channels.app import PATH_PARAMETER, handler
from functions.channels.protocol import LARGEST_MESSAGE
from functions.local.websockets import websocket_routes
from shared.adapters.embedded.sockets import Sockets
from shared.composition import Services
from shared.governance.key_forms import NewKey
from shared.identity import DEFAULT_ORG_ID
from shared.kit.errors import Unavailable
from shared.store.models.channels import Ack, Listener, acks_pk, channel_pk
from tests.support.apigw import call
from tests.support.deployment import Person, deployment, sign_up
from tests.support.governance import Governed, govern, owner
from tests.support.push import RecordingSender
from tests.support.time import HeldClock

ORG = DEFAULT_ORG_ID
PATH = f"/ws/control/{ORG}"
HOUR_MS = 3_600_000


class World:
    def __init__(self, services: Services) -> None:
        self.services = services
        self.sender = RecordingSender()
        services.__dict__["sender"] = self.sender
        services.identity.prepare()
        self.ada, self.bob = sign_up("ada"), sign_up("bob")
        self.governed = govern(services)

    def connect(self, headers: Mapping[str, str], path: str = PATH, **query: str) -> dict[str, Any]:
        context = {"routeKey": "$connect", "connectionId": "c1"}
        asked = {PATH_PARAMETER: path, **query}
        answer: dict[str, Any] = handler(
            {"requestContext": context, "headers": dict(headers), "queryStringParameters": asked}, None
        )
        return answer

    def say(self, message: Any) -> list[dict[str, Any]]:
        """Send a message; the answers to it."""
        body = message if isinstance(message, str) else json.dumps(message)
        before = len(self.sender.sent)
        handler({"requestContext": {"routeKey": "$default", "connectionId": "c1"}, "body": body}, None)
        return [json.loads(text) for _, text in self.sender.sent[before:]]

    def listeners(self) -> list[Listener]:
        return self.services.connections.listeners(channel_pk(ORG, "control"))

    def acks(self) -> list[tuple[str, str, str | None]]:
        return [(ack.message_id, ack.connection_id, ack.key_id) for ack in Ack.query(acks_pk(ORG))]

    def refusals(self) -> dict[str, tuple[int, str, str, dict[str, str], dict[str, str]]]:
        """Handshakes that are refused, by what is wrong: status, error code, path, headers, query."""
        keys, key = self.services.governance.keys, self.governed.key
        revoked = keys.mint(owner(), NewKey(name="revoked", workflow_id=self.governed.workflow_id))
        keys.revoke(owner(), revoked.view.id)
        stale = self.governed.signed(b"", at_s=1_000)
        forged = self.governed.signed(b"", secret="0" * 64)
        session, theirs = f"Bearer {self.ada.token}", f"/ws/control/{self.bob.org_id}"
        return {
            "nothing": (401, "API_KEY_MISSING", PATH, {}, {}),
            "an empty key": (401, "API_KEY_MISSING", PATH, {"X-API-Key": ""}, {}),
            "no key": (401, "API_KEY_MALFORMED", PATH, {"X-API-Key": "secret"}, {}),
            "an unknown key": (401, "API_KEY_INVALID", PATH, {"X-API-Key": "nr_live_" + "x" * 32}, {}),
            "a revoked key": (401, "API_KEY_REVOKED", PATH, {"X-API-Key": revoked.key}, {}),
            "a wrong signature": (401, "HMAC_MISMATCH", PATH, forged, {}),
            "a stale signature": (401, "HMAC_TIMESTAMP_SKEW", PATH, stale, {}),
            "no time": (401, "HMAC_TIMESTAMP_SKEW", PATH, {"X-API-Key": key, "X-Signature": "0" * 64}, {}),
            "a key in the query": (401, "API_KEY_MISSING", PATH, {}, {"api_key": key}),
            "a key as a token": (401, "API_KEY_MISSING", PATH, {}, {"token": key}),
            "a key in both": (401, "API_KEY_MISSING", PATH, {"X-API-Key": key}, {"x": key}),
            "another org's key": (403, "FORBIDDEN", theirs, {"X-API-Key": key}, {}),
            "an unknown org": (403, "FORBIDDEN", "/ws/control/nowhere", {"X-API-Key": key}, {}),
            "another org's member": (403, "FORBIDDEN", theirs, {"Authorization": session}, {}),
            "a forged session": (401, "UNAUTHORIZED", PATH, {"Authorization": session[:-4] + "AAAA"}, {}),
        }  # fmt: skip


REFUSALS = (
    "nothing", "an empty key", "no key", "an unknown key", "a revoked key", "a wrong signature", "a stale signature",
    "no time", "a key in the query", "a key as a token", "a key in both", "another org's key", "an unknown org",
    "another org's member", "a forged session",
)  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with deployment(tmp_path) as services:
        yield World(services)


def accepted(world: World) -> dict[str, dict[str, str]]:
    governed = world.governed
    return {
        "key": {"X-API-Key": governed.key},
        "bearer": {"Authorization": f"Bearer {governed.key}"},
        "sdk": {
            "X-API-Key": governed.key, "Authorization": f"Bearer {governed.key}", "X-NULLRUN-PROTOCOL": "4",
            "Content-Type": "application/json",
        },
        "signed": governed.signed(b""),
        "both": {"X-API-Key": governed.key, "Authorization": f"Bearer {world.ada.token}"},
    }  # fmt: skip


@pytest.mark.parametrize("how", ["key", "bearer", "sdk", "signed", "both"])
def test_a_key_connects(world: World, how: str) -> None:
    """The connection listens to its org, knows its key and workflow, and keeps neither key nor secret in the clear."""
    assert world.connect(accepted(world)[how]) == {"statusCode": 200}
    (listener,) = world.listeners()
    assert (listener.key_id, listener.workflow_id, int(listener.cursor)) == (
        world.governed.key_id,
        world.governed.workflow_id,
        -1,
    )
    connection = world.services.connections.get("c1")
    assert connection is not None
    stored = repr([listener.serialize(), connection.serialize()])
    assert world.governed.key not in stored and world.governed.secret not in stored
    assert world.governed.key.encode() not in listener.sealed and world.sender.sent == []


@pytest.mark.parametrize("by_query", [False, True])
def test_a_member_connects(world: World, by_query: bool) -> None:
    """A dashboard of the org listens too; browsers put the session's token into the query."""
    person: Person = world.ada
    headers = {} if by_query else person.headers
    assert world.connect(headers, **({"token": person.token} if by_query else {})) == {"statusCode": 200}
    (listener,) = world.listeners()
    assert listener.account_id == person.id and not {"key_id", "sealed"} & set(listener.attribute_values)


@pytest.mark.parametrize("wrong", REFUSALS)
def test_a_handshake_is_refused(world: World, wrong: str) -> None:
    """In NullRun's form, before anything is stored."""
    status, code, path, headers, query = world.refusals()[wrong]
    answer = world.connect(headers, path, **query)
    assert (answer["statusCode"], json.loads(answer["body"])["error_code"]) == (status, code)
    assert world.services.connections.get("c1") is None and world.listeners() == []
    assert world.governed.key not in answer["body"]


def test_every_refusal_is_tried(world: World) -> None:
    """The list of cases is the list of refusals."""
    assert set(world.refusals()) == set(REFUSALS)


@pytest.mark.parametrize("wrong", REFUSALS)
def test_the_one_process_host_refuses_alike(world: World, wrong: str) -> None:
    """The handshake itself is answered with the same status and code."""
    status, code, path, headers, query = world.refusals()[wrong]
    sent = conversation(path, headers, query)
    assert (sent[0]["type"], sent[0]["status"]) == ("websocket.http.response.start", status)
    assert json.loads(sent[1]["body"])["error_code"] == code
    assert world.listeners() == []


def conversation(path: str, headers: Mapping[str, str], query: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the one-process host sends to a client that connects, and leaves once it is accepted."""
    sent: list[dict[str, Any]] = []
    said = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}]
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "websocket", "path": path, "headers": raw, "subprotocols": [],
        "query_string": "&".join(f"{name}={value}" for name, value in query.items()).encode(),
        "extensions": {"websocket.http.response": {}},
    }  # fmt: skip

    async def receive() -> Any:
        return said.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    async def converse() -> None:
        (route,) = websocket_routes(Sockets())
        await route.app(scope, receive, send)

    asyncio.run(converse())
    return sent


def test_the_one_process_host_admits_alike(world: World) -> None:
    """A key is accepted, and forgotten when its client leaves."""
    sent = conversation(PATH, {"x-api-key": world.governed.key}, {})
    assert [message["type"] for message in sent] == ["websocket.accept"]
    assert world.listeners() == []


def test_an_expired_key_is_refused(world: World, held: HeldClock) -> None:
    """Its time is over at the handshake, too."""
    expires_ms = held.now_ms() + HOUR_MS
    wanted = NewKey(name="short", workflow_id=world.governed.workflow_id, expires_ms=expires_ms)
    minted = world.services.governance.keys.mint(owner(), wanted)
    held.advance(3_601)
    answer = world.connect({"X-API-Key": minted.key})
    assert (answer["statusCode"], json.loads(answer["body"])["error_code"]) == (401, "API_KEY_EXPIRED")


def test_a_key_that_is_revoked_while_it_connects_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The revocation found no socket to close, so the handshake finds the revocation; no row stays."""
    connections = world.services.connections
    opened = connections.open

    def revoked_before(*given: Any) -> None:
        world.services.governance.keys.revoke(owner(), world.governed.key_id)
        opened(*given)

    monkeypatch.setattr(connections, "open", revoked_before)
    assert world.connect({"X-API-Key": world.governed.key})["statusCode"] == 401
    assert world.services.connections.get("c1") is None and world.listeners() == []


def test_a_member_who_is_removed_while_connecting_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with keys: whoever is no member when the connection was stored does not stay."""
    connections = world.services.connections
    opened = connections.open

    def signed_out_before(*given: Any) -> None:
        call(auth, "POST", "/api/v1/auth/logout", headers=world.ada.headers)
        opened(*given)

    monkeypatch.setattr(connections, "open", signed_out_before)
    assert world.connect(world.ada.headers)["statusCode"] == 401
    assert world.services.connections.get("c1") is None and world.listeners() == []


def test_an_ack_is_recorded_once(world: World) -> None:
    """For its connection and key; a repetition changes nothing, and nothing is answered."""
    world.connect({"X-API-Key": world.governed.key})
    ack = {"message_id": "0198f2aa-0000-7000-8000-000000000000", "received_at": 1_790_000_000, "type": "ack"}
    for message in (ack, ack | {"type": "Ack"}):
        assert world.say(message) == []
    assert world.acks() == [(ack["message_id"], "c1", world.governed.key_id)]


def test_an_ack_is_no_listener(world: World) -> None:
    """The relay passes over it."""
    world.connect({"X-API-Key": world.governed.key})
    world.say({"type": "ack", "message_id": "m1"})
    assert world.services.store is not None
    assert world.services.relay.handle(world.services.store.stream.read(0)) == []


def test_an_ack_the_store_does_not_take_is_lost_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would not connect again."""
    world.connect({"X-API-Key": world.governed.key})

    def away(*given: Any) -> None:
        raise Unavailable("The store cannot be reached; try again")

    monkeypatch.setattr(world.services.connections, "acknowledge", away)
    assert world.say({"type": "ack", "message_id": "m1"}) == []


@pytest.mark.parametrize("message_id", [None, 7, "", "x" * 129, ["m1"], "\ud800"])
def test_an_ack_of_nothing_is_refused(world: World, message_id: Any) -> None:
    """It is answered, and the connection stays."""
    world.connect({"X-API-Key": world.governed.key})
    (answer,) = world.say({"type": "ack", "message_id": message_id})
    assert (answer["type"], answer["code"]) == ("error", "invalid_message_id")
    assert world.acks() == [] and len(world.listeners()) == 1


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ({"type": "Subscribed", "organization_id": ORG}, {"type": "subscribed", "organization_id": ORG}),
        ({"type": "subscribed"}, {"type": "subscribed", "organization_id": ORG}),
        ({"organization_id": ORG}, {"type": "subscribed", "organization_id": ORG}),
        ({"type": "ping"}, {"type": "pong"}),
        ({"type": "PING"}, {"type": "pong"}),
    ],
)
def test_what_clients_say_is_answered(world: World, message: Any, answer: Any) -> None:
    """In any case, with or without a type."""
    world.connect({"X-API-Key": world.governed.key})
    assert world.say(message) == [answer]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "dance"}, "unknown_type"),
        ({"type": 7}, "unknown_type"),
        ({"type": None, "organization_id": ORG}, "unknown_type"),
        ({}, "unknown_type"),
        ("", "invalid_json"),
        ("no json", "invalid_json"),
        ("[]", "invalid_json"),
        ("[" * 9999, "invalid_json"),
        ('{"type": "ping", "x": NaN}', "invalid_json"),
        ('{"type": "ping", "x": "' + "x" * LARGEST_MESSAGE + '"}', "invalid_json"),
    ],
)
def test_nonsense_is_answered_with_an_error(world: World, message: Any, code: str) -> None:
    """Nothing a client says ends its connection."""
    world.connect({"X-API-Key": world.governed.key})
    (answer,) = world.say(message)
    assert (answer["type"], answer["code"]) == ("error", code) and answer["message"]
    assert len(world.listeners()) == 1


def test_a_client_that_left_is_forgotten_when_it_is_answered(world: World) -> None:
    """Its rows go, the one of its turn for a pong included."""
    world.connect({"X-API-Key": world.governed.key})
    world.sender.gone.add("c1")
    assert world.say({"type": "ping"}) == []
    assert world.services.connections.get("c1") is None and world.listeners() == []
    assert all(world.services.connections.beating(turn) == [] for turn in range(4))


def test_a_disconnected_client_leaves_nothing(world: World) -> None:
    """After $disconnect no row is left."""
    world.connect({"X-API-Key": world.governed.key})
    handler({"requestContext": {"routeKey": "$disconnect", "connectionId": "c1"}}, None)
    assert world.services.connections.get("c1") is None and world.listeners() == []
    assert all(world.services.connections.beating(turn) == [] for turn in range(4))


def test_keys_of_two_orgs_hear_their_own(world: World) -> None:
    """A key of the path's org is needed even where both orgs exist."""
    theirs: Governed = govern(world.services, org_id=world.bob.org_id)
    assert world.connect({"X-API-Key": theirs.key})["statusCode"] == 403
    assert world.connect({"X-API-Key": theirs.key}, f"/ws/control/{world.bob.org_id}") == {"statusCode": 200}
    assert world.listeners() == []


@pytest.mark.parametrize(
    "name", ["", "/", "/ORG/more", "/" + "x" * 129, "/\ud800", "/ü", "/%00", "/a#b", "/.", "/a b", "/ORG/"]
)
def test_there_is_nothing_at_other_paths(world: World, name: str) -> None:
    """What cannot be an org is no path of ours."""
    answer = world.connect({"X-API-Key": world.governed.key}, "/ws/control" + name.replace("ORG", ORG))
    assert answer["statusCode"] == 404
