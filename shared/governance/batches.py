"""Batches of events. Each event has its own fate: stored, known already, or rejected by its id.

Events about money are settled one by one. The others only leave a row, forty to a transaction, and the ends of
executions among them are marked. Source: NullRun docs, HTTP API, Track; docs/rulings.md#track-batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shared.governance.reservations import complete
from shared.governance.spans import add_beginning, beginnings
from shared.governance.tracking import (
    KEPT_S,
    IdempotencyKeyMismatch,
    Mark,
    Tracking,
    event_mark,
    is_new,
    listing,
    prove_key,
)
from shared.governance.usage import InvalidField, latency_of, read_report, text_of
from shared.identity.principal import Principal
from shared.kit import clock, ids, json
from shared.kit.errors import PayloadTooLarge, Unavailable
from shared.store.models.governance import Purse, purse_pk
from shared.store.models.tracked import Tracked, tracked_pk
from shared.store.transaction import ConditionFailed, Transaction, read

MOST_EVENTS = 100
"""Events of a batch."""

_AT_ONCE = 40
_RETRY_MS = 5_000
_ENDS = ("span_end", "tool_call")
_SPANS = ("span_start", "span_end")
_KEPT_TEXTS = ("fn_name", "tool_name", "trace_id", "span_id", "parent_span_id", "agent_id")


class BatchTooLarge(PayloadTooLarge):
    """The batch has more events than are taken at once."""

    code = "batch_too_large"


@dataclass(frozen=True, slots=True)
class Incident:
    """An event about no money. ``execution_id`` is None where it names none; ``ends`` it if it is known."""

    event_id: str
    type: str
    mark: Mark
    label: str | None
    execution_id: str | None
    latency_ms: int | None
    failed: bool
    ends: bool
    details: Mapping[str, Any]

    @property
    def span_id(self) -> str | None:
        """The span it belongs to."""
        span_id: str | None = self.details.get("span_id")
        return span_id


@dataclass
class _Outcome:
    """What became of the events of a batch."""

    stored: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)

    def reject(self, event_id: Any, reason: str, message: str, retry_after_ms: int | None = None) -> None:
        shown = event_id if isinstance(event_id, str) and json.is_unicode(event_id) else None
        self.rejected.append(
            {"event_id": shown, "reason": reason, "message": message, "retry_after_ms": retry_after_ms}
        )

    def answer(self) -> dict[str, Any]:
        return {
            "accepted_event_ids": [*self.stored, *self.known],
            "accepted": len(self.stored),
            "duplicates": len(self.known),
            "rejection_details": self.rejected,
            "actions": [],
            "messages": [],
        }


class Batches:
    """Counts the events of keys by the batch."""

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking

    def track(self, principal: Principal, body: Mapping[str, Any]) -> dict[str, Any]:
        """Take what is good of a batch.

        Raises BatchTooLarge (413), InvalidField (422) for a body without events, and KeyChanged (401).
        """
        events = body.get("events")
        if not isinstance(events, list):
            raise InvalidField("events", "must be a list of events")
        if len(events) > MOST_EVENTS:
            raise BatchTooLarge(f"A batch has at most {MOST_EVENTS} events", details={"limit": MOST_EVENTS})
        prove_key(principal, read(Purse, purse_pk(principal.org_id, principal.workflow_id), "purse"))
        outcome = _Outcome()
        seen: set[str] = set()
        incidents: list[Incident] = []
        for event in events:
            try:
                event_id = self._place(event, seen, outcome)
                if event_id is None:
                    continue
                if _is_money(event):
                    self._settle(principal, event, event_id, outcome)
                else:
                    incidents.append(_incident(event, event_id))
            except InvalidField as error:
                outcome.reject(event.get("event_id"), "invalid_field", error.message)
        self._record(principal, incidents, outcome)
        return outcome.answer()

    def _place(self, event: Any, seen: set[str], outcome: _Outcome) -> str | None:
        """The id of an event that is to be handled; None when nothing is left to do. Raises InvalidField."""
        if not isinstance(event, dict):
            outcome.reject(None, "invalid_event", "An event must be an object")
            return None
        event_id = text_of(event, "event_id")
        if event_id is None:
            outcome.reject(None, "invalid_field", "event_id is required")
            return None
        if event_id in seen:
            outcome.known.append(event_id)
            return None
        if text_of(event, "type") is None:
            raise InvalidField("type", "is required")
        seen.add(event_id)
        return event_id

    def _settle(self, principal: Principal, event: Mapping[str, Any], event_id: str, outcome: _Outcome) -> None:
        report, mark = read_report(event), event_mark(event_id, _digest(event))
        try:
            answered = self._tracking.settle(principal, report, mark, str(event["type"]))
        except IdempotencyKeyMismatch:
            # Whoever sends an event again may have counted the attempt in it.
            outcome.known.append(event_id)
        except Unavailable as error:
            outcome.reject(event_id, "unavailable", error.message, _RETRY_MS)
        else:
            (outcome.known if answered.body["idempotent_replay"] else outcome.stored).append(event_id)

    def _record(self, principal: Principal, incidents: Sequence[Incident], outcome: _Outcome) -> None:
        for label in dict.fromkeys(incident.label for incident in incidents):
            self._tracking.remember_label(principal, label)
        incidents, unended = _placed(principal, incidents)
        done: list[Incident] = []
        for start in range(0, len(incidents), _AT_ONCE):
            group = incidents[start : start + _AT_ONCE]
            try:
                known = _store(principal, group, unended)
            except Unavailable as error:
                for incident in group:
                    outcome.reject(incident.event_id, "unavailable", error.message, _RETRY_MS)
                continue
            for incident in group:
                (outcome.known if incident.event_id in known else outcome.stored).append(incident.event_id)
            done += group
        for end in _ends(done):
            # An end that is lost with its answer comes again with the batch, or by the sweep.
            complete(
                principal.org_id, end.execution_id or "", failed=end.failed, latency_ms=end.latency_ms,
                workflow_id=principal.workflow_id,
            )  # fmt: skip


def _is_money(event: Mapping[str, Any]) -> bool:
    """A model call, or whatever else names its cost; a span sums up what others have told."""
    return event["type"] == "llm_call" or (event["type"] not in _SPANS and bool(event.get("cost_cents")))


def _incident(event: Mapping[str, Any], event_id: str) -> Incident:
    # Of what agents do only names are kept, never what was said or handed over.
    details = {name: text_of(event, name) for name in _KEPT_TEXTS}
    return Incident(
        event_id=event_id, type=str(event["type"]), mark=event_mark(event_id, _digest(event)),
        label=text_of(event, "workflow_id", 512), execution_id=text_of(event, "execution_id"),
        latency_ms=latency_of(event), failed=bool(event.get("error")), ends=event["type"] in _ENDS,
        details={name: value for name, value in details.items() if value is not None},
    )  # fmt: skip


def _digest(event: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumpb(event)).hexdigest()


def _placed(principal: Principal, incidents: Sequence[Incident]) -> tuple[Sequence[Incident], set[str]]:
    """What happened, in the executions that its spans began in; and the spans that begin here and do not end.

    A tool in a known span does not end the execution: the span's own end does.
    """
    begun = {
        incident.span_id: incident.execution_id
        for incident in incidents
        if incident.type == "span_start" and incident.span_id is not None and incident.execution_id is not None
    }
    unended = begun.keys() - {incident.span_id for incident in incidents if incident.type == "span_end"}
    inside = {incident.span_id for incident in incidents if incident.ends and incident.span_id is not None}
    known = {**beginnings(principal, inside - begun.keys()), **begun}
    placed = [
        replace(incident, execution_id=known[incident.span_id], ends=incident.type == "span_end")
        if incident.ends and incident.span_id in known
        else incident
        for incident in incidents
    ]
    return placed, unended


def _store(principal: Principal, group: Sequence[Incident], unended: Collection[str]) -> set[str]:
    """Write rows of events, and where spans began; the ids of the events that were there already."""
    waiting, known = {incident.event_id: incident for incident in group}, set[str]()
    while waiting:
        tx = Transaction()
        for event_id, incident in waiting.items():
            tx.put(_row(principal, incident), is_new(), label=event_id)
        beginning = {
            incident.span_id: incident.execution_id
            for incident in waiting.values()
            if incident.type == "span_start" and incident.span_id in unended
        }
        for span_id, execution_id in beginning.items():
            if span_id is not None and execution_id is not None:
                add_beginning(tx, principal, span_id, execution_id)
        try:
            tx.commit()
        except ConditionFailed as failed:
            known |= failed.failures.keys()
            waiting = {event_id: row for event_id, row in waiting.items() if event_id not in failed.failures}
        else:
            break
    return known


def _row(principal: Principal, incident: Incident) -> Tracked:
    now = clock.now_ms()
    details = {**incident.details, "failed": incident.failed, "latency_ms": incident.latency_ms}
    return Tracked(
        tracked_pk(principal.org_id, incident.mark.id), "tracked", org_id=principal.org_id, key_id=principal.key_id,
        workflow_id=principal.workflow_id, event_type=incident.type, execution_id=incident.execution_id,
        digest=incident.mark.digest, details=json.dumps(details), created_ms=now, ttl=now // 1000 + KEPT_S,
        **listing(principal.org_id, incident.execution_id, now, incident.mark.id),
    )  # fmt: skip


def _ends(incidents: Sequence[Incident]) -> Iterator[Incident]:
    """The last word on each execution: of several ends the span's, and one that failed."""
    by_execution: dict[str, Incident] = {}
    for incident in incidents:
        if not incident.ends or incident.execution_id is None or not ids.is_uuid(incident.execution_id):
            continue
        before = by_execution.get(incident.execution_id.lower())
        if before is None or (incident.failed, incident.type == "span_end") >= (
            before.failed,
            before.type == "span_end",
        ):
            by_execution[incident.execution_id.lower()] = incident
    yield from by_execution.values()
