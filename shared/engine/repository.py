"""Every read and write of an execution's items. Keys start with the org, so no call can reach another tenant.

         start                       acquire                 append(final)
(nothing) ─────────▶ live, no lease ───────────────▶ leased ─────────────────────▶ ended
                          ▲                             │ append(park)
                          └─────────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.engine.state import Fact, State
from shared.kit import clock, ids, json
from shared.kit.errors import Internal
from shared.kit.logging import logger
from shared.store.blobs import Blobs
from shared.store.models.executions import (
    ChildRecord,
    Control,
    InboxEntry,
    JournalEntry,
    Snapshot,
    WaitRecord,
    due_shard,
    execution_pk,
    journal_sk,
)
from shared.store.transaction import read, update_and_read

log = logger("engine")

LEASE_MS = 30_000
"""How long a lease holds without a heartbeat."""

GRACE_MS = 60_000
"""How long after the moment somebody should have looked the sweep takes an execution for lost."""

LARGE_VALUE = 100 * 1024
"""Facts and snapshots above this many bytes keep their values in the blob store."""

_POINTERS = "$blobs"
"""The field of an outlined fact that says where its large values are. An author names none of a fact's fields."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the lease was not given: the execution ended, another generation runs, or someone holds it until a moment."""

    reason: str
    control: Control | None = None


def first_control(pk: str, org_id: str, common: dict[str, Any], **more: Any) -> Control:
    """The control item of an execution that begins; ``common`` are the fields it shares with the summary."""
    return Control(
        pk, "control", **common, org_id=org_id, live=True, generation=0, segment=0, wake=0, absorbed=0, command="",
        next_index=1, due_shard=due_shard(common["execution_id"]), due_ms=common["started_ms"] + LEASE_MS, **more,
    )  # fmt: skip


def raise_wake() -> list[Any]:
    """What everybody does who writes to an execution whose lease somebody else may hold."""
    # Should every wake-up be lost, the sweep looks after the grace; the lease holder's own moments replace it.
    return [Control.wake.set(Control.wake + 1), Control.due_ms.set(clock.now_ms() + GRACE_MS)]


class ExecutionRepository:
    """The items of executions. ``boot`` voids the leases of an earlier process (empty where processes are many)."""

    def __init__(self, blobs: Blobs, boot: str = "") -> None:
        self._blobs = blobs
        self._boot = boot

    def control(self, org_id: str, execution_id: str) -> Control | None:
        """The control item, read consistently."""
        return read(Control, execution_pk(org_id, execution_id), "control")

    def acquire(self, org_id: str, execution_id: str, generation: int) -> Control | Refused:
        """Take the lease: live, of this generation, and nobody holds it (or its holder is dead)."""
        now = clock.now_ms()
        lease = ids.uuid4()
        control = Control(execution_pk(org_id, execution_id), "control")
        free = Control.lease.does_not_exist() | (Control.lease_until < now) | (Control.lease_boot != self._boot)
        actions = [
            Control.lease.set(lease),
            Control.lease_boot.set(self._boot),
            Control.lease_until.set(now + LEASE_MS),
            Control.due_ms.set(now + LEASE_MS),
            Control.segment.set(Control.segment + 1),
        ]
        if update_and_read(control, actions, (Control.live == True) & (Control.generation == generation) & free):  # noqa: E712
            return control
        current = self.control(org_id, execution_id)
        if current is not None and current.lease == lease:
            return current
        if current is None or not current.live:
            return Refused("ended", current)
        return Refused("stale" if current.generation != generation else "leased", current)

    def renew(self, control: Control) -> bool:
        """Keep the lease for another term; False when it is lost."""
        until = clock.now_ms() + LEASE_MS
        key = Control(control.pk, "control")
        renewal = [Control.lease_until.set(until), Control.due_ms.set(until)]
        return update_and_read(key, renewal, Control.lease == control.lease)

    def load_state(self, control: Control) -> tuple[State, list[Fact]]:
        """The last snapshot and the facts after it, in order, large values loaded."""
        if control.snapshot_index is None:
            return State(), self.facts(control.pk)
        snapshot = read(Snapshot, control.pk, "snapshot")
        if snapshot is None:
            raise Internal("an execution lost its snapshot")
        text = self._blobs.get(snapshot.blob) if snapshot.blob else snapshot.state
        return State.from_json(json.loads(text)), self.facts(control.pk, after=int(snapshot.index) - 1)

    def entries(self, pk: str, after: int = -1) -> Iterator[JournalEntry]:
        """Journal items that hold facts beyond index ``after``, in order."""
        start = journal_sk(0)
        if after >= 0:
            # The item that holds index ``after + 1`` may begin before it.
            before = JournalEntry.sk.between(journal_sk(0), journal_sk(after + 1))
            newest = JournalEntry.query(pk, before, scan_index_forward=False, limit=1, consistent_read=True)
            start = next((entry.sk for entry in newest), start)
        for entry in JournalEntry.query(pk, JournalEntry.sk.between(start, "journal#~"), consistent_read=True):
            if entry.first + entry.length - 1 > after:
                yield entry

    def first_fact(self, pk: str) -> Fact | None:
        """The fact an execution began with."""
        entry = read(JournalEntry, pk, journal_sk(0))
        return self.inlined(json.loads(entry.facts)[0]) if entry is not None else None

    def newest_facts(self, pk: str) -> list[Fact]:
        """The facts of the last journal item; large values stay in the blob store."""
        written = JournalEntry.sk.startswith("journal#")
        newest = JournalEntry.query(pk, written, scan_index_forward=False, limit=1, consistent_read=True)
        return [fact for entry in newest for fact in json.loads(entry.facts)]

    def numbered_facts(self, pk: str, after: int = -1) -> list[tuple[int, Fact]]:
        """(index, fact) beyond ``after``, large values loaded."""
        return [(index, self.inlined(fact)) for index, fact in self.outlined_facts(pk, after)]

    def outlined_facts(self, pk: str, after: int = -1) -> Iterator[tuple[int, Fact]]:
        """(index, fact) beyond ``after``, read as they are asked for; large values stay in the blob store."""
        for entry in self.entries(pk, after):
            for offset, fact in enumerate(json.loads(entry.facts)):
                if entry.first + offset > after:
                    yield int(entry.first) + offset, fact

    def facts(self, pk: str, after: int = -1) -> list[Fact]:
        """As :meth:`numbered_facts`, without the indices."""
        return [fact for _, fact in self.numbered_facts(pk, after)]

    def inbox(self, pk: str) -> list[tuple[str, str, Fact]]:
        """(sort key, text as it is stored, fact) of signals not yet in the journal, oldest first."""
        found = InboxEntry.query(pk, InboxEntry.sk.startswith("inbox#"), consistent_read=True)
        return [(entry.sk, entry.fact, self.inlined(json.loads(entry.fact))) for entry in found]

    def waits(self, pk: str, key: str) -> list[WaitRecord]:
        """Waits of this key, answered ones too, newest first."""
        found = WaitRecord.query(pk, WaitRecord.sk.startswith(f"wait#{key}#"), consistent_read=True)
        # The sort key of another wait may begin alike, because keys are the author's own texts.
        return sorted((wait for wait in found if wait.key == key), key=lambda wait: int(wait.visit), reverse=True)

    def children(self, pk: str) -> list[ChildRecord]:
        """Every child an execution has had, in the order of their elements."""
        return list(ChildRecord.query(pk, ChildRecord.sk.startswith("child#"), consistent_read=True))

    def open_children(self, pk: str) -> list[str]:
        """Ids of the children an execution waits for."""
        return [child.child_id for child in self.children(pk) if child.status == "open"]

    def snapshot(self, pk: str, index: int, state: State) -> Snapshot:
        """The snapshot item of ``state``, ready to be put in the append that parks."""
        data = json.dumpb(state.to_json())
        if len(data) <= LARGE_VALUE:
            return Snapshot(pk, "snapshot", index=index, state=data.decode())
        return Snapshot(pk, "snapshot", index=index, blob=self._put(pk, data))

    def snapshot_blob(self, pk: str) -> str | None:
        """Where the state of the last snapshot is kept, when it is too large for the item."""
        last = read(Snapshot, pk, "snapshot")
        return last.blob if last is not None else None

    def forget(self, blob: str) -> None:
        """Remove a value that nothing points to any more; one that cannot be removed now stays as litter."""
        try:
            self._blobs.delete(blob)
        except Exception:
            log.exception("a replaced snapshot could not be removed", extra={"blob": blob})

    def keep(self, pk: str, value: Any) -> str:
        """Store a value that several facts share; answers where :meth:`encoded` may say it is."""
        return self._put(pk, json.dumpb(value))

    def encoded(self, pk: str, fact: Fact, kept: Mapping[str, str] | None = None) -> str:
        """The JSON text of a fact as it is stored: below 400 KB, its large values moved to the blob store first.

        ``kept`` are further fields, whose values are there already.
        """
        data = json.dumpb(fact)
        if kept or len(data) > LARGE_VALUE:
            data = json.dumpb(self._outlined(pk, fact, kept or {}))
        return data.decode()

    def _outlined(self, pk: str, fact: Fact, kept: Mapping[str, str]) -> Fact:
        values = {name: json.dumpb(value) for name, value in fact.items()}
        large = {name: data for name, data in values.items() if len(data) > LARGE_VALUE // 4}
        pointers = {name: self._put(pk, data) for name, data in large.items()}
        return fact | dict.fromkeys(large) | {_POINTERS: {**pointers, **kept}}

    def _put(self, pk: str, data: bytes) -> str:
        key = f"{pk.replace('#', '/')}/{ids.uuid7()}"
        self._blobs.put(key, data)
        return key

    def inlined(self, fact: Fact) -> Fact:
        """``fact`` with its large values loaded."""
        pointers: dict[str, str] | None = fact.get(_POINTERS)
        if pointers is None:
            return fact
        loaded = {name: json.loads(self._blobs.get(key)) for name, key in pointers.items()}
        return {name: value for name, value in fact.items() if name != _POINTERS} | loaded
