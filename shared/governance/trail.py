"""What is known of one execution: what its client reported, and what the audit chain says of it.

Source: docs/rulings.md#governed-executions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from shared.governance.audit import SKEW_MS, told
from shared.governance.money import cents
from shared.governance.verification import first_since
from shared.kit import clock, json
from shared.store.models.audit import AuditEntry, AuditHead, audit_pk, entry_sk
from shared.store.models.tracked import Tracked, tracked_listing_pk
from shared.store.transaction import read

MOST_LOOKED_AT = 2_000
"""Entries that are looked through, from the beginning of the execution on."""

MOST_REPORTS = 1_000
"""Reports that are told, the oldest."""

_LATE_MS = 5 * 60_000
"""How long after an execution its last entry may come."""

_TOLD = ("fn_name", "tool_name", "trace_id", "span_id", "parent_span_id", "agent_id", "model", "tokens", "latency_ms")


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened in an execution: a fact of its journal, or an entry of the audit chain about it."""

    type: str
    at_ms: int
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time: a node, a model call, a tool. ``ended_ms`` is None while it goes on."""

    name: str
    type: str
    span_id: str | None
    parent_span_id: str | None
    started_ms: int
    ended_ms: int | None
    status: str


def happenings_of(
    org_id: str, execution_id: str, began_ms: int, ended_ms: int | None
) -> tuple[Sequence[Happening], Sequence[Span]]:
    """What happened in an operation of the gate, oldest first, and what took time in it."""
    reports = list(_reports_of(org_id, execution_id))
    events = [*_entries_of(org_id, execution_id, began_ms, ended_ms), *map(_happening_of, reports)]
    return sorted(events, key=lambda event: event.at_ms), _spans_of(reports)


def _reports_of(org_id: str, execution_id: str) -> Iterator[Tracked]:
    now = clock.now_ms()
    found = Tracked.by_execution.query(tracked_listing_pk(org_id, execution_id))
    return (row for row in islice(found, MOST_REPORTS) if not row.is_expired(now))


def _happening_of(row: Tracked) -> Happening:
    stored: dict[str, Any] = json.loads(row.details)
    details = {name: stored[name] for name in _TOLD if stored.get(name) is not None}
    if "amount" in stored:
        details["cost_cents"] = cents(stored["amount"])
    return Happening(row.event_type, int(row.created_ms), details)


def _spans_of(reports: Sequence[Tracked]) -> Sequence[Span]:
    """A span for each that was told of, and for each call in it; times are those of the reports."""
    spans: dict[str, Span] = {}
    for row in reports:
        stored: dict[str, Any] = json.loads(row.details)
        span_id, at_ms = stored.get("span_id"), int(row.created_ms)
        name = stored.get("tool_name") or stored.get("fn_name") or stored.get("model") or row.event_type
        began_ms = at_ms - int(stored.get("latency_ms") or 0)
        status = "failed" if stored.get("failed") else "completed"
        span = Span(name, row.event_type, span_id, stored.get("parent_span_id"), began_ms, at_ms, status)
        if row.event_type in ("span_start", "span_end"):
            spans[f"span {span_id}"] = _merged(spans.get(f"span {span_id}"), span)
        else:
            spans[row.pk] = span
    return sorted(spans.values(), key=lambda span: span.started_ms)


def _merged(known: Span | None, told: Span) -> Span:
    """A span, of which its start and its end tell, in either order; the SDK names it at its start only."""
    first = min(told.started_ms, known.started_ms) if known is not None else told.started_ms
    if told.type == "span_start":
        begun = known or replace(told, ended_ms=None, status="running")
        return replace(begun, type="span", name=told.name, started_ms=first)
    return replace(told, type="span", name=told.name if known is None else known.name, started_ms=first)


def _entries_of(org_id: str, execution_id: str, began_ms: int, ended_ms: int | None) -> Iterator[Happening]:
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
            yield Happening(shown["action"], clock.parse_rfc3339(shown["timestamp"]), shown)
