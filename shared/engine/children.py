"""Child executions: what does not fit into one advance goes on in executions of its own.

A batch that may run more elements at once than one advance does is divided into parts. The parent waits for each part
as for an answer, in a token of its own:

open ──▶ a child runs the elements ──▶ its end is the answer ──▶ the group takes the outputs, or the batch fails
   └───▶ nobody needs it any more  ──▶ an orphan, until it has been told to cancel
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from shared.engine.attempt import Failure
from shared.engine.commands import Commands
from shared.engine.journal import Write, Writes
from shared.engine.program import Node
from shared.engine.repository import first_control
from shared.engine.settling import TOO_HEAVY, Settling
from shared.engine.state import Fact, Group, Token
from shared.engine.turn import Turn
from shared.kit import clock, ids
from shared.store.models.executions import ChildRecord, Control, JournalEntry, Summary, execution_pk, journal_sk
from shared.store.transaction import Transaction

OPENED_AT_ONCE = 8
"""Children opened by one append; each takes four of the 100 actions of a transaction."""

DROPPED_AT_ONCE = 32


class Children:
    """The children of the execution that is being advanced."""

    def __init__(self, turn: Turn, settling: Settling) -> None:
        self._turn = turn
        self._settling = settling
        self._state = turn.state
        self._journal = turn.journal
        self._parent = turn.control
        self._commands = Commands(turn.repository, turn.driver)
        self._stopped: set[str] = set()

    # Opening

    def division(self, node: Node, token: Token, size: int) -> dict[str, Any]:
        """How a batch of ``size`` elements is divided, as fields of the fact that opens it; empty when it is not."""
        inflight = self._turn.limits.max_inflight
        parallel = node.batch.max_parallel if node.batch is not None else 1
        if min(parallel, size) <= inflight:
            return {}
        most = -(-parallel // inflight)
        state = self._state
        frame = {
            "input": token.input, "previous_input": token.previous_input, "error": token.error, "shared": state.shared,
            "outputs": state.outputs, "secrets_read": state.secrets_read or self._turn.scopes.secrets_read,
        }  # fmt: skip
        kept = self._turn.repository.keep(self._journal.pk, frame)
        return {"part": inflight, "most": most, "each": parallel // most, "frame": kept}

    def open(self) -> bool:
        """Open the children whose turn it is; whether there is something to look at."""
        coming = list(islice(self._coming(), OPENED_AT_ONCE))
        # A command may have come since the last look at the state.
        if not coming or self._journal.command:
            return False
        facts: list[Fact] = []
        writes: dict[str, Write] = {}
        for group, token in coming:
            fact = self._fact(group, token)
            facts.append(fact)
            writes |= self._birth(group, fact)
        if self._journal.commit(facts, writes, [Control.has_children.set(True)]):
            for fact in facts:
                self._turn.driver.start(self._parent.org_id, fact["child"], 0)
        return True

    def _coming(self) -> Iterator[tuple[Group, Token]]:
        for group in self._state.groups.values():
            if group.part:
                left = -(-(group.size - group.begun) // group.part)
                for number in range(min(left, group.most - group.live)):
                    yield group, self._state.next_item(group, number * group.part)

    def _fact(self, group: Group, token: Token) -> Fact:
        slot = f"child#{group.id}#{token.branch:08d}"
        fact: Fact = {"type": "child_opened", "at": clock.now_ms(), **self._turn.subject(token), "slot": slot}
        return fact | {"count": min(group.part, group.size - token.branch), "child": self._child_id(slot)}

    def _child_id(self, slot: str) -> str:
        """Every attempt to open a child makes the same."""
        return ids.uuid7_of(int(self._parent.started_ms), self._parent.execution_id, slot)

    def _birth(self, group: Group, fact: Fact) -> Writes:
        """What makes a child exist, and the parent wait for it."""
        parent, child_id = self._parent, fact["child"]
        pk = execution_pk(parent.org_id, child_id)
        common: dict[str, Any] = {
            "execution_id": child_id, "account_id": parent.account_id, "number": parent.number, "kind": parent.kind,
            "definition_id": parent.definition_id, "definition_version": parent.definition_version,
            "status": "running", "started_ms": fact["at"],
        }  # fmt: skip
        control = first_control(
            pk, parent.org_id, common, deadline_ms=parent.deadline_ms, parent_id=parent.execution_id,
            parent_slot=fact["slot"],
        )  # fmt: skip
        absent = Control.pk.does_not_exist()
        entry = self._first_entry(pk, group, fact)
        record = ChildRecord(self._journal.pk, fact["slot"], child_id=child_id, status="open")
        return {
            fact["slot"]: lambda tx: tx.put(record, label="slot"),
            f"{child_id} control": lambda tx: tx.put(control, absent, label="child"),
            f"{child_id} summary": lambda tx: tx.put(Summary(pk, "summary", **common), label="summary"),
            f"{child_id} entry": lambda tx: tx.put(entry, label="entry"),
        }

    def _first_entry(self, pk: str, group: Group, opened: Fact) -> JournalEntry:
        place = {"first": opened["item"], "count": opened["count"]}
        fact: Fact = {
            "type": "started", "at": opened["at"], "definition_id": self._parent.definition_id,
            "version": self._turn.program.version, "input": {"parent_id": self._parent.execution_id, **place},
            "node": opened["node"], "kind": opened["kind"],
            "part": {**place, "visit": opened["visit"], "most": group.each},
        }  # fmt: skip
        text = self._turn.repository.encoded(pk, fact, {"frame": str(group.frame)})
        return JournalEntry(pk, journal_sk(0), first=0, length=1, facts=f"[{text}]")

    # Their ends

    def settle(self) -> bool:
        """Take what children have brought; whether there was anything."""
        answered = [token for token in self._state.tokens.values() if token.part and token.status == "ready"]
        for token in answered:
            # The failure of one part takes the others with it.
            if self._state.tokens.get(token.id) is token:
                self._settle(token, token.answer or {})
        return bool(answered)

    def _settle(self, token: Token, brought: Fact) -> None:
        if brought["secrets_read"]:
            self._turn.scopes.read_secrets()
            self._settling.note_secrets()
        for row in brought["rows"]:
            self._journal.take(row)
        if brought["left_out"]:
            about = {"node": token.node, "kind": self._turn.kind(token.node)}
            message = f"{brought['left_out']} further log rows of elements are left out"
            self._journal.note("log", level="warn", message=message, **about)
        if brought["status"] != "completed":
            failure = Failure(
                brought["message"], retryable=False, actions=tuple(brought["actions"]), output=brought["output"]
            )
            self._settling.failed(token, failure)
        elif not self._settling.bears(brought["outputs"], brought["shared"]):
            self._settling.failed(token, Failure(TOO_HEAVY, retryable=False))
        else:
            subject = self._turn.subject(token)
            self._journal.note("part_finished", **subject)
            self._settling.close_if_done(subject["group"])
        self._journal.mark()

    # Telling them

    def tend(self) -> bool:
        """Stop those nobody needs any more, and pass pauses on; whether anything had to be done.

        What they are told follows from the journal, so it must be durable first.
        """
        state = self._state
        told = state.children() if state.paused != state.children_paused else []
        if self._journal.command == "cancel" or not (state.orphans or told):
            return False
        if not self._journal.commit():
            return True
        if state.orphans:
            slots = state.orphans[:DROPPED_AT_ONCE]
            self._tell(slots, "cancel")
            fact: Fact = {"type": "children_dropped", "at": clock.now_ms(), "slots": slots}
            self._journal.take(fact, {slot: self._drop(slot) for slot in slots})
        else:
            self._tell([str(token.wait) for token in told], self._journal.command)
            self._journal.note("children_told", paused=state.paused)
        self._journal.mark()
        return True

    def leave(self) -> bool:
        """Stop them all before the execution ends; False when something came that has to be looked at first."""
        waits = [*self._state.orphans, *(str(token.wait) for token in self._state.children())]
        slots = [slot for slot in waits if slot not in self._stopped]
        if slots and self._journal.command != "cancel" and not self._journal.commit():
            return False
        self._tell(slots, "cancel")
        self._stopped.update(slots)
        return True

    def _tell(self, slots: Sequence[str], command: str) -> None:
        for slot in slots:
            self._commands.tell(self._parent.org_id, self._parent.execution_id, self._child_id(slot), command)

    def _drop(self, slot: str) -> Write:
        record = ChildRecord(self._journal.pk, slot)

        def drop(tx: Transaction) -> object:
            return tx.update(record, [ChildRecord.status.set("dropped")], label="slot")

        return drop
