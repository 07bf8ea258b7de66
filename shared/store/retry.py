"""Asking again: requests that may safely be sent twice, until the store answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pynamodb.connection import TableConnection
from pynamodb.exceptions import PynamoDBException, TransactGetError, TransactWriteError

from shared.kit import clock, ids
from shared.kit.errors import Internal, PayloadTooLarge, SignalboxError, Unavailable

ATTEMPTS = 8
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 1.0
_FAULTS = {"InternalServerError", "ServiceUnavailable"}
_BUSY = _FAULTS | {
    "TransactionConflict",
    "TransactionConflictException",
    "TransactionInProgressException",
    "ThrottlingError",
    "ThrottlingException",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
}


class Contention(Unavailable):
    """The records stayed contended or throttled through every retry; nothing was written."""


def persist(send: Callable[[], Any], refused: Callable[[PynamoDBException], SignalboxError | None]) -> None:
    """Send a request that may safely be sent twice until the store answers, up to :data:`ATTEMPTS` times.

    ``refused`` turns an error that is final into the one to raise. Raises PayloadTooLarge for a record over 400 KB and
    Internal for a request the store will never accept.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            ceiling = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt)
            clock.sleep(ceiling * (0.5 + ids.uniform() / 2))
        try:
            send()
        except PynamoDBException as error:
            final = refused(error)
            if final is not None:
                raise final from error
            failure = error
            if not is_transient(error):
                raise _final(error) from error
        else:
            return
    raise _lasting(failure) from failure


def _lasting(error: PynamoDBException) -> Unavailable:
    if not isinstance(error.cause, ClientError):
        return Unavailable("The store cannot be reached; try again")
    if error_code(error) not in _FAULTS:
        return Contention("Too many requests change the same records; try again")
    if "disk is full" in (error.cause_response_message or ""):
        return Unavailable("The server's disk is full; free some space and try again")
    return Unavailable("The store failed; try again")


def _final(error: PynamoDBException) -> SignalboxError:
    messages = [error.cause_response_message] if isinstance(error.cause, ClientError) else []
    if isinstance(error, TransactWriteError):
        messages += [reason.message for reason in error.cancellation_reasons if reason is not None]
    if any("maximum allowed size" in (message or "") for message in messages):
        return PayloadTooLarge("The record is too large to store: 400 KB is the limit")
    return Internal("The store refused a request")


def is_transient(error: PynamoDBException) -> bool:
    """Whether the same request may succeed when sent again: contention, throttling, a broken connection."""
    cause = error.cause
    if isinstance(cause, BotoCoreError):
        return True
    codes = {error_code(error)}
    if isinstance(error, TransactWriteError | TransactGetError):
        codes |= {reason.code for reason in error.cancellation_reasons if reason is not None}
    return not codes.isdisjoint(_BUSY)


def is_condition_failure(error: PynamoDBException) -> bool:
    """Whether a single write of PynamoDB's own was refused by its condition."""
    return error_code(error) == "ConditionalCheckFailedException"


def error_code(error: PynamoDBException) -> str | None:
    """The code of the store's answer, or None when there was none."""
    # PynamoDB's own accessor trips over time-outs, whose ``response`` attribute is None.
    return error.cause_response_code if isinstance(error.cause, ClientError) else None


class PatientTable(TableConnection):
    """A table whose queries are asked again while the store does not answer; a page more or less changes nothing."""

    def query(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        return _asked(super().query, arguments, named)

    def scan(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        return _asked(super().scan, arguments, named)

    def batch_get_item(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        return _asked(super().batch_get_item, arguments, named)


def _asked(ask: Callable[..., dict[str, Any]], arguments: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    persist(lambda: answer.update(ask(*arguments, **named)), lambda error: None)
    return answer
