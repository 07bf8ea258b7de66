"""How reservations end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.governance.money import MICRO
from shared.governance.purses import OVERDRAFT, new_purse, read_purse
from shared.governance.reservations import ExecutionNotFound, Reservations, complete, expire
from shared.kit import clock, ids, json
from shared.store.embedded import EmbeddedEngine
from shared.store.models.governance import Event, Operation, Purse, events_pk, purse_pk
from shared.store.transaction import Transaction, read, update_if
from tests.support.money import AGENT, WORKFLOW, Money
from tests.support.time import HeldClock
from tests.support.workflows import ORG, at_once

End = Callable[[str], Any]


@pytest.fixture
def money(held: HeldClock, store: EmbeddedEngine) -> Money:
    """A workflow with a hundred cents."""
    return Money(workflow=100)


def _cancel(execution_id: str, reason: str | None = "tool_exception") -> dict[str, Any]:
    return Reservations().cancel(AGENT, execution_id, reason)


def _complete(execution_id: str, *, failed: bool = False) -> bool:
    return complete(ORG, execution_id, failed=failed, latency_ms=840, workflow_id=WORKFLOW)


def _events(action: str) -> list[Event]:
    return [event for event in Event.query(events_pk(ORG)) if event.action == action]


def test_cancelling_releases_the_rest(money: Money) -> None:
    """What was consumed stays spent, what was not goes back, and the audit trail hears of it."""
    execution = money.reserve(10)
    money.spend(4, execution)
    now_s = clock.now_ms() // 1000
    assert _cancel(execution) == {
        "execution_id": execution, "canceled_at": now_s, "reservation_released_cents": 6, "already_canceled": False,
    }  # fmt: skip
    assert money.numbers() == (4, 0, 96, 0)
    operation = money.operation(execution)
    assert (operation.status, operation.result) == ("canceled", "canceled")
    assert operation.due_ms is None
    (event,) = _events("execution.canceled")
    assert (event.event_type, event.actor_type, event.execution_id) == ("execution_lifecycle", "api_key", execution)
    assert json.loads(event.details) == {"reason": "tool_exception", "released_cents": 6, "spent_cents": 4}


def test_of_a_long_reason_the_beginning_is_kept(money: Money) -> None:
    """Whatever a client sends there, and whatever half characters are in it."""
    _cancel(money.reserve(1), "\ud800" + "r" * 10_000)
    _cancel(money.reserve(1), None)
    reasons = [json.loads(event.details)["reason"] for event in _events("execution.canceled")]
    assert reasons == ["\ud800" + "r" * 199, ""]


def test_cancelling_twice_releases_once(held: HeldClock, money: Money) -> None:
    """The second call says so, with the time of the first."""
    execution = money.reserve(10)
    first = _cancel(execution)
    held.advance(60)
    assert _cancel(execution) == first | {"reservation_released_cents": 0, "already_canceled": True}
    assert len(_events("execution.canceled")) == 1
    money.check()


@pytest.mark.parametrize("execution", ["no id", "", "0198f2c0-de7a-7c2e-9d3a-2f9c41aa01f7"])
def test_cancelling_nothing_known_is_an_error(money: Money, execution: str) -> None:
    """404 EXECUTION_NOT_FOUND."""
    with pytest.raises(ExecutionNotFound):
        _cancel(execution)


def test_another_workflow_cancels_nothing(money: Money) -> None:
    """Its key does not learn that the execution exists."""
    execution = money.reserve(10)
    stranger = AGENT.__class__(
        kind="key", org_id=ORG, account_id="", username="", role="viewer", key_id="k", workflow_id=ids.uuid4()
    )
    with pytest.raises(ExecutionNotFound):
        Reservations().cancel(stranger, execution, None)
    assert not complete(ORG, execution, failed=False, latency_ms=None, workflow_id=stranger.workflow_id)
    assert money.numbers() == (0, 10, 90, 0)


@pytest.mark.parametrize(
    ("spent", "ends", "status", "result"),
    [
        (0, [_cancel], "canceled", "canceled"),
        (0, [_complete], "settled", "completed"),
        (0, [expire], "expired", "failed"),
        (3, [expire], "expired", "completed"),
        (10, [expire], "settled", "completed"),
        (10, [_cancel], "canceled", "canceled"),
        (3, [_complete, _cancel], "canceled", "completed"),
        (3, [_cancel, _complete], "canceled", "canceled"),
        (0, [_cancel, expire], "canceled", "canceled"),
        (0, [_complete, expire], "settled", "completed"),
        # It ran longer than its reservation and then told how it ended.
        (0, [expire, _complete], "expired", "completed"),
        (0, [expire, _cancel], "canceled", "canceled"),
        (3, [expire, _cancel], "canceled", "canceled"),
        (3, [expire, _cancel, _complete, expire], "canceled", "canceled"),
    ],
)
def test_ends(held: HeldClock, money: Money, spent: float, ends: list[End], status: str, result: str) -> None:
    """Whatever ends come in whatever order, the money goes back once."""
    execution = money.reserve(10)
    if spent:
        money.spend(spent, execution)
    held.advance(300)
    for end in ends:
        end(money.operation(execution).pk if end is expire else execution)
        assert money.numbers() == (spent, 0, 100 - spent, 0)
    operation = money.operation(execution)
    assert (operation.status, operation.result) == (status, result)
    money.check()


@pytest.mark.parametrize(("failed", "result"), [(False, "completed"), (True, "failed")])
def test_completing_marks_result_and_latency(money: Money, failed: bool, result: str) -> None:
    """As the client tells; a repetition changes nothing."""
    execution = money.reserve(1)
    assert _complete(execution, failed=failed)
    operation = money.operation(execution)
    assert (operation.result, operation.latency_ms, operation.completed_ms) == (result, 840, clock.now_ms())
    assert not _complete(execution)


def test_a_reservation_does_not_expire_early(held: HeldClock, money: Money) -> None:
    """Not a millisecond before its five minutes."""
    execution = money.reserve(1)
    held.advance(299.999)
    assert not expire(money.operation(execution).pk)
    held.advance(0.001)
    assert expire(money.operation(execution).pk)
    assert not expire(money.operation(execution).pk)


def test_an_expiry_is_told_where_money_went_back(held: HeldClock, money: Money) -> None:
    """Once per execution whose end nobody told; one that was used up just ends."""
    first, second = money.reserve(2), money.reserve(2)
    money.spend(2, second)
    held.advance(300)
    for execution in (first, second):
        assert expire(money.operation(execution).pk)
    (event,) = _events("execution.expired")
    assert (event.execution_id, event.actor_type) == (first, "system")
    assert json.loads(event.details) == {"released_cents": 2, "spent_cents": 0}


def test_racing_ends_release_once(held: HeldClock, money: Money) -> None:
    """Cancelling, completing and expiring at once."""
    execution = money.reserve(10)
    held.advance(300)
    pk = money.operation(execution).pk
    calls: list[Callable[[], object]] = []
    for _ in range(4):
        calls += [lambda: _cancel(execution), lambda: _complete(execution), lambda: expire(pk)]
    answers = at_once(*calls)
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert money.numbers() == (0, 0, 100, 0)
    released = [answer["reservation_released_cents"] for answer in answers if isinstance(answer, dict)]
    assert sum(released) in (0, 10)


def test_what_was_borrowed_goes_back(held: HeldClock, money: Money) -> None:
    """A call that overdrew a soft budget and was cancelled gives the org's overdraft back; a spent part stays used."""
    purse = new_purse(ORG, OVERDRAFT, OVERDRAFT, cap=None, anchor_ms=clock.now_ms(), policy_version=0)
    purse.overdraft = 10 * MICRO
    Transaction().put(purse).commit()
    whole, part = money.reserve(5, overdraft=5 * MICRO), money.reserve(5, overdraft=5 * MICRO)
    _cancel(whole)
    money.spend(3, part)
    _cancel(part)
    found = read_purse(ORG, OVERDRAFT)
    assert found is not None
    assert (found.overdraft, found.available == found.cap) == (3 * MICRO, True)
    assert money.operation(whole).overdraft == 0


def test_the_overdraft_of_a_period_that_is_over_is_left_alone(held: HeldClock, money: Money) -> None:
    """Its counter has begun anew."""
    purse = new_purse(ORG, OVERDRAFT, OVERDRAFT, cap=None, anchor_ms=clock.now_ms(), policy_version=0)
    purse.overdraft = 5 * MICRO
    Transaction().put(purse).commit()
    execution = money.reserve(5, overdraft=5 * MICRO)
    update_if(purse, [Purse.period_start_ms.set(purse.period_start_ms + 1)], Purse.pk.exists())
    _cancel(execution)
    found = read(Purse, purse_pk(ORG, OVERDRAFT), "purse")
    assert found is not None
    assert found.overdraft == 5 * MICRO
    assert money.numbers() == (0, 0, 100, 0)


def test_a_workflow_that_is_gone_holds_nothing(money: Money) -> None:
    """Its reservation ends without a purse to give back to."""
    execution = money.reserve(5)
    Transaction().delete(money.purse()).commit()
    assert _cancel(execution)["reservation_released_cents"] == 5
    assert money.operation(execution).reserved == 0


def test_a_refusal_is_no_reservation(money: Money) -> None:
    """Its row can be neither cancelled nor completed."""
    execution = money.reserve(1)
    operation = money.operation(execution)
    update_if(operation, [Operation.status.set("refused")], Operation.pk.exists())
    with pytest.raises(ExecutionNotFound):
        _cancel(execution)
    assert not _complete(execution)
