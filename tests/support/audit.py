"""Events and operations as they lie in the store, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from shared.governance.events import Actor, Fact, add_event
from shared.governance.operations import operation_tail, pk_of
from shared.kit import clock, ids
from shared.store.models.governance import Event, Operation, events_pk
from shared.store.transaction import Transaction, read

ORG = "11111111-1111-4111-8111-111111111111"
OTHER_ORG = "22222222-2222-4222-8222-222222222222"
ADA = Actor("user", "acc-1", "ada")
WORKFLOW = "51b2f7aa-2b1c-4d7e-8f00-6a1d5e0c9b42"


def happened(action: str = "workflow.paused", *, org_id: str = ORG, event_id: str = "", **more: Any) -> Event:
    """An event, as it is stored."""
    tx = Transaction()
    fact = Fact(action, more.pop("resource", ("workflow", WORKFLOW)), **more)
    made = add_event(tx, org_id, ADA, fact, event_id=event_id)
    tx.commit()
    return event_of(made, org_id)


def event_of(event_id: str, org_id: str = ORG) -> Event:
    """The stored event."""
    found = read(Event, events_pk(org_id), event_id)
    assert found is not None
    return found


def asked(decision: str = "allow", *, org_id: str = ORG, key_id: str = "k-1", **more: Any) -> Operation:
    """A decision of the gate, as it is stored."""
    now, name = clock.now_ms(), ids.uuid4()
    tail = operation_tail(key_id, name)
    execution_id = ids.uuid7_with(now, tail)
    fields: dict[str, Any] = {
        "workflow_id": WORKFLOW, "fingerprint": "f", "status": "refused" if decision == "block" else "open",
        "result": "blocked" if decision == "block" else "pending", "created_ms": now,
    } | more  # fmt: skip
    row = Operation(
        pk_of(org_id, tail), "operation", org_id=org_id, execution_id=execution_id, operation_id=name, key_id=key_id,
        decision=decision, org_listing=org_id, listed_at=execution_id, **fields,
    )  # fmt: skip
    row.save()
    return operation_of(row)


def operation_of(row: Operation) -> Operation:
    """The operation as it is stored now."""
    found = read(Operation, row.pk, "operation")
    assert found is not None
    return found
