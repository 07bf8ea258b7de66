"""Purses, reservations and reports without a gate: money that tests move as they like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.governance.money import MICRO
from shared.governance.operations import RESERVED_MS, operation_tail, pk_of
from shared.governance.purses import move, new_purse, purse_key, read_purse, room
from shared.governance.tracking import Answered, Tracking, event_mark
from shared.governance.usage import Report, Spending
from shared.identity.principal import Principal
from shared.kit import clock, ids, json
from shared.store.models.governance import Operation, Period, Purse, due_shard, purse_pk
from shared.store.transaction import Transaction, read
from tests.support.workflows import ORG, events_of, purse_of

WORKFLOW = "51b2f7aa-2b1c-4d7e-8f00-6a1d5e0c9b42"
KEY = "7c1e2a7e-51c4-4f0e-9d3a-2f9c41aa01f7"
SCOPES = {"workflow": WORKFLOW, "org": ORG, "key": KEY}

AGENT = Principal(
    kind="key", org_id=ORG, account_id="", username="prod", role="viewer", key_id=KEY, key_version=1,
    workflow_id=WORKFLOW, scopes=frozenset({"*"}),
)  # fmt: skip


class Money:
    """One workflow with one key; ``caps`` in cents by scope: workflow, org, key. None means no budget."""

    def __init__(self, *, settle_mode: str = "headroom", **caps: int | None) -> None:
        self.tracking = Tracking(settle_mode, lambda *label: None)
        self.scopes = list(caps)
        for scope, cap in caps.items():
            micro = None if cap is None else cap * MICRO
            purse = new_purse(ORG, scope, SCOPES[scope], cap=micro, anchor_ms=clock.now_ms(), policy_version=1)
            purse.key_versions = {KEY: 1}
            Transaction().put(purse).commit()

    def purse(self, scope: str = "workflow") -> Purse:
        """A purse as it is stored, whatever its period."""
        return purse_of(SCOPES[scope])

    def numbers(self, scope: str = "workflow") -> tuple[float, float, float, float]:
        """Spent, reserved, available and overrun of a purse, in cents."""
        purse = self.purse(scope)
        amounts = (purse.spent, purse.reserved, purse.available, purse.overrun)
        return tuple(amount / MICRO for amount in amounts)  # type: ignore[return-value]

    def reserve(self, cents: float = 1, **values: Any) -> str:
        """Set money aside in every purse, as the gate does; the execution's id."""
        amount, now, name = round(cents * MICRO), clock.now_ms(), ids.uuid4()
        tail = operation_tail(KEY, name)
        execution_id = ids.uuid7_with(now, tail)
        current = read_purse(ORG, WORKFLOW)
        assert current is not None
        operation = Operation(
            pk_of(ORG, tail), "operation", org_id=ORG, execution_id=execution_id, operation_id=name,
            workflow_id=WORKFLOW, key_id=KEY, fingerprint="f", decision="allow", status="open", result="pending",
            funds=json.dumps([SCOPES[scope] for scope in self.scopes if scope != "workflow"]), projected=amount,
            reserved=amount, reserved_total=amount, epsilon=MICRO, period_start_ms=current.period_start_ms,
            expires_ms=now + RESERVED_MS, created_ms=now, due_shard=due_shard(ORG), due_ms=now + RESERVED_MS,
            org_listing=ORG, listed_at=execution_id, **values,
        )  # fmt: skip
        tx = Transaction().put(operation, Operation.pk.does_not_exist())
        for scope in self.scopes:
            assert read_purse(ORG, SCOPES[scope]) is not None
            tx.update(purse_key(ORG, SCOPES[scope]), move(reserved=amount), room(amount))
        tx.commit()
        return execution_id

    def spend(self, cents: float, execution_id: str | None = None, event_id: str | None = None) -> Answered:
        """Report a cost."""
        spending = Spending(round(cents * MICRO), 10, "catalog", "high", "gpt-4o")
        event_id = event_id or ids.uuid4()
        report = Report(spending, execution_id, None, event_id, None, None)
        return self.tracking.settle(AGENT, report, event_mark(event_id, "digest"), "llm_call")

    def operation(self, execution_id: str) -> Operation:
        """An operation as it is stored."""
        found = read(Operation, pk_of(ORG, ids.uuid7_tail(execution_id)), "operation")
        assert found is not None
        return found

    def operations(self) -> Sequence[Operation]:
        """Every operation."""
        return [row for row in Operation.scan(consistent_read=True) if row.sk == "operation"]

    def periods(self, scope: str = "workflow") -> list[Period]:
        """What earlier periods came to, oldest first."""
        pk = purse_pk(ORG, SCOPES[scope])
        return list(Period.query(pk, Period.sk.startswith("period#"), consistent_read=True))

    def thresholds(self) -> list[tuple[str, int, int]]:
        """Scope, period and threshold of each crossing that was told."""
        details = [json.loads(event.details) for event in events_of(prefix="budget.threshold_crossed")]
        return sorted((row["scope"], row["period_start_ms"], row["threshold"]) for row in details)

    def check(self) -> None:
        """The invariants: of each purse, and of the reservations that make up what is reserved."""
        held = sum(int(operation.reserved) for operation in self.operations())
        for scope in self.scopes:
            purse = self.purse(scope)
            assert purse.available == purse.cap - purse.spent - purse.reserved, scope
            assert purse.reserved == held, scope
            assert min(int(purse.spent), int(purse.reserved), int(purse.overrun)) >= 0, scope
