"""The thread over the outbox: in order, again on failure, never stuck, trimming what it handled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

import pytest

from shared.adapters.embedded import relay as module
from shared.adapters.embedded.relay import RelayThread
from shared.push import Connections, Relay
from shared.store.embedded import EmbeddedEngine
from shared.store.stream import ChangeRecord
from tests.support.push import CHANNEL, RecordingSender, ScriptedReader, connect, journal_grows

PATIENCE_S = 10.0


class Outcome:
    """Waits until a condition holds, checked whenever something happened."""

    def __init__(self) -> None:
        self.changed = threading.Condition()

    def note(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE_S)


class NotingRelay(Relay):
    """A relay whose calls can be waited for; fails as often as told."""

    def __init__(self, outcome: Outcome, sender: RecordingSender, reader: ScriptedReader) -> None:
        super().__init__(Connections(), sender, {"scripted": reader})
        self.outcome = outcome
        self.failures = 0
        self.handled: list[int] = []
        self.tries: list[int] = []

    def handle(self, records: Iterable[ChangeRecord]) -> list[int]:
        given = list(records)
        self.tries += [record.sequence for record in given]
        if self.failures:
            self.failures -= 1
            self.outcome.note()
            return [record.sequence for record in given]
        failed = super().handle(given)
        self.handled += [record.sequence for record in given]
        self.outcome.note()
        return failed

    def resume(self, connection_id: str) -> None:
        super().resume(connection_id)
        self.outcome.note()


class World:
    def __init__(self, engine: EmbeddedEngine) -> None:
        self.engine = engine
        self.outcome, self.sender, self.reader = Outcome(), RecordingSender(), ScriptedReader()
        self.relay = NotingRelay(self.outcome, self.sender, self.reader)
        self.thread = RelayThread(engine.stream, self.relay)

    def happens(self, *facts: str) -> None:
        first = len(self.reader.facts)
        self.reader.facts.extend(facts)
        journal_grows(first)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, store: EmbeddedEngine) -> Iterator[World]:
    monkeypatch.setattr(module, "TRIM_SECONDS", 0.0)
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
    world = World(store)
    yield world
    world.thread.close()


def test_what_happens_is_sent_and_forgotten(world: World) -> None:
    """Messages go out as facts appear, and the outbox does not grow."""
    connections = Connections()
    connections.listen(connect(connections, "c1"), CHANNEL, "scripted")
    world.thread.run()
    world.happens("a")
    world.outcome.until(lambda: world.sender.to("c1") == ["a"])
    world.happens("b")
    world.outcome.until(lambda: world.sender.to("c1") == ["a", "b"])
    world.thread.close()
    left = world.engine.stream.read(0)
    assert [record for record in left if record.sequence <= max(world.relay.handled, default=0)][1:] == []


def test_a_record_that_fails_comes_again(world: World) -> None:
    """A store out of reach for a moment loses nothing."""
    world.relay.failures = 2
    world.happens("a")
    world.thread.run()
    world.outcome.until(lambda: bool(world.relay.handled))
    assert len(world.relay.tries) == 3


def test_a_record_that_never_works_is_dropped(world: World) -> None:
    """It is tried a few times and then holds up nothing, not even the trimming."""
    world.relay.failures = module.MAX_TRIES
    world.happens("a")
    world.thread.run()
    world.outcome.until(lambda: len(world.relay.tries) == module.MAX_TRIES)
    world.happens("b")
    world.outcome.until(lambda: bool(world.relay.handled))
    assert len(world.relay.tries) == module.MAX_TRIES + 1


def test_a_drained_connection_goes_on(world: World) -> None:
    """After the sockets report room, the rest is sent."""
    connections = Connections()
    connections.listen(connect(connections, "c1"), CHANNEL, "scripted")
    world.sender.full.add("c1")
    world.happens("a")
    world.thread.run()
    world.outcome.until(lambda: world.relay.holds_back)
    world.sender.full.clear()
    world.thread.room("c1")
    world.happens("b")
    world.outcome.until(lambda: world.sender.to("c1") == ["a", "b"])


def test_a_drained_connection_that_fails_is_tried_again(world: World) -> None:
    """The sockets report room once; a send that breaks then is repeated without another report."""
    connections = Connections()
    connections.listen(connect(connections, "c1"), CHANNEL, "scripted")
    world.sender.full.add("c1")
    world.happens("a")
    world.thread.run()
    world.outcome.until(lambda: world.relay.holds_back)
    world.sender.broken = 1
    world.sender.full.clear()
    world.thread.room("c1")
    world.outcome.until(lambda: world.sender.to("c1") == ["a"])


def test_closing_before_running_is_harmless(world: World) -> None:
    """A server that failed to start closes what it made."""
    world.thread.close()
