"""Money: every way it moves keeps ``available`` = ``cap`` - ``spent`` - ``reserved``, and nothing is counted twice."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.governance.money import MICRO
from shared.governance.operations import find_operation
from shared.governance.purses import capped, read_purse
from shared.governance.reservations import Reservations, complete
from shared.governance.sweep import GovernanceSweep, release_expired
from shared.governance.tracking import IdempotencyKeyMismatch, event_mark
from shared.governance.usage import Report, Spending
from shared.kit import ids, json
from shared.kit.errors import Unavailable
from shared.store.embedded import EmbeddedEngine, Fault
from shared.store.models.governance import Event, Purse, events_pk, purse_pk
from shared.store.transaction import Transaction, update_if
from tests.support.money import AGENT, KEY, WORKFLOW, Money
from tests.support.time import HeldClock
from tests.support.workflows import ORG, at_once

MONTH_S = 31 * 24 * 3600
ALL: dict[str, Any] = {"workflow": 100, "org": 200, "key": 300}


@pytest.fixture(autouse=True)
def _store(held: HeldClock, store: EmbeddedEngine) -> None:
    """A held clock and an empty store."""


def _cancel(execution_id: str) -> dict[str, Any]:
    return Reservations().cancel(AGENT, execution_id, "tool_exception")


@pytest.mark.parametrize(
    ("reserved", "actuals", "numbers", "overbudget"),
    [
        # reserved, then each actual; spent, reserved, available, overrun at the end; which reports are over budget
        (1, [], (0, 1, 99, 0), []),
        (1, [0], (0, 1, 99, 0), [False]),
        (1, [0.25], (0.25, 0.75, 99, 0), [False]),
        (1, [1], (1, 0, 99, 0), [False]),
        (1, [1, 1, 1], (3, 0, 97, 0), [False, False, False]),
        (50, [20, 20, 20], (60, 0, 40, 0), [False, False, False]),
        (1, [100], (100, 0, 0, 0), [False]),
        (1, [101], (101, 0, -1, 1), [True]),
        (1, [90, 20, 5], (115, 0, -15, 15), [False, True, True]),
        (100, [100], (100, 0, 0, 0), [False]),
        (100, [101], (101, 0, -1, 1), [False]),
        (100, [102], (102, 0, -2, 2), [True]),
        (100, [60, 60], (120, 0, -20, 20), [False, True]),
        (60, [30, 100], (130, 0, -30, 30), [False, True]),
    ],
)
def test_settlements(reserved: float, actuals: list[float], numbers: tuple[float, ...], overbudget: list[bool]) -> None:
    """Of a budget of 100 cents: what is spent beyond the reservation comes from the budget, then is overrun.

    Within a cent of the reservation nobody is told of it.
    """
    money = Money(workflow=100)
    execution = money.reserve(reserved)
    assert [money.spend(actual, execution).overbudget for actual in actuals] == overbudget
    assert money.numbers() == numbers
    money.check()


@pytest.mark.parametrize(
    ("actuals", "overbudget"),
    [([10], [False]), ([11], [False]), ([11.01], [True]), ([6, 5, 1], [False, False, True])],
)
def test_strict_settlements(actuals: list[float], overbudget: list[bool]) -> None:
    """The reservation of 10 cents and a cent more are allowed in all, whatever is left of the budget."""
    money = Money(workflow=100, settle_mode="strict")
    execution = money.reserve(10)
    assert [money.spend(actual, execution).overbudget for actual in actuals] == overbudget
    assert money.numbers() == (sum(actuals), 0, 100 - sum(actuals), 0)


@pytest.mark.parametrize("tight", ["workflow", "org", "key"])
def test_every_purse_pays_and_the_tightest_decides(tight: str) -> None:
    """The same sum leaves the workflow's, the org's and the key's purse; one without room is enough to be told."""
    money = Money(**(ALL | {tight: 20}))
    execution = money.reserve(5)
    assert not money.spend(20, execution).overbudget
    assert money.spend(1, execution).overbudget
    for scope, cap in (ALL | {tight: 20}).items():
        assert money.numbers(scope) == (21, 0, cap - 21, 1 if scope == tight else 0)
    money.check()


def test_a_purse_made_after_the_reservation_pays_and_frees_nothing() -> None:
    """A ceiling that came meanwhile counts the spending, and gives back nothing it never set aside."""
    money = Money(workflow=100)
    first, second = money.reserve(10), money.reserve(10)
    Money(org=50)
    money.spend(4, first)
    assert money.numbers("org") == (4, 0, 46, 0)
    _cancel(second)
    assert money.numbers("org") == (4, 0, 46, 0)
    assert money.numbers() == (4, 6, 90, 0)


@pytest.mark.parametrize("end", ["spend", "cancel"])
def test_a_purse_made_anew_keeps_what_others_reserved(end: str) -> None:
    """A ceiling removed and set again holds nothing of older reservations and is not made to give it back."""
    money = Money(workflow=100, org=50)
    execution = money.reserve(10)
    Transaction().delete(money.purse("org")).commit()
    Money(org=50)
    if end == "spend":
        assert not money.spend(10, execution).overbudget
    else:
        _cancel(execution)
    spent = 10 if end == "spend" else 0
    assert money.numbers("org") == (spent, 0, 50 - spent, 0)
    assert money.numbers() == (spent, 0, 100 - spent, 0)


def test_another_key_of_the_workflow_settles_what_a_key_reserved() -> None:
    """The key that asked the gate pays and gets back, whichever reports."""
    money = Money(**ALL)
    execution = money.reserve(10)
    colleague = replace(AGENT, key_id="7c1e2a7e-51c4-4f0e-9d3a-000000000000")
    update_if(money.purse(), [Purse.key_versions.set({colleague.key_id: 1})], Purse.pk.exists())
    report = Report(Spending(4 * MICRO, 1, "catalog", "high", None), execution, None, None, None, None)
    money.tracking.settle(colleague, report, event_mark("event-1", "digest"), "llm_call")
    assert money.numbers("key") == (4, 6, 290, 0)
    money.check()


def test_spending_nobody_reserved_is_over_budget_only_without_room() -> None:
    """Even in strict mode: there is no reservation to be above."""
    money = Money(workflow=10, settle_mode="strict")
    assert not money.spend(10).overbudget
    assert money.spend(1).overbudget
    assert money.numbers() == (11, 0, -1, 1)


def test_of_an_unlimited_purse_nothing_is_over_budget() -> None:
    """However much is spent; no threshold is crossed."""
    money = Money(workflow=None)
    assert not money.spend(10**9).overbudget
    assert money.purse().spent == 10**9 * MICRO
    assert money.thresholds() == []
    money.check()


def test_a_hard_zero_has_no_room() -> None:
    """Whatever is spent is overrun, and its end is told once."""
    money = Money(workflow=0)
    assert [money.spend(cents).overbudget for cents in (0, 1, 1)] == [False, True, True]
    assert money.numbers() == (2, 0, -2, 2)
    assert [threshold for _, _, threshold in money.thresholds()] == [100]


# Thresholds


@pytest.mark.parametrize(
    ("actuals", "told"),
    [
        ([79.999999], []),
        ([80], [80]),
        ([79, 1], [80]),
        ([80, 10, 4, 1], [80, 95]),
        ([50, 50], [80, 95, 100]),
        ([200], [80, 95, 100]),
        ([94.999999, 0.000001], [80, 95]),
        ([100, 100, 100], [80, 95, 100]),
        ([80, 0, 0], [80]),
    ],
)
def test_thresholds_are_told_once(actuals: list[float], told: list[int]) -> None:
    """The spending that reaches 80, 95 or 100 % of the cap tells of it, and no later one does."""
    money = Money(workflow=100)
    for actual in actuals:
        money.spend(actual)
    assert [threshold for _, _, threshold in money.thresholds()] == told
    assert money.purse().crossed == max(told, default=0)


def test_a_crossing_says_what_alerts_need() -> None:
    """Scope, period, threshold, and the money in micro-cents as it was at that moment."""
    money = Money(workflow=100)
    money.spend(50)
    money.spend(35)
    event = next(iter(Event.query(events_pk(ORG))))
    assert (event.action, event.actor_type, event.workflow_id) == ("budget.threshold_crossed", "system", WORKFLOW)
    assert json.loads(event.details) == {
        "scope": "workflow", "scope_id": WORKFLOW, "period_start_ms": money.purse().period_start_ms, "threshold": 80,
        "spent": 85 * MICRO, "cap": 100 * MICRO,
    }  # fmt: skip


def test_thresholds_are_told_anew_in_the_next_period(held: HeldClock) -> None:
    """Once per scope, period and threshold."""
    money = Money(workflow=100)
    money.spend(85)
    first = int(money.purse().period_start_ms)
    held.advance(MONTH_S)
    money.spend(85)
    second = int(money.purse().period_start_ms)
    assert money.thresholds() == [("workflow", first, 80), ("workflow", second, 80)]


@pytest.mark.parametrize("number", range(3))
def test_sixteen_threads_tell_a_threshold_once(number: int) -> None:
    """Racing reports cross each threshold of each purse exactly once, and all of them are counted."""
    money = Money(workflow=100, org=50)
    executions = [money.reserve(0.5) for _ in range(16)]
    answers = at_once(*(_spender(money, 8, execution) for execution in executions))
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert money.numbers() == (128, 0, -28, 28)
    assert money.numbers("org") == (128, 0, -78, 78)
    start = int(money.purse().period_start_ms)
    assert money.thresholds() == sorted(
        (scope, start, threshold) for scope in ("workflow", "org") for threshold in (80, 95, 100)
    )
    money.check()


def _spender(money: Money, cents: float, execution_id: str) -> Callable[[], object]:
    return lambda: money.spend(cents, execution_id)


def test_threads_with_one_report_count_it_once() -> None:
    """Eight senders of the same event: one counts it, seven get its answer."""
    money = Money(workflow=100)
    execution = money.reserve(1)
    answers = at_once(*(lambda: money.spend(10, execution, "event-1") for _ in range(8)))
    replays = [answer.body["idempotent_replay"] for answer in answers if not isinstance(answer, Exception)]
    assert sorted(replays) == [False] + [True] * 7
    assert money.numbers() == (10, 0, 90, 0)


def test_threads_that_settle_cancel_and_expire_keep_the_books(held: HeldClock) -> None:
    """Of one reservation at its end: it is freed once, whoever comes first."""
    money = Money(**ALL)
    executions = [money.reserve(2) for _ in range(4)]
    held.advance(301)
    calls: list[Callable[[], object]] = [lambda: release_expired(ORG, WORKFLOW), GovernanceSweep({}).run]
    for execution in executions:
        calls += [_spender(money, 1.5, execution), _canceler(execution), _completer(execution)]
    at_once(*calls)
    assert money.numbers() == (6, 0, 94, 0)
    money.check()


def _canceler(execution_id: str) -> Callable[[], object]:
    return lambda: _cancel(execution_id)


def _completer(execution_id: str) -> Callable[[], object]:
    return lambda: complete(ORG, execution_id, failed=False, latency_ms=5, workflow_id=WORKFLOW)


# Interleavings


class _Meanwhile:
    """Lets something else happen just before the first transaction."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act: Callable[[], object] | None = act

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        act = self.act
        if operation == "TransactWriteItems" and act is not None:
            self.act = None
            act()
        return None


@pytest.mark.parametrize(
    ("before", "ours", "theirs", "told"),
    [
        # 83: of the two the later one crosses, although it saw that it would not
        (70, 5, 8, [(80, 83)]),
        # theirs crosses; ours then stays below the next threshold
        (70, 5, 11, [(80, 81)]),
        # both saw that they would cross
        (70, 12, 11, [(80, 81)]),
        # ours reaches two thresholds where it saw one
        (70, 20, 8, [(80, 98), (95, 98)]),
        (90, 6, 6, [(80, 90), (95, 96), (100, 102)]),
    ],
)
def test_a_threshold_is_told_by_the_write_that_reaches_it(
    store: EmbeddedEngine, before: float, ours: float, theirs: float, told: list[tuple[int, float]]
) -> None:
    """Between reading and writing somebody else spends: each threshold is told once, with the money of that moment."""
    money = Money(workflow=100)
    money.spend(before)
    store.faults = _Meanwhile(lambda: money.spend(theirs))
    money.spend(ours)
    events = [json.loads(event.details) for event in Event.query(events_pk(ORG))]
    assert sorted((row["threshold"], row["spent"] / MICRO) for row in events) == told


@pytest.mark.parametrize(
    ("held_back", "before", "ours", "theirs", "overrun", "overbudget"),
    [
        (0, 95, 10, 3, 8, True), (0, 88, 10, 5, 3, True), (0, 100, 5, 5, 10, True), (0, 80, 10, 10, 0, False),
        # Far from any threshold, because most is reserved for others.
        (50, 20, 35, 10, 15, True), (50, 20, 25, 10, 5, True), (50, 20, 10, 10, 0, False),
    ],
)  # fmt: skip
def test_overrun_is_what_no_room_was_left_for(
    store: EmbeddedEngine, held_back: float, before: float, ours: float, theirs: float, overrun: float, overbudget: bool
) -> None:
    """Between reading and writing somebody else takes the room: it is not given twice."""
    money = Money(workflow=100)
    money.reserve(held_back)
    money.spend(before)
    store.faults = _Meanwhile(lambda: money.spend(theirs))
    assert money.spend(ours).overbudget is overbudget
    spent = before + ours + theirs
    assert money.numbers() == (spent, held_back, 100 - spent - held_back, overrun)


def test_what_others_reported_meanwhile_is_part_of_what_is_allowed(store: EmbeddedEngine) -> None:
    """Of two reports that together exceed a reservation by more than is tolerated the later one is told."""
    money = Money(workflow=100, settle_mode="strict")
    execution = money.reserve(10)
    money.spend(10, execution)
    store.faults = _Meanwhile(lambda: money.spend(0.6, execution))
    assert money.spend(0.6, execution).overbudget
    assert money.operation(execution).spent == 11.2 * MICRO


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda money, execution: _cancel(execution),
        lambda money, execution: money.spend(0.6, execution),
        lambda money, execution: _completer(execution)(),
    ],
    ids=["cancel", "spend", "complete"],
)
def test_a_reservation_is_freed_once(store: EmbeddedEngine, meanwhile: Callable[[Money, str], object]) -> None:
    """Between reading and writing somebody else frees it: the settlement frees what is left."""
    money = Money(**ALL)
    execution = money.reserve(1)
    store.faults = _Meanwhile(lambda: meanwhile(money, execution))
    money.spend(0.8, execution)
    money.check()
    assert money.purse().reserved == 0


def test_a_purse_that_begins_a_new_period_meanwhile(held: HeldClock, store: EmbeddedEngine) -> None:
    """The settlement finds its own period again."""
    money = Money(workflow=100)
    held.advance(MONTH_S - 60)
    execution = money.reserve(1)

    def roll_over() -> None:
        held.advance(120)
        assert read_purse(ORG, WORKFLOW) is not None

    store.faults = _Meanwhile(roll_over)
    money.spend(5, execution)
    assert [period.spent for period in money.periods()] == [5 * MICRO]
    assert money.numbers() == (0, 0, 100, 0)


# Lost answers


class _Nth:
    """Meets the n-th transaction with a fault."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.left, self.fault, self._lock = number, fault, threading.Lock()

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        if operation != "TransactWriteItems":
            return None
        with self._lock:
            self.left -= 1
            return self.fault if self.left == 0 else None


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize(
    "act",
    [
        lambda money, execution: money.spend(85, execution),
        lambda money, execution: _cancel(execution),
        lambda money, execution: complete(ORG, execution, failed=False, latency_ms=1, workflow_id=WORKFLOW),
        lambda money, execution: release_expired(ORG),
    ],
    ids=["spend", "cancel", "complete", "expire"],
)
def test_a_lost_answer_counts_once(
    held: HeldClock, store: EmbeddedEngine, act: Callable[[Money, str], object], fault: Fault
) -> None:
    """Whatever happens to the transaction, the books are as after one undisturbed call."""
    results = []
    for faults in (None, _Nth(1, fault)):
        for scope in (WORKFLOW, ORG):
            Transaction().delete(Purse(purse_pk(ORG, scope), "purse")).commit()
        money = Money(workflow=100, org=200)
        execution = money.reserve(10)
        held.advance(301)
        store.faults = faults
        act(money, execution)
        store.faults = None
        operation = money.operation(execution)
        purse = money.purse()
        results.append(
            (
                money.numbers(),
                money.numbers("org"),
                operation.status,
                operation.reserved,
                operation.spent,
                purse.crossed,
            )
        )
    assert results[0] == results[1]
    assert len([row for row in money.thresholds() if row[0] == "workflow"]) in (0, 2)


def test_a_report_that_failed_may_come_again(held: HeldClock, store: EmbeddedEngine) -> None:
    """The store is away and the answer is 503; when it is back the same event is counted, once."""
    money = Money(workflow=100)

    class Away:
        def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
            return Fault.ANSWER_LOST if operation == "TransactWriteItems" else None

    store.faults = Away()
    with pytest.raises(Unavailable):
        money.spend(10, event_id="event-1")
    store.faults = None
    assert money.spend(10, event_id="event-1").body["idempotent_replay"]
    assert money.numbers() == (10, 0, 90, 0)


def test_an_event_id_with_another_body_is_told_apart() -> None:
    """It is no repetition, and nothing is counted."""
    money = Money(workflow=100)
    money.spend(10, event_id="event-1")
    report = Report(Spending(MICRO, 1, "catalog", "high", None), None, None, "event-1", None, None)
    with pytest.raises(IdempotencyKeyMismatch):
        money.tracking.settle(AGENT, report, event_mark("event-1", "another"), "llm_call")
    assert money.numbers() == (10, 0, 90, 0)


# Periods


def test_a_reservation_settles_into_its_own_period(held: HeldClock) -> None:
    """Spending of a call that began before the rollover is added to the old period; the new one is untouched."""
    money = Money(**ALL)
    money.spend(30)
    held.advance(MONTH_S - 60)
    execution = money.reserve(10)
    held.advance(120)
    assert not money.spend(25, execution).overbudget
    for scope, cap in ALL.items():
        assert money.numbers(scope) == (0, 0, cap, 0)
        assert [period.spent for period in money.periods(scope)] == [55 * MICRO]
    money.check()


def test_what_is_reserved_stays_so_in_the_next_period(held: HeldClock) -> None:
    """The purse begins with its cap less the reservations that live on."""
    money = Money(workflow=100)
    money.spend(40)
    execution = money.reserve(10)
    held.advance(MONTH_S)
    assert read_purse(ORG, WORKFLOW) is not None
    assert money.numbers() == (0, 10, 90, 0)
    _cancel(execution)
    assert money.numbers() == (0, 0, 100, 0)


@pytest.mark.parametrize(
    ("spent", "actual", "overrun", "overbudget"), [(90, 10, 0, False), (90, 30, 20, True), (120, 5, 26, True)]
)
def test_a_late_settlement_may_overrun_its_period(
    held: HeldClock, spent: float, actual: float, overrun: float, overbudget: bool
) -> None:
    """Headroom is that of the period the money belongs to. What was reserved was no room for others."""
    money = Money(workflow=100)
    held.advance(MONTH_S - 60)
    execution = money.reserve(1)
    money.spend(spent)
    held.advance(120)
    assert money.spend(actual, execution).overbudget is overbudget
    period = money.periods()[0]
    assert (period.spent, period.overrun) == ((spent + actual) * MICRO, overrun * MICRO)
    assert money.numbers() == (0, 0, 100, 0)


def test_spending_nobody_reserved_belongs_to_the_period_it_is_told_in(held: HeldClock) -> None:
    """A purse whose period is over is rolled over first."""
    money = Money(workflow=100)
    money.spend(10)
    held.advance(MONTH_S)
    money.spend(20)
    assert money.numbers() == (20, 0, 80, 0)
    assert [period.spent for period in money.periods()] == [10 * MICRO]


def test_threads_roll_a_period_over_once(held: HeldClock) -> None:
    """Eight reports into a purse whose period is over: one record of the old one, all counted in the new."""
    money = Money(workflow=100)
    money.spend(10)
    held.advance(MONTH_S)
    at_once(*(lambda: money.spend(1) for _ in range(8)))
    assert money.numbers() == (8, 0, 92, 0)
    assert [period.spent for period in money.periods()] == [10 * MICRO]


# Everything at random


@pytest.mark.parametrize("seed", range(6))
def test_any_sequence_keeps_the_books(held: HeldClock, seed: int) -> None:
    """After each of many random moves the invariants hold, and in the end every micro-cent that was told is found."""
    chance = random.Random(seed)
    money = Money(**ALL)
    executions: list[str] = []
    told = 0
    for _ in range(60):
        step = chance.choice(("reserve", "spend", "spend", "spend", "cancel", "complete", "expire", "cap", "month"))
        execution = chance.choice(executions) if executions else None
        if step == "reserve" and _affords(money, 5):
            executions.append(money.reserve(chance.choice((1, 2.5, 5))))
        elif step == "spend":
            amount = chance.choice((0.0, 0.3, 1.0, 4.0, 20.0))
            money.spend(amount, chance.choice((execution, None)))
            told += round(amount * MICRO)
        elif step == "cancel" and execution is not None:
            _cancel(execution)
        elif step == "complete" and execution is not None:
            _completer(execution)()
        elif step == "expire":
            held.advance(301)
            GovernanceSweep({}).run()
        elif step == "cap":
            purse = money.purse()
            Transaction().update(purse, capped(purse, chance.choice((0, 50, 500)) * MICRO)).commit()
        elif step == "month":
            left_s = (int(money.purse().period_end_ms) - held.now_ms()) / 1000
            held.advance(left_s - 3600 if left_s > 3600 else left_s + 60)
        money.check()
    for scope in ALL:
        found = int(money.purse(scope).spent) + sum(int(period.spent) for period in money.periods(scope))
        assert found == told, scope
    assert len(set(money.thresholds())) == len(money.thresholds())


def _affords(money: Money, cents: int) -> bool:
    purses = [read_purse(ORG, scope_id) for scope_id in (WORKFLOW, ORG, KEY)]
    return all(purse is not None and purse.available >= cents * MICRO for purse in purses)


def test_the_operation_is_found_by_its_execution() -> None:
    """What a report names is the operation the gate wrote, whatever the case of the id."""
    money = Money(workflow=100)
    execution = money.reserve(1)
    money.spend(1, execution.upper())
    found = find_operation(ORG, execution)
    assert found is not None
    assert found.spent == MICRO
    assert find_operation(ORG, ids.uuid7()) is None
