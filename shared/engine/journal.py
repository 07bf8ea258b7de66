"""The lease holder's pen: facts are noted at once and appended in one transaction with the control item.

Every append holds on condition that the lease is ours and that nobody wrote a command or a signal we have not seen.
When that fails, the journal looks: a lost lease ends the advance; anything new is copied in, and the caller decides.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.engine.program import Program
from shared.engine.reports import PARENT, outcome, report, rows_of
from shared.engine.repository import GRACE_MS, LEASE_MS, ExecutionRepository
from shared.engine.state import Fact, State
from shared.kit import clock, ids
from shared.kit.errors import SignalboxError, Unavailable
from shared.store.models.executions import Control, InboxEntry, JournalEntry, Summary, WaitRecord, journal_sk
from shared.store.transaction import ConditionFailed, Transaction

ENTRY_BYTES = 200 * 1024
"""Facts are put together in journal items of at most this size; one fact alone may take up to 400 KB."""

APPEND_BYTES = 2 * 1024 * 1024
"""Facts of one transaction; a transaction carries 4 MB at most (Amazon DynamoDB, quotas of TransactWriteItems)."""

APPEND_WRITES = 50
"""Items written beside the facts of one transaction, which has 100 actions at most."""

FAR_MS = 300 * 24 * 3600 * 1000
"""When to look again at an execution that waits without a deadline."""

_ATTEMPTS = 5
_LONGEST_ERROR = 4_000
_RELEASE = [Control.lease.remove(), Control.lease_until.remove(), Control.lease_boot.remove()]
_STARTS = ("node_started", "node_resumed")

PAUSES = ("pause", "hold")
"""Commands that let nothing start."""

Write = Callable[[Transaction], object]
"""Adds an item to a transaction."""

Writes = Mapping[str, Write]
"""Items to write by sort key: a transaction names each once, and the last write of a key counts."""


class LeaseLost(SignalboxError):
    """Someone else advances this execution now; whatever was not appended is void."""


class _Unheard(Exception):
    """The parent of a child waits for it no longer."""


@dataclass(frozen=True, slots=True)
class _Noted:
    """A fact to append. Facts of one ``unit`` belong together: only all of them leave a state one can go on from.

    One that was ``sent`` comes from the inbox.
    """

    fact: Fact
    text: str
    writes: Writes
    unit: int
    sent: bool = False

    @property
    def size(self) -> int:
        return len(self.text) if self.text.isascii() else len(self.text.encode())


class Journal:
    """Appends for one advance. What is noted is applied to the state at once and durable with the next append."""

    def __init__(self, repository: ExecutionRepository, control: Control, program: Program, state: State) -> None:
        self._repository = repository
        self._control = control
        self._program = program
        self._state = state
        self._wake = int(control.wake)
        self.command = control.command
        self._next = int(control.next_index)
        self._leased_until = int(control.lease_until or 0)
        self._seen: set[str] = set()
        self._pending: list[_Noted] = []
        self._unit = 0
        self._noted_at = clock.monotonic()

    @property
    def pk(self) -> str:
        """Partition key of the execution's items."""
        return str(self._control.pk)

    @property
    def wake(self) -> int:
        """The wake counter as last seen."""
        return self._wake

    @property
    def pending(self) -> int:
        """How many facts are not durable yet."""
        return len(self._pending)

    @property
    def pending_s(self) -> float:
        """How many seconds ago the oldest of them was noted."""
        return clock.monotonic() - self._noted_at if self._pending else 0.0

    def note(self, name: str, /, **fields: Any) -> None:
        """Record a fact and fold it into the state."""
        self.take({"type": name, "at": clock.now_ms(), **fields})

    def take(self, fact: Fact, writes: Writes | None = None, text: str | None = None) -> None:
        """As :meth:`note`, for a fact that is complete; ``writes`` become durable together with it.

        ``text`` is how the inbox holds it, where it comes from there.
        """
        if not self._pending:
            self._noted_at = clock.monotonic()
        noted = self._noted(fact, writes) if text is None else _Noted(fact, text, writes or {}, self._unit, sent=True)
        self._state.apply(fact, self._program)
        self._pending.append(noted)

    def _noted(self, fact: Fact, writes: Writes | None = None) -> _Noted:
        return _Noted(fact, self._repository.encoded(self.pk, fact), writes or {}, self._unit)

    def mark(self) -> None:
        """What was noted so far is a whole: a large append may be divided here."""
        self._unit += 1

    # What others wrote

    def look(self) -> None:
        """Read the control item and copy in what arrived; for a holder whose effects keep it from appending."""
        current = self._ours(self._repository.control(self._control.org_id, self._control.execution_id))
        if int(current.wake) != self._wake or current.command != self.command:
            self._copy_in(current)

    def absorb_if_woken(self) -> None:
        """At the start of an advance: look only when somebody wrote since the last append."""
        if self._wake != self._control.absorbed or self.command:
            self._absorb()

    def _ours(self, current: Control | None) -> Control:
        if current is None or current.lease != self._control.lease:
            raise LeaseLost("another worker advances this execution")
        return current

    def _copy_in(self, control: Control) -> None:
        self._wake, self.command = int(control.wake), control.command
        self._leased_until = int(control.lease_until or 0)
        self._absorb()

    def _absorb(self) -> None:
        paused = self.command in PAUSES
        if self.command != "cancel" and self._state.paused != paused:
            self.note("command", command="pause" if paused else "resume")
        for sk, text, fact in self._repository.inbox(self.pk):
            if sk not in self._seen:
                self._seen.add(sk)
                self.take(fact, {sk: _deletion(self.pk, sk)}, text)
                self.mark()

    # Appends

    def commit(self, deciding: Sequence[Fact] = (), writes: Writes | None = None, actions: Sequence[Any] = ()) -> bool:
        """Append what is pending plus ``deciding``; False when something new arrived: then ``deciding`` did not happen.

        ``writes`` and ``actions`` on the control item go into the same transaction and belong to ``deciding``.
        """
        if not (self._pending or deciding):
            return True
        return self._append(deciding, [*self._renewal(), *actions], writes=writes)

    def park(self, until_ms: int | None, status: str) -> bool:
        """Append, save a snapshot and give the lease back until a signal or ``until_ms``."""
        due = (until_ms if until_ms is not None else clock.now_ms() + FAR_MS) + GRACE_MS
        return self._append((), [*_RELEASE, Control.status.set(status), Control.due_ms.set(due)], snapshot=True)

    def release(self) -> bool:
        """The slice is over: append, save a snapshot and give the lease back at once."""
        return self._append((), [*_RELEASE, Control.due_ms.set(clock.now_ms() + LEASE_MS)], snapshot=True)

    def finish(self, status: str, **fields: Any) -> bool:
        """Append the end; the summary is part of the transaction, and of a child what its parent waits for."""
        if status == "canceled":
            self._forget_starts()
        ended: Fact = {"type": "ended", "at": clock.now_ms(), "status": status, **fields}
        actions = [
            *_RELEASE,
            Control.live.set(False),
            Control.status.set(status),
            Control.due_ms.remove(),
            Control.due_shard.remove(),
        ]
        alone = {"summary": _summary(self.pk, ended)}
        try:
            return self._append([ended], actions, writes={**alone, **self._report(ended)})
        except _Unheard:
            return self._append([ended], actions, writes=alone)

    def _report(self, ended: Fact) -> Writes:
        if self._control.parent_id is None:
            return {}
        facts = itertools.chain(
            (fact for _, fact in self._repository.outlined_facts(self.pk)), (noted.fact for noted in self._pending)
        )
        rows, left_out = rows_of(facts, self._repository.inlined)
        fact = outcome(str(self._control.parent_slot), self._state, ended, rows, left_out)
        return report(self._repository, self._control, fact)

    def _forget_starts(self) -> None:
        # Nodes without effects run before their start is durable. A cancellation acknowledged meanwhile came first, so
        # they never started; what was begun durably keeps its record, and so does what others sent.
        first = next((n for n, noted in enumerate(self._pending) if noted.fact["type"] in _STARTS), len(self._pending))
        self._pending[first:] = [noted for noted in self._pending[first:] if noted.sent]

    def _renewal(self) -> list[Any]:
        """Nothing while half of the lease is left: the moment is in an index, where each change costs a write more."""
        now = clock.now_ms()
        if self._leased_until - now > LEASE_MS // 2:
            return []
        self._leased_until = now + LEASE_MS
        return [Control.lease_until.set(self._leased_until), Control.due_ms.set(self._leased_until)]

    def _append(
        self, deciding: Sequence[Fact], actions: list[Any], *, snapshot: bool = False, writes: Writes | None = None
    ) -> bool:
        """Write everything pending in as many transactions as it takes; the last carries the decision."""
        decided = [self._noted(fact, None if place else writes) for place, fact in enumerate(deciding)]
        *early, last = self._batches(decided)
        for batch in early:
            if not self._write(batch, self._renewal()):
                return False
        if not self._write(last, actions, snapshot=snapshot):
            return False
        for noted in decided:
            self._state.apply(noted.fact, self._program)
        return True

    def _batches(self, decided: list[_Noted]) -> list[list[_Noted]]:
        """What fits one transaction each, in order; neither units nor the decision are divided."""
        batches: list[list[_Noted]] = [[]]
        size = writes = 0
        units = [list(unit) for _, unit in itertools.groupby(self._pending, key=lambda noted: noted.unit)]
        for unit in [*units, decided]:
            unit_size, unit_writes = sum(noted.size for noted in unit), sum(len(noted.writes) for noted in unit)
            if batches[-1] and (size + unit_size > APPEND_BYTES or writes + unit_writes > APPEND_WRITES):
                batches.append([])
                size = writes = 0
            batches[-1] += unit
            size, writes = size + unit_size, writes + unit_writes
        return batches

    def _write(self, batch: list[_Noted], actions: list[Any], *, snapshot: bool = False) -> bool:
        """One transaction; False when something new was copied in instead."""
        append_id = ids.uuid4()
        after = self._next + len(batch)
        position = [Control.next_index.set(after), Control.append_id.set(append_id), Control.absorbed.set(self._wake)]
        every: dict[str, Write] = {}
        replaced: str | None = None
        if snapshot:
            saved = self._repository.snapshot(self.pk, after, self._state)
            replaced = self._repository.snapshot_blob(self.pk) if saved.blob else None
            every["snapshot"] = lambda tx: tx.put(saved, label="snapshot")
            position.append(Control.snapshot_index.set(after))
        for noted in batch:
            every |= noted.writes
        entries = self._entries(batch)
        for _ in range(_ATTEMPTS):
            tx = self._transaction(entries, [*actions, *position])
            for write in every.values():
                write(tx)
            try:
                tx.commit()
            except (ConditionFailed, Unavailable) as error:
                verdict = self._after_refusal(append_id, error)
                if verdict is None:
                    if isinstance(error, ConditionFailed) and PARENT in error.failures:
                        raise _Unheard from error
                    continue
                if verdict is False:
                    return False
            self._next = after
            del self._pending[: len(batch)]
            if replaced is not None:
                self._repository.forget(replaced)
            return True
        raise Unavailable("the journal could not be appended; it will be tried again")

    def _entries(self, batch: list[_Noted]) -> list[JournalEntry]:
        """Journal items for the facts, in order, none too large."""
        chunks: list[list[str]] = []
        room = 0
        for noted in batch:
            if noted.size > room:
                chunks.append([])
                room = ENTRY_BYTES
            chunks[-1].append(noted.text)
            room -= noted.size
        entries, first = [], self._next
        for chunk in chunks:
            text = f"[{','.join(chunk)}]"
            entries.append(JournalEntry(self.pk, journal_sk(first), first=first, length=len(chunk), facts=text))
            first += len(chunk)
        return entries

    def _transaction(self, entries: list[JournalEntry], actions: list[Any]) -> Transaction:
        tx = Transaction()
        for entry in entries:
            tx.put(entry, condition=JournalEntry.pk.does_not_exist(), label="entry")
        ours = Control.lease == self._control.lease
        unseen = ours & (Control.command == self.command) & (Control.wake == self._wake)
        return tx.update(Control(self.pk, "control"), actions=actions, condition=unseen, label="control")

    def _after_refusal(self, append_id: str, error: Exception) -> bool | None:
        """After a refused or ambiguous append: True = it is in, False = something new was copied in, None = again."""
        current = self._repository.control(self._control.org_id, self._control.execution_id)
        if current is not None and current.append_id == append_id:
            return True
        try:
            current = self._ours(current)
        except LeaseLost as lost:
            raise lost from error
        if int(current.wake) == self._wake and current.command == self.command:
            return None
        self._copy_in(current)
        return False


def _summary(pk: str, ended: Fact) -> Write:
    # A cancellation was shown with its time when it was acknowledged; that time stays.
    actions = [Summary.status.set(ended["status"]), Summary.ended_ms.set(Summary.ended_ms | ended["at"])]
    if ended.get("error") is not None:
        error = str(ended["error"])[:_LONGEST_ERROR].encode("utf-8", "replace").decode()
        actions.append(Summary.error.set(error))
        if ended.get("node") is not None:
            actions.append(Summary.error_node.set(ended["node"]))
    return lambda tx: tx.update(Summary(pk, "summary"), actions=actions, label="summary")


def _deletion(pk: str, sk: str) -> Write:
    return lambda tx: tx.delete(InboxEntry(pk, sk), label="inbox")


def open_wait(record: WaitRecord) -> Writes:
    """Let a wait be answered from outside."""
    return {record.sk: lambda tx: tx.put(record, label="wait")}


def expire_wait(pk: str, wait: str) -> Writes:
    """Close an open wait for good, on condition that no signal answered it first."""
    key = WaitRecord(pk, f"wait#{wait}")
    actions = [WaitRecord.status.set("expired")]
    return {key.sk: lambda tx: tx.update(key, actions=actions, condition=WaitRecord.status == "open", label="wait")}


def forget_waits(pk: str, waits: Sequence[str]) -> Writes:
    """Remove waits nobody waits for any more."""
    return {f"wait#{wait}": _removal(WaitRecord(pk, f"wait#{wait}")) for wait in waits}


def _removal(key: WaitRecord) -> Write:
    return lambda tx: tx.delete(key, label="wait")
