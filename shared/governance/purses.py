"""Purses: how money moves. ``available`` = ``cap`` - ``spent`` - ``reserved``: only these functions write any of them.

    gate       move(reserved=+p)                on condition room(p)
    track      move(spent=+a, reserved=-f)      f: the part of the reservation that is used up
    release    move(reserved=-f)
    new cap    capped(old, new)                 adds the difference
    rollover   available = cap - reserved       what is reserved stays so into the next period

Source: NullRun docs, Budgets; docs/rulings.md#money.
"""

from __future__ import annotations

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from shared.governance.money import UNLIMITED, period_of
from shared.kit import clock
from shared.store.models.governance import Period, Purse, period_sk, purse_pk
from shared.store.transaction import ConditionFailed, Transaction, read

WORKING = ("Normal", "Flagged", "Tripped")
"""States in which a workflow's calls are let through."""

OVERDRAFT = "overdraft"
"""The scope whose purse counts what an org's soft budgets have been exceeded by."""


def purse_key(org_id: str, scope_id: str) -> Purse:
    """The key of a purse, to write to it."""
    return Purse(purse_pk(org_id, scope_id), "purse")


def new_purse(org_id: str, scope: str, scope_id: str, *, cap: int | None, anchor_ms: int, policy_version: int) -> Purse:
    """A purse nobody has spent from, not stored yet. ``scope``: workflow, org or key; ``cap`` None means no budget."""
    now = clock.now_ms()
    span, whole = period_of(anchor_ms, now), UNLIMITED if cap is None else cap
    return Purse(
        purse_pk(org_id, scope_id), "purse", org_id=org_id, scope=scope, scope_id=scope_id, cap=whole, available=whole,
        spent=0, reserved=0, overrun=0, anchor_ms=anchor_ms, period_start_ms=span.start_ms, period_end_ms=span.end_ms,
        policy_version=policy_version, state_ms=now,
    )  # fmt: skip


def read_purse(org_id: str, scope_id: str) -> Purse | None:
    """A purse as it is now; one whose period is over is rolled over first."""
    purse = read(Purse, purse_pk(org_id, scope_id), "purse")
    while purse is not None and is_over(purse):
        roll_over(purse)
        purse = read(Purse, purse.pk, "purse")
    return purse


def has_cap(purse: Purse) -> bool:
    """Whether there is a budget at all."""
    return int(purse.cap) < UNLIMITED


def is_over(purse: Purse) -> bool:
    """Whether the purse's period has ended."""
    return int(purse.period_end_ms) <= clock.now_ms()


def move(*, spent: int = 0, reserved: int = 0, overrun: int = 0, overdraft: int = 0) -> list[Action]:
    """Actions that add to what is spent and reserved, and take the sum from what is available."""
    actions: list[Action] = []
    moves = ((Purse.spent, spent), (Purse.reserved, reserved), (Purse.overrun, overrun), (Purse.overdraft, overdraft))
    for attribute, amount in moves:
        if amount:
            actions.append(attribute.set(attribute + amount if amount > 0 else attribute - -amount))
    taken = spent + reserved
    if taken:
        left = Purse.available - taken if taken > 0 else Purse.available + -taken
        actions.append(Purse.available.set(left))
    return actions


def room(amount: int) -> Condition:
    """That so much is available in a period that goes on."""
    condition: Condition = (Purse.available >= amount) & in_period()
    return condition


def in_period() -> Condition:
    """That the purse's period goes on."""
    condition: Condition = Purse.period_end_ms > clock.now_ms()
    return condition


def capped(purse: Purse, cap: int | None) -> list[Action]:
    """Actions that give a purse, known to have its present cap, another one."""
    whole = UNLIMITED if cap is None else cap
    more = whole - int(purse.cap)
    left = Purse.available + more if more >= 0 else Purse.available - -more
    return [Purse.cap.set(whole), Purse.available.set(left)] if more else []


def roll_over(purse: Purse) -> bool:
    """Begin the current period in the place of one that is over; whether it was us. Reservations live on.

    What the old period came to is kept, and later settlements of it are added there.
    """
    span = period_of(int(purse.anchor_ms), clock.now_ms())
    kept = Period(
        purse.pk, period_sk(int(purse.period_start_ms)), org_id=purse.org_id, cap=purse.cap, spent=purse.spent,
        overrun=purse.overrun, period_start_ms=purse.period_start_ms, period_end_ms=purse.period_end_ms,
    )  # fmt: skip
    zeros = [attribute.set(0) for attribute in (Purse.spent, Purse.overrun, Purse.overdraft, Purse.crossed)]
    fresh = [Purse.period_start_ms.set(span.start_ms), Purse.period_end_ms.set(span.end_ms)]
    unchanged = (
        (Purse.period_start_ms == purse.period_start_ms)
        & (Purse.spent == purse.spent)
        & (Purse.overrun == purse.overrun)
        & (Purse.cap == purse.cap)
    )
    tx = Transaction().put(kept, Period.pk.does_not_exist(), label="period")
    tx.update(purse, [*zeros, *fresh, Purse.available.set(Purse.cap - Purse.reserved)], unchanged, label="purse")
    try:
        tx.commit()
    except ConditionFailed:
        return False
    return True
