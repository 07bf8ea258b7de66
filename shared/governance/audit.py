"""The audit trail of an org: a chain that is only ever appended to, read newest first, and verified.

    sources without ``chained`` ──▶ one transaction: head moved from what it was · entries · each source's ``chained``
                                         │
                                    a condition failed: a source was chained by somebody else (it is left out),
                                    or the head was moved (the entries are made again behind it)

Source: NullRun docs, Audit log; docs/rulings.md#audit-chain.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pynamodb.expressions.update import Action

from shared.governance.chain import BEFORE_FIRST, Source, canonical, chained_hash, outline
from shared.kit import clock, ids, json
from shared.kit.errors import Unavailable
from shared.store.models.audit import AuditEntry, AuditHead, audit_pk, entry_sk
from shared.store.models.governance import ApiKey, Event, Operation, keys_pk
from shared.store.transaction import ConditionFailed, Transaction, read, read_each

BATCH = 45
"""Sources chained by one transaction: with the head and an entry for each they stay below 100 writes."""

ATTEMPTS = 30
"""How often the head is tried; others may append to the same chain at the same time."""

MOST_LOOKED_AT = 20_000
"""How many entries a filtered list looks through, newest first."""

SKEW_MS = 60_000
"""How far the clocks of two writers may be apart."""

_LABELS = 4096


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted: all that are given must fit. Times in epoch milliseconds, ``until_ms`` excluded.

    ``event_type`` also means an action, and wins over ``action``. ``actor`` is ``type:id`` or the id alone.
    """

    action: str | None = None
    event_type: str | None = None
    actor: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    decision: str | None = None
    policy_id: str | None = None
    execution_id: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def is_any(self) -> bool:
        """Whether something is left out by it."""
        return any(getattr(self, field.name) is not None for field in fields(self))

    def keeps(self, entry: dict[str, Any]) -> bool:
        """Whether an entry fits."""
        kind = self.event_type or self.action
        if kind is not None and kind not in (entry["action"], entry["event_type"]):
            return False
        if self.actor is not None and self.actor not in (entry["actor"], entry["actor_id"]):
            return False
        at_ms = clock.parse_rfc3339(entry["timestamp"])
        if (self.since_ms is not None and at_ms < self.since_ms) or (
            self.until_ms is not None and at_ms >= self.until_ms
        ):
            return False
        same = ("resource_type", "resource_id", "decision", "policy_id", "execution_id")
        return all(getattr(self, name) in (None, entry[name]) for name in same)


@dataclass(frozen=True, slots=True)
class AuditPart:
    """Entries as they are told, newest first. ``total`` counts what fits among the entries that were looked at, which
    are all of them if ``complete``."""

    entries: list[dict[str, Any]]
    total: int
    complete: bool


class Audit:
    """The audit chains of all orgs."""

    def __init__(self) -> None:
        # Threads of one process wait for each other instead of failing each other's conditions.
        self._lock = threading.Lock()
        self._labels: OrderedDict[tuple[str, str], str] = OrderedDict()

    # Appending

    def append(self, org_id: str, items: Sequence[Source], *, stay_due: Collection[str] = ()) -> None:
        """Chain what is not chained yet, in this order. Exactly once, however often it is called.

        Events whose ids are ``stay_due`` remain due after it. Raises Unavailable; then the rest is not chained yet.
        """
        waiting = list({(item.pk, item.sk): item for item in items if item.chained is None}.values())
        for first in range(0, len(waiting), BATCH):
            self._append(org_id, waiting[first : first + BATCH], stay_due)

    def _append(self, org_id: str, batch: list[Source], stay_due: Collection[str]) -> None:
        for attempt in range(ATTEMPTS):
            try:
                with self._lock:
                    labels = self._labels_of(org_id, batch)
                    _extend(org_id, read(AuditHead, audit_pk(org_id), "head"), batch, labels, stay_due)
            except ConditionFailed as failed:
                batch = [item for place, item in enumerate(batch) if f"source-{place}" not in failed.failures]
                if not batch:
                    return
                if "head" in failed.failures:
                    clock.sleep(min(0.005 * 2**attempt, 0.25) * (0.5 + ids.uniform()))
            else:
                return
        raise Unavailable("Too many writers append to the same audit trail; try again")

    def _labels_of(self, org_id: str, batch: Sequence[Source]) -> dict[str, str]:
        """What people call the API keys behind the batch's operations."""
        wanted = {item.key_id for item in batch if isinstance(item, Operation) and item.key_id}
        unknown = [key_id for key_id in wanted if (org_id, key_id) not in self._labels]
        for record in read_each(*((ApiKey, keys_pk(org_id), key_id) for key_id in unknown)):
            if isinstance(record, ApiKey):
                self._labels[org_id, record.key_id] = f"{record.name} ({record.prefix})"
        labels = {key_id: self._labels.get((org_id, key_id), key_id) for key_id in wanted}
        while len(self._labels) > _LABELS:
            self._labels.popitem(last=False)
        return labels

    # Reading

    def list(self, org_id: str, wanted: AuditFilter, limit: int) -> AuditPart:
        """Up to ``limit`` entries, newest first."""
        if not wanted.is_any:
            head = read(AuditHead, audit_pk(org_id), "head")
            newest = [told(entry) for entry in _newest(org_id, limit)]
            return AuditPart(newest, 0 if head is None else int(head.length), complete=True)
        found: list[dict[str, Any]] = []
        total = 0
        for looked_at, entry in enumerate(_newest(org_id)):
            if wanted.since_ms is not None and int(entry.at_ms) < wanted.since_ms - SKEW_MS:
                break
            if looked_at == MOST_LOOKED_AT:
                return AuditPart(found, total, complete=False)
            shown = told(entry)
            if wanted.keeps(shown):
                total += 1
                if len(found) < limit:
                    found.append(shown)
        return AuditPart(found, total, complete=True)


def told(entry: AuditEntry) -> dict[str, Any]:
    """An entry as it is told: its body, and its hash."""
    body: dict[str, Any] = json.loads(entry.body)
    return body | {"current_event_hash": entry.hash}


def _newest(org_id: str, limit: int | None = None) -> Iterator[AuditEntry]:
    entries = AuditEntry.sk.startswith("entry#")
    return iter(
        AuditEntry.query(audit_pk(org_id), entries, scan_index_forward=False, limit=limit, consistent_read=True)
    )


def _extend(
    org_id: str, head: AuditHead | None, batch: Sequence[Source], labels: dict[str, str], stay_due: Collection[str]
) -> None:
    """Append the batch behind the head. Raises ConditionFailed with the labels ``head`` and ``source-<place>``."""
    pk, tx = audit_pk(org_id), Transaction()
    length, previous = (0, BEFORE_FIRST) if head is None else (int(head.length), head.hash)
    at_ms = clock.now_ms() if head is None else max(clock.now_ms(), int(head.at_ms))
    for place, source in enumerate(batch):
        said = outline(source, labels) | {"previous_event_hash": previous}
        body, number = canonical(said), length + place + 1
        current = chained_hash(previous, body)
        entry = AuditEntry(
            pk, entry_sk(number), number=number, previous=previous, hash=current, at_ms=at_ms, action=said["action"],
            body=body,
        )  # fmt: skip
        tx.put(entry)
        model = type(source)
        is_new = model.pk.exists() & model.chained.does_not_exist()
        tx.update(source, _chained(source, number, stay_due), is_new, label=f"source-{place}")
        previous = current
    length += len(batch)
    if head is None:
        fresh = AuditHead(pk, "head", length=length, hash=previous, at_ms=at_ms)
        tx.put(fresh, AuditHead.pk.does_not_exist(), label="head")
    else:
        moved = [AuditHead.length.set(length), AuditHead.hash.set(previous), AuditHead.at_ms.set(at_ms)]
        tx.update(head, moved, (AuditHead.length == head.length) & (AuditHead.hash == head.hash), label="head")
    tx.commit()


def _chained(source: Source, number: int, stay_due: Collection[str]) -> list[Action]:
    actions: list[Action] = [type(source).chained.set(number)]
    if isinstance(source, Event) and source.event_id not in stay_due:
        actions += [Event.due_shard.remove(), Event.due_ms.remove()]
    return actions
