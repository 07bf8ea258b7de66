"""The lease holder's pen: facts are noted at once and appended in one transaction with the control item.

Every append holds on condition that the lease is ours and that nobody wrote a command or a signal we have not seen.
When that fails, the journal looks: a lost lease ends the advance; anything new is copied in, and the caller decides again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shared.engine.program import Program
from shared.engine.repository import LEASE_MS, ExecutionRepository
from shared.engine.state import Fact, State
from shared.kit import clock, ids, json
from shared.kit.errors import SignalboxError, Unavailable
from shared.store.models.executions import ChildResult, Control, InboxEntry, JournalEntry, Summary, WaitRecord, execution_pk, journal_sk
from shared.store.transaction import ConditionFailed, Transaction

ENTRY_BYTES = 250 * 1024
"""Facts are split over journal items of at most about this size."""

FAR_MS = 300 * 24 * 3600 * 1000
"""When to look again at an execution that waits without a deadline."""

GRACE_MS = 60_000
"""How long after a deadline the sweep takes a parked execution for lost."""

_ATTEMPTS = 5


_RELEASE = [Control.lease.remove(), Control.lease_until.remove(), Control.lease_boot.remove()]

Write = Callable[[Transaction], None]
"""Adds an item to a transaction."""


class LeaseLost(SignalboxError):
    """Someone else advances this execution now; whatever was not appended is void."""


class Journal:
    """Appends for one advance. ``pending`` facts are applied to the state already and not yet durable."""

    def __init__(self, repository: ExecutionRepository, control: Control, program: Program, state: State) -> None:
        self._repository = repository
        self._control = control
        self._program = program
        self._state = state
        self._wake = int(control.wake)
        self.command = control.command
        self._next = int(control.next_index)
        self._inbox: list[str] = []
        self._extras: list[Write] = []
        self.pending: list[Fact] = []
        self.noted_at = clock.monotonic()

    def note(self, name: str, /, **fields: Any) -> None:
        """Record a fact and fold it into the state."""
        self.take({"type": name, "at": clock.now_ms(), **fields})

    def take(self, fact: Fact) -> None:
        """As :meth:`note`, for a fact that is complete."""
        if not self.pending:
            self.noted_at = clock.monotonic()
        self._state.apply(fact, self._program)
        self.pending.append(fact)

    def with_next(self, write: Write) -> None:
        """Let ``write`` add an item to the transaction of the next append."""
        self._extras.append(write)

    @property
    def wake(self) -> int:
        """The wake counter as last seen."""
        return self._wake

    def look(self) -> None:
        """Read the control item and copy in what arrived; for a holder whose effects keep it from appending."""
        current = self._repository.control(self._control.org_id, self._control.execution_id)
        if current is None or current.lease != self._control.lease:
            raise LeaseLost("another worker advances this execution")
        if int(current.wake) != self._wake or current.command != self.command:
            self._copy_in(current)

    def _copy_in(self, control: Control) -> None:
        self._wake, self.command = int(control.wake), control.command
        self.absorb()

    def absorb(self) -> None:
        """Copy commands and inbox signals that arrived since we last looked."""
        if self.command in ("pause", "") and self._state.paused != (self.command == "pause"):
            self.note("command", command=self.command or "resume")
        for entry in self._repository.inbox(self._control.pk):
            if entry.sk not in self._inbox:
                self._inbox.append(entry.sk)
                self.take(json.loads(entry.fact))

    def absorb_if_woken(self) -> None:
        """At the start of an advance: look only when somebody wrote since the last append."""
        if self._wake != self._control.absorbed or self.command:
            self.absorb()

    def commit(self, deciding: Sequence[Fact] = (), writes: Sequence[Write] = ()) -> bool:
        """Append what is pending plus ``deciding``; False when something new arrived: then nothing of ``deciding`` happened.

        ``writes`` go into the same transaction and belong to ``deciding``.
        """
        if not (self.pending or deciding):
            return True
        until = clock.now_ms() + LEASE_MS
        return self._append(deciding, [Control.lease_until.set(until), Control.due_ms.set(until)], writes=writes)

    def park(self, until_ms: int | None, status: str) -> bool:
        """Append, save a snapshot and give the lease back until a signal or ``until_ms``."""
        due = (until_ms if until_ms is not None else clock.now_ms() + FAR_MS) + GRACE_MS
        actions = [*_RELEASE, Control.status.set(status), Control.due_ms.set(due)]
        if until_ms is not None:
            actions.append(Control.park_until.set(until_ms))
        return self._append((), actions, snapshot=True)

    def release(self) -> bool:
        """The slice is over: append, save a snapshot and give the lease back at once."""
        return self._append((), [*_RELEASE, Control.due_ms.set(clock.now_ms() + LEASE_MS)], snapshot=True)

    def finish(self, status: str, **fields: Any) -> bool:
        """Append the end; summary and a parent's child item are part of the transaction."""
        ended: Fact = {"type": "ended", "at": clock.now_ms(), "status": status, **fields}
        control = self._control
        summary = [Summary.status.set(status), Summary.ended_ms.set(ended["at"])]
        if fields.get("error") is not None:
            summary.append(Summary.error.set(str(fields["error"])[:4000]))
        if fields.get("node") is not None:
            summary.append(Summary.error_node.set(fields["node"]))
        writes: list[Write] = [lambda tx: tx.update(Summary(control.pk, "summary"), actions=summary, label="summary")]
        if control.parent_id is not None and self._parent_lives():
            writes.append(lambda tx: self._tell_parent(tx, ended))
        actions = [*_RELEASE, Control.live.set(False), Control.status.set(status), Control.due_ms.remove(), Control.due_shard.remove()]
        return self._append([ended], actions, writes=writes)

    def _parent_lives(self) -> bool:
        parent = self._repository.control(self._control.org_id, str(self._control.parent_id))
        return parent is not None and bool(parent.live)

    def _tell_parent(self, tx: Transaction, ended: Fact) -> None:
        control = self._control
        parent = execution_pk(control.org_id, control.parent_id)
        outcome = json.dumps(self._repository.outline(parent, ended))
        tx.put(ChildResult(parent, f"child#{control.parent_slot}", outcome=outcome), condition=ChildResult.pk.does_not_exist(), label="child")
        tx.update(Control(parent, "control"), actions=[Control.wake.set(Control.wake + 1)], condition=Control.live == True, label="parent")  # noqa: E712

    def _append(self, deciding: Sequence[Fact], actions: list[Any], *, snapshot: bool = False, writes: Sequence[Write] = ()) -> bool:
        append_id = ids.uuid4()
        facts = [*self.pending, *deciding]
        entries = self._entries(facts)
        for _ in range(_ATTEMPTS):
            tx = self._transaction(entries, append_id, actions, snapshot)
            for write in writes:
                write(tx)
            try:
                tx.commit()
            except (ConditionFailed, Unavailable) as error:
                verdict = self._look(append_id, error)
                if verdict is None:
                    continue
                if verdict is False:
                    return False
            self._appended(len(facts))
            for fact in deciding:
                self._state.apply(fact, self._program)
            return True
        raise Unavailable("the journal could not be appended; it will be tried again")

    def _entries(self, facts: list[Fact]) -> list[JournalEntry]:
        """Journal items for ``facts``, in order, none too large."""
        entries: list[JournalEntry] = []
        chunk: list[Fact] = []
        size, first = 0, self._next
        for fact in [*facts, None]:
            if chunk and (fact is None or size > ENTRY_BYTES):
                text = self._repository.entry_text(self._control.pk, chunk)
                entries.append(JournalEntry(self._control.pk, journal_sk(first), first=first, length=len(chunk), facts=text))
                first, chunk, size = first + len(chunk), [], 0
            if fact is not None:
                chunk.append(fact)
                size += min(json.size(fact), ENTRY_BYTES // 2)
        return entries

    def _transaction(self, entries: list[JournalEntry], append_id: str, actions: list[Any], snapshot: bool) -> Transaction:
        tx = Transaction()
        for entry in entries:
            tx.put(entry, condition=JournalEntry.pk.does_not_exist(), label="entry")
        count = sum(int(entry.length) for entry in entries)
        position = [Control.next_index.set(self._next + count), Control.append_id.set(append_id), Control.absorbed.set(self._wake)]
        if snapshot:
            tx.put(self._repository.snapshot(self._control.pk, self._next + count, self._state), label="snapshot")
            position.append(Control.snapshot_index.set(self._next + count))
        unseen = (Control.lease == self._control.lease) & (Control.command == self.command) & (Control.wake == self._wake)
        tx.update(Control(self._control.pk, "control"), actions=[*actions, *position], condition=unseen, label="control")
        for sk in self._inbox:
            tx.delete(InboxEntry(self._control.pk, sk), label="inbox")
        for write in self._extras:
            write(tx)
        return tx

    def _look(self, append_id: str, error: Exception) -> bool | None:
        """After a refused or ambiguous append: True = it is in, False = something new was copied in, None = try again."""
        current = self._repository.control(self._control.org_id, self._control.execution_id)
        if current is not None and current.append_id == append_id:
            return True
        if current is None or current.lease != self._control.lease:
            raise LeaseLost("another worker advances this execution") from error
        if int(current.wake) == self._wake and current.command == self.command:
            return None
        self._copy_in(current)
        return False

    def _appended(self, count: int) -> None:
        self._next += count
        self.pending.clear()
        self._inbox.clear()
        self._extras.clear()


def expire_wait(pk: str, wait: str) -> Write:
    """Close an open wait for good, on condition that no signal answered it first."""
    key = WaitRecord(pk, f"wait#{wait}")
    return lambda tx: tx.update(key, actions=[WaitRecord.status.set("expired")], condition=WaitRecord.status == "open", label="wait")
