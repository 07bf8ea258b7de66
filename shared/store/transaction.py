"""Writing safely: transactions with labelled failures, and conditional writes built on them.

Every write here carries a client request token. When an answer is lost the request is sent again with the same token,
and the store answers "done" if the first one was: a failed condition is therefore always someone else's doing.
Source: Amazon DynamoDB API Reference, TransactWriteItems, ClientRequestToken.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from botocore.exceptions import ClientError
from pynamodb.constants import NONE
from pynamodb.exceptions import GetError, PynamoDBException, TransactWriteError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactGet

from shared.kit import clock, ids
from shared.kit.errors import SignalboxError
from shared.store.base import Record
from shared.store.retry import error_code, is_condition_failure, persist

R = TypeVar("R", bound=Record)

# PynamoDB sends the actions of a transaction in this order, and the reasons of a failure come back in it.
_ORDER = ("check", "delete", "put", "update")


class ConditionFailed(SignalboxError):
    """A condition was false and nothing was written.

    ``failures`` maps the label of each action that failed to the record as it was, or None if there was none.
    """

    status, code = 409, "conflict"

    def __init__(self, failures: dict[str, Record | None]) -> None:
        super().__init__("The record was changed by another request")
        self.failures = failures


@dataclass(frozen=True, slots=True)
class _Step:
    kind: str
    label: str
    model: type[Record]
    request: dict[str, Any]
    record: Record | None


class Transaction:
    """Up to 100 writes that happen together or not at all. At most one action may name an item.

    Records are taken as they are when they are added, not as they are at the commit.
    """

    def __init__(self) -> None:
        self._steps: list[_Step] = []

    def __len__(self) -> int:
        return len(self._steps)

    def put(self, record: Record, condition: Condition | None = None, label: str = "") -> Transaction:
        """Store a whole record."""
        return self._add("put", type(record), record.get_save_kwargs_from_instance(condition), label, record)

    def update(
        self, record: Record, actions: Sequence[Action], condition: Condition | None = None, label: str = ""
    ) -> Transaction:
        """Change attributes of the record's item; only the record's key (and version) is used."""
        request = record.get_update_kwargs_from_instance(list(actions), condition)
        return self._add("update", type(record), request, label, record)

    def delete(self, record: Record, condition: Condition | None = None, label: str = "") -> Transaction:
        """Remove the record's item; one that is not there is no failure."""
        return self._add("delete", type(record), record.get_delete_kwargs_from_instance(condition), label, None)

    def check(self, model: type[Record], pk: str, sk: str, condition: Condition, label: str = "") -> Transaction:
        """Demand a condition of an item that is not written."""
        return self._add("check", model, model.get_operation_kwargs_from_class(pk, sk, condition), label, None)

    def _add(
        self, kind: str, model: type[Record], request: dict[str, Any], label: str, record: Record | None
    ) -> Transaction:
        request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        self._steps.append(_Step(kind, label or str(len(self._steps)), model, request, record))
        return self

    def commit(self) -> None:
        """Write, or raise ConditionFailed or Contention. An empty transaction is done.

        Contention and throttling are retried with growing, jittered pauses. Raises Unavailable when the store stays out
        of reach; then the transaction may or may not have been written.
        """
        if not self._steps:
            return
        steps = sorted(self._steps, key=lambda step: _ORDER.index(step.kind))
        connection = steps[0].model._get_connection().connection
        requests = {kind: [step.request for step in steps if step.kind == kind] for kind in _ORDER}
        token = ids.uuid4()

        def send() -> None:
            # Nobody looks at what it consumed; unless told so, PynamoDB asks.
            connection.transact_write_items(
                requests["check"], requests["delete"], requests["put"], requests["update"], client_request_token=token,
                return_consumed_capacity=NONE,
            )  # fmt: skip

        persist(send, lambda error: _refused(error, steps))
        for step in steps:
            if step.record is not None:
                _advance_version(step.record)


def _advance_version(record: Any) -> None:
    # PynamoDB counts a version attribute up in the local object too, once the write is known to be done.
    record.update_local_version_attribute()


def _refused(error: PynamoDBException, steps: list[_Step]) -> SignalboxError | None:
    """The failed conditions of a cancelled transaction, or None when it is another kind of error."""
    if not isinstance(error, TransactWriteError) or error_code(error) != "TransactionCanceledException":
        return None
    failures: dict[str, Record | None] = {}
    for step, reason in zip(steps, error.cancellation_reasons, strict=True):
        if reason is not None and reason.code == "ConditionalCheckFailed":
            failures[step.label] = step.model.from_raw_data(reason.raw_item) if reason.raw_item else None
    return ConditionFailed(failures) if failures else None


def put_if_absent(record: Record) -> bool:
    """Store a record unless its key is taken; whether it was stored. Exact even when answers are lost."""
    try:
        Transaction().put(record, type(record).pk.does_not_exist()).commit()
    except ConditionFailed:
        return False
    return True


def update_if(record: Record, actions: Sequence[Action], condition: Condition) -> bool:
    """Change the record's item if the condition holds; whether it did. Exact even when answers are lost."""
    try:
        Transaction().update(record, actions, condition).commit()
    except ConditionFailed:
        return False
    return True


def update_and_read(record: R, actions: Sequence[Action], condition: Condition) -> bool:
    """Change the item if the condition holds and load what it became into ``record``; whether it did.

    Half the price of :func:`update_if`, but a lost answer shows as False: the caller reads back before believing it.
    """

    def refused(error: PynamoDBException) -> SignalboxError | None:
        return ConditionFailed({}) if is_condition_failure(error) else None

    try:
        persist(lambda: record.update(list(actions), condition), refused)
    except ConditionFailed:
        return False
    return True


def read(model: type[R], pk: str, sk: str) -> R | None:
    """One record, read consistently; None where there is none or its time is over."""
    found: list[R] = []

    def send() -> None:
        found.clear()
        with contextlib.suppress(model.DoesNotExist):
            found.append(model.get(pk, sk, consistent_read=True))

    persist(send, lambda error: None)
    return next((record for record in found if not record.is_expired(clock.now_ms())), None)


def read_together(*keys: tuple[type[Record], str, str]) -> list[Record | None]:
    """Up to 100 records as they are at one moment; None where there is none."""
    if not keys:
        return []
    connection = keys[0][0]._get_connection().connection
    found: list[Record | None] = []

    def send() -> None:
        found.clear()
        with TransactGet(connection=connection) as transaction:
            futures = [(model, transaction.get(model, pk, sk)) for model, pk, sk in keys]
        for model, future in futures:
            try:
                found.append(future.get())
            except model.DoesNotExist:
                found.append(None)

    persist(send, lambda error: None)
    return found


def read_each(*keys: tuple[type[Record], str, str]) -> list[Record | None]:
    """Up to 100 records of one table in one request, each read consistently; None where there is none or it expired.

    Half the price of :func:`read_together`, and writers are never in its way: for records that need not agree.
    """
    if not keys:
        return []
    table: Any = keys[0][0]._get_connection()
    models = {(pk, sk): model for model, pk, sk in keys}
    found: dict[tuple[str, str], Record] = {}

    def send() -> None:
        wanted = [{"pk": pk, "sk": sk} for pk, sk in models if (pk, sk) not in found]
        answer = table.batch_get_item(wanted, consistent_read=True)
        for item in answer["Responses"].get(table.table_name, []):
            place = item["pk"]["S"], item["sk"]["S"]
            found[place] = models[place].from_raw_data(item)
        if answer["UnprocessedKeys"]:
            throttled = {"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "Some keys were left"}}
            raise GetError("Some keys were left", ClientError(throttled, "BatchGetItem"))

    persist(send, lambda error: None)
    now = clock.now_ms()
    rows = [found.get((pk, sk)) for _, pk, sk in keys]
    return [None if row is None or row.is_expired(now) else row for row in rows]
