from __future__ import annotations

import pytest

from shared.governance import consumption
from shared.governance.consumption import DAY_MS, SETTLED_MS, Usage, total, usage_between, usage_by_day
from shared.governance.operations import KEPT_S
from shared.store.embedded import EmbeddedEngine
from shared.store.models.governance import Operation
from shared.store.models.usage import UsageSpan, usage_pk
from tests.support.alerts import ORG, operation
from tests.support.time import HeldClock

NOON_MS = 1_767_225_600_000 + DAY_MS // 2
"""Noon of the first of January 2026, UTC."""


def spans() -> list[str]:
    return [row.sk for row in UsageSpan.query(usage_pk(ORG))]


def test_days_are_days_of_the_period(store: EmbeddedEngine, held: HeldClock) -> None:
    """The first is what is left of it when the period begins; each call counts in exactly one, or in none."""
    start, end = NOON_MS, NOON_MS + 3 * DAY_MS
    held.advance((NOON_MS + 2 * DAY_MS - held.now_ms()) / 1000)
    midnight = NOON_MS + DAY_MS // 2
    for at in (start - 1, start, midnight - 1, midnight, midnight + DAY_MS - 1, held.now_ms()):
        operation(at, spent=2)
    operation(start, org_id="org-b")
    found = [(begin, usage.executions, usage.spent) for begin, usage in usage_by_day(ORG, start, end)]
    assert found == [(start, 2, 4), (midnight, 2, 4), (midnight + DAY_MS, 1, 2)]


def test_calls_are_counted_by_decision_and_by_key(store: EmbeddedEngine, held: HeldClock) -> None:
    """Refused ones, too; tokens and money belong to the key that called."""
    now = held.now_ms()
    operation(now, spent=5, tokens=100)
    operation(now, spent=7, tokens=50, decision="soft_pass")
    operation(now, key_id="k2", decision="block")
    usage = usage_between(ORG, now, now + 1)
    assert usage.decisions == {"allow": 1, "soft_pass": 1, "block": 1}
    keys = {key_id: (key.executions, key.tokens, key.spent) for key_id, key in usage.keys.items()}
    assert keys == {"k1": (2, 150, 12), "k2": (1, 0, 0)}
    assert (usage.executions, usage.tokens, usage.spent) == (3, 150, 12)
    assert Usage.parse(usage.text()) == usage
    assert total([usage, usage]).spent == 24


def test_a_day_that_can_change_is_counted_anew(store: EmbeddedEngine, held: HeldClock) -> None:
    """A late settlement shows; nothing is kept of the day."""
    start = held.now_ms()
    first = operation(start, spent=1)
    held.advance((DAY_MS + SETTLED_MS) / 1000 - 1)
    assert usage_by_day(ORG, start, start + 30 * DAY_MS)[0][1].spent == 1
    first.update(actions=[Operation.spent.set(9)])
    assert usage_by_day(ORG, start, start + 30 * DAY_MS)[0][1].spent == 9
    assert spans() == []


def test_a_settled_day_is_counted_once(store: EmbeddedEngine, held: HeldClock) -> None:
    """What is kept of it is believed from then on, also when its operations are gone."""
    start = held.now_ms()
    first = operation(start, spent=3, tokens=4)
    held.advance((DAY_MS + SETTLED_MS) / 1000)
    before = usage_by_day(ORG, start, start + 30 * DAY_MS)
    assert len(spans()) == 1
    first.delete()
    assert usage_by_day(ORG, start, start + 30 * DAY_MS) == before
    assert before[0][1].spent == 3


def test_a_day_whose_operations_expire_is_not_kept(store: EmbeddedEngine, held: HeldClock) -> None:
    """A count that may miss some already would be wrong for good."""
    start = held.now_ms()
    held.advance(KEPT_S)
    usage_by_day(ORG, start, start + 31 * DAY_MS)
    # Of thirty days the first has begun to expire, and the last two can still change.
    assert len(spans()) == 27


def test_expired_operations_do_not_count(store: EmbeddedEngine, held: HeldClock) -> None:
    """Whether or not the store has removed them."""
    now = held.now_ms()
    operation(now, ttl=now // 1000 + 10)
    held.advance(10)
    assert usage_between(ORG, now, now + 1).executions == 0


def test_a_period_that_begins_now(store: EmbeddedEngine, held: HeldClock) -> None:
    """One day, with what happened in this very millisecond."""
    operation(held.now_ms())
    ((begin, usage),) = usage_by_day(ORG, held.now_ms(), held.now_ms() + DAY_MS)
    assert (begin, usage.executions) == (held.now_ms(), 1)


def test_a_busy_day_is_cut(store: EmbeddedEngine, held: HeldClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """No look costs more than so many operations."""
    monkeypatch.setattr(consumption, "MOST_READ", 3)
    for _ in range(5):
        operation(held.now_ms())
    assert usage_between(ORG, held.now_ms(), held.now_ms() + 1).executions == 3
