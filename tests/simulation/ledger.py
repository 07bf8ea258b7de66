"""What must hold: a second book of everything the store was told, kept beside it and compared after every write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shared.engine.kinds.base import Call, Registry
from shared.engine.ports import DefinitionRef
from shared.engine.program import Program
from shared.engine.repository import GRACE_MS
from shared.engine.state import Fact, State
from shared.kit import json
from shared.store.base import table_name
from tests.simulation.programs import SECRET, Library
from tests.simulation.scheduler import Actor, Scheduler

Key = tuple[str, int, int | None]
"""Node, visit, item."""

Image = dict[str, dict[str, Any]]
Peek = Callable[[str, dict[str, Any]], dict[str, Any]]

SLACK_MS = 1_000


@dataclass(slots=True)
class Book:
    """One execution: its journal as it was written, the fold of it, and the control item as it was last seen.

    ``commands`` counts how often its command changed.
    """

    pk: str
    program: Program
    entries: dict[str, str] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    state: State = field(default_factory=State)
    attempts: dict[Key, int] = field(default_factory=dict)
    finished: set[Key] = field(default_factory=set)
    opened: dict[str, int] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    control: dict[str, Any] = field(default_factory=dict)
    commands: int = 0
    holder: Actor | None = None
    ended_by: Actor | None = None

    @property
    def org_id(self) -> str:
        return self.pk.partition("#")[0]

    @property
    def execution_id(self) -> str:
        return self.pk.partition("#")[2]

    @property
    def parent(self) -> str | None:
        """The id of the execution it is a child of."""
        return self.control.get("parent_id")

    def is_leased(self) -> bool:
        """Whether somebody advances it now."""
        return "lease" in self.control

    def is_divided(self) -> bool:
        """Whether children do a part of its work."""
        return bool(self.state.children())

    def is_asking(self) -> bool:
        """Whether a question is open."""
        return any(token.status == "waiting" and token.wait_key is not None for token in self.state.tokens.values())


class Ledger:
    """Watches every committed write of executions, and every effect."""

    def __init__(self, scheduler: Scheduler, library: Library, peek: Peek) -> None:
        self.books: dict[str, Book] = {}
        self.effects: dict[tuple[Key, str, int], int] = {}
        self.kinds: Registry = Registry()
        self.writes = 0
        self.takeovers = 0
        self.has_schedules = False
        self.inlined: Callable[[Fact], Fact] = lambda fact: fact
        self._scheduler = scheduler
        self._library = library
        self._peek = peek
        self._table = table_name("executions")

    def children(self, pk: str) -> list[Book]:
        """The children an execution has had."""
        return [book for book in self.books.values() if book.parent and f"{book.org_id}#{book.parent}" == pk]

    def family(self, pk: str) -> list[Book]:
        """An execution and its children."""
        return [self.books[pk], *self.children(pk)]

    # Writes

    def after(self, operation: str, request: dict[str, Any]) -> None:
        """Compare what an operation wrote with what was known."""
        try:
            self._after(operation, request)
        except Exception as error:  # noqa: BLE001
            # The code under test catches exceptions; one of ours must not look like one of the store's.
            self._scheduler.fail(f"the ledger cannot follow {operation}: {error!r}")

    def _after(self, operation: str, request: dict[str, Any]) -> None:
        if operation == "TransactWriteItems":
            actions = [(name, body) for action in request["TransactItems"] for name, body in action.items()]
        elif operation in ("UpdateItem", "PutItem"):
            actions = [(operation[:-4], request)]
        else:
            return
        self.writes += 1
        touched: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        for name, body in actions:
            key = body.get("Key") or body.get("Item") or {}
            if body.get("TableName") == self._table and name in ("Put", "Update"):
                touched.setdefault(key["pk"]["S"], []).append((key["sk"]["S"], body))
        for pk, parts in touched.items():
            self._look(pk, parts)

    def _look(self, pk: str, parts: list[tuple[str, dict[str, Any]]]) -> None:
        if not any(sk == "control" for sk, _ in parts):
            return
        book = self.books.get(pk) or self._opened(pk)
        before = book.control
        appended = [(sk, body["Item"]) for sk, body in parts if sk.startswith("journal#")]
        length = len(book.facts)
        for sk, item in sorted(appended, key=lambda part: part[0]):
            self._append(book, sk, item)
        book.control = self._read(pk, "control")
        book.commands += bool(before) and book.control["command"] != before["command"]
        if book.control.get("lease") != before.get("lease"):
            self.takeovers += "lease" in before and book.holder is not self._scheduler.current
            book.holder = self._scheduler.current if book.control.get("lease") and not self._scheduler.outside else None
        # A transaction that is sent again under its token answers that it was done, whatever came since.
        if before and len(book.facts) > length:
            unread = book.control["wake"] - book.control["absorbed"]
            self._demand(book, unread == 0, f"something was appended before {unread} commands or signals were read")
        self._check_control(book, before)
        for sk, body in parts:
            if sk == "snapshot":
                self._check_snapshot(book, body["Item"])

    def _opened(self, pk: str) -> Book:
        control = self._read(pk, "control")
        org_id = pk.partition("#")[0]
        program = self._library.program(DefinitionRef(org_id, control["definition_id"], control["definition_version"]))
        self.books[pk] = Book(pk, program)
        return self.books[pk]

    def _read(self, pk: str, sk: str) -> dict[str, Any]:
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        item = self._peek("GetItem", {"TableName": self._table, "Key": key, "ConsistentRead": True}).get("Item")
        return plain(item) if item is not None else {}

    # The journal

    def _append(self, book: Book, sk: str, item: Image) -> None:
        text, first = item["facts"]["S"], int(item["first"]["N"])
        if sk in book.entries:
            self._demand(book, book.entries[sk] == text, f"{sk} was written twice")
            return
        facts: list[Fact] = [self.inlined(fact) for fact in json.loads(text)]
        self._demand(book, SECRET not in json.dumps(facts), f"a secret is in a value of {sk}")
        self._demand(book, first == len(book.facts), f"{sk} follows index {len(book.facts) - 1}")
        self._demand(book, int(item["length"]["N"]) == len(facts), f"{sk} has another length than it says")
        self._demand(book, SECRET not in text, f"a secret is in {sk}")
        if first:
            self._demand(book, book.holder is self._scheduler.current, "somebody without the lease appended")
        book.entries[sk] = text
        for fact in facts:
            self._check_fact(book, fact)
            book.facts.append(fact)
            book.state.apply(fact, book.program)
            if fact["type"] == "ended":
                book.ended_by = self._scheduler.current
            self._scheduler.note(f"  {book.execution_id[-6:]} {len(book.facts) - 1} {summary(fact)}")

    def _check_fact(self, book: Book, fact: Fact) -> None:
        self._demand(book, book.state.ended is None, f"{fact['type']} after the end")
        check = {
            "node_started": self._check_start,
            "node_resumed": self._check_start,
            "node_finished": self._check_finish,
            "wait_opened": self._check_opened,
            "wait_ended": self._check_answered,
            "child_opened": self._check_child,
            "child_ended": self._check_child_end,
            "ended": self._check_end,
        }.get(fact["type"])
        if check is not None:
            check(book, fact)

    def _check_start(self, book: Book, fact: Fact) -> None:
        key, attempt = key_of(fact), fact["attempt"]
        self._demand(book, key not in book.finished, f"{key} started after it had finished")
        self._demand(book, attempt > book.attempts.get(key, 0), f"{key} started attempt {attempt} again")
        self._demand(book, not book.state.paused, f"{key} started in a pause")
        kind = self.kinds.get(book.program.nodes[fact["node"]].kind)
        if kind is not None and kind.effectful and not self._opens_group(book, fact):
            command = book.control["command"]
            self._demand(book, command == "", f"the effect {key} started after {command} was acknowledged")
        book.attempts[key] = attempt

    def _opens_group(self, book: Book, fact: Fact) -> bool:
        return book.program.nodes[fact["node"]].batch is not None and "item" not in fact

    def _check_finish(self, book: Book, fact: Fact) -> None:
        key = key_of(fact)
        self._demand(book, key not in book.finished, f"{key} finished twice")
        self._demand(book, key in book.attempts, f"{key} finished without a start")
        book.finished.add(key)
        output = fact["output"]
        if book.program.nodes[fact["node"]].batch is not None and "item" not in fact:
            ordered = [row.get("index") for row in output] == list(range(len(output)))
            self._demand(book, ordered, f"the items of {key} are out of order: {output}")

    def _check_opened(self, book: Book, fact: Fact) -> None:
        book.opened[fact["wait"]] = book.opened.get(fact["wait"], 0) + 1

    def _check_answered(self, book: Book, fact: Fact) -> None:
        book.answered[fact["wait"]] = count = book.answered.get(fact["wait"], 0) + 1
        self._demand(book, count <= book.opened.get(fact["wait"], 0), f"{fact['wait']} was answered twice")
        if fact["timed_out"]:
            due = book.state.tokens[fact["token"]].due_ms if fact["token"] in book.state.tokens else None
            self._demand(book, due is not None and due <= fact["at"], f"{fact['wait']} timed out too early")

    def _check_child(self, book: Book, fact: Fact) -> None:
        command, slot = book.control["command"], fact["slot"]
        self._demand(book, command == "", f"{slot} was opened after {command} was acknowledged")
        self._demand(book, not book.state.paused, f"{slot} was opened in a pause")
        self._demand(book, slot not in book.opened, f"{slot} was opened twice")
        self._demand(
            book, bool(self._read(f"{book.org_id}#{fact['child']}", "control")), f"{slot} was opened without its child"
        )
        self._check_opened(book, fact | {"wait": slot})

    def _check_child_end(self, book: Book, fact: Fact) -> None:
        self._demand(book, fact["slot"] not in book.answered, f"the end of {fact['slot']} came twice")
        book.answered[fact["slot"]] = 1
        child = next(child for child in self.children(book.pk) if child.control["parent_slot"] == fact["slot"])
        ended = child.state.ended or {}
        self._demand(book, ended.get("status") == fact["status"], f"{fact['slot']} ended otherwise than was told")

    def _check_end(self, book: Book, fact: Fact) -> None:
        living = [child for child in self.children(book.pk) if child.state.ended is None]
        untold = [child for child in living if child.control["command"] != "cancel"]
        self._demand(book, not untold, "it ended before its children were told")

    # The control item and the snapshot

    def _check_control(self, book: Book, before: dict[str, Any]) -> None:
        control = book.control
        self._demand(
            book, control["next_index"] == len(book.facts), "the control item has another position than the journal"
        )
        for name in ("generation", "wake", "next_index"):
            self._demand(book, control[name] >= before.get(name, 0), f"{name} went back")
        live = book.state.ended is None
        self._demand(book, control["live"] == live, "the control item and the journal disagree whether it has ended")
        if not live:
            self._demand(book, "due_ms" not in control and "due_shard" not in control, "an ended execution is due")
            return
        self._demand(book, "due_ms" in control and "due_shard" in control, "a live execution is not in the due index")
        # Whoever wakes an execution moves the backstop to a grace from then, whatever it was.
        latest = max(self._scheduler.now_ms(), control.get("lease_until", 0))
        moment = next_moment(book.state)
        if "lease" not in control:
            latest = max(latest, moment if moment is not None else control["due_ms"])
        late = control["due_ms"] - latest - GRACE_MS
        self._demand(book, late <= SLACK_MS, f"due {late} ms too late")

    def _check_snapshot(self, book: Book, item: Image) -> None:
        if int(item["index"]["N"]) != len(book.facts) or "state" not in item:
            return
        self._demand(book, SECRET not in item["state"]["S"], "a secret is in a snapshot")
        now = self._scheduler.now_ms()
        saved = normal(State.from_json(json.loads(item["state"]["S"])), now)
        folded = normal(State.from_json(json.loads(json.dumps(book.state.to_json()))), now)
        different = [name for name in folded if folded[name] != saved[name]]
        self._demand(book, not different, f"snapshot and journal differ in {different}")

    def is_due(self) -> bool:
        """Whether a sweep would find something."""
        now = self._scheduler.now_ms()
        return self.has_schedules or any(book.control.get("due_ms", now + 1) <= now for book in self.books.values())

    # Effects

    def effect(self, call: Call) -> None:
        """An effect begins outside."""
        _, node, visit, *item = call.idempotency_key.split(":")
        key = (node, int(visit), int(item[0]) if item else None)
        book = self._actor(f"{call.execution.org_id}#{call.execution.id}", key)
        self._scheduler.note(f"  effect {book.execution_id[-6:]} {key} attempt {call.attempt}")
        count = self.effects[key, book.pk, call.attempt] = self.effects.get((key, book.pk, call.attempt), 0) + 1
        self._demand(book, count == 1, f"the effect {key} of attempt {call.attempt} happened twice")
        latest = book.attempts.get(key, 0)
        self._demand(book, latest >= call.attempt, f"the effect {key} began before its start was in the journal")
        # A worker that lost its lease may still begin what it had journaled; nobody else may.
        current = self._scheduler.current
        worker = current.parent or current
        given_up = latest > call.attempt or book.holder is not worker
        self._demand(book, key not in book.finished or given_up, f"the effect {key} began after it had finished")
        self._demand(book, book.ended_by is not worker, f"the effect {key} began after the end")

    def _actor(self, pk: str, key: Key) -> Book:
        """The execution an effect belongs to: children act for their parent."""
        return next((book for book in self.family(pk) if key in book.attempts), self.books[pk])

    def _demand(self, book: Book, holds: bool, message: str) -> None:
        if not holds:
            self._scheduler.fail(f"{book.execution_id}: {message}")


def key_of(fact: Fact) -> Key:
    """What a fact of a node is about."""
    return fact["node"], fact["visit"], fact.get("item")


def next_moment(state: State) -> int | None:
    """When a timer, retry or time-out is due next; nothing is in a pause, and no retry that governance holds."""
    if state.paused:
        return None
    awake = [token for token in state.tokens.values() if str(token.id) not in state.held]
    return min((token.due_ms for token in awake if token.due_ms is not None), default=None)


def normal(state: State, now: int) -> dict[str, Any]:
    """A state without what only the memory of a running interpreter distinguishes."""
    for token in state.tokens.values():
        if token.status == "running" or (token.status == "retrying" and (token.due_ms or 0) <= now):
            token.status, token.due_ms = "ready", None
    return state.to_json()


def plain(item: Image) -> dict[str, Any]:
    """Values of an item without their types."""
    return {name: int(value["N"]) if "N" in value else next(iter(value.values())) for name, value in item.items()}


def summary(fact: Fact) -> str:
    """A fact in a few words."""
    words = [
        f"{name}={fact[name]}"
        for name in ("node", "visit", "item", "attempt", "wait", "status", "command", "timed_out")
        if name in fact
    ]
    return " ".join([fact["type"], *words])
