"""Whether an org's audit chain is whole: every hash, every link, and no number missing up to the head.

The head is the anchor: it says how long the chain is and what it ends with, so that an end that was cut off shows. One
request looks at the newest entries up to a bound; ``since`` begins later, at a link that is proven by its entry before.
Source: NullRun docs, Audit log, Verification; docs/rulings.md#audit-verification.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shared.governance.audit import SKEW_MS
from shared.governance.chain import BEFORE_FIRST, chained_hash
from shared.kit import clock, ids, json
from shared.store.models.audit import AuditEntry, AuditHead, audit_pk, entry_sk
from shared.store.models.governance import Event, Operation, events_pk
from shared.store.transaction import read

MOST_VERIFIED = 200_000
"""Entries one verification looks at, the newest."""

MOST_WAITING = 1000
"""Up to where what waits to be chained is counted."""

EVENTS_MS, OPERATIONS_MS = 24 * 3600 * 1000, 3600 * 1000
"""How far back it is looked for what waits to be chained."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found. ``failure`` is None or what is wrong with entry ``failed_at``, the first that is.

    ``content_hash_mismatch``: its text is not what was hashed. ``previous_hash_mismatch``: it does not follow the one
    before. ``missing_entry``: there is none of this number. ``unexpected_entry``: it belongs to no number, or lies
    behind the end. ``head_mismatch``: the head says another hash of the last entry, or is gone.
    """

    failure: str | None
    failed_at: int | None
    count: int
    first_hash: str | None
    last_hash: str | None


class _Broken(Exception):
    def __init__(self, reason: str, number: int) -> None:
        super().__init__(reason)
        self.reason, self.number = reason, number


def verify(org_id: str, since_ms: int | None = None) -> Verification:
    """Verify the chain, or the part of it that was appended at ``since_ms`` or later."""
    # In this order: what is appended meanwhile lies behind the newest entry that was seen, and before the head.
    newest = next(iter(AuditEntry.query(audit_pk(org_id), _ENTRIES, scan_index_forward=False, limit=1)), None)
    head = read(AuditHead, audit_pk(org_id), "head")
    walk = _Walk(org_id)
    try:
        if head is None:
            if newest is not None:
                raise _Broken("head_mismatch", int(newest.number))
        else:
            if newest is not None and newest.sk > entry_sk(int(head.length)):
                raise _Broken("unexpected_entry", int(newest.number))
            walk.run(first_since(org_id, int(head.length), since_ms), head)
    except _Broken as broken:
        return Verification(broken.reason, broken.number, walk.count, walk.first_hash, walk.last_hash)
    return Verification(None, None, walk.count, walk.first_hash, walk.last_hash)


_ENTRIES = AuditEntry.sk.startswith("entry#")


class _Walk:
    """From an entry to the head."""

    def __init__(self, org_id: str) -> None:
        self._pk = audit_pk(org_id)
        self.count = 0
        self.first_hash: str | None = None
        self.last_hash: str | None = None

    def run(self, first: int, head: AuditHead) -> None:
        last = int(head.length)
        first = max(first, last - MOST_VERIFIED + 1)
        previous = BEFORE_FIRST if first == 1 else self._hash_of(first - 1)
        number = first
        numbers = AuditEntry.sk.between(entry_sk(first), entry_sk(last))
        for entry in AuditEntry.query(self._pk, numbers, consistent_read=True) if first <= last else ():
            if entry.sk != entry_sk(number):
                # Text between two numbers is no place of an entry; the next number is: one is missing.
                is_place = entry.sk == entry_sk(int(entry.number))
                raise _Broken("missing_entry" if is_place else "unexpected_entry", number)
            previous = self._proven(entry, previous, number)
            number += 1
        if number <= last:
            raise _Broken("missing_entry", number)
        if last and previous != head.hash:
            raise _Broken("head_mismatch", last)

    def _proven(self, entry: AuditEntry, previous: str, number: int) -> str:
        """The hash of an entry that follows ``previous``."""
        if entry.previous != previous or _previous_in(entry) != previous:
            # A text that was changed explains a wrong link better than the link itself.
            changed = chained_hash(entry.previous, entry.body) != entry.hash
            raise _Broken("content_hash_mismatch" if changed else "previous_hash_mismatch", number)
        if chained_hash(previous, entry.body) != entry.hash:
            raise _Broken("content_hash_mismatch", number)
        self.first_hash = self.first_hash or entry.hash
        self.last_hash = entry.hash
        self.count += 1
        return entry.hash

    def _hash_of(self, number: int) -> str:
        entry = read(AuditEntry, self._pk, entry_sk(number))
        if entry is None:
            raise _Broken("missing_entry", number)
        return entry.hash


def _previous_in(entry: AuditEntry) -> object:
    try:
        body = json.loads(entry.body)
    except ValueError:
        return None
    return body.get("previous_event_hash") if isinstance(body, dict) else None


def first_since(org_id: str, length: int, since_ms: int | None) -> int:
    """The number of the first entry that was appended at ``since_ms`` or later, as far as entries are there to tell.

    One past the last where all are older.
    """
    if since_ms is None:
        return 1
    low, high = 1, length + 1
    while low < high:
        middle = (low + high) // 2
        entry = read(AuditEntry, audit_pk(org_id), entry_sk(middle))
        # Where one is missing the walk begins before it and says so.
        if entry is None or int(entry.at_ms) >= since_ms - SKEW_MS:
            high = middle
        else:
            low = middle + 1
    return low


def waiting(org_id: str) -> int:
    """How many recent events and operations are not in the chain yet; counted up to a bound."""
    now, found = clock.now_ms(), 0
    for _ in _unchained(org_id, now):
        found += 1
        if found == MOST_WAITING:
            break
    return found


def _unchained(org_id: str, now: int) -> Iterator[object]:
    events = Event.sk >= ids.uuid7_with(now - EVENTS_MS, 0)
    yield from Event.query(events_pk(org_id), events, Event.chained.does_not_exist())
    yield from unchained_operations(org_id, now - OPERATIONS_MS)


def unchained_operations(org_id: str, since_ms: int) -> Iterator[Operation]:
    """Operations asked at ``since_ms`` or later that are not in the chain yet, oldest first."""
    asked = Operation.listed_at >= ids.uuid7_with(since_ms, 0)
    return iter(Operation.by_org.query(org_id, asked, Operation.chained.does_not_exist()))
