"""Money moves on a DynamoDB that is not ours as it does on the embedded store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.governance import chains
from shared.governance.chains import Chains
from shared.governance.money import MICRO
from shared.governance.reservations import Reservations
from shared.governance.sweep import GovernanceSweep, release_expired
from shared.kit import clock
from shared.store.models.governance import Chain
from shared.store.transaction import ConditionFailed, Transaction
from tests.support.money import AGENT, WORKFLOW, Money
from tests.support.store import moto_store
from tests.support.time import HeldClock
from tests.support.workflows import ORG

CHAIN = "2f1f9c59-7c0b-4f3c-9b62-0c6a0d3ee0c5"


@pytest.fixture(autouse=True)
def _dynamodb(held: HeldClock) -> Iterator[None]:
    """Empty tables of another store, and a held clock."""
    with moto_store():
        yield


def test_money_moves(held: HeldClock) -> None:
    """Reserve, settle, repeat, overrun, cross every threshold, cancel and expire."""
    money = Money(workflow=100, org=200)
    first, second, third = money.reserve(10), money.reserve(10), money.reserve(10)
    assert not money.spend(4, first).overbudget
    assert Reservations().cancel(AGENT, first, None)["reservation_released_cents"] == 6
    replays = [money.spend(80, second, "event-1").body["idempotent_replay"] for _ in range(2)]
    assert replays == [False, True]
    assert money.spend(30, second).overbudget
    money.check()
    assert money.numbers() == (114, 10, -24, 24)
    assert [threshold for scope, _, threshold in money.thresholds() if scope == "workflow"] == [80, 95, 100]
    held.advance(300)
    assert (GovernanceSweep({}).run(), release_expired(ORG, WORKFLOW)) == (2, 0)
    assert money.operation(third).status == "expired"
    money.check()


def test_a_period_rolls_over(held: HeldClock) -> None:
    """What was reserved before it is settled into the old period's record."""
    money = Money(workflow=100)
    money.spend(10)
    held.advance(31 * 24 * 3600 - 60)
    execution = money.reserve(5)
    held.advance(120)
    assert not money.spend(3, execution).overbudget
    assert money.numbers() == (0, 2, 98, 0)
    assert [period.spent for period in money.periods()] == [13 * MICRO]
    money.check()


def test_chains_begin_and_end(held: HeldClock) -> None:
    """Touched by a gate's transaction, kept by heartbeats, begun anew."""

    def touch() -> Chain | None:
        tx = Transaction()
        chains.touch(tx, ORG, CHAIN, clock.now_ms(), 3_600_000)
        try:
            tx.commit()
        except ConditionFailed as failed:
            found = failed.failures["chain"]
            assert isinstance(found, Chain)
            return found
        return None

    assert touch() is None
    held.advance(60)
    assert Chains().heartbeat(AGENT, CHAIN)["last_active"] == held.now_ms() // 1000
    assert chains.end(ORG, CHAIN)
    over = touch()
    assert over is not None
    assert chains.refusal(over) is None
    assert touch() is None
