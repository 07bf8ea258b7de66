"""Fault points: what can go wrong between a program and its store, at a time of the test's choosing."""

from __future__ import annotations

from enum import Enum
from typing import Any, Protocol


class Fault(Enum):
    """What happens to one request."""

    FAILED = "failed"
    """Never reaches the store; the caller sees a broken connection."""
    THROTTLED = "throttled"
    """Refused with ProvisionedThroughputExceededException; nothing is written."""
    ANSWER_LOST = "answer lost"
    """Carried out and committed; the caller sees a time-out."""
    REPEATED = "repeated"
    """Carried out, answer lost, and silently sent again by the client, which is what botocore's own retries do."""
    CONFLICT = "conflict"
    """A transaction cancelled with TransactionConflict; a single write refused with TransactionConflictException."""


class Faults(Protocol):
    """Called for every request before it is carried out, outside any lock.

    It may block (a deterministic scheduler does) and answers the fault the request is to meet, or None.
    """

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None: ...
