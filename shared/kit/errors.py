"""The exception tree. Raising is the same everywhere; rendering is per API (``shared.web``).

SignalboxError
├── InvalidRequest      400  the request is malformed
├── Unauthorized        401  no, wrong, expired or revoked credentials
├── PaymentRequired     402  the budget does not allow it
├── Forbidden           403  known caller, not allowed
├── NotFound            404  unknown path or id, or another tenant's
├── MethodNotAllowed    405  known path, wrong method
├── Conflict            409  the state does not allow it
├── Gone                410  it was there and is over
├── PayloadTooLarge     413  body over the limit
├── Unprocessable       422  well-formed, but its meaning is wrong
├── TooManyRequests     429  slow down; ``retry_after`` seconds
├── Internal            500  our fault, never with detail
├── NotOffered          501  the deployment has not been set up for it
└── Unavailable         503  a dependency is down; try again
"""

from __future__ import annotations

from typing import Any, Self


class SignalboxError(Exception):
    """Base of every error a caller may see. ``details`` is a JSON object or None."""

    status: int = 500
    code: str = "internal_error"
    retry_after: int | None = None
    body: dict[str, Any] | None = None
    """The whole answer, for errors that have a form of their own in their API."""

    def __init__(self, message: str, *, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    @classmethod
    def field(cls, name: str, reason: str) -> Self:
        """The error for one bad field; the message is the reason."""
        return cls(reason, details={"field": name, "reason": reason})


class InvalidRequest(SignalboxError):
    status, code = 400, "invalid_request"


class Unauthorized(SignalboxError):
    status, code = 401, "unauthorized"


class PaymentRequired(SignalboxError):
    status, code = 402, "payment_required"


class Forbidden(SignalboxError):
    status, code = 403, "forbidden"


class NotFound(SignalboxError):
    status, code = 404, "not_found"


class MethodNotAllowed(SignalboxError):
    """``allow`` lists the methods the path does answer."""

    status, code = 405, "method_not_allowed"

    def __init__(self, message: str, *, allow: tuple[str, ...] = (), details: dict[str, Any] | None = None) -> None:
        super().__init__(message, details=details)
        self.allow = allow


class Conflict(SignalboxError):
    status, code = 409, "conflict"


class Gone(SignalboxError):
    status, code = 410, "gone"


class PayloadTooLarge(SignalboxError):
    status, code = 413, "payload_too_large"


class Unprocessable(SignalboxError):
    status, code = 422, "validation_error"


class TooManyRequests(SignalboxError):
    """``retry_after`` is in whole seconds."""

    retry_after: int
    status, code = 429, "too_many_requests"

    def __init__(self, message: str, *, retry_after: int = 1, details: dict[str, Any] | None = None) -> None:
        super().__init__(message, details=details)
        self.retry_after = retry_after


class Internal(SignalboxError):
    status, code = 500, "internal_error"


class NotOffered(SignalboxError):
    status, code = 501, "not_implemented"


class Unavailable(SignalboxError):
    status, code = 503, "unavailable"
