"""From change records to messages: no gap, no double, nobody held up by another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from shared.kit import clock
from shared.push import Connections, Memo, Relay, Step
from shared.store.embedded import EmbeddedEngine
from shared.store.models.channels import Listener, channel_pk
from shared.store.models.executions import Control, Summary, execution_pk
from shared.store.stream import ChangeRecord
from tests.support.push import CHANNEL, EXECUTION, ORG, RecordingSender, ScriptedReader, connect, journal_grows
from tests.support.time import HeldClock


class World:
    """A relay over one scripted channel, fed from the store's own stream."""

    def __init__(self, store: EmbeddedEngine, *, closes: bool = True, young_ms: int = 0) -> None:
        self.connections = Connections()
        self.sender = RecordingSender()
        self.reader = ScriptedReader(closes=closes)
        self.relay = Relay(self.connections, self.sender, {"scripted": self.reader}, young_ms=young_ms)
        self._store = store
        self._after = 0

    def listen(self, connection_id: str, org_id: str = ORG) -> None:
        self.connections.listen(connect(self.connections, connection_id, org_id), CHANNEL, "scripted")

    def happens(self, *facts: str) -> None:
        first = len(self.reader.facts)
        self.reader.facts.extend(facts)
        journal_grows(first)

    def news(self) -> list[ChangeRecord]:
        records = self._store.stream.read(self._after, 1000)
        self._after = records[-1].sequence if records else self._after
        return records

    def turn(self) -> list[int]:
        return self.relay.handle(self.news())


@pytest.fixture
def world(store: EmbeddedEngine) -> World:
    return World(store)


def test_a_late_listener_gets_everything_so_far_then_what_follows(world: World) -> None:
    """Replay and live join without gap or double."""
    world.happens("a", "b")
    world.listen("c1")
    world.turn()
    world.happens("c")
    world.turn()
    world.turn()
    assert world.sender.to("c1") == ["a", "b", "c"]


def test_repeated_and_reordered_records_send_nothing_twice(world: World) -> None:
    """A change record is a hint: delivering it again, late or out of order changes nothing."""
    world.listen("c1")
    world.happens("a")
    world.happens("b")
    records = world.news()
    world.relay.handle(reversed(records))
    world.relay.handle(records + records)
    assert world.sender.to("c1") == ["a", "b"]


def test_the_last_message_ends_the_connection(world: World) -> None:
    """After the final message the socket is closed normally and its rows are gone."""
    world.listen("c1")
    world.happens("a", "end")
    world.turn()
    assert world.sender.to("c1") == ["a", "end"] and world.sender.closed == ["c1"]
    assert world.connections.get("c1") is None
    assert world.connections.listeners(channel_pk(ORG, CHANNEL)) == []


def test_a_relay_that_dies_at_the_end_leaves_no_listener(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose relay died between the last message and its closing is closed by the next delivery."""
    with clock.use(HeldClock()):
        world.listen("c1")
        world.happens("a", "end")
        records = world.news()
        with monkeypatch.context() as broken:
            broken.setattr(world.sender, "close", _dies)
            with pytest.raises(_Death):
                world.relay.handle(records)
        world.relay.handle(records)
        assert world.sender.closed == ["c1"]
        assert world.connections.listeners(channel_pk(ORG, CHANNEL)) == []


class _Death(BaseException):
    pass


def _dies(connection_id: str) -> None:
    raise _Death


def test_a_channel_that_ends_leaves_a_subscription_connection_open(store: EmbeddedEngine) -> None:
    """Where one connection follows many executions, the end of one only ends that subscription."""
    world = World(store, closes=False)
    world.listen("c1")
    world.happens("end")
    world.turn()
    assert world.sender.closed == [] and world.connections.get("c1") is not None
    assert world.connections.listeners(channel_pk(ORG, CHANNEL)) == []


def test_another_org_hears_nothing(world: World) -> None:
    """The channel of the same execution id in another org is another channel."""
    world.listen("stranger", org_id="org-2")
    world.turn()
    world.sender.sent.clear()
    world.happens("a")
    world.turn()
    assert world.sender.sent == []


def test_a_gone_connection_is_forgotten_and_others_go_on(world: World) -> None:
    """One dead client costs the others nothing."""
    world.listen("dead")
    world.listen("alive")
    world.sender.gone.add("dead")
    world.happens("a")
    assert world.turn() == []
    assert world.sender.to("alive") == ["a"] and world.connections.get("dead") is None


def test_a_young_connection_is_tried_again(store: EmbeddedEngine) -> None:
    """A send may fail while the handshake is under way: the record comes again and nothing is lost."""
    world = World(store, young_ms=10_000)
    world.listen("c1")
    world.happens("a")
    world.sender.gone.add("c1")
    records = world.news()
    failed = world.relay.handle(records)
    assert failed and world.sender.sent == []
    world.sender.gone.clear()
    assert world.relay.handle(record for record in records if record.sequence in failed) == []
    assert world.sender.to("c1") == ["a"]


def test_a_failed_send_is_repeated_from_where_it_failed(world: World) -> None:
    """What was sent before the failure is not sent again."""
    world.listen("c1")
    world.happens("a", "b")
    world.sender.broken = 1
    records = world.news()
    failed = world.relay.handle(records)
    assert failed
    world.relay.handle(records)
    assert world.sender.to("c1") == ["a", "b"]


def test_a_full_connection_waits_without_holding_up_others(world: World) -> None:
    """The cursor of a slow client stays; once it takes more it gets the rest in order."""
    world.listen("slow")
    world.listen("quick")
    world.sender.full.add("slow")
    world.happens("a", "b")
    assert world.turn() == []
    assert world.sender.to("quick") == ["a", "b"] and world.sender.to("slow") == [] and world.relay.holds_back
    world.sender.full.clear()
    world.relay.resume("slow")
    assert world.sender.to("slow") == ["a", "b"] and not world.relay.holds_back


def test_what_fails_as_a_connection_has_room_is_held_back_again(world: World) -> None:
    """No message is lost when the store or the socket fails just then: the next look at the connection sends it."""
    world.listen("slow")
    world.sender.full.add("slow")
    world.happens("a")
    world.turn()
    world.sender.full.clear()
    world.sender.broken = 1
    with pytest.raises(OSError, match="broken"):
        world.relay.resume("slow")
    assert world.relay.holds_back
    world.relay.resume("slow")
    assert world.sender.to("slow") == ["a"] and not world.relay.holds_back


def test_an_execution_that_is_gone_ends_its_listeners(world: World) -> None:
    """A deleted execution closes the sockets that follow it instead of failing for ever."""
    world.reader.missing = True
    world.listen("c1")
    assert world.turn() == [] and world.sender.closed == ["c1"]


def test_other_items_of_an_execution_are_no_hint(world: World) -> None:
    """Only journal entries and new listeners make the relay look."""
    world.listen("c1")
    world.turn()
    world.reader.facts.append("unseen")
    Summary(execution_pk(ORG, EXECUTION), "summary").delete()
    Control(execution_pk(ORG, EXECUTION), "control").delete()
    world.connections.settle(Listener(channel_pk(ORG, CHANNEL), "c1"), 0)
    assert world.turn() == [] and world.sender.sent == []


def test_nothing_is_looked_up_when_nobody_is_connected(world: World, store: EmbeddedEngine) -> None:
    """Without open sockets a change record costs no store request."""
    world.happens("a")
    world.sender.in_use = False
    records = world.news()
    asked: list[str] = []
    stop = store.requests.subscribe(lambda request: asked.append(request.operation))
    world.relay.handle(records)
    stop()
    assert asked == []


def test_other_handlers_see_every_record(store: EmbeddedEngine) -> None:
    """A handler beside the channels gets each record; its failure is reported and stops nothing."""
    seen: list[int] = []

    def note(record: ChangeRecord) -> None:
        seen.append(record.sequence)
        if len(seen) == 1:
            raise ValueError("first")

    relay = Relay(Connections(), RecordingSender(), {}, others=[note])
    journal_grows(0)
    journal_grows(1)
    records = store.stream.read(0)
    assert relay.handle(records) == [records[0].sequence]
    assert seen == [record.sequence for record in records]


def test_other_handlers_see_changes_of_one_item_once(store: EmbeddedEngine) -> None:
    """Changes of an item that come together are one hint; a failed one is not, and another event is another hint."""
    seen: list[int] = []

    def note(record: ChangeRecord) -> None:
        seen.append(record.sequence)
        if len(seen) == 1:
            raise ValueError("first")

    journal_grows(0)
    (made,) = store.stream.read(0)
    changes = [replace(made, sequence=made.sequence + number, event="MODIFY") for number in range(1, 5)]
    relay = Relay(Connections(), RecordingSender(), {}, others=[note])
    assert relay.handle([*changes, made]) == [changes[0].sequence]
    assert seen == [changes[0].sequence, changes[1].sequence, made.sequence]


def test_two_relays_at_once_send_each_message_once_in_order(store: EmbeddedEngine) -> None:
    """The claim orders concurrent senders of one listener."""
    world = World(store)
    world.listen("c1")
    world.happens(*[str(number) for number in range(50)])
    records = world.news()
    start = threading.Barrier(4)

    def relay() -> None:
        start.wait()
        Relay(Connections(), world.sender, {"scripted": world.reader}).handle(records)

    threads = [threading.Thread(target=relay) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.sender.to("c1") == [str(number) for number in range(50)]


def test_a_claim_is_kept_alive_through_a_long_replay(store: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending longer than a claim lasts renews it, so nobody sends beside us."""
    world = World(store)
    monkeypatch.setattr("shared.push.relay.CLAIM_MS", 0)
    renewed: list[str] = []

    def renew(self: Connections, listener: Listener) -> bool:
        renewed.append(listener.sk)
        return True

    monkeypatch.setattr(Connections, "renew", renew)
    world.listen("c1")
    world.happens("a", "b")
    world.turn()
    assert renewed == ["c1", "c1"] and world.sender.to("c1") == ["a", "b"]


def test_a_lost_claim_stops_sending(store: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lost the claim sends nothing more; the record comes again."""
    world = World(store)
    monkeypatch.setattr("shared.push.relay.CLAIM_MS", 0)
    monkeypatch.setattr(Connections, "renew", lambda self, listener: False)
    world.listen("c1")
    world.happens("a")
    assert world.turn() != [] and world.sender.sent == []


def test_a_reader_that_never_ends_its_list_is_followed_lazily(store: EmbeddedEngine) -> None:
    """Steps are read as they are sent: a full connection stops the reading too."""
    read: list[int] = []

    class Endless:
        closes = True

        def steps(self, listener: Listener, memo: Memo) -> Iterator[Step]:
            for number in range(1_000_000):
                read.append(number)
                yield Step((str(number),), number + 1)

    sender = RecordingSender()
    connections = Connections()
    connections.listen(connect(connections, "c1"), CHANNEL, "endless")
    sender.full.add("c1")
    Relay(connections, sender, {"endless": Endless()}).handle(store.stream.read(0))
    assert read == [0]
