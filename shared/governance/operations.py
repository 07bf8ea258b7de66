"""Operations: one question put to the gate, found by its operation id and by its execution id alike.

An execution id is a UUIDv7 whose 74 bits beside the time are a digest of who asked under which operation id. That
digest is the key of the one item: a repetition, a settlement and a look from the dashboard find it without an index.
Source: docs/rulings.md#gate.
"""

from __future__ import annotations

import hashlib

from shared.kit import clock, ids
from shared.store.models.governance import Operation, operation_pk
from shared.store.transaction import read

BOUND_MS = 24 * 3600 * 1000
"""How long an execution may be settled, and an operation id is remembered."""

RESERVED_MS = 300_000
"""How long money stays reserved for an operation that is not heard of."""

KEPT_S = 30 * 24 * 3600
"""How long operations are listed."""


def operation_tail(key_id: str, operation_id: str) -> int:
    """The 74 bits that stand for an operation."""
    text = f"{key_id}\n{operation_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()) >> (256 - ids.TAIL_BITS)


def pk_of(org_id: str, tail: int) -> str:
    """The partition key of an operation."""
    return operation_pk(org_id, f"{tail:019x}")


def pk_of_execution(org_id: str, execution_id: str) -> str | None:
    """The partition key of the operation with this execution id; None for a text that is no such id."""
    try:
        return pk_of(org_id, ids.uuid7_tail(execution_id))
    except ValueError:
        return None


def find_operation(org_id: str, execution_id: str) -> Operation | None:
    """The operation of an execution id, read consistently; None when there is none, or another with the same digest."""
    pk = pk_of_execution(org_id, execution_id)
    found = None if pk is None else read(Operation, pk, "operation")
    return found if found is not None and found.execution_id == execution_id.lower() else None


def is_bound(operation: Operation) -> bool:
    """Whether the execution may still be settled."""
    return clock.now_ms() - int(operation.created_ms) < BOUND_MS
