"""Approvals: questions put to people, their decisions, and what a decision allows once.

    gate ──▶ request ──▶ decide ──▶ frame, told again until ──▶ consume ──▶ execute: check, use
                            └──▶ a flow that waits is woken

Source: NullRun docs, Human approval and Approvals; docs/rulings.md#approvals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from shared.governance.events import SYSTEM, Actor, Fact, add_event
from shared.governance.frames import approval_resolved
from shared.governance.grants import Status, is_over, next_push, refusal_of, status_of
from shared.governance.money import MICRO
from shared.governance.pages import Part
from shared.governance.refusals import Refused
from shared.governance.rules import ApprovalRule
from shared.identity.principal import Principal
from shared.kit import clock, ids, json
from shared.kit.errors import Conflict, NotFound, Unavailable, Unprocessable
from shared.store.models.governance import Event, Operation, due_shard, events_pk
from shared.store.models.policies import Approval, PendingApprovals, approvals_pk, pending_pk
from shared.store.transaction import ConditionFailed, Transaction, read, update_if

Outcome: TypeAlias = Literal["approved", "denied"]
Consumption: TypeAlias = Literal["consumed", "already_consumed", "not_approved"]

MOST_PENDING = 50
"""Approvals of an org that may wait for a decision at once."""

MAX_NOTE = 2000
MOST_LOOKED_AT = 5_000
"""Approvals a list looks at; more may have been decided in the time they are kept."""

KEPT_S = 90 * 24 * 3600
"""How long approvals are kept; the audit chain keeps what they said."""

PUSHED = "approval.pushed"
"""The action of an event that only tells a decision again: it is in no audit chain."""

LABEL = "approval"
"""Under which a transaction fails that asks, decides or uses what somebody else was faster with."""

_PUSH_KEPT_S = 3600
_ATTEMPTS = 16
_STATUSES: Mapping[Outcome, Status] = {"approved": "APPROVED", "denied": "DENIED"}
_ENDINGS = ("approval.approved", "approval.denied", "approval.expired")


class ApprovalAlreadyDecided(Conflict):
    """Somebody, or time, has decided it."""

    code = "approval_already_decided"


class Approvals:
    """Approvals of orgs. ``on_decided`` hears of each one a flow asked for, perhaps more than once."""

    def __init__(self, on_decided: Callable[[Approval], None] = lambda approval: None) -> None:
        self._on_decided = on_decided

    # Asking

    def request(
        self, tx: Transaction, actor: Actor, rule: ApprovalRule, operation: Operation, impact: Mapping[str, Any] | None
    ) -> Approval:
        """Put the question about an operation, whose ``approval_id`` it gets, into the operation's own transaction.

        Fails there under :data:`LABEL`. Raises Refused (TOO_MANY_PENDING_APPROVALS).
        """
        self._require_room(operation)
        record = _asked(rule, operation, impact)
        tx.put(record, Approval.pk.does_not_exist(), LABEL)
        few = PendingApprovals.pending.does_not_exist() | (PendingApprovals.pending < MOST_PENDING)
        tx.update(_count(record.org_id), [PendingApprovals.pending.set((PendingApprovals.pending | 0) + 1)], few, LABEL)
        details = {
            "rule_id": rule.rule_id, "rule": rule.name, "tool": record.tool, "action_label": rule.action_label,
            "risk_level": rule.risk_level, "action_digest": record.action_digest,
            "expires_at": clock.rfc3339(int(record.expires_ms)),
        }  # fmt: skip
        add_event(tx, record.org_id, actor, _fact(record, "requested", "success", "require_approval", details))
        return record

    def _require_room(self, operation: Operation) -> None:
        org_id = operation.org_id
        if self.pending(org_id) < MOST_PENDING or self._expire_overdue(org_id):
            return
        known = read(Operation, operation.pk, "operation")
        if known is not None and known.approval_id is not None:
            # It has been asked already: the transaction fails, and its author answers with what there is.
            return
        raise Refused(
            "TOO_MANY_PENDING_APPROVALS",
            f"{MOST_PENDING} actions of the organisation wait for approval; have some of them decided first",
            retry_after=60, operation_id=operation.operation_id,
        )  # fmt: skip

    def pending(self, org_id: str) -> int:
        """How many approvals of the org wait for a decision."""
        found = read(PendingApprovals, pending_pk(org_id), "count")
        return 0 if found is None else int(found.pending)

    def _expire_overdue(self, org_id: str) -> int:
        """Do now what the sweep would do soon; how many approvals wait no more."""
        waiting = Approval.status == "PENDING"
        rows = Approval.query(approvals_pk(org_id), filter_condition=waiting, consistent_read=True)
        return sum(self.expire(record) for record in rows)

    # Looking

    def list(
        self, principal: Principal, *, status: Status | None = None, history: bool | None = None, limit: int,
        cursor: str | None = None,
    ) -> Part[Approval]:  # fmt: skip
        """Approvals, newest first. ``history`` True are those that wait no more, False those that wait.

        At most :data:`MOST_LOOKED_AT` are looked at from the cursor on; ``total`` counts among as many of the newest.
        """
        now = clock.now_ms()

        def keeps(record: Approval) -> bool:
            is_now = status_of(record, now)
            wanted = status in (None, is_now) and history in (None, is_now != "PENDING")
            return wanted and not record.is_expired(now)

        newest = list(filter(keeps, _newest(principal.org_id)))
        rest = newest if cursor is None else list(filter(keeps, _newest(principal.org_id, Approval.sk < cursor)))
        shown = rest[:limit]
        return Part(shown, [record.sk for record in shown], len(newest), len(rest) > len(shown))

    def get(self, principal: Principal, approval_id: str) -> Approval:
        """One approval. Raises NotFound."""
        return _find(principal.org_id, approval_id)

    # Deciding

    def decide(self, principal: Principal, approval_id: str, outcome: Outcome, note: str | None = None) -> Approval:
        """Approve or deny, as an operator; of several who try, one does. Denying twice changes nothing.

        Raises Forbidden, NotFound, Unprocessable for a bad note, ApprovalAlreadyDecided.
        """
        principal.require_role("operator")
        note = _checked_note(note)
        for _ in range(_ATTEMPTS):
            record, now = _find(principal.org_id, approval_id), clock.now_ms()
            status = status_of(record, now)
            if status == "DENIED" and outcome == "denied":
                return record
            if status != "PENDING":
                raise _decided_already(status)
            tx = self._decision(record, Actor.of(principal), outcome, note, now)
            try:
                tx.commit()
            except ConditionFailed:
                continue
            return _find(principal.org_id, approval_id)
        raise Unavailable("Others are deciding at the same time; try again")

    def _decision(self, record: Approval, actor: Actor, outcome: Outcome, note: str | None, now: int) -> Transaction:
        actions: list[Action] = [
            Approval.status.set(_STATUSES[outcome]), Approval.decided_by.set(actor.id), Approval.decided_ms.set(now),
        ]  # fmt: skip
        if note is not None:
            actions.append(Approval.note.set(note))
        # Nobody listens for what a flow has asked: the flow is woken.
        actions += _not_due() if record.flow_execution_id else _due_at(record, next_push(now, now))
        tx = Transaction().update(record, actions, _is("PENDING") & (Approval.expires_ms > now), LABEL)
        _take_off(tx, record.org_id)
        frame = approval_resolved(record.approval_id, record.workflow_id, record.execution_id, outcome, note, now)
        told: Literal["success", "denied"] = "success" if outcome == "approved" else "denied"
        decision = "allow" if outcome == "approved" else "deny"
        reason = None if outcome == "approved" else "APPROVAL_DENIED"
        details = {"note": note, "tool": record.tool, "action_digest": record.action_digest}
        add_event(tx, record.org_id, actor, _fact(record, outcome, told, decision, details, frame=frame, reason=reason))
        return tx

    def resolve(self, event: Event) -> None:
        """Wake the flow that waits for what an event tells; other events and approvals are passed over."""
        if event.resource_type != "approval" or event.action not in _ENDINGS:
            return
        record = read(Approval, approvals_pk(event.org_id), event.resource_id)
        if record is not None and record.flow_execution_id is not None:
            self._on_decided(record)

    # Using

    def check(self, operation: Operation, approval_id: str, digest: str | None, tools: Sequence[str] = ()) -> Approval:
        """The approval that lets an operation happen now, with this digest and one of these tools.

        Nothing changes: whoever lets it happen says :meth:`use`. Raises Refused (APPROVAL_…).
        """
        try:
            record = _find(operation.org_id, approval_id)
        except NotFound:
            raise Refused("APPROVAL_NOT_FOUND", "There is no such approval") from None
        if record.execution_id != operation.execution_id:
            raise Refused("APPROVAL_REPLAY_REJECTED", "This approval was given to another execution")
        refusal = refusal_of(record, clock.now_ms())
        if refusal is not None:
            raise refusal
        if record.action_digest is not None and (digest or "").lower() != record.action_digest:
            raise Refused("APPROVAL_DIGEST_MISMATCH", "What was approved is not what is asked for now")
        if record.tool is not None and tools and record.tool not in tools:
            raise Refused("APPROVAL_TOOL_DIGEST_MISMATCH", f"The approval is for the tool {record.tool}")
        return record

    def use(self, tx: Transaction, record: Approval) -> None:
        """Use up an approval that was checked, in the transaction that lets the action happen: once and no more.

        It fails there under :data:`LABEL`; checking again then says why.
        """
        now = clock.now_ms()
        actions = [Approval.status.set("CONSUMED"), Approval.used_ms.set(now), *_not_due()]
        if record.consumed_ms is None:
            actions.append(Approval.consumed_ms.set(now))
        unused = Approval.status.is_in("APPROVED", "CONSUMED") & Approval.used_ms.does_not_exist()
        tx.update(record, actions, unused, LABEL)

    def consume(self, org_id: str, approval_id: str, execution_id: str | None, actor: Actor) -> Consumption:
        """The client has heard the decision and goes on, or gives up. Raises NotFound."""
        for _ in range(_ATTEMPTS):
            record, now = _find(org_id, approval_id), clock.now_ms()
            status = status_of(record, now)
            if status == "CONSUMED":
                return "already_consumed"
            if status == "DENIED" and record.due_ms is not None:
                update_if(record, _not_due(), _is("DENIED"))
            if status != "APPROVED":
                return "not_approved"
            actions = [Approval.status.set("CONSUMED"), Approval.consumed_ms.set(now), *_not_due()]
            unused = _is("APPROVED") & (Approval.decided_ms == record.decided_ms)
            tx = Transaction().update(record, actions, unused, LABEL)
            details = {"consumed_by_execution": execution_id}
            add_event(tx, org_id, actor, _fact(record, "consumed", "success", "allow", details))
            try:
                tx.commit()
            except ConditionFailed:
                continue
            return "consumed"
        raise Unavailable("Others are using the approval at the same time; try again")

    # What time does

    def due(self, org_id: str, approval_id: str) -> bool:
        """Do what an approval is due for: let it expire, tell its decision again, or end its time; whether it was."""
        record, now = read(Approval, approvals_pk(org_id), approval_id), clock.now_ms()
        if record is None or record.due_ms is None or record.due_ms > now:
            return False
        if record.status == "PENDING":
            return self.expire(record)
        if record.status not in ("APPROVED", "DENIED"):
            return False
        return self._end(record) if is_over(record, now) else self._tell_again(record, now)

    def expire(self, record: Approval) -> bool:
        """Let an approval expire whose time is over; whether it did."""
        now = clock.now_ms()
        if record.status != "PENDING" or record.expires_ms > now:
            return False
        tx = Transaction().update(record, [Approval.status.set("EXPIRED"), *_not_due()], _is("PENDING"), LABEL)
        _take_off(tx, record.org_id)
        fact = _fact(record, "expired", "denied", "deny", {"tool": record.tool}, reason="APPROVAL_EXPIRED")
        add_event(tx, record.org_id, SYSTEM, fact)
        return _committed(tx)

    def _end(self, record: Approval) -> bool:
        """The time for using a decision has passed: an approval nobody used is worth nothing any more."""
        same = _is(record.status) & (Approval.decided_ms == record.decided_ms)
        if record.status == "DENIED":
            return update_if(record, _not_due(), same)
        tx = Transaction().update(record, [Approval.status.set("REVOKED"), *_not_due()], same, LABEL)
        fact = _fact(record, "revoked", "denied", "deny", {"tool": record.tool}, reason="APPROVAL_EXPIRED")
        add_event(tx, record.org_id, SYSTEM, fact)
        return _committed(tx)

    def _tell_again(self, record: Approval, now: int) -> bool:
        decided_ms = int(record.decided_ms or 0)
        actions = [Approval.pushes.set(record.pushes + 1), *_due_at(record, next_push(decided_ms, now))]
        same = _is(record.status) & (Approval.pushes == record.pushes)
        tx = Transaction().update(record, actions, same, LABEL)
        tx.put(_push(record, decided_ms, now), Event.pk.does_not_exist(), "event")
        return _committed(tx)


def _newest(org_id: str, older: Condition | None = None) -> Iterator[Approval]:
    found = Approval.query(
        approvals_pk(org_id), older, scan_index_forward=False, limit=MOST_LOOKED_AT, consistent_read=True
    )
    return iter(found)


def _asked(rule: ApprovalRule, operation: Operation, impact: Mapping[str, Any] | None) -> Approval:
    """A question that nobody has decided yet."""
    now = clock.now_ms()
    expires_ms = now + rule.expires_in_s * 1000
    tools = json.loads(operation.tools or "[]")
    digest = operation.action_digest
    return Approval(
        approvals_pk(operation.org_id), operation.approval_id, approval_id=operation.approval_id,
        org_id=operation.org_id, workflow_id=operation.workflow_id, execution_id=operation.execution_id,
        rule_id=rule.rule_id, status="PENDING", tool=operation.tool or next(iter(tools), None),
        action_label=rule.action_label, risk_level=rule.risk_level, action_digest=digest and digest.lower(),
        impact=None if impact is None else json.dumps(impact), projected_cents=-(-int(operation.projected) // MICRO),
        flow_execution_id=operation.flow_execution_id, created_ms=now, expires_ms=expires_ms,
        due_shard=due_shard(operation.org_id), due_ms=expires_ms, ttl=now // 1000 + KEPT_S,
    )  # fmt: skip


def _push(record: Approval, decided_ms: int, now: int) -> Event:
    """A decision told again. It counts as chained and is never due, so that only the control plane acts on it."""
    outcome: Outcome = "approved" if record.status == "APPROVED" else "denied"
    frame = approval_resolved(
        record.approval_id, record.workflow_id, record.execution_id, outcome, record.note, decided_ms
    )
    event_id = ids.uuid7()
    return Event(
        events_pk(record.org_id), event_id, org_id=record.org_id, event_id=event_id, action=PUSHED, event_type=PUSHED,
        actor_type=SYSTEM.type, actor_id=SYSTEM.id, actor_label=SYSTEM.label, resource_type="approval",
        resource_id=record.approval_id, workflow_id=record.workflow_id, outcome="success",
        execution_id=record.execution_id, control=json.dumps([dict(frame)]), chained=0, created_ms=now,
        ttl=now // 1000 + _PUSH_KEPT_S,
    )  # fmt: skip


def _fact(
    record: Approval, change: str, outcome: Literal["success", "denied"], decision: str, details: Mapping[str, Any],
    *, frame: Mapping[str, Any] | None = None, reason: str | None = None,
) -> Fact:  # fmt: skip
    return Fact(
        f"approval.{change}", ("approval", record.approval_id), outcome=outcome, event_type="approval_decision",
        workflow_id=record.workflow_id, decision=decision, reason_code=reason, execution_id=record.execution_id,
        details=details, control=[] if frame is None else [frame],
    )  # fmt: skip


def _find(org_id: str, approval_id: str) -> Approval:
    found = read(Approval, approvals_pk(org_id), approval_id.lower()) if ids.is_uuid(approval_id) else None
    if found is None:
        raise NotFound("There is no such approval")
    return found


def _checked_note(note: str | None) -> str | None:
    if note is None or not note.strip():
        return None
    if len(note) > MAX_NOTE:
        raise Unprocessable.field("note", f"Note must have {MAX_NOTE} characters at most")
    if any((character < " " and character not in "\n\t") or character == "\x7f" for character in note):
        raise Unprocessable.field("note", "Note must not contain control characters")
    return note


def _decided_already(status: Status) -> ApprovalAlreadyDecided:
    told = "The approval has expired" if status == "EXPIRED" else f"The approval is decided already: {status}"
    return ApprovalAlreadyDecided(told, details={"status": status})


def _count(org_id: str) -> PendingApprovals:
    return PendingApprovals(pending_pk(org_id), "count")


def _take_off(tx: Transaction, org_id: str) -> None:
    """One approval fewer waits, in the transaction that ends its waiting."""
    tx.update(_count(org_id), [PendingApprovals.pending.set(PendingApprovals.pending - 1)], label="pending")


def _is(status: str) -> Condition:
    condition: Condition = Approval.status == status
    return condition


def _due_at(record: Approval, due_ms: int) -> list[Action]:
    return [Approval.due_shard.set(due_shard(record.org_id)), Approval.due_ms.set(due_ms)]


def _not_due() -> list[Action]:
    return [Approval.due_shard.remove(), Approval.due_ms.remove()]


def _committed(tx: Transaction) -> bool:
    try:
        tx.commit()
    except ConditionFailed:
        return False
    return True
