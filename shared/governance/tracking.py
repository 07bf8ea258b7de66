"""Tracking: what calls came to. Each report is counted once, and its spending is never lost.

The transaction that spends also writes the report down under what makes it one of its kind. A repetition fails on that
item, and is answered as the first one was. Source: NullRun docs, HTTP API, Track; docs/rulings.md#track.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from shared.governance.authentication import KeyRefused
from shared.governance.money import MICRO, cents, millicents
from shared.governance.operations import is_bound, pk_of_execution
from shared.governance.prices import catalog_version
from shared.governance.purses import has_cap
from shared.governance.reservations import OPERATION, is_unchanged
from shared.governance.settlement import Books, Settlement, open_books
from shared.governance.usage import Report, read_report
from shared.identity.principal import Principal
from shared.kit import clock, ids, json
from shared.kit.errors import Conflict, Unavailable, Unprocessable
from shared.store.models.governance import Operation, Purse
from shared.store.models.tracked import Tracked, tracked_listing_pk, tracked_pk
from shared.store.transaction import ConditionFailed, Transaction

KEPT_S = 30 * 24 * 3600
"""How long a report is recognised."""

TRACKED = "tracked"
"""The label of the report in its transaction."""

LONGEST_LABEL = 200
_ATTEMPTS = 200
_LONGEST_PAUSE_S = 0.05

AddAlias = Callable[[str, str, str], None]
"""Remember a text (last) that a client uses for a workflow of an org. Never fails."""


class IdempotencyKeyMismatch(Conflict):
    """The key of a report was used for another one."""

    code = "idempotency_key_mismatch"


class KeyChanged(KeyRefused):
    """The key is not, or no longer, one of the workflow's in the version it was known in: read it again."""

    def __init__(self) -> None:
        super().__init__("API_KEY_REVOKED", "The API key has been revoked")


class Overbudget(Unprocessable):
    """The spending is booked, and there was no budget for it."""

    code = "consume_overbudget"

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(body["message"], details=body["details"])
        self.body = body


@dataclass(frozen=True, slots=True)
class Mark:
    """What makes a report one of its kind, and the digest of its body."""

    id: str
    digest: str

    @classmethod
    def of(cls, principal: Principal, report: Report, raw: bytes) -> Mark:
        """By idempotency key within the API key, else by event id within the org, else unique.

        The SDK's keys have a colon, and several calls share one: for those a further body is a further report. As the
        SDK sends nothing twice, even the same bytes are a further one under a key that it made.
        """
        digest, given = hashlib.sha256(raw).hexdigest(), report.idempotency_key
        if given is not None and report.is_never_repeated:
            return cls(_hash("key", principal.key_id, given, ids.uuid4()), digest)
        if given is not None:
            return cls(_hash("key", principal.key_id, given, digest if ":" in given else ""), digest)
        return event_mark(report.event_id or ids.uuid4(), digest)


def prove_key(principal: Principal, purse: Purse | None) -> None:
    """Raise KeyChanged unless the purse of the key's workflow has the key in its version; a definition has no key."""
    if principal.kind == "system":
        return
    versions = purse.key_versions.attribute_values if purse is not None else {}
    if versions.get(principal.key_id) != principal.key_version:
        raise KeyChanged


def event_mark(event_id: str, digest: str) -> Mark:
    """The mark of an event that its id makes one of its kind."""
    return Mark(_hash("event", event_id), digest)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, to be stored with its report: what was booked, and whether there was budget for it."""

    body: dict[str, Any]
    overbudget: bool

    def told(self) -> dict[str, Any]:
        """The body of a success. Raises Overbudget."""
        if self.overbudget:
            raise Overbudget(self.body)
        return self.body


class Tracking:
    """Counts what keys report. ``settle_mode`` is headroom or strict."""

    def __init__(self, settle_mode: str, add_alias: AddAlias) -> None:
        self._strict = settle_mode == "strict"
        self._add_alias = add_alias

    def track(self, principal: Principal, event: Mapping[str, Any], raw: bytes) -> dict[str, Any]:
        """Count one call and answer; ``raw`` are the bytes of the body.

        Raises InvalidField (422; nothing is counted), IdempotencyKeyMismatch (409), Overbudget (422; it is counted) and
        KeyChanged (401).
        """
        report = read_report(event)
        return self.settle(principal, report, Mark.of(principal, report, raw), "llm_call").told()

    def settle(self, principal: Principal, report: Report, mark: Mark, event_type: str) -> Answered:
        """Count one report, or recognise it. Raises IdempotencyKeyMismatch and KeyChanged."""
        self.remember_label(principal, report.label)
        event_id = report.event_id or ids.uuid7()
        pk = pk_of_execution(principal.org_id, report.execution_id) if report.execution_id is not None else None
        for attempt in range(_ATTEMPTS):
            books = open_books(principal.org_id, principal.workflow_id, principal.key_id, pk, report.execution_id or "")
            prove_key(principal, books.workflow)
            if books.operation is not None and not is_bound(books.operation):
                books = open_books(principal.org_id, principal.workflow_id, principal.key_id, None, "")
            settlement = Settlement(books, report.spending.amount, principal.org_id)
            tx = Transaction()
            settlement.add(tx)
            answered = self._answer(report, settlement, event_id)
            tx.put(_tracked(principal, report, mark, event_type, answered), is_new(), label=TRACKED)
            if books.operation is not None:
                actions = _settled(books.operation, report, settlement.freed())
                # What was spent before is part of the answer.
                same = is_unchanged(books.operation) & (Operation.spent == books.operation.spent)
                tx.update(books.operation, actions, same, label=OPERATION)
            try:
                tx.commit()
            except ConditionFailed as failed:
                earlier = failed.failures.get(TRACKED)
                if isinstance(earlier, Tracked):
                    return _again(earlier, mark)
                clock.sleep(min(_LONGEST_PAUSE_S, 0.001 * attempt) * ids.uniform())
            else:
                return answered
        raise Unavailable("Too many calls change the same budget at once; try again")

    def remember_label(self, principal: Principal, label: str | None) -> None:
        """Keep a text that stands for the key's workflow. An id may be another workflow's, so none is kept."""
        if label is not None and len(label) <= LONGEST_LABEL and not ids.is_uuid(label):
            self._add_alias(principal.org_id, principal.workflow_id, label)

    def _answer(self, report: Report, settlement: Settlement, event_id: str) -> Answered:
        operation, spending = settlement.books.operation, report.spending
        before = int(operation.spent) if operation is not None else 0
        tolerated = int(operation.reserved_total + operation.epsilon) if operation is not None else 0
        actual = before + spending.amount
        strict = self._strict and operation is not None
        if actual > tolerated and (strict or settlement.overrun):
            allowed = tolerated if strict else max(tolerated, actual - settlement.overrun)
            return Answered(_overbudget(report, settlement, event_id, actual, allowed), True)
        body = {
            "event_id": event_id,
            "snapshot": _snapshot(settlement.books, spending.amount),
            "actions_taken": [],
            "processing_mode": "sync",
            "cost_source": spending.source,
            "cost_cents": spending.amount / MICRO,
            "confidence": spending.confidence,
            "idempotent_replay": False,
        }
        return Answered(body, False)


def _snapshot(books: Books, amount: int) -> dict[str, Any]:
    """How the workflow's budget stands after the spending; null where there is no budget."""
    purse = books.workflow
    if purse is None:
        return {"spent_cents": None, "budget_cents": None, "remaining_cents": None}
    is_past = books.accounts[0].is_past
    spent = int(purse.spent) + (0 if is_past else amount)
    if not has_cap(purse):
        return {"spent_cents": cents(spent), "budget_cents": None, "remaining_cents": None}
    budget = cents(int(purse.cap))
    return {
        "spent_cents": cents(spent),
        "budget_cents": budget,
        "remaining_cents": max(0, budget - cents(spent)),
    }


def _overbudget(report: Report, settlement: Settlement, event_id: str, actual: int, allowed: int) -> dict[str, Any]:
    operation = settlement.books.operation
    message = "The cost is above the reservation, and no budget is left for the rest; it was counted all the same"
    return {
        "error": "consume_overbudget", "code": "CONSUME_OVERBUDGET", "error_code": "CONSUME_OVERBUDGET",
        "category": "budget", "message": message, "error_message": message, "retry_after_ms": None,
        "idempotent_replay": False, "snapshot": _snapshot(settlement.books, report.spending.amount),
        "details": {
            "error_code": "CONSUME_OVERBUDGET", "execution_id": operation.execution_id if operation else None,
            "event_id": event_id, "reserved_millicents": millicents(int(operation.reserved_total)) if operation else 0,
            "max_allowed_millicents": millicents(allowed), "actual_cost_cents": -(-actual // MICRO),
            "soft_pass": operation is not None and operation.decision == "soft_pass", "reservation_recorded": True,
        },
    }  # fmt: skip


def _settled(operation: Operation, report: Report, freed: int) -> list[Action]:
    """What a report changes of its operation. What comes after the reservation's end is late."""
    spending = report.spending
    actions: list[Action] = [
        Operation.spent.set(Operation.spent + spending.amount),
        Operation.tokens.set(Operation.tokens + spending.tokens),
        Operation.llm_calls.set(Operation.llm_calls + 1),
    ]
    if freed:
        actions.append(Operation.reserved.set(Operation.reserved - freed))
        if freed == operation.reserved:
            actions.append(Operation.status.set("settled"))
    if operation.status in ("canceled", "expired"):
        actions.append(Operation.late.set(Operation.late + spending.amount))
    if operation.model is None and spending.model is not None:
        actions.append(Operation.model.set(spending.model))
    if report.label is not None and report.label != operation.workflow_id and operation.label is None:
        actions.append(Operation.label.set(report.label[:LONGEST_LABEL]))
    return actions


def _tracked(principal: Principal, report: Report, mark: Mark, event_type: str, answered: Answered) -> Tracked:
    now, spending = clock.now_ms(), report.spending
    details = {
        "amount": spending.amount, "tokens": spending.tokens, "model": spending.model, "cost_source": spending.source,
        "prices": catalog_version(), "latency_ms": report.latency_ms,
        "label": report.label[:LONGEST_LABEL] if report.label is not None else None,
    }  # fmt: skip
    return Tracked(
        tracked_pk(principal.org_id, mark.id), "tracked", org_id=principal.org_id, key_id=principal.key_id,
        workflow_id=principal.workflow_id, event_type=event_type, execution_id=report.execution_id, digest=mark.digest,
        answer=json.dumps({"overbudget": answered.overbudget, "body": answered.body}), details=json.dumps(details),
        created_ms=now, ttl=now // 1000 + KEPT_S, **listing(principal.org_id, report.execution_id, now, mark.id),
    )  # fmt: skip


def listing(org_id: str, execution_id: str | None, now_ms: int, event_id: str) -> dict[str, Any]:
    """The attributes that list an event under its execution; none where it names none."""
    if execution_id is None or not ids.is_uuid(execution_id):
        return {}
    at = f"{now_ms:015d}#{event_id}"
    return {"org_listing": tracked_listing_pk(org_id, execution_id.lower()), "listed_at": at}


def is_new() -> Condition:
    """That the report is not known; what has expired is removed late."""
    condition: Condition = Tracked.pk.does_not_exist() | (Tracked.ttl <= clock.now_ms() // 1000)
    return condition


def _again(earlier: Tracked, mark: Mark) -> Answered:
    """The answer of a report that is known. Raises IdempotencyKeyMismatch where the bodies differ."""
    if earlier.digest != mark.digest:
        raise IdempotencyKeyMismatch("This idempotency key was used for another report; choose a new one")
    stored = json.loads(earlier.answer or "{}")
    return Answered(stored["body"] | {"idempotent_replay": True}, stored["overbudget"])
