"""The life of an approval, and when its decision is told again. Pure.

    PENDING ──▶ APPROVED ──▶ CONSUMED        the client went on, or execute let the action happen
       │            └──────▶ REVOKED         nobody used it in time
       ├──────▶ DENIED
       └──────▶ EXPIRED                      nobody decided in time

Source: NullRun docs, Human approval and Approvals; docs/rulings.md#approvals.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from shared.governance.refusals import Refused
from shared.store.models.policies import Approval

Status: TypeAlias = Literal["PENDING", "APPROVED", "DENIED", "EXPIRED", "CONSUMED", "REVOKED"]
STATUSES: tuple[Status, ...] = get_args(Status)

GRANT_MS = 5 * 60 * 1000
"""How long an approval can be used: after the decision, and after the client has said that it goes on."""

_FIRST_MS = (500, 1_500, 5_000)
_THEN_MS = 10_000


def status_of(record: Approval, now_ms: int) -> Status:
    """What an approval is now, also where the sweep has not written it yet."""
    if record.status == "PENDING" and record.expires_ms <= now_ms:
        return "EXPIRED"
    if record.status == "APPROVED" and is_over(record, now_ms):
        return "REVOKED"
    return next(status for status in STATUSES if status == record.status)


def is_over(record: Approval, now_ms: int) -> bool:
    """Whether the time for using a decided approval has passed. A flow has as long as it runs."""
    since = record.decided_ms if record.consumed_ms is None else record.consumed_ms
    return record.flow_execution_id is None and int(since or 0) + GRANT_MS <= now_ms


def next_push(decided_ms: int, now_ms: int) -> int:
    """When the decision is told again: 0.5, 1.5 and 5 s after it, then every 10 s, until its time has passed.

    The first frame may come before the client waits for it, and a client that waits asks nobody.
    """
    passed = now_ms - decided_ms
    following = next((offset for offset in _FIRST_MS if offset > passed), None)
    if following is None:
        following = _FIRST_MS[-1] + (passed - _FIRST_MS[-1]) // _THEN_MS * _THEN_MS + _THEN_MS
    return decided_ms + min(following, GRANT_MS)


def refusal_of(record: Approval, now_ms: int) -> Refused | None:
    """Why an approval lets nothing happen; None for one that does."""
    status = status_of(record, now_ms)
    if status == "PENDING":
        return Refused("APPROVAL_NOT_YET_APPROVED", "Nobody has approved this yet; wait for the decision")
    if status == "DENIED":
        note = f": {record.note}" if record.note else ""
        return Refused("APPROVAL_DENIED", f"This was denied{note}")
    if record.used_ms is not None:
        return Refused("APPROVAL_REPLAY_REJECTED", "This approval has been used; ask the gate for another one")
    if status == "EXPIRED":
        return Refused("APPROVAL_EXPIRED", "Nobody approved this in time; ask the gate for another one")
    if is_over(record, now_ms):
        return Refused("APPROVAL_EXPIRED", "This approval was not used in time; ask the gate for another one")
    return None
