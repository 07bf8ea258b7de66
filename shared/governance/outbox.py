"""From change records of governance to whoever follows what happens: control plane, commands, alerts, audit chain.

A change record says where to look. What is found there is handed to each consumer; all of them may be told twice. One
that fails keeps none of the others from hearing, and the record comes again. An event is due until it is chained and
every consumer has heard of it, so that the sweep tells again what the relay gave up on; operations that were not
handed on are due as a whole, by a mark at their org.

    event ──▶ control · commands · alerts ──▶ audit: chained, and due no more unless one of them failed ──▶ export
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Protocol

from shared.governance import backlog
from shared.governance.audit import SKEW_MS, Audit
from shared.governance.chain import Source
from shared.governance.events import RELAYED_MS
from shared.governance.exports import MOST_AT_ONCE, REQUESTED, Exports
from shared.governance.verification import OPERATIONS_MS, unchained_operations
from shared.kit import clock
from shared.kit.errors import SignalboxError
from shared.kit.logging import logger
from shared.store.base import table_name
from shared.store.models.alerts import deliveries_pk
from shared.store.models.governance import Event, Operation
from shared.store.stream import ChangeRecord
from shared.store.transaction import read, read_each, update_if

log = logger("outbox")

READ_AT_ONCE = 100
LEFT_BEHIND = 200
"""Operations without an entry that are made up for at once."""

GIVEN_UP_MS = 24 * 3600 * 1000
"""When an event that a consumer keeps failing on is left alone; it has been in the audit chain since its first turn."""

Key = tuple[str, str]

_DELIVERIES = deliveries_pk("")


class ControlPlane(Protocol):
    """Sends frames to the org's connections."""

    def broadcast(self, org_id: str, event: Event) -> None:
        """Send the event's frames; twice is harmless."""


class Follower(Protocol):
    """Hears of everything that happened in an org."""

    def follow(self, org_id: str, items: Iterable[Source]) -> None:
        """Take note; twice is harmless."""


class Outbox:
    """A follower of the relay, and the sweep's way to events the relay gave up on."""

    def __init__(
        self, audit: Audit, exports: Exports, *, control: ControlPlane | None = None,
        commands: Callable[[Event], None] | None = None, alerts: Follower | None = None,
        deliver: Callable[[str, str], object] | None = None,
    ) -> None:  # fmt: skip
        self._audit = audit
        self._exports = exports
        self._control = control
        self._commands = commands
        self._alerts = alerts
        self._deliver = deliver

    def handle(self, records: Sequence[ChangeRecord]) -> list[int]:
        """Act on new events and operations; the sequences of those that must come again."""
        sequences: dict[Key, list[int]] = {}
        wanted: list[tuple[type[Source], str, str]] = []
        for record in records:
            pk, sk = key = record.keys["pk"]["S"], record.keys["sk"]["S"]
            is_new = record.event == "INSERT" and record.table == table_name("governance")
            if is_new and pk.endswith(_DELIVERIES):
                self._send(pk.removesuffix(_DELIVERIES), sk)
            model = _model(pk, sk) if is_new else None
            if model is not None:
                if key not in sequences:
                    wanted.append((model, pk, sk))
                sequences.setdefault(key, []).append(record.sequence)
        found, failed = _read_all(wanted)
        for org_id, items in _by_org(found).items():
            failed |= self._follow(org_id, items, MOST_AT_ONCE)
        _mark_left(failed, records)
        return [sequence for key, numbers in sequences.items() if key in failed for sequence in numbers]

    def _send(self, org_id: str, delivery_id: str) -> None:
        """Send a message now. One that cannot be is due, and left to the sweep."""
        if self._deliver is None:
            return
        try:
            self._deliver(org_id, delivery_id)
        except SignalboxError as error:
            log.warning("a delivery is left to the sweep", extra={"reason": str(error), "delivery_id": delivery_id})
        except Exception:
            log.exception("a delivery is left to the sweep", extra={"org_id": org_id, "delivery_id": delivery_id})

    def handle_due(self, kind: str, org_id: str, pk: str, sk: str) -> bool:
        """Tell again of an event that is due, and make up for operations without an entry; whether it was due.

        If a consumer fails again the event is due again later.
        """
        event = read(Event, pk, sk) if kind == "event" else None
        if event is None or event.due_ms is None:
            return False
        now = clock.now_ms()
        failed = self._follow(org_id, [event, *_left_behind(org_id, now)], None)
        if (pk, sk) in failed:
            postponed = [Event.due_ms.set(now + RELAYED_MS)] if now - int(event.created_ms) < GIVEN_UP_MS else _NOT_DUE
            update_if(event, postponed, Event.due_ms.exists())
        return True

    def handle_backlog(self, org_id: str) -> bool:
        """Make up for operations of an org that the relay could not hand on; whether there was a due mark of some.

        Whoever cannot hear of them now hears of them later.
        """
        known = backlog.due(org_id)
        if known is None:
            return False
        late = list(islice(unchained_operations(org_id, int(known.since_ms)), LEFT_BEHIND))
        if self._follow(org_id, late, None):
            backlog.postpone(known, RELAYED_MS)
        elif len(late) == LEFT_BEHIND:
            backlog.postpone(known, 0)
        else:
            backlog.clear(known)
        return True

    def _follow(self, org_id: str, items: Sequence[Source], most: int | None) -> set[Key]:
        """Hand the items of one org to everybody; those that somebody failed on."""
        failed: set[Key] = set()
        events = [item for item in items if isinstance(item, Event)]
        for event in events:
            if self._control is not None and event.control:
                _attempt(partial(self._control.broadcast, org_id, event), [event], failed)
            if self._commands is not None:
                _attempt(partial(self._commands, event), [event], failed)
        if self._alerts is not None and items:
            _attempt(partial(self._alerts.follow, org_id, items), items, failed)
        # An export has what was chained before it, at least all that came together with it.
        asked = [event for event in events if event.action == REQUESTED]
        undone = {event.event_id for event in events if (event.pk, event.sk) in failed or event in asked}
        _attempt(partial(self._audit.append, org_id, items, stay_due=undone), items, failed)
        exported = [event for event in asked if _attempt(partial(self._export, event, most), [event], failed)]
        # Whatever is not for the chain, or was chained when a consumer failed, is done with only here.
        chained = [event for event in events if event.chained is not None and event not in asked]
        for event in (*chained, *exported):
            if event.due_ms is not None and (event.pk, event.sk) not in failed:
                _attempt(partial(_no_longer_due, event), [event], failed)
        return failed

    def _export(self, event: Event, most: int | None) -> bool:
        return self._exports.run(event.org_id, event.resource_id, most=most)


def _no_longer_due(event: Event) -> None:
    update_if(event, _NOT_DUE, Event.due_ms.exists())


_NOT_DUE = [Event.due_shard.remove(), Event.due_ms.remove()]


def _attempt(work: Callable[[], bool | None], items: Sequence[Source], failed: set[Key]) -> bool:
    """Let a consumer work on the items; what it answers, and False when it fails on them."""
    try:
        return work() is not False
    except SignalboxError as error:
        log.warning("not everybody heard of it yet", extra={"reason": str(error), "pk": items[0].pk})
    except Exception:
        log.exception("a consumer failed", extra={"pk": items[0].pk, "sk": items[0].sk})
    failed |= {(item.pk, item.sk) for item in items}
    return False


def _model(pk: str, sk: str) -> type[Source] | None:
    """What an item of these keys is, as far as it is followed."""
    if pk.partition("#")[2] == "events":
        return Event
    return Operation if sk == "operation" else None


def _read_all(keys: Sequence[tuple[type[Source], str, str]]) -> tuple[list[Source], set[Key]]:
    """The items of these keys as far as they are there, and the keys that could not be read."""
    found: list[Source] = []
    failed: set[Key] = set()
    for first in range(0, len(keys), READ_AT_ONCE):
        wanted = keys[first : first + READ_AT_ONCE]
        try:
            found += [item for item in read_each(*wanted) if isinstance(item, Event | Operation)]
        except SignalboxError as error:
            log.warning("what happened could not be read yet", extra={"reason": str(error)})
            failed |= {(pk, sk) for _, pk, sk in wanted}
    return found, failed


def _by_org(items: Iterable[Source]) -> Mapping[str, list[Source]]:
    orgs: dict[str, list[Source]] = {}
    for item in items:
        orgs.setdefault(item.org_id, []).append(item)
    return orgs


def _mark_left(failed: Iterable[Key], records: Sequence[ChangeRecord]) -> None:
    """Have the sweep make up for operations that failed: the relay tries some times more, and then gives them up."""
    since: dict[str, int] = {}
    for pk in (pk for pk, sk in failed if sk == "operation"):
        org_id = pk.partition("#")[0]
        moments = (record.at_ms for record in records if record.keys["pk"]["S"] == pk)
        since[org_id] = min(since.get(org_id, clock.now_ms()), *moments)
    for org_id, moment in since.items():
        try:
            backlog.mark(org_id, moment - SKEW_MS)
        except SignalboxError as error:
            log.warning("operations are left to the relay alone", extra={"org_id": org_id, "reason": str(error)})


def _left_behind(org_id: str, now: int) -> list[Source]:
    """Operations that should be in the chain by now and are not."""
    late = unchained_operations(org_id, now - OPERATIONS_MS)
    return [row for row in islice(late, LEFT_BEHIND) if int(row.created_ms) <= now - RELAYED_MS]
