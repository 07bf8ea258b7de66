"""What the audit chain says of one execution, without reading the whole chain."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from shared.governance.audit import SKEW_MS, told
from shared.governance.verification import first_since
from shared.kit import clock
from shared.store.models.audit import AuditEntry, AuditHead, audit_pk, entry_sk
from shared.store.transaction import read

MOST_LOOKED_AT = 2_000
"""Entries that are looked through, from the beginning of the execution on."""

_LATE_MS = 5 * 60_000
"""How long after an execution its last entry may come."""


def entries_of(
    org_id: str, execution_id: str, began_ms: int, ended_ms: int | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The time (epoch milliseconds) of each entry about the execution, and the entry, oldest first."""
    head = read(AuditHead, audit_pk(org_id), "head")
    length = 0 if head is None else int(head.length)
    first = first_since(org_id, length, began_ms)
    if first > length:
        return
    until = None if ended_ms is None else ended_ms + SKEW_MS + _LATE_MS
    numbers = AuditEntry.sk.between(entry_sk(first), entry_sk(length))
    for entry in islice(AuditEntry.query(audit_pk(org_id), numbers), MOST_LOOKED_AT):
        if until is not None and int(entry.at_ms) > until:
            return
        if execution_id in entry.body and (shown := told(entry))["execution_id"] == execution_id:
            yield clock.parse_rfc3339(shown["timestamp"]), shown
