"""What a child execution brings its parent: one transaction ends the one and answers the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from shared.engine.repository import ExecutionRepository, raise_wake
from shared.engine.state import Fact, State
from shared.kit import clock, ids, json
from shared.store.models.executions import ChildRecord, Control, InboxEntry, execution_pk
from shared.store.transaction import Transaction

MOST_ROWS = 1_000
"""Log rows of a child that are shown with its parent."""

MOST_BYTES = 200 * 1024
"""Bytes of those rows as JSON."""

PARENT = "parent"
"""Label of the writes that fail when the parent waits no longer."""

_LIVE = Control.live == True  # noqa: E712 - a condition on the item, not a comparison here


def result(state: State) -> dict[str, Any] | None:
    """What the elements of a child have made, once all are done."""
    part, group = state.part, state.groups.get(1)
    if part is None or group is None or len(group.outputs) < group.size:
        return None
    changed = {key: state.shared[key] for key in part["changed"]}
    return {"outputs": group.ordered(), "shared": changed, "removed": part["removed"]}


def outcome(slot: str, state: State, ended: Fact, rows: list[Fact], left_out: int) -> Fact:
    """The fact that tells the parent of the end of a child."""
    fact: Fact = {"type": "child_ended", "at": ended["at"], "slot": slot, "status": ended["status"]}
    fact |= {"rows": rows, "left_out": left_out, "secrets_read": state.secrets_read}
    if ended["status"] == "completed":
        return {**fact, **ended["result"]}
    failure = state.failure or {}
    told = {"message": ended["error"], "actions": failure.get("actions", ["error"])}
    if ended["status"] == "canceled":
        told["message"] = "the execution of some of the elements was cancelled"
    return fact | told | {"output": failure.get("output")}


def rows_of(facts: Iterable[Fact], load: Callable[[Fact], Fact]) -> tuple[list[Fact], int]:
    """The log rows among the facts of a child as far as they fit, and how many more there were."""
    kept: list[Fact] = []
    left_out, room = 0, MOST_BYTES
    for fact in facts:
        row = _row(fact)
        if row is None:
            continue
        if len(kept) < MOST_ROWS and room > 0 and (size := json.size(row := load(row))) <= room:
            kept.append(row)
            room -= size
        else:
            left_out, room = left_out + 1, 0
    return kept, left_out


def _row(fact: Fact) -> Fact | None:
    if fact["type"] == "log":
        return fact
    if fact["type"] != "node_failed" or fact.get("retry_at") is None:
        return None
    data = {"attempt": fact["attempt"], "retry_at": clock.rfc3339(fact["retry_at"]), "item": fact["item"]}
    row = {"type": "log", "at": fact["at"], "level": "warn", "message": fact["message"]}
    return row | {"node": fact["node"], "kind": fact["kind"], "data": data}


def report(repository: ExecutionRepository, child: Control, fact: Fact) -> dict[str, Callable[[Transaction], object]]:
    """The parent's part of the transaction: its open wait for the child, its inbox, its wake counter."""
    pk = execution_pk(child.org_id, str(child.parent_id))
    record = ChildRecord(pk, child.parent_slot)
    entry = InboxEntry(pk, f"inbox#{ids.uuid7()}", fact=repository.encoded(pk, fact))
    answered = [ChildRecord.status.set("answered")]
    return {
        "parent slot": lambda tx: tx.update(record, answered, condition=ChildRecord.status == "open", label=PARENT),
        "parent inbox": lambda tx: tx.put(entry, label="inbox"),
        "parent control": lambda tx: tx.update(Control(pk, "control"), raise_wake(), condition=_LIVE, label=PARENT),
    }
