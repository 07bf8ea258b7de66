"""Refusals of the embedded engine, worded as DynamoDB words them (Amazon DynamoDB API Reference, Common Errors)."""

from __future__ import annotations

from typing import Any, NoReturn

from botocore.exceptions import ClientError

ITEM_LIMIT = 400 * 1024
"""The largest item, names included, in bytes."""


class Rejection(Exception):
    """A request the engine refuses. ``extra`` joins the answer beside ``Error`` (such as ``CancellationReasons``)."""

    def __init__(self, code: str, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.extra = extra

    def as_client_error(self, operation: str) -> ClientError:
        """The exception botocore would raise for it."""
        status = 500 if self.code == "InternalServerError" else 400
        response: Any = {
            "Error": {"Code": self.code, "Message": self.message},
            "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}, "RetryAttempts": 0},
            **self.extra,
        }
        return ClientError(response, operation)


class ConditionFailed(Rejection):
    """The condition of one item was false; ``item`` is that item as it was, or None."""

    def __init__(self, item: dict[str, Any] | None) -> None:
        super().__init__("ConditionalCheckFailedException", "The conditional request failed")
        self.item = item


def invalid(message: str) -> NoReturn:
    """Refuse with a ValidationException."""
    raise Rejection("ValidationException", message)


def invalid_parameter(message: str) -> NoReturn:
    """Refuse a value, with the preamble DynamoDB gives such messages."""
    invalid(f"One or more parameter values were invalid: {message}")
