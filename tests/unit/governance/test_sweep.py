"""What is due is handled, once, and no failure keeps the rest waiting."""

from __future__ import annotations

import logging

import pytest

from shared.governance import sweep as sweep_module
from shared.governance.sweep import GovernanceSweep, Handler, release_expired
from shared.kit import ids
from shared.store.embedded import EmbeddedEngine
from shared.store.models.governance import Operation, due_shard, operation_pk
from shared.store.transaction import Transaction, update_if
from tests.support.money import WORKFLOW, Money
from tests.support.time import HeldClock
from tests.support.workflows import ORG


@pytest.fixture
def money(held: HeldClock, store: EmbeddedEngine) -> Money:
    """A workflow with a hundred cents."""
    return Money(workflow=100)


def _due(kind: str, org_id: str, due_ms: int) -> Operation:
    """A record of another kind that is due; what model it is of does not matter to the index."""
    record = Operation(
        operation_pk(org_id, ids.uuid4()), kind, kind=kind, org_id=org_id, execution_id="e", operation_id="o",
        workflow_id="w", key_id="k", fingerprint="f", decision="allow", status="open", result="pending", created_ms=0,
        due_shard=due_shard(org_id), due_ms=due_ms, org_listing=org_id, listed_at="e",
    )  # fmt: skip
    Transaction().put(record).commit()
    return record


def test_reservations_expire(held: HeldClock, money: Money) -> None:
    """Those whose time is over, and no others."""
    first = money.reserve(2)
    held.advance(200)
    second = money.reserve(3)
    held.advance(100)
    sweep = GovernanceSweep({})
    assert [sweep.run(), sweep.run()] == [1, 0]
    assert [money.operation(execution).status for execution in (first, second)] == ["expired", "open"]
    assert money.numbers() == (0, 3, 97, 0)
    money.check()


def test_other_kinds_go_to_their_handlers(held: HeldClock, money: Money) -> None:
    """By kind, with org, partition and sort key; what is due later waits."""
    now = held.now_ms()
    other_org = ids.uuid4()
    approval, delivery = _due("approval", ORG, now), _due("delivery", other_org, now - 1)
    _due("event", ORG, now + 1)
    seen: list[tuple[str, str, str, str]] = []

    def handler(kind: str) -> Handler:
        def handle(org_id: str, pk: str, sk: str) -> bool:
            seen.append((kind, org_id, pk, sk))
            return kind == "approval"

        return handle

    sweep = GovernanceSweep({kind: handler(kind) for kind in ("approval", "delivery", "event")})
    assert sweep.run() == 1
    assert sorted(seen) == sorted(
        [("approval", ORG, approval.pk, "approval"), ("delivery", other_org, delivery.pk, "delivery")]
    )


def test_a_handler_that_fails_stops_nobody(held: HeldClock, money: Money, caplog: pytest.LogCaptureFixture) -> None:
    """The rest is handled, and what failed comes again."""
    execution = money.reserve(1)
    held.advance(300)
    _due("approval", ORG, 1)
    tried: list[str] = []

    def fail(org_id: str, pk: str, sk: str) -> object:
        tried.append(sk)
        raise RuntimeError("broken")

    sweep = GovernanceSweep({"approval": fail})
    assert [sweep.run(), sweep.run()] == [1, 0]
    assert tried == ["approval"] * 2
    assert money.operation(execution).status == "expired"
    assert "could not be handled" in caplog.text


def test_an_unknown_kind_is_told_once(held: HeldClock, money: Money, caplog: pytest.LogCaptureFixture) -> None:
    """It is left where it is."""
    for _ in range(2):
        _due("riddle", ORG, 1)
    sweep = GovernanceSweep({})
    with caplog.at_level(logging.ERROR):
        assert [sweep.run(), sweep.run()] == [0, 0]
    assert len([record for record in caplog.records if "unknown kind" in record.getMessage()]) == 1


def test_a_sweep_ends_in_time(held: HeldClock, money: Money) -> None:
    """Slow handlers leave the rest to the next sweep."""
    for _ in range(5):
        _due("delivery", ORG, 1)

    def slow(org_id: str, pk: str, sk: str) -> object:
        held.advance(9)
        return True

    assert GovernanceSweep({"delivery": slow}).run() == 3


@pytest.mark.parametrize(("workflow", "released"), [(WORKFLOW, 2), (None, 3), ("another", 1)])
def test_a_gate_that_needs_money_releases_what_expired(
    held: HeldClock, money: Money, workflow: str | None, released: int
) -> None:
    """Of one workflow, or of the whole org; nothing that is not due."""
    executions = [money.reserve(1) for _ in range(3)]
    moved = money.operation(executions[0])
    update_if(moved, [Operation.workflow_id.set("another")], Operation.pk.exists())
    held.advance(300)
    money.reserve(5)
    assert release_expired(ORG, workflow) == released
    assert release_expired(ORG, workflow) == 0
    assert money.purse().reserved >= 5_000_000
    assert release_expired(ids.uuid4()) == 0


def test_a_refused_call_reads_a_bounded_part_of_what_is_due(
    held: HeldClock, money: Money, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much of others is due in the same partition; the sweep gets to all of it."""
    monkeypatch.setattr(sweep_module, "MOST_READ", 3)
    for _ in range(5):
        _due("event", ORG, held.now_ms())
    execution = money.reserve(1)
    held.advance(301)
    assert release_expired(ORG, WORKFLOW) == 0
    assert GovernanceSweep({"event": lambda *place: False}).run() == 1
    assert money.operation(execution).status == "expired"
