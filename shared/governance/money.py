"""Money and budget periods. Inside the system money is whole micro-cents; on the wire it is whole cents.

Source: NullRun docs, Budgets; docs/rulings.md#money.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

MICRO = 1_000_000
"""Micro-cents of a cent."""

UNLIMITED = 10**18
"""The cap of a purse without a budget: ten billion dollars. One code path serves both."""

LARGEST_CENTS = 10**10
"""The largest budget or price somebody may name."""


def micro(cents: int | float) -> int:
    """Cents in micro-cents, rounded up."""
    whole = cents * MICRO
    return -int(-whole // 1)


def cents(amount: int) -> int:
    """Micro-cents in whole cents, rounded to the nearest: totals are rounded, never their parts."""
    return (int(amount) + MICRO // 2) // MICRO


def millicents(amount: int) -> int:
    """Micro-cents in thousandths of a cent."""
    return int(amount) // 1_000


@dataclass(frozen=True, slots=True)
class Span:
    """A budget period: from ``start_ms`` on, before ``end_ms``."""

    start_ms: int
    end_ms: int


def period_of(anchor_ms: int, now_ms: int) -> Span:
    """The monthly period around ``now_ms``: each begins on the anchor's day and time, or on the month's last day."""
    anchor = datetime.fromtimestamp(anchor_ms / 1000, UTC)
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    months = (now.year - anchor.year) * 12 + now.month - anchor.month
    start = _after(anchor, months)
    if start > now:
        months -= 1
        start = _after(anchor, months)
    return Span(_ms(start), _ms(_after(anchor, months + 1)))


def _after(anchor: datetime, months: int) -> datetime:
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    month += 1
    following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    longest = (following - datetime(year, month, 1, tzinfo=UTC)).days
    return anchor.replace(year=year, month=month, day=min(anchor.day, longest))


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
