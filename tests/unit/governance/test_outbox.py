"""The outbox: everybody hears of everything, however often it is told and whoever fails on it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import pytest

from shared.governance import backlog
from shared.governance.audit import Audit, AuditFilter
from shared.governance.chain import Source
from shared.governance.events import RELAYED_MS
from shared.governance.exports import Exports
from shared.governance.outbox import GIVEN_UP_MS, Outbox
from shared.kit.errors import Unavailable
from shared.push import Connections, Relay
from shared.store.blobs import FolderBlobs
from shared.store.embedded import EmbeddedEngine, Fault
from shared.store.models.backlog import Backlog, backlog_pk
from shared.store.models.governance import Event, Operation, events_pk
from shared.store.models.tracked import Tracked, tracked_pk
from shared.store.stream import ChangeRecord
from shared.store.transaction import read
from tests.support.audit import ORG, OTHER_ORG, asked, event_of, happened, operation_of
from tests.support.push import RecordingSender
from tests.support.store import memory_store
from tests.support.time import HeldClock

FRAMES = ({"type": "state_change"},)


class Heard:
    """Consumers that keep what they were told; those whose names are in ``failing`` fail."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.failing: set[str] = set()
        self.error: Exception = Unavailable("not now")

    def broadcast(self, org_id: str, event: Event) -> None:
        self._hear("control", org_id, event.event_id)

    def command(self, event: Event) -> None:
        self._hear("commands", event.org_id, event.event_id)

    def follow(self, org_id: str, items: Iterable[Source]) -> None:
        for item in items:
            self._hear("alerts", org_id, item.sk if isinstance(item, Event) else item.execution_id)

    def _hear(self, name: str, org_id: str, item: str) -> None:
        if name in self.failing:
            raise self.error
        self.told.append((name, org_id, item))

    def by(self, name: str) -> list[str]:
        """What one of them was told."""
        return [item for heard, _, item in self.told if heard == name]


class World:
    """An outbox fed from the store's own stream."""

    def __init__(self, store: EmbeddedEngine, folder: Path) -> None:
        self.heard = Heard()
        self.audit = Audit()
        self.outbox = Outbox(
            self.audit, Exports(b"r" * 32, FolderBlobs(folder), ""), control=self.heard, commands=self.heard.command,
            alerts=self.heard,
        )  # fmt: skip
        self._store = store
        self._after = 0

    def news(self) -> list[ChangeRecord]:
        """Change records since the last look."""
        records = self._store.stream.read(self._after, 1000)
        self._after = records[-1].sequence if records else self._after
        return records

    def turn(self) -> list[int]:
        return self.outbox.handle(self.news())

    def chained(self, org_id: str = ORG) -> list[str]:
        """Ids of the chain's entries, oldest first."""
        return [entry["id"] for entry in self.audit.list(org_id, AuditFilter(), 1000).entries[::-1]]


@pytest.fixture
def world(store: EmbeddedEngine, tmp_path: Path) -> World:
    return World(store, tmp_path)


def test_everybody_hears_of_new_events_and_operations(world: World) -> None:
    """Frames go to the control plane, events to the commands, all of it to alerts and audit, each org's to itself."""
    event, quiet, operation = happened(control=FRAMES), happened(), asked("block")
    other = happened(org_id=OTHER_ORG)
    assert world.turn() == []
    assert world.heard.by("control") == [event.event_id]
    assert world.heard.by("commands") == [event.event_id, quiet.event_id, other.event_id]
    assert world.heard.by("alerts") == [event.event_id, quiet.event_id, operation.execution_id, other.event_id]
    assert world.chained() == [event.event_id, quiet.event_id, operation.execution_id]
    assert world.chained(OTHER_ORG) == [other.event_id]


def test_nothing_else_is_read(world: World) -> None:
    """Changes of what is known, other records of governance and records of other tables are nobody's news."""
    event, operation = happened(), asked()
    world.turn()
    world.heard.told.clear()
    event_of(event.event_id).update([Event.outcome.set("failure")])
    operation_of(operation).delete()
    Tracked(
        tracked_pk(ORG, "x#events"), "tracked", org_id=ORG, key_id="k", workflow_id="w", event_type="x", digest="d",
        created_ms=1,
    ).save()  # fmt: skip
    assert world.turn() == []
    assert world.heard.told == []


def test_repeated_records_are_chained_once(world: World) -> None:
    """A batch that comes again, whole or in parts, adds no entry."""
    event, operation = happened(), asked()
    records = world.news()
    for batch in (records, records + records, records[:1], records[::-1]):
        assert world.outbox.handle(batch) == []
    assert sorted(world.chained()) == sorted([event.event_id, operation.execution_id])


@pytest.mark.parametrize("error", [Unavailable("not now"), RuntimeError("broken")])
@pytest.mark.parametrize("name", ["control", "commands", "alerts"])
def test_one_that_fails_keeps_no_other_from_hearing(world: World, name: str, error: Exception) -> None:
    """The record comes again and stays due, but it is chained, and whoever heard of it did."""
    world.heard.failing, world.heard.error = {name}, error
    event = happened(control=FRAMES)
    records = world.news()
    assert world.outbox.handle(records) == [record.sequence for record in records]
    assert {heard for heard, _, _ in world.heard.told} == {"control", "commands", "alerts"} - {name}
    assert world.chained() == [event.event_id]
    assert event_of(event.event_id).due_ms is not None
    world.heard.failing = set()
    assert world.outbox.handle(records) == []
    assert world.heard.by(name) == [event.event_id]
    assert event_of(event.event_id).due_ms is None
    assert world.chained() == [event.event_id]


def test_one_bad_event_makes_only_itself_come_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer of single events fails for that event alone."""
    bad, good = happened(control=FRAMES), happened(control=FRAMES)
    broadcast = world.heard.broadcast

    def fussy(org_id: str, event: Event) -> None:
        if event.event_id == bad.event_id:
            raise Unavailable("not this one")
        broadcast(org_id, event)

    monkeypatch.setattr(world.heard, "broadcast", fussy)
    records = world.news()
    assert world.outbox.handle(records) == [records[0].sequence]
    assert (event_of(bad.event_id).due_ms is None, event_of(good.event_id).due_ms is None) == (False, True)


class Unreadable:
    """A store that answers no batch reads while it is ``down``."""

    down = False

    def before(self, operation: str, request: dict[str, object]) -> Fault | None:
        return Fault.FAILED if self.down and operation == "BatchGetItem" else None


def test_what_cannot_be_read_comes_again(held: HeldClock, tmp_path: Path) -> None:
    """While the store does not answer nothing is lost."""
    faults = Unreadable()
    with memory_store(faults=faults) as store:
        world = World(store, tmp_path)
        event = happened()
        records = world.news()
        faults.down = True
        assert world.outbox.handle(records) == [record.sequence for record in records]
        assert world.heard.told == []
        faults.down = False
        assert world.outbox.handle(records) == []
        assert world.chained() == [event.event_id]


def test_the_sweep_tells_again_what_the_relay_gave_up_on(world: World, held: HeldClock) -> None:
    """A due event is told of and chained; the operations the relay missed are, too; then nothing is due."""
    operation, event = asked(), happened(control=FRAMES)
    held.advance(RELAYED_MS / 1000)
    young = asked()
    assert world.outbox.handle_due("event", ORG, events_pk(ORG), event.event_id)
    assert world.heard.by("control") == [event.event_id]
    assert world.chained() == [event.event_id, operation.execution_id]
    assert operation_of(young).chained is None
    assert event_of(event.event_id).due_ms is None
    assert not world.outbox.handle_due("event", ORG, events_pk(ORG), event.event_id)


def test_a_due_event_that_fails_again_is_due_later(world: World, held: HeldClock) -> None:
    """Once a minute, for a day; then it is left alone."""
    world.heard.failing = {"control"}
    event = happened(control=FRAMES)
    for _ in range(2):
        held.advance(RELAYED_MS / 1000)
        assert world.outbox.handle_due("event", ORG, events_pk(ORG), event.event_id)
        assert event_of(event.event_id).due_ms == held.now_ms() + RELAYED_MS
    assert world.chained() == [event.event_id]
    held.advance(GIVEN_UP_MS / 1000)
    assert world.outbox.handle_due("event", ORG, events_pk(ORG), event.event_id)
    assert event_of(event.event_id).due_ms is None


# Operations the relay gives up


def missed(world: World) -> Operation:
    """A refused call that the relay handed to nobody, however often it tried."""
    world.heard.failing = {"alerts"}
    chain, operation = world.audit.append, asked("block")

    def broken(org_id: str, items: Sequence[Source], *, stay_due: Collection[str] = ()) -> None:
        raise Unavailable("not now")

    world.audit.append = broken  # type: ignore[method-assign]
    records = world.news()
    for _ in range(2):
        assert world.outbox.handle(records) == [record.sequence for record in records]
    world.audit.append, world.heard.failing = chain, set()  # type: ignore[method-assign]
    return operation


def test_the_sweep_makes_up_for_operations(world: World, held: HeldClock) -> None:
    """A minute later, though nothing else happens in the org; then there is no mark any more."""
    operation = missed(world)
    assert not world.outbox.handle_backlog(ORG)
    held.advance(RELAYED_MS / 1000)
    assert world.outbox.handle_backlog(ORG)
    assert world.heard.by("alerts") == world.chained() == [operation.execution_id]
    assert not world.outbox.handle_backlog(ORG)
    assert read(Backlog, backlog_pk(ORG), "backlog") is None


def test_operations_that_fail_again_come_later(world: World, held: HeldClock) -> None:
    """Once a minute, for a day."""
    missed(world)
    world.heard.failing = {"alerts"}
    later = asked()
    for _ in range(2):
        held.advance(RELAYED_MS / 1000)
        operation_of(later).update([Operation.chained.remove()])
        assert world.outbox.handle_backlog(ORG)
        assert not world.outbox.handle_backlog(ORG)
    held.advance(backlog.GIVEN_UP_MS / 1000)
    operation_of(later).update([Operation.chained.remove()])
    assert world.outbox.handle_backlog(ORG)
    assert read(Backlog, backlog_pk(ORG), "backlog") is None


def test_more_than_one_turn_takes_is_made_up_for_at_once(
    world: World, held: HeldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark is due again without delay while a turn is full."""
    monkeypatch.setattr("shared.governance.outbox.LEFT_BEHIND", 2)
    first = missed(world)
    others = [asked(), asked()]
    held.advance(RELAYED_MS / 1000)
    while world.outbox.handle_backlog(ORG):
        pass
    assert sorted(world.chained()) == sorted(row.execution_id for row in (first, *others))


def test_a_mark_that_is_set_again_meanwhile_stays(world: World, held: HeldClock) -> None:
    """What failed while the sweep was at it is not forgotten; the mark goes back to the oldest."""
    missed(world)
    held.advance(RELAYED_MS / 1000)
    known = backlog.due(ORG)
    assert known is not None
    backlog.mark(ORG, 5)
    backlog.clear(known)
    again = backlog.due(ORG)
    assert again is not None
    assert again.since_ms == 5
    backlog.postpone(known, RELAYED_MS)
    assert backlog.due(ORG) is not None


def test_a_mark_that_cannot_be_set_fails_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay still tries again."""

    def broken(org_id: str, since_ms: int) -> None:
        raise Unavailable("not now")

    monkeypatch.setattr("shared.governance.backlog.mark", broken)
    missed(world)
    assert read(Backlog, backlog_pk(ORG), "backlog") is None


@pytest.mark.parametrize(("kind", "sk"), [("event", "unknown"), ("delivery", "")])
def test_what_is_not_an_event_is_not_due(world: World, kind: str, sk: str) -> None:
    """A row of the index whose event is gone, or of another kind, is nothing to do."""
    event = happened()
    assert not world.outbox.handle_due(kind, ORG, events_pk(ORG), sk or event.event_id)
    assert world.heard.told == []


def test_an_event_that_is_not_for_the_chain_is_told_of_and_done(world: World) -> None:
    """Everybody else hears of it; it has no entry, and is due no more."""
    event = happened(control=FRAMES)
    event.update([Event.chained.set(0)])
    world.turn()
    assert world.heard.by("control") == [event.event_id]
    assert world.chained() == []
    assert event_of(event.event_id).due_ms is None


def test_the_relay_hands_its_batches_to_followers(world: World) -> None:
    """Each batch once, after the listeners; what a follower fails on comes again, even if it fails altogether."""

    class Broken:
        def handle(self, records: Sequence[ChangeRecord]) -> list[int]:
            raise RuntimeError("broken")

    event = happened()
    records = world.news()
    relay = Relay(Connections(), RecordingSender(), {}, followers=[world.outbox])
    assert relay.handle(iter(records)) == []
    assert world.chained() == [event.event_id]
    broken = Relay(Connections(), RecordingSender(), {}, followers=[Broken(), world.outbox])
    assert broken.handle(iter(records)) == [record.sequence for record in records]
