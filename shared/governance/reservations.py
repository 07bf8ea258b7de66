"""Reservations: how what is left of one goes back, exactly once, and how the execution behind it ends.

              track uses it up, span_end
        open ───────────────────────────▶ settled ──┐
         │ │           cancel                       │ cancel
         │ └──────────────────────▶ canceled ◀──────┤
         │   300 s (and the sweep)                  │
         └───────────────────────▶ expired ─────────┘

Every arrow is one transaction: the operation leaves the state it was read in, and each purse gets its money back on
condition that it still holds it. Source: NullRun docs, Budgets, Release; docs/rulings.md#reservations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pynamodb.expressions.update import Action

from shared.governance.events import SYSTEM, Actor, Fact, add_event
from shared.governance.money import cents
from shared.governance.operations import find_operation
from shared.governance.purses import OVERDRAFT, move, purse_key
from shared.identity.principal import Principal
from shared.kit import clock, json
from shared.kit.errors import NotFound, Unavailable
from shared.store.models.governance import Operation, Purse
from shared.store.transaction import ConditionFailed, Transaction, read

OPERATION = "operation"
"""The label of the operation in a transaction that moves its money."""

LONGEST_REASON = 200
"""Characters that are kept of why something was cancelled."""

_ATTEMPTS = 40


class ExecutionNotFound(NotFound):
    """The caller's workflow has no such execution."""

    code = "execution_not_found"


def funds_of(operation: Operation) -> list[str]:
    """The scopes of the purses that an operation's money was taken from: the workflow's first."""
    return [operation.workflow_id, *json.loads(operation.funds)]


def is_unchanged(operation: Operation) -> Any:
    """That nobody has moved the operation's money since it was read."""
    return (
        (Operation.execution_id == operation.execution_id)
        & (Operation.status == operation.status)
        & (Operation.reserved == operation.reserved)
        & (Operation.result == operation.result)
    )


def release(operation: Operation, actions: Sequence[Action], fact: Fact | None, actor: Actor) -> bool:
    """Give back what is left of a reservation, and change the operation as told; False when it is another by now.

    A purse that is gone, or was made anew since, holds nothing of it and is left alone.
    """
    left, borrowed = int(operation.reserved), min(int(operation.overdraft), int(operation.reserved))
    scopes = set(funds_of(operation)) if left else set()
    while True:
        changes = [*actions, Operation.reserved.set(0), Operation.overdraft.set(Operation.overdraft - borrowed)]
        tx = Transaction().update(operation, changes, is_unchanged(operation), label=OPERATION)
        for scope_id in sorted(scopes):
            holds = (Purse.reserved >= left) & (Purse.since_version <= operation.policy_version)
            tx.update(purse_key(operation.org_id, scope_id), move(reserved=-left), holds, scope_id)
        if borrowed:
            same = (Purse.overdraft >= borrowed) & (Purse.period_start_ms == operation.period_start_ms)
            tx.update(purse_key(operation.org_id, OVERDRAFT), move(overdraft=-borrowed), same, label=OVERDRAFT)
        if fact is not None:
            add_event(tx, operation.org_id, actor, fact)
        try:
            tx.commit()
        except ConditionFailed as failed:
            if OPERATION in failed.failures:
                return False
            scopes -= failed.failures.keys()
            borrowed = 0 if OVERDRAFT in failed.failures else borrowed
        else:
            return True


class Reservations:
    """What ends a reservation other than spending it."""

    def cancel(self, principal: Principal, execution_id: str, reason: str | None) -> dict[str, Any]:
        """Release the rest and keep what was consumed; harmless when repeated. Raises ExecutionNotFound (404)."""
        for _ in range(_ATTEMPTS):
            found = find_operation(principal.org_id, execution_id)
            if found is None or found.workflow_id != principal.workflow_id or found.status == "refused":
                raise ExecutionNotFound("There is no such execution; send the execution_id that the gate answered")
            if found.status == "canceled":
                return _canceled(found, int(found.completed_ms or 0), 0, already=True)
            now, released = clock.now_ms(), int(found.reserved)
            # What has told its end keeps it; of what expired the end was but assumed.
            told = found.result in ("completed", "failed") and found.status != "expired"
            ended_ms = int(found.completed_ms or now) if told else now
            changes: list[Action] = [
                Operation.status.set("canceled"),
                Operation.completed_ms.set(ended_ms),
                *_not_due(),
            ]
            if not told:
                changes.append(Operation.result.set("canceled"))
            details = {
                "reason": (reason or "")[:LONGEST_REASON],
                "released_cents": cents(released),
                "spent_cents": cents(int(found.spent)),
            }
            if release(found, changes, _fact("execution.canceled", found, details), Actor.of(principal)):
                return _canceled(found, ended_ms, released, already=False)
        raise Unavailable("Too many calls change the execution at once; try again")


def complete(org_id: str, execution_id: str, *, failed: bool, latency_ms: int | None, workflow_id: str) -> bool:
    """Mark an execution as over, as its client tells, and release the rest; False when there is nothing to mark."""
    for _ in range(_ATTEMPTS):
        found = find_operation(org_id, execution_id)
        if found is None or found.workflow_id != workflow_id or found.status in ("refused", "canceled"):
            return False
        result = "failed" if failed else "completed"
        if found.result == result or (found.status == "settled" and found.result != "pending"):
            return False
        status = "expired" if found.status == "expired" else "settled"
        changes = [Operation.status.set(status), Operation.result.set(result), *_not_due()]
        changes.append(Operation.completed_ms.set(clock.now_ms()))
        if latency_ms is not None:
            changes.append(Operation.latency_ms.set(latency_ms))
        if release(found, changes, None, SYSTEM):
            return True
    raise Unavailable("Too many calls change the execution at once; try again")


def expire(pk: str) -> bool:
    """End an operation whose time is over: release the rest, and settle what came of it; whether this call did."""
    found = read(Operation, pk, "operation")
    now = clock.now_ms()
    if found is None or found.due_ms is None or int(found.expires_ms) > now:
        return False
    left = int(found.reserved)
    changes = [*_not_due()]
    if found.status == "open":
        changes.append(Operation.status.set("expired"))
    if found.result == "pending":
        result = "completed" if found.llm_calls or found.spent else "failed"
        changes += [Operation.result.set(result), Operation.completed_ms.set(now)]
    details = {"released_cents": cents(left), "spent_cents": cents(int(found.spent))}
    fact = _fact("execution.expired", found, details) if found.status == "open" and left else None
    return release(found, changes, fact, SYSTEM)


def _canceled(operation: Operation, ended_ms: int, released: int, *, already: bool) -> dict[str, Any]:
    return {
        "execution_id": operation.execution_id,
        "canceled_at": ended_ms // 1000,
        "reservation_released_cents": cents(released),
        "already_canceled": already,
    }


def _not_due() -> list[Action]:
    return [Operation.due_ms.remove(), Operation.due_shard.remove()]


def _fact(action: str, operation: Operation, details: dict[str, Any]) -> Fact:
    return Fact(
        action, ("execution", operation.execution_id), event_type="execution_lifecycle",
        workflow_id=operation.workflow_id, execution_id=operation.execution_id, details=details,
    )  # fmt: skip
