"""What people may say of a new API key. Source: NullRun docs, HTTP API, Authentication."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.governance.authentication import SCOPES
from shared.governance.workflow_forms import has_controls
from shared.kit import clock
from shared.kit.errors import InvalidRequest, Unprocessable

MAX_NAME = 80
EVERYTHING = "*"
_LAST_MS = 253_402_300_799_000
"""The end of the year 9999, the last that RFC 3339 can name."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as somebody wants it. ``expires_ms`` is in epoch milliseconds; ``live`` decides its prefix."""

    name: str
    workflow_id: str
    scopes: Sequence[str] = (EVERYTHING,)
    expires_ms: int | None = None
    live: bool = True


def checked_key(wanted: NewKey) -> NewKey:
    """The key with each scope once.

    Raises InvalidRequest for a missing workflow and for scopes, Unprocessable for anything else.
    """
    if not wanted.name.strip():
        raise Unprocessable.field("name", "Name is required")
    if len(wanted.name) > MAX_NAME:
        raise Unprocessable.field("name", f"Name must have {MAX_NAME} characters at most")
    if has_controls(wanted.name):
        raise Unprocessable.field("name", "Name must not contain control characters")
    if not wanted.workflow_id:
        raise InvalidRequest.field("workflow_id", "Workflow_id is required: a key belongs to exactly one workflow")
    if wanted.expires_ms is not None and not clock.now_ms() < wanted.expires_ms <= _LAST_MS:
        raise Unprocessable.field("expires_at", "Expires_at must be in the future, and before the year 10000")
    return replace(wanted, scopes=_checked_scopes(wanted.scopes))


def expiry_of(text: str | None) -> int | None:
    """``expires_at`` in epoch milliseconds. Raises Unprocessable for what is no time with an offset."""
    if text is None:
        return None
    try:
        return clock.parse_rfc3339(text)
    except (ValueError, OverflowError):
        reason = "Expires_at must be a time as RFC 3339 has it, like 2030-01-31T12:00:00Z"
        raise Unprocessable.field("expires_at", reason) from None


def _checked_scopes(scopes: Sequence[str]) -> Sequence[str]:
    known = (*SCOPES, EVERYTHING)
    if not scopes or any(scope not in known for scope in scopes):
        raise InvalidRequest.field("scopes", f"Scopes must be one or more of {', '.join(known)}")
    return list(dict.fromkeys(scopes))
