"""Request units, as DynamoDB bills them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from pynamodb.exceptions import PynamoDBException

from shared.store.embedded import EmbeddedEngine, StoreRequest
from shared.store.transaction import ConditionFailed, Transaction, put_if_absent, read_each, read_together
from tests.unit.store.conftest import Thing

BASE = len("pk" + "o" + "sk" + "1" + "note")
KB = 1024


def _thing(size: int, sk: str = "1") -> Thing:
    return Thing("o", sk, note="x" * (size - BASE))


def _measured(engine: EmbeddedEngine, action: Callable[[], object]) -> StoreRequest:
    with engine.requests.recorded() as requests:
        action()
    (request,) = requests
    return request


@pytest.mark.parametrize(("size", "units"), [(100, 1), (KB, 1), (KB + 1, 2), (10 * KB, 10)])
def test_put(engine: EmbeddedEngine, size: int, units: int) -> None:
    """A put costs one unit per started KB, twice that in a transaction."""
    request = _measured(engine, _thing(size).save)
    assert request == StoreRequest("PutItem", ("signalbox-things",), 1, 0, units)
    assert _measured(engine, lambda: put_if_absent(_thing(size, sk="2"))).write_units == 2 * units


def test_the_larger_of_old_and_new_counts(engine: EmbeddedEngine) -> None:
    """Shrinking, updating and deleting a large item cost what the large item costs."""
    _thing(3 * KB).save()
    assert _measured(engine, _thing(100).save).write_units == 3
    _thing(3 * KB).save()
    assert _measured(engine, lambda: Thing("o", "1").update([Thing.amount.set(1)])).write_units == 4
    assert _measured(engine, lambda: Thing("o", "1").delete()).write_units == 4
    assert _measured(engine, lambda: Thing("o", "1").delete()).write_units == 1


def test_failed_conditions_cost_too(engine: EmbeddedEngine) -> None:
    """A refused write costs the units of the item it looked at; a cancelled transaction those of all its items."""
    _thing(3 * KB).save()

    def refused() -> None:
        with contextlib.suppress(PynamoDBException):
            Thing("o", "1").delete(Thing.amount == 1)

    assert _measured(engine, refused).write_units == 3

    def cancelled() -> None:
        with contextlib.suppress(ConditionFailed):
            Transaction().put(Thing("o", "2")).check(Thing, "o", "1", Thing.amount == 1).commit()

    assert _measured(engine, cancelled).write_units == 2 * (1 + 3)


@pytest.mark.parametrize(("size", "units"), [(100, 1), (4 * KB, 1), (4 * KB + 1, 2), (9 * KB, 3)])
def test_get(engine: EmbeddedEngine, size: int, units: int) -> None:
    """A consistent read costs one unit per started 4 KB, an eventual one half, a transactional one twice that."""
    _thing(size).save()
    assert _measured(engine, lambda: Thing.get("o", "1", consistent_read=True)).read_units == units
    assert _measured(engine, lambda: Thing.get("o", "1")).read_units == units / 2
    assert _measured(engine, lambda: read_each((Thing, "o", "1"))).read_units == units
    assert _measured(engine, lambda: read_together((Thing, "o", "1"))).read_units == 2 * units


def test_query_adds_up_before_rounding(engine: EmbeddedEngine) -> None:
    """A query costs the sum of what it examined, rounded once; nothing found costs the least."""
    for sk in "abcd":
        _thing(1500, sk=sk).save()
    assert _measured(engine, lambda: list(Thing.query("o", consistent_read=True))).read_units == 2
    request = _measured(engine, lambda: list(Thing.query("o", filter_condition=Thing.amount == 1)))
    assert (request.read_units, request.items) == (1, 4)
    assert _measured(engine, lambda: list(Thing.query("none"))).read_units == 0.5


def test_index_writes(engine: EmbeddedEngine) -> None:
    """An index entry that appears, changes or goes costs a write; one that moves two; an unchanged one none."""
    thing = Thing("o", "1", group="g", rank=1)
    assert _measured(engine, thing.save).write_units == 2
    assert _measured(engine, thing.save).write_units == 1
    assert _measured(engine, lambda: thing.update([Thing.amount.set(1)])).write_units == 2
    assert _measured(engine, lambda: thing.update([Thing.rank.set(2)])).write_units == 3
    assert _measured(engine, lambda: thing.update([Thing.rank.remove()])).write_units == 2
    assert _measured(engine, lambda: thing.update([Thing.amount.set(2)])).write_units == 1
    assert _measured(engine, thing.delete).write_units == 1


def test_index_writes_count_their_size(engine: EmbeddedEngine) -> None:
    """A moved entry of a large item costs its size twice: once where it goes, once where it comes."""
    thing = _thing(2 * KB)
    thing.group, thing.rank = "g", 1
    thing.save()
    assert _measured(engine, lambda: thing.update([Thing.rank.set(2)])).write_units == 3 * 3


def test_listeners_come_and_go(engine: EmbeddedEngine) -> None:
    """A listener hears every request until it leaves."""
    heard: list[StoreRequest] = []
    leave = engine.requests.subscribe(heard.append)
    Thing("o", "1").save()
    leave()
    Thing("o", "1").save()
    assert [request.operation for request in heard] == ["PutItem"]
