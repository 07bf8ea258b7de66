"""What must be true when everything has come to an end: the store itself is read again and compared with the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from shared.engine.state import State
from shared.kit import json
from shared.store.models.executions import ChildRecord, Control, InboxEntry, JournalEntry, Summary, WaitRecord
from shared.store.transaction import read
from tests.simulation.callers import Promises
from tests.simulation.ledger import Book, Ledger
from tests.simulation.system import Sockets


def final_check(ledger: Ledger, promises: Promises, sockets: Sockets) -> str | None:
    """The first thing that is wrong, or None."""
    return next(_findings(ledger, promises, sockets), None)


def _findings(ledger: Ledger, promises: Promises, sockets: Sockets) -> Iterator[str]:
    for book in ledger.books.values():
        for finding in (*_journal(ledger, book), *_items(book), *_children(ledger, book)):
            yield f"{book.execution_id}: {finding}"
    yield from _promises(ledger, promises)
    yield from _jobs(ledger, promises)
    yield from _messages(ledger, promises, sockets)


def _journal(ledger: Ledger, book: Book) -> Iterator[str]:
    entries = list(JournalEntry.query(book.pk, JournalEntry.sk.startswith("journal#"), consistent_read=True))
    if {entry.sk: entry.facts for entry in entries} != book.entries:
        yield "the journal is not what was written"
    facts = [ledger.inlined(fact) for entry in entries for fact in json.loads(entry.facts)]
    firsts = [int(entry.first) for entry in entries]
    lengths = [int(entry.length) for entry in entries]
    if firsts != [sum(lengths[:position]) for position in range(len(lengths))]:
        yield "the indices of the journal are not consecutive"
    state = State()
    for fact in facts:
        state.apply(fact, book.program)
    if state.ended is None:
        yield "it has not ended"
    if [fact["type"] for fact in facts].count("ended") > 1:
        yield "it ended twice"


def _items(book: Book) -> Iterator[str]:
    control, summary = read(Control, book.pk, "control"), read(Summary, book.pk, "summary")
    ended = book.state.ended or {}
    if control is None or summary is None:
        yield "its items are gone"
        return
    if control.live or control.lease or control.due_ms is not None:
        yield "its control item is still live"
    statuses = {control.status, summary.status, ended.get("status")}
    if len(statuses) != 1:
        yield f"control, summary and journal disagree: {control.status}, {summary.status}, {ended.get('status')}"
    if int(control.next_index) != len(book.facts):
        yield "the control item has another position than the journal"
    if summary.ended_ms is None:
        yield "the summary has no end"
    if list(InboxEntry.query(book.pk, InboxEntry.sk.startswith("inbox#"), consistent_read=True)):
        yield "a signal was left in the inbox"
    answered = [wait for wait in WaitRecord.query(book.pk, WaitRecord.sk.startswith("wait#")) if wait.status != "open"]
    missing = [wait.wait for wait in answered if wait.wait not in book.answered]
    if missing:
        yield f"{missing[0]} was closed without a fact"


def _children(ledger: Ledger, book: Book) -> Iterator[str]:
    """Every end of a child was told once, and absorbed once, as long as its parent waited for it."""
    records = {record.sk: record for record in ChildRecord.query(book.pk, ChildRecord.sk.startswith("child#"))}
    books = {str(child.control["parent_slot"]): child for child in ledger.children(book.pk)}
    opened = [fact["slot"] for fact in book.facts if fact["type"] == "child_opened"]
    if not set(opened) == set(records) == set(books):
        yield f"children, their records and the journal disagree: {opened}, {list(records)}, {list(books)}"
    for slot, record in records.items():
        ended = [fact for fact in book.facts if fact["type"] == "child_ended" and fact["slot"] == slot]
        if len(ended) > 1 or (record.status == "answered") > len(ended) or (record.status == "open") < len(ended) - 1:
            yield f"{slot} is {record.status} and ended {len(ended)} times"
        done = [fact for fact in book.facts if fact["type"] == "part_finished" and fact["token"] == _token(book, slot)]
        if len(done) > len(ended):
            yield f"{slot} finished without an end"


def _token(book: Book, slot: str) -> int:
    return next(int(fact["token"]) for fact in book.facts if fact["type"] == "child_opened" and fact["slot"] == slot)


def moments(ledger: Ledger, job_id: str) -> list[int]:
    """The moments (epoch ms) for which a cron job ran its flow: the time in the execution's UUIDv7 is the moment."""
    runs = [book for book in ledger.books.values() if book.facts[0]["input"].get("job") == job_id]
    return [UUID(book.execution_id).int >> 80 for book in runs]


def _jobs(ledger: Ledger, promises: Promises) -> Iterator[str]:
    for job_id in promises.jobs:
        ran = moments(ledger, job_id)
        if len(set(ran)) != len(ran):
            yield f"{job_id}: ran twice for one moment"
        if any(moment % 60_000 for moment in ran):
            yield f"{job_id}: ran for a moment that is none of its own"


def _promises(ledger: Ledger, promises: Promises) -> Iterator[str]:
    for execution_id, (tenant, given) in promises.started.items():
        book = ledger.books.get(f"{tenant.org_id}#{execution_id}")
        if book is None or book.facts[0]["input"] != given:
            yield f"{execution_id}: an acknowledged start is missing"
        elif execution_id in promises.canceled and (book.state.ended or {}).get("status") != "canceled":
            yield f"{execution_id}: was cancelled and ended otherwise"
    for book in ledger.books.values():
        if book.execution_id in promises.canceled and (book.state.ended or {}).get("status") != "canceled":
            yield f"{book.execution_id}: was cancelled and ended otherwise"
    for pk, value in promises.signaled:
        facts = [fact for book in ledger.family(pk) for fact in book.facts]
        found = [fact for fact in facts if fact["type"] == "wait_ended" and fact.get("value") == value]
        if len(found) != 1:
            yield f"{pk}: an acknowledged signal is {len(found)} times in the journal"


def _messages(ledger: Ledger, promises: Promises, sockets: Sockets) -> Iterator[str]:
    for connection, pk in promises.watched.items():
        if not connection.endswith(f"@{sockets.process}"):
            continue
        got, facts = set(sockets.sent.get(connection, [])), len(ledger.books[pk].facts)
        if got != set(range(facts)):
            yield f"{connection}: got {len(got)} of {facts} messages"
        elif connection not in sockets.closed:
            yield f"{connection}: was not closed after the last message"
