"""What an org may ask of the gate beside its policies: calls a second, and the executions of its plan.

Calls a second are counted by each process for itself, so that the gate stays one store request; where many processes
serve an org it may have as many times the limit. Executions of the month are counted once a minute.
Source: NullRun docs, Plans and limits; docs/rulings.md#allowances.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from shared.governance.orgsettings import org_settings
from shared.governance.plans import UNLIMITED, plan
from shared.governance.refusals import Refused
from shared.kit import clock

T = TypeVar("T")

BELIEVED_MS = 60_000
"""How long a count of executions, and an org's plan, are believed."""

_REMEMBERED = 1024

CountExecutions = Callable[[str], int]
"""Executions of an org in its current period."""


class Allowances:
    """Limits of orgs. ``per_second`` 0 is none of its own; ``enforced`` adds those of the plan."""

    def __init__(self, per_second: int, *, enforced: bool, count: CountExecutions) -> None:
        self._per_second = per_second
        self._enforced = enforced
        self._count = count
        self._seconds: dict[str, tuple[int, int]] = {}
        self._plans: dict[str, tuple[int, int, int, int]] = {}
        self._lock = threading.Lock()

    def require(self, org_id: str) -> None:
        """Count one gate call. Raises Refused: RATE_LIMIT_EXCEEDED, EXECUTION_QUOTA_EXCEEDED."""
        if not self._per_second and not self._enforced:
            return
        per_second, executions, most = self._limits(org_id)
        if most != UNLIMITED and executions >= most:
            details = {"resource": "executions", "current": executions, "limit": most}
            raise Refused(
                "EXECUTION_QUOTA_EXCEEDED", "The plan's executions for this period are used up", at_gate=True,
                details=details,
            )  # fmt: skip
        second = clock.now_ms() // 1000
        with self._lock:
            seen, count = self._seconds.get(org_id, (second, 0))
            count = count + 1 if seen == second else 1
            _keep(self._seconds, org_id, (second, count))
        if per_second > 0 and count > per_second:
            details = {"scope": "organization", "limit_per_second": per_second, "current_count": count}
            raise Refused(
                "RATE_LIMIT_EXCEEDED", f"The organisation may make {per_second} calls a second", at_gate=True,
                retry_after=1, details=details | {"retry_after_seconds": 1, "retry_after_ms": 1000},
            )  # fmt: skip

    def _limits(self, org_id: str) -> tuple[int, int, int]:
        """Calls a second (0 or less: no limit), executions so far, and the most of them."""
        if not self._enforced:
            return self._per_second, 0, UNLIMITED
        now = clock.now_ms()
        with self._lock:
            known = self._plans.get(org_id)
        if known is None or known[0] <= now:
            chosen = plan(org_settings(org_id).plan)
            rates = [rate for rate in (self._per_second, chosen.limit("requests_per_second")) if rate > 0]
            known = now + BELIEVED_MS, min(rates, default=0), self._count(org_id), chosen.limit("executions")
            with self._lock:
                _keep(self._plans, org_id, known)
        return known[1], known[2], known[3]


def _keep(place: dict[str, T], org_id: str, value: T) -> None:
    if len(place) >= _REMEMBERED:
        place.clear()
    place[org_id] = value
