"""Settlement: what a call came to is spent, in one transaction over every purse it concerns.

A purse in whose period the call began spends; its share of the reservation that is used up is freed. A purse that has
begun a new period since only frees, and the old period's record spends. Spending is never refused: what no room was
left for is spent as well, counted as overrun, and told. A ceiling that the workflow's purse has yet to join is left
out, for it takes over what the purse has spent then.

Each purse has two forms of its write. The plain one may happen beside others: its condition is that the sum stays below
the next threshold, and that there is room. The exact one, which crosses a threshold or overruns, demands that nobody
spent meanwhile. When a condition fails everything is read again and the form chosen anew; so a threshold of a period is
crossed by exactly one write. Source: NullRun docs, Budgets, Settle; docs/rulings.md#settlement.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from shared.governance.events import SYSTEM, Fact, add_event
from shared.governance.purses import has_cap, is_over, move, roll_over
from shared.governance.reservations import funds_of
from shared.store.models.governance import Operation, Period, Purse, period_sk, purse_pk
from shared.store.transaction import Transaction, read_each

THRESHOLDS = (80, 95, 100)
"""Percents of a budget that are told when they are reached."""


@dataclass(frozen=True, slots=True)
class Account:
    """A purse, and its record of the period the money belongs to if that is over."""

    purse: Purse
    period: Period | None = None
    is_past: bool = False


@dataclass(frozen=True, slots=True)
class Books:
    """What a settlement rests on, as just read: the workflow's account first."""

    accounts: tuple[Account, ...]
    operation: Operation | None

    @property
    def workflow(self) -> Purse | None:
        """The workflow's purse; None when the workflow is gone."""
        purse = self.accounts[0].purse if self.accounts else None
        return purse if purse is not None and purse.scope == "workflow" else None


def open_books(org_id: str, workflow_id: str, key_id: str, operation_pk: str | None, execution_id: str) -> Books:
    """Read the operation and every purse that exists for the workflow, the org and the key, in one request.

    Purses whose period is over are rolled over first. An operation of another workflow, or another one with the same
    partition key, is none; one that another key of the workflow asked for is that key's to pay.
    """
    while True:
        keys = [(Purse, purse_pk(org_id, scope_id), "purse") for scope_id in (workflow_id, org_id, key_id)]
        wanted = [*keys, *([(Operation, operation_pk, "operation")] if operation_pk is not None else [])]
        found = read_each(*wanted)
        purses = [record for record in found if isinstance(record, Purse)]
        over = [purse for purse in purses if is_over(purse)]
        if not over:
            break
        for purse in over:
            roll_over(purse)
    known = next((record for record in found if isinstance(record, Operation)), None)
    operation = known if known is not None and _concerns(known, workflow_id, execution_id) else None
    if operation is not None and operation.key_id != key_id:
        return open_books(org_id, workflow_id, operation.key_id, operation_pk, execution_id)
    return Books(tuple(_accounts(purses, operation)), operation)


def _concerns(operation: Operation, workflow_id: str, execution_id: str) -> bool:
    same = operation.execution_id == execution_id.lower() and operation.workflow_id == workflow_id
    return same and operation.status != "refused"


def _accounts(purses: list[Purse], operation: Operation | None) -> list[Account]:
    if operation is None:
        return [Account(purse) for purse in purses]
    began = int(operation.period_start_ms)
    past = [purse for purse in purses if int(purse.period_start_ms) > began]
    records = read_each(*((Period, purse.pk, period_sk(began)) for purse in past))
    periods = {record.pk: record for record in records if isinstance(record, Period)}
    return [Account(purse, periods.get(purse.pk), int(purse.period_start_ms) > began) for purse in purses]


@dataclass
class Settlement:
    """One attempt to spend ``amount`` micro-cents. Once added, ``overrun`` is what some purse had no room for."""

    books: Books
    amount: int
    org_id: str
    overrun: int = field(default=0, init=False)

    def freed(self) -> int:
        """The part of the reservation that the spending uses up."""
        operation = self.books.operation
        return min(int(operation.reserved), self.amount) if operation is not None else 0

    def add(self, tx: Transaction) -> None:
        """Add the moves of every purse, and the thresholds they cross, to a transaction."""
        for account in self.books.accounts:
            purse = account.purse
            if self._joins_later(purse):
                continue
            share, amount = self._share(purse), self.amount - self._counted(purse)
            if account.is_past:
                self._spend_in_past(tx, account, amount, share)
            else:
                self._spend(tx, purse, amount, share)

    def _joins_later(self, purse: Purse) -> bool:
        """Whether it is a ceiling that has yet to take over what the workflow has spent, this included."""
        workflow = self.books.workflow
        return purse.scope == "org" and workflow is not None and workflow.policy_version < purse.since_version

    def _share(self, purse: Purse) -> int:
        """What the spending frees in a purse. One made, or made anew, since the gate has nothing of it."""
        operation, freed = self.books.operation, self.freed()
        if operation is None or purse.scope_id not in funds_of(operation):
            return 0
        return freed if purse.reserved >= freed and operation.policy_version >= purse.since_version else 0

    def _counted(self, purse: Purse) -> int:
        """What a ceiling has counted of the spending already: the reservations that were there before it came."""
        operation = self.books.operation
        if purse.scope != "org" or operation is None or operation.policy_version >= purse.since_version:
            return 0
        return self.freed()

    def _credit(self, purse: Purse) -> int:
        """By how much the spending may leave a purse short, and be no overrun: the overdraft that the gate gave."""
        operation = self.books.operation
        return int(operation.credit) if operation is not None and purse.scope == "workflow" else 0

    def _spend(self, tx: Transaction, purse: Purse, amount: int, freed: int) -> None:
        extra, credit = amount - freed, self._credit(purse)
        room, without = int(purse.available), 0
        condition = _unmoved(purse) & (Purse.cap == purse.cap)
        if freed:
            condition &= Purse.reserved >= freed
        if extra > max(0, room):
            without = extra - max(0, room)
            condition &= Purse.available <= 0 if room <= 0 and not credit else Purse.available == room
        elif extra:
            condition &= Purse.available >= extra
        actions = move(spent=amount, reserved=-freed, overrun=without)
        crossed, fence = self._thresholds(purse, amount)
        condition &= fence
        if crossed:
            actions.append(Purse.crossed.set(crossed[-1]))
        self.overrun = max(self.overrun, min(without, extra - room - credit))
        if actions:
            tx.update(purse, actions, condition, label=purse.scope_id)
        for threshold in crossed:
            add_event(tx, self.org_id, SYSTEM, _crossing(purse, threshold, int(purse.spent) + amount))

    def _thresholds(self, purse: Purse, amount: int) -> tuple[list[int], Condition]:
        """Thresholds the spending reaches for the first time, and the condition under which it is just these."""
        spent, cap = int(purse.spent), int(purse.cap)
        # Of a budget of nothing only its end can be told.
        open_ones = [threshold for threshold in THRESHOLDS if threshold > purse.crossed and (cap or threshold == 100)]
        if not has_cap(purse) or not open_ones or not amount:
            return [], Purse.pk.exists()
        crossed = [threshold for threshold in open_ones if (spent + amount) * 100 >= cap * threshold]
        if crossed:
            return crossed, Purse.spent == spent
        # The next threshold in whole micro-cents, rounded up: below it nothing is crossed.
        following = -(-cap * open_ones[0] // 100)
        return [], Purse.spent < following - amount

    def _spend_in_past(self, tx: Transaction, account: Account, amount: int, freed: int) -> None:
        purse, period = account.purse, account.period
        if freed:
            unmoved = (Purse.reserved >= freed) & (Purse.since_version == purse.since_version)
            tx.update(purse, move(reserved=-freed), unmoved, label=purse.scope_id)
        if period is None or not amount:
            return
        room = int(period.cap) - int(period.spent)
        without = max(0, amount - max(0, room))
        actions: list[Action] = [Period.spent.set(Period.spent + amount)]
        condition: Any = Period.pk.exists()
        if without:
            actions.append(Period.overrun.set(Period.overrun + without))
            condition &= Period.spent == period.spent if room > 0 else Period.spent >= period.spent
        else:
            condition &= Period.spent <= int(period.cap) - amount
        self.overrun = max(self.overrun, without)
        tx.update(period, actions, condition, label=f"{purse.scope_id} {period.sk}")


def _unmoved(purse: Purse) -> Condition:
    """That a purse is the one it was, in the same period; a workflow's has joined no ceiling meanwhile, either."""
    condition: Condition = (Purse.period_start_ms == purse.period_start_ms) & (
        Purse.since_version == purse.since_version
    )
    if purse.scope == "workflow":
        condition &= Purse.policy_version == purse.policy_version
    return condition


def _crossing(purse: Purse, threshold: int, spent: int) -> Fact:
    return Fact(
        "budget.threshold_crossed", (purse.scope, purse.scope_id), outcome="degraded",
        workflow_id=purse.scope_id if purse.scope == "workflow" else None,
        details={
            "scope": purse.scope, "scope_id": purse.scope_id, "period_start_ms": int(purse.period_start_ms),
            "threshold": threshold, "spent": spent, "cap": int(purse.cap),
        },
    )  # fmt: skip
