"""The control plane: what listeners are sent, and that no state is ever lost on the way."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from functions.channels.handshake import Handshake
from functions.channels.protocol import admit, begin
from shared.composition import Services
from shared.governance import frames
from shared.governance.control import ControlPlane
from shared.governance.key_forms import NewKey
from shared.governance.states import Change
from shared.identity import DEFAULT_ORG_ID
from shared.kit.errors import Unavailable
from shared.push import Gone
from shared.push.connections import BEATS, LIFE_SECONDS
from shared.store.embedded import StoreRequest
from shared.store.models.channels import Listener, channel_pk
from tests.support.deployment import deployment, sign_up
from tests.support.governance import Governed, govern, owner
from tests.support.push import RecordingSender
from tests.support.time import HeldClock

ORG = DEFAULT_ORG_ID


class World:
    """A deployment whose relay a test turns by hand."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.sender = RecordingSender()
        services.__dict__["sender"] = self.sender
        self.governed = govern(services)
        self._after = 0

    def connect(self, connection_id: str, governed: Governed | None = None) -> None:
        key = (governed or self.governed).key
        begin(admit(Handshake(connection_id, f"/ws/control/{ORG}", {"x-api-key": key}, {})))

    def listeners(self) -> list[Listener]:
        return self.services.connections.listeners(channel_pk(ORG, "control"))

    def relay(self) -> list[int]:
        """Hand all that happened since the last time to the relay."""
        assert self.services.store is not None
        records = self.services.store.stream.read(self._after)
        self._after = max((record.sequence for record in records), default=self._after)
        return self.services.relay.handle(records)

    def change(self, change: Change, governed: Governed | None = None, reason: str | None = None) -> None:
        wanted = (governed or self.governed).workflow_id
        self.services.governance.workflows.change_state(owner(), wanted, change, reason)

    def heard(self, connection_id: str, kind: str | None = None) -> list[dict[str, Any]]:
        found = [json.loads(text) for text in self.sender.to(connection_id)]
        return [frame for frame in found if kind in (None, frame["type"])]

    def states(self, connection_id: str) -> dict[str, str]:
        """What a client believes that drops versions which are not higher, as NullRun's SDK does."""
        return believed(self.heard(connection_id))


def believed(heard: list[dict[str, Any]]) -> dict[str, str]:
    versions: dict[str, int] = {}
    states: dict[str, str] = {}
    for frame in heard:
        for entry in frame.get("workflows", [frame]):
            if "state" in entry and entry["version"] > versions.get(entry["workflow_id"], -1):
                versions[entry["workflow_id"]] = entry["version"]
                states[entry["workflow_id"]] = entry["state"]
    return states


def verified(frame: dict[str, Any], governed: Governed, secret: str | None = None) -> dict[str, Any]:
    """The signed content of a frame, checked by the documented formula and not by our own code."""
    payload = bytes.fromhex(frame["signed_payload"])
    message = f"{frame['timestamp']}:{governed.key}:{hashlib.sha256(payload).hexdigest()}"
    expected = hmac.new((secret or governed.secret).encode(), message.encode(), hashlib.sha256).hexdigest()
    assert frame["signature"] == expected and frame["api_key"] == governed.key
    found: dict[str, Any] = json.loads(payload)
    return found


@pytest.fixture
def world(tmp_path: Path, held: HeldClock) -> Iterator[World]:
    with deployment(tmp_path) as services:
        yield World(services)


def test_a_new_listener_is_told_every_state_once(world: World) -> None:
    """Its own workflow also under the texts its processes use; later hints of the same row say nothing."""
    other = govern(world.services, name="other bot")
    world.services.governance.aliases.add(ORG, world.governed.workflow_id, "seen in status")
    world.connect("c1")
    assert world.relay() == []
    (frame,) = world.heard("c1")
    assert frame["type"] == "initial_state"
    named = {entry["workflow_id"]: entry for entry in frame["workflows"]}
    own = world.governed.workflow_id
    assert set(named) >= {own, "support bot", "seen in status", other.workflow_id} and "other bot" not in named
    assert named[own] | {"workflow_id": "support bot"} == named["support bot"]
    assert (named[own]["state"], named[own]["version"], named[own]["reason"]) == ("Normal", 1, None)
    assert named[own]["updated_at"] == 1_767_225_600
    world.services.relay.handle(world.services.store.stream.read(0))  # type: ignore[union-attr]
    assert len(world.heard("c1", "initial_state")) == 1


def test_a_kill_is_pushed_signed_and_under_every_alias(world: World) -> None:
    """To the workflow's own sockets also by name; all verify with the secret that key and socket have."""
    other = govern(world.services, name="other bot")
    world.connect("c1")
    world.connect("c2", other)
    world.relay()
    world.change("kill", reason="runaway")
    world.relay()
    own = world.governed.workflow_id
    told = [verified(frame, world.governed) for frame in world.heard("c1", "state_change")]
    assert [content["workflow_id"] for content in told] == [own, "support bot"]
    for content in told:
        assert (content["state"], content["version"], content["reason"]) == ("Killed", 2, "runaway")
        assert content["type"] == "state_change" and content["updated_at"] == 1_767_225_600 and content["message_id"]
    (elsewhere,) = world.heard("c2", "state_change")
    assert verified(elsewhere, other)["workflow_id"] == own


def test_frames_are_signed_with_the_secret_of_the_connection(world: World) -> None:
    """A rotation does not reach a socket that is open; one opened afterwards gets the new secret."""
    world.connect("old")
    rotated = world.services.governance.keys.rotate(owner(), world.governed.key_id)
    world.connect("new")
    world.relay()
    (frame,) = world.heard("old", "key_rotated")
    assert verified(frame, world.governed)["new_version"] == 2
    world.change("pause")
    world.relay()
    verified(world.heard("old", "state_change")[0], world.governed)
    verified(world.heard("new", "state_change")[0], world.governed, rotated.secret)


def test_a_signed_handshake_tells_which_secret_the_client_has(world: World) -> None:
    """While two secrets verify, the one the client signed with is used."""
    world.services.governance.keys.rotate(owner(), world.governed.key_id)
    begin(admit(Handshake("c1", f"/ws/control/{ORG}", world.governed.signed(b""), {})))
    world.change("pause")
    world.relay()
    verified(world.heard("c1", "state_change")[0], world.governed)


def test_a_listener_that_cannot_be_signed_for_is_told_unsigned(world: World) -> None:
    """Frames without a signature are accepted, so a changed root secret silences nobody."""
    world.connect("c1")
    world.services.__dict__["control"] = ControlPlane(b"x" * 32, world.services.connections, world.sender)
    world.services.control.push(ORG, [frames.policy_invalidated(ORG, "p1", 2)], "m1")
    assert world.heard("c1") == [
        {
            "type": "policy_invalidated", "organization_id": ORG, "policy_id": "p1", "new_version": 2,
            "message_id": "m1",
        }
    ]  # fmt: skip


def test_a_reconnect_begins_with_the_current_states(world: World) -> None:
    """What was missed in between is in the first frame."""
    world.connect("c1")
    world.relay()
    world.services.connections.close("c1")
    world.change("pause")
    world.connect("c2")
    world.relay()
    assert world.states("c1")[world.governed.workflow_id] == "Normal"
    assert world.states("c2")[world.governed.workflow_id] == world.states("c2")["support bot"] == "Paused"


def test_a_resolved_approval_reaches_the_org_and_nobody_else(world: World) -> None:
    """With its id, so that it can be confirmed; another org's sockets hear nothing."""
    world.connect("c1")
    frame = frames.approval_resolved("a1", world.governed.workflow_id, "e1", "approved", "fine", 1_000)
    world.services.control.push("another-org", [frame], "m0")
    assert world.heard("c1") == []
    world.services.control.push(ORG, [frame], "m1")
    (sent,) = world.heard("c1")
    assert verified(sent, world.governed) == {**frame, "message_id": "m1"}


def test_a_revoked_key_loses_its_sockets(world: World) -> None:
    """They are closed with 1008 and forgotten; those of other keys stay, and no client hears of it."""
    spare = world.services.governance.keys.mint(owner(), NewKey(name="spare", workflow_id=world.governed.workflow_id))
    world.connect("c1")
    world.connect("c2", Governed(ORG, world.governed.workflow_id, spare.view.id, spare.key, spare.secret))
    world.relay()
    world.services.governance.keys.revoke(owner(), world.governed.key_id)
    world.relay()
    assert (world.sender.closed, world.sender.codes) == (["c1"], [1008])
    assert world.services.connections.get("c1") is None and world.services.connections.get("c2") is not None
    assert world.heard("c2", "key_revoked") == world.heard("c1", "key_revoked") == []


def test_a_former_member_loses_its_sockets(world: World) -> None:
    """A dashboard of somebody who was removed hears nothing more; a key's sockets stay."""
    begin(admit(Handshake("c1", f"/ws/control/{ORG}", sign_up("ada").headers, {})))
    world.connect("c2")
    (account_id,) = (row.account_id for row in world.listeners() if row.account_id)
    frame = frames.policy_invalidated(ORG, "p1", 2)
    world.services.control.push(ORG, [frame, frames.member_removed(account_id)], "m1")
    assert (world.sender.closed, world.sender.codes) == (["c1"], [1008])
    assert [row.connection_id for row in world.listeners()] == ["c2"]
    assert [heard["type"] for heard in world.heard("c1")] == ["policy_invalidated"]


def test_no_change_of_state_closes_a_socket(world: World) -> None:
    """NullRun's SDK does not connect again: whoever is paused, resumed or killed stays connected."""
    world.connect("c1")
    for change in ("pause", "resume", "kill"):
        world.change(change)
    world.relay()
    assert world.sender.closed == []
    assert [frame["state"] for frame in world.heard("c1", "state_change")][::2] == ["Paused", "Normal", "Killed"]


def test_a_gone_connection_is_forgotten_and_holds_up_nobody(world: World) -> None:
    """The others are sent to, and the dead one's rows are removed."""
    world.connect("dead")
    world.connect("c1")
    world.sender.gone.add("dead")
    world.services.control.push(ORG, [frames.key_rotated(ORG, "k", 2)], "m1")
    assert len(world.heard("c1")) == 1
    assert [row.connection_id for row in world.listeners()] == ["c1"]


def test_a_connection_in_its_handshake_is_not_forgotten(world: World, held: HeldClock) -> None:
    """API Gateway cannot reach it yet; it is told the states when it can be."""
    control = ControlPlane(b"x" * 32, world.services.connections, world.sender, young_ms=10_000)
    world.connect("c1")
    world.sender.gone.add("c1")
    control.push(ORG, [frames.key_rotated(ORG, "k", 2)], "m1")
    assert world.services.connections.get("c1") is not None
    held.advance(10)
    control.push(ORG, [frames.key_rotated(ORG, "k", 2)], "m1")
    assert world.services.connections.get("c1") is None


def test_a_failing_send_is_told_after_everyone_else_was_served(world: World) -> None:
    """The event comes again, and the second time everybody has it."""
    for name in ("c1", "c2", "c3"):
        world.connect(name)
    world.sender.broken = 1
    with pytest.raises(Unavailable, match="1 connections"):
        world.services.control.push(ORG, [frames.key_rotated(ORG, "k", 2)], "m1")
    assert sorted(len(world.heard(name)) for name in ("c1", "c2", "c3")) == [0, 1, 1]
    world.services.control.push(ORG, [frames.key_rotated(ORG, "k", 2)], "m1")
    assert all(world.heard(name) for name in ("c1", "c2", "c3"))


def test_a_broadcast_reads_the_listeners_once_whatever_their_number(world: World) -> None:
    """One query of the listeners and one read of the workflow's texts; nothing for each socket."""
    for number in range(40):
        world.connect(f"c{number}")
    assert world.services.store is not None
    made: list[StoreRequest] = []
    unsubscribe = world.services.store.requests.subscribe(made.append)
    frame = frames.state_change(world.governed.workflow_id, "Paused", 2, None, 0)
    world.services.control.push(ORG, [frame], "m1")
    unsubscribe()
    assert len(made) == 2 and len(world.sender.sent) == 80


def test_agents_that_connect_together_are_read_for_once(world: World) -> None:
    """The workflows and their purses in two requests for all of them; each listener is found, claimed and settled."""
    govern(world.services, name="other bot")
    world.relay()
    for number in range(20):
        world.connect(f"c{number}")
    assert world.services.store is not None
    made: list[StoreRequest] = []
    unsubscribe = world.services.store.requests.subscribe(made.append)
    world.relay()
    unsubscribe()
    assert len(made) == 2 + 20 * 3
    assert all(len(world.heard(f"c{number}", "initial_state")) == 1 for number in range(20))


class Lanes(RecordingSender):
    """A sender that takes time, so that several messages are under way at once."""

    lanes = 4

    def __init__(self) -> None:
        super().__init__()
        self.met = threading.Barrier(4, timeout=10)

    def send(self, connection_id: str, text: str) -> None:
        self.met.wait()
        if connection_id in self.gone:
            raise Gone("gone")
        super().send(connection_id, text)


def test_a_slow_sender_is_used_by_several_threads(world: World) -> None:
    """Four connections are sent to at the same time, and each failure is its own."""
    for name in ("c1", "c2", "c3", "c4"):
        world.connect(name)
    sender = Lanes()
    sender.gone.add("c3")
    ControlPlane(b"x" * 32, world.services.connections, sender).push(ORG, [frames.key_rotated(ORG, "k", 2)], "m1")
    assert sorted(name for name, _ in sender.sent) == ["c1", "c2", "c4"]
    assert world.services.connections.get("c3") is None


def test_nothing_is_looked_up_while_nobody_is_connected(world: World) -> None:
    """A process without a socket asks the store nothing."""
    assert world.services.store is not None
    world.sender.in_use = False
    made: list[StoreRequest] = []
    unsubscribe = world.services.store.requests.subscribe(made.append)
    world.services.control.push(ORG, [frames.key_rotated(ORG, "k", 2)], "m1")
    assert world.services.control.keep_alive(0) == 0
    unsubscribe()
    assert made == []


def test_every_connection_hears_a_pong_within_the_turns(world: World, held: HeldClock) -> None:
    """One minute of each few is its own, so that no connection is silent for ten minutes."""
    for number in range(6):
        world.connect(f"c{number}")
        held.advance(1)
    counts = [world.services.control.keep_alive(minute * 60_000) for minute in range(BEATS)]
    assert sum(counts) == 6 and max(counts) < 6
    assert all(world.heard(f"c{number}") == [{"type": "pong"}] for number in range(6))


def test_a_connection_that_misses_its_pong_is_forgotten(world: World) -> None:
    """Gone ones leave no row behind; what fails otherwise is tried at the next turn."""
    world.connect("dead")
    world.connect("c1")
    world.sender.gone.add("dead")
    for minute in range(BEATS):
        world.services.control.keep_alive(minute * 60_000)
    assert world.services.connections.get("dead") is None and world.services.connections.get("c1") is not None
    assert sum(world.services.control.keep_alive(minute * 60_000) for minute in range(BEATS)) == 1
    world.sender.broken = 1
    for minute in range(BEATS):
        world.services.control.keep_alive(minute * 60_000)
    assert world.services.connections.get("c1") is not None


def test_a_connection_lives_as_long_as_it_answers(world: World, held: HeldClock) -> None:
    """A socket of one's own process is never cut off by the age of its rows."""
    world.connect("c1")
    for _ in range(4):
        held.advance(LIFE_SECONDS * 2 // 3)
        for minute in range(BEATS):
            world.services.control.keep_alive(minute * 60_000)
    world.services.control.push(ORG, [frames.key_rotated(ORG, "k", 2)], "m1")
    assert len(world.heard("c1", "key_rotated")) == 1
    world.services.connections.close("c1")
    assert world.listeners() == []


def test_no_state_is_lost_between_connecting_and_changing(tmp_path: Path) -> None:
    """Whoever connects while a workflow is paused, resumed and at last killed ends up believing that it is killed."""
    with deployment(tmp_path) as services:
        world = World(services)
        world.relay()
        go, over = threading.Barrier(4, timeout=10), threading.Event()

        def changing() -> None:
            go.wait()
            for change in ("pause", "resume", "pause", "resume", "kill"):
                world.change(change)

        def connecting(lane: str) -> None:
            go.wait()
            for number in range(8):
                world.connect(f"{lane}{number}")

        def relaying() -> None:
            go.wait()
            while not over.is_set():
                world.relay()

        with ThreadPoolExecutor(4) as pool:
            relay = pool.submit(relaying)
            works = [pool.submit(changing), pool.submit(connecting, "a"), pool.submit(connecting, "b")]
            wait(works)
            over.set()
            for work in (*works, relay):
                work.result()
        world.relay()
        for name in [f"{lane}{number}" for lane in "ab" for number in range(8)]:
            found = world.states(name)
            assert found[world.governed.workflow_id] == found["support bot"] == "Killed", name
