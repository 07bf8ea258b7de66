"""PutItem, UpdateItem, DeleteItem, BatchWriteItem and TransactWriteItems.

A write is planned first (parsed and validated without the database) and then run inside a SQLite transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.store.embedded.codec import encode
from shared.store.embedded.expressions.conditions import Condition
from shared.store.embedded.expressions.parser import parse_condition, parse_update
from shared.store.embedded.expressions.projection import project
from shared.store.embedded.expressions.scope import Scope
from shared.store.embedded.expressions.updates import Update
from shared.store.embedded.rejection import ITEM_LIMIT, ConditionFailed, Rejection, invalid, invalid_parameter
from shared.store.embedded.session import Session, Stored
from shared.store.embedded.tables import Key, Table
from shared.store.embedded.values import Item, canonical_item, item_size

Request = dict[str, Any]
Answer = dict[str, Any]

TOO_LARGE = "Item size has exceeded the maximum allowed size"
UPDATE_TOO_LARGE = "Item size to update has exceeded the maximum allowed size"
TOKEN_LIFETIME_MS = 10 * 60 * 1000
_TRANSACTION_LIMIT = 4 * 1024 * 1024
_RETURN_VALUES = {
    "PutItem": ("NONE", "ALL_OLD"),
    "DeleteItem": ("NONE", "ALL_OLD"),
    "UpdateItem": ("NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW"),
}


@dataclass(slots=True)
class Plan:
    """A validated write: ``kind`` is Put, Update, Delete or ConditionCheck; ``given`` has ``size`` bytes."""

    kind: str
    table: str
    given: Item
    size: int
    scope: Scope
    condition: Condition | None
    update: Update | None
    returned: str
    on_failure: str

    def locate(self, session: Session) -> tuple[Table, Key]:
        """The table and key it is about, checked against the table's schema."""
        table = session.table(self.table)
        if self.kind != "Put":
            return table, table.key_of(self.given)
        key = table.key_in(self.given)
        table.check_index_keys(self.given)
        return table, key

    def run(self, session: Session, table: Table, key: Key) -> tuple[Item | None, Item | None]:
        """Carry it out: the item before and after. Raises ConditionFailed with the item as it was."""
        old = session.get(table, key)
        before = old.item if old else None
        if self.condition is not None and not self.condition.holds(before or {}, self.scope):
            session.usage.write_bytes(old.size if old else 0)
            raise ConditionFailed(before if self.on_failure == "ALL_OLD" else None)
        size = old.size if old else 0
        after = before
        if self.kind == "Delete":
            after = None
            if old is not None:
                session.delete(table, key, old)
        elif self.kind != "ConditionCheck":
            after, size = self._store(session, table, key, old)
        session.usage.write_bytes(max(size, old.size if old else 0))
        return before, after

    def _store(self, session: Session, table: Table, key: Key, old: Stored | None) -> tuple[Item, int]:
        if self.update is None:
            session.put(table, key, old, self.given, self.size)
            return self.given, self.size
        for path in self.update.paths(self.scope):
            if path[0] in table.key_names:
                invalid_parameter(f"Cannot update attribute {path[0]}. This attribute is part of the key")
        after = self.update.apply(old.item if old else self.given, self.scope)
        table.check_index_keys(after)
        size = item_size(after)
        if size > ITEM_LIMIT:
            invalid(UPDATE_TOO_LARGE)
        session.put(table, key, old, after, size)
        return after, size


def plan(kind: str, request: Request, *, allowed: tuple[str, ...] = ("NONE",)) -> Plan:
    """Parse and validate one write; ``allowed`` are the ReturnValues the operation knows."""
    returned = request.get("ReturnValues") or "NONE"
    if returned not in allowed:
        invalid("ReturnValues can only be ALL_OLD or NONE")
    expressions = ("UpdateExpression", "ConditionExpression") if kind == "Update" else ("ConditionExpression",)
    scope = Scope.of(request, *expressions)
    update = None
    if request.get("UpdateExpression") is not None:
        update = parse_update(request["UpdateExpression"]).bound(scope)
        update.check(scope)
    elif kind == "Update":
        update = Update(())
    condition = None
    text = request.get("ConditionExpression")
    if text is not None:
        condition = parse_condition("ConditionExpression", text).bound(scope)
        condition.check("ConditionExpression", scope)
    elif kind == "ConditionCheck":
        invalid("1 validation error detected: conditionExpression must not be null")
    scope.finish()
    given = canonical_item(request["Item"] if kind == "Put" else request["Key"])
    on_failure = request.get("ReturnValuesOnConditionCheckFailure") or "NONE"
    size = item_size(given)
    if kind == "Put" and size > ITEM_LIMIT:
        invalid(TOO_LARGE)
    return Plan(kind, request["TableName"], given, size, scope, condition, update, returned, on_failure)


def single(operation: str, request: Request) -> Callable[[Session], Answer]:
    """PutItem, UpdateItem or DeleteItem."""
    planned = plan(operation.removesuffix("Item"), request, allowed=_RETURN_VALUES[operation])

    def work(session: Session) -> Answer:
        table, key = planned.locate(session)
        try:
            before, after = planned.run(session, table, key)
        except ConditionFailed as failure:
            if failure.item is not None:
                failure.extra["Item"] = failure.item
            raise
        attributes = _returned(planned, before, after)
        return {} if attributes is None else {"Attributes": attributes}

    return work


def _returned(planned: Plan, before: Item | None, after: Item | None) -> Item | None:
    if planned.returned == "ALL_OLD":
        return before
    if planned.returned == "ALL_NEW":
        return after
    if planned.returned == "NONE" or planned.update is None:
        return None
    shown = before if planned.returned == "UPDATED_OLD" else after
    return project(shown or {}, planned.update.paths(planned.scope)) or None


def batch(request: Request) -> Callable[[Session], Answer]:
    """BatchWriteItem: puts and deletes, each on its own, never conditional."""
    steps: list[Plan] = []
    for name, entries in request["RequestItems"].items():
        for entry in entries:
            if len(entry) != 1:
                invalid("Supplied AttributeValue has more than one datatypes set")
            if "PutRequest" in entry:
                steps.append(plan("Put", {"TableName": name, "Item": entry["PutRequest"]["Item"]}))
            else:
                steps.append(plan("Delete", {"TableName": name, "Key": entry["DeleteRequest"]["Key"]}))
    if not steps:
        invalid("The batch write request list for a table cannot be null or empty")
    if len(steps) > 25:
        invalid("Too many items requested for the BatchWriteItem call")

    def work(session: Session) -> Answer:
        places = [step.locate(session) for step in steps]
        if len({(table.number, key) for table, key in places}) != len(places):
            invalid("Provided list of item keys contains duplicates")
        for step, (table, key) in zip(steps, places, strict=True):
            step.run(session, table, key)
        return {"UnprocessedItems": {}}

    return work


def transaction(request: Request) -> Callable[[Session], Answer]:
    """TransactWriteItems: all or nothing, with one cancellation reason per action."""
    actions = request["TransactItems"]
    if not 1 <= len(actions) <= 100:
        invalid(
            "1 validation error detected: Value at 'transactItems' failed to satisfy constraint: "
            f"Member must have length {'less' if actions else 'greater'} than or equal to {100 if actions else 1}"
        )
    steps: list[Plan] = []
    for action in actions:
        if len(action) != 1:
            invalid("TransactItems can only contain one of Check, Put, Update or Delete")
        ((kind, step),) = action.items()
        steps.append(plan(kind, step))
    if sum(step.size for step in steps) > _TRANSACTION_LIMIT:
        invalid("The total size of the items in the transaction exceeds 4 MB")
    token = request.get("ClientRequestToken")

    def work(session: Session) -> Answer:
        session.usage.doubled = True
        places = [step.locate(session) for step in steps]
        if len({(table.number, key) for table, key in places}) != len(places):
            invalid("Transaction request cannot include multiple operations on one item")
        if token and not session.remember(token, _digest(actions), TOKEN_LIFETIME_MS):
            for place in places:
                found = session.get(*place)
                session.usage.read_bytes(found.size if found else 0, consistent=True)
            return {}
        reasons = [_attempt(session, step, *place) for step, place in zip(steps, places, strict=True)]
        if any(reason["Code"] != "None" for reason in reasons):
            codes = ", ".join(reason["Code"] for reason in reasons)
            raise Rejection(
                "TransactionCanceledException",
                f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
                CancellationReasons=reasons,
            )
        return {}

    return work


def _attempt(session: Session, step: Plan, table: Table, key: Key) -> dict[str, Any]:
    """Run one action of a transaction and tell what became of it; effects vanish with the transaction."""
    try:
        step.run(session, table, key)
    except ConditionFailed as failure:
        reason: dict[str, Any] = {"Code": "ConditionalCheckFailed", "Message": failure.message}
        if failure.item is not None:
            reason["Item"] = failure.item
        return reason
    except Rejection as refusal:
        return {"Code": "ValidationError", "Message": refusal.message}
    return {"Code": "None"}


def _digest(actions: list[Request]) -> bytes:
    return hashlib.sha256(encode({"actions": {"L": actions}})[0]).digest()
