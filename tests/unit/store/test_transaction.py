"""Transactions: labels, retries, and exactness when answers are lost."""

from __future__ import annotations

from typing import Any

import pytest
from pynamodb.exceptions import PynamoDBException

from shared.kit import clock, ids
from shared.kit.errors import Internal, PayloadTooLarge, Unavailable
from shared.store.embedded import EmbeddedEngine, Fault
from shared.store.retry import ATTEMPTS, Contention, is_condition_failure
from shared.store.transaction import (
    ConditionFailed,
    Transaction,
    put_if_absent,
    read,
    read_each,
    read_together,
    update_and_read,
    update_if,
)
from tests.unit.store.conftest import Thing, Versioned


class Script:
    """Faults in the order given, then none; remembers the requests."""

    def __init__(self, *faults: Fault | None) -> None:
        self.faults = list(faults)
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        self.requests.append((operation, dict(request)))
        return self.faults.pop(0) if self.faults else None


class Stopwatch:
    """A clock that only moves when slept on."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def now_ms(self) -> int:
        return 1_800_000_000_000 + int(sum(self.pauses) * 1000)

    def monotonic(self) -> float:
        return sum(self.pauses)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


def test_all_kinds_of_write_happen_together(engine: EmbeddedEngine) -> None:
    """Put, update, delete and check in one commit."""
    Thing("o", "gone").save()
    Thing("o", "seen", amount=1).save()
    transaction = Transaction()
    transaction.put(Thing("o", "new")).update(Thing("o", "made"), [Thing.amount.set(5)])
    transaction.delete(Thing("o", "gone")).check(Thing, "o", "seen", Thing.amount == 1)
    assert len(transaction) == 4
    transaction.commit()
    assert [thing.sk for thing in Thing.query("o")] == ["made", "new", "seen"]


def test_an_empty_transaction_is_done(engine: EmbeddedEngine) -> None:
    """Nothing to write is no error and no request."""
    engine.faults = script = Script()
    Transaction().commit()
    assert script.requests == []


def test_failures_carry_their_labels_and_old_records(engine: EmbeddedEngine) -> None:
    """Whatever the order PynamoDB sends them in, each failure is found under its label."""
    Thing("o", "a", amount=1).save()
    Thing("o", "b", amount=2).save()
    transaction = (
        Transaction()
        .update(Thing("o", "a"), [Thing.amount.set(9)], Thing.amount == 0, label="update")
        .put(Thing("o", "fine"), label="fine")
        .put(Thing("o", "b"), Thing.pk.does_not_exist(), label="put")
        .delete(Thing("o", "c"), Thing.pk.exists(), label="delete")
        .check(Thing, "o", "d", Thing.pk.exists(), label="check")
        .update(Thing("o", "e"), [Thing.amount.set(1)], Thing.amount == 7)
    )
    with pytest.raises(ConditionFailed) as caught:
        transaction.commit()
    failures = caught.value.failures
    assert set(failures) == {"update", "put", "delete", "check", "5"}
    before = failures["update"]
    assert isinstance(before, Thing)
    assert before.amount == 1
    assert isinstance(failures["put"], Thing)
    assert failures["delete"] is failures["check"] is failures["5"] is None
    assert not list(Thing.query("o", Thing.sk == "fine"))


def test_version_attributes_count_up(engine: EmbeddedEngine) -> None:
    """PynamoDB's optimistic locking works within a transaction, in the item and in the object."""
    record = Versioned("o", "v", amount=1)
    Transaction().put(record).commit()
    Transaction().update(record, [Versioned.amount.set(2)]).commit()
    assert record.version == Versioned.get("o", "v").version == 2
    stale = Versioned("o", "v", amount=3, version=1)
    with pytest.raises(ConditionFailed):
        Transaction().put(stale).commit()


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_is_survived_exactly(engine: EmbeddedEngine, fault: Fault) -> None:
    """Failed, throttled, lost, repeated, in conflict: the write happens once and its caller is told so."""
    Thing("o", "count", amount=0).save()
    engine.faults = Script(fault, fault)
    with clock.use(Stopwatch()):
        Transaction().update(Thing("o", "count"), [Thing.amount.set(Thing.amount + 1)]).commit()
        engine.faults = Script(fault, fault)
        assert put_if_absent(Thing("o", "once")) is True
        engine.faults = Script(fault, fault)
        assert put_if_absent(Thing("o", "once")) is False
        engine.faults = Script(fault)
        assert update_if(Thing("o", "count"), [Thing.amount.set(5)], Thing.amount == 1) is True
        engine.faults = Script(fault)
        assert update_if(Thing("o", "count"), [Thing.amount.set(6)], Thing.amount == 1) is False
        engine.faults = Script(fault if fault is not Fault.CONFLICT else None)
        (found,) = read_together((Thing, "o", "count"))
    assert isinstance(found, Thing)
    assert found.amount == 5


def test_contention_is_told_after_the_last_attempt(engine: EmbeddedEngine) -> None:
    """Conflicts to the end raise Contention; pauses grow, differ, and stay below a second."""
    engine.faults = script = Script(*[Fault.CONFLICT] * ATTEMPTS)
    watch = Stopwatch()
    with clock.use(watch), ids.use(ids.SeededSource(7)), pytest.raises(Contention):
        Transaction().put(Thing("o", "1")).commit()
    assert len(script.requests) == ATTEMPTS
    assert len(set(watch.pauses)) == ATTEMPTS - 1
    assert watch.pauses[0] < 0.05 < watch.pauses[-1] <= 1
    assert not list(Thing.query("o"))


def test_pauses_are_jittered(engine: EmbeddedEngine) -> None:
    """Two that collide do not wait equally long, or they would collide again."""
    watch = Stopwatch()
    with clock.use(watch), ids.use(ids.SeededSource(7)):
        for number in range(5):
            engine.faults = Script(Fault.CONFLICT)
            Transaction().put(Thing("o", f"{number}")).commit()
    assert len(set(watch.pauses)) == len(watch.pauses) == 5


def test_an_unreachable_store_is_unavailable(engine: EmbeddedEngine) -> None:
    """When no answer ever comes the caller learns that the outcome is unknown."""
    engine.faults = Script(*[Fault.FAILED] * ATTEMPTS)
    with clock.use(Stopwatch()), pytest.raises(Unavailable) as caught:
        Transaction().put(Thing("o", "1")).commit()
    assert not isinstance(caught.value, Contention)


def test_retries_use_one_token(engine: EmbeddedEngine) -> None:
    """All attempts of a commit carry the same client request token, two commits never do."""
    engine.faults = script = Script(Fault.ANSWER_LOST, Fault.THROTTLED)
    with clock.use(Stopwatch()):
        Transaction().put(Thing("o", "1")).commit()
        Transaction().put(Thing("o", "2")).commit()
    tokens = [request["ClientRequestToken"] for _, request in script.requests]
    assert len(tokens) == 4
    assert len(set(tokens[:3])) == 1
    assert tokens[3] != tokens[0]


def test_a_malformed_transaction_is_our_fault(engine: EmbeddedEngine) -> None:
    """What the store will never accept is an internal error at once, without retries."""
    engine.faults = script = Script()
    with pytest.raises(Internal):
        Transaction().put(Thing("o", "1")).delete(Thing("o", "1")).commit()
    assert len(script.requests) == 1


def test_read_together_is_in_order(engine: EmbeddedEngine) -> None:
    """Records come in the order asked for, None where there is none."""
    Thing("o", "a", amount=1).save()
    first, second = read_together((Thing, "o", "none"), (Thing, "o", "a"))
    assert first is None
    assert isinstance(second, Thing)
    assert read_together() == []


def test_condition_failures_are_told_from_other_errors(engine: EmbeddedEngine) -> None:
    """PynamoDB's own writes: a false condition is recognised, a time-out is not one."""
    with pytest.raises(PynamoDBException) as refused:
        Thing("o", "a").save(Thing.pk.exists())
    assert is_condition_failure(refused.value)
    engine.faults = Script(Fault.ANSWER_LOST)
    with pytest.raises(PynamoDBException) as lost:
        Thing("o", "a").save()
    assert not is_condition_failure(lost.value)
    assert Thing.get("o", "a").sk == "a"


def test_a_record_too_large_is_the_callers_fault(engine: EmbeddedEngine) -> None:
    """More than 400 KB is refused with 413, on put and on update."""
    with pytest.raises(PayloadTooLarge):
        put_if_absent(Thing("o", "1", note="x" * 410_000))
    Thing("o", "1", note="x" * 400_000).save()
    with pytest.raises(PayloadTooLarge):
        Transaction().update(Thing("o", "1"), [Thing.note.set("x" * 410_000)]).commit()


def test_read_is_consistent_and_filters_the_expired(engine: EmbeddedEngine) -> None:
    """One record as it is; None where there is none, or where its time is over though it is still stored."""
    Thing("o", "kept", ttl=clock.now_ms() // 1000 + 60).save()
    Thing("o", "over", ttl=clock.now_ms() // 1000 - 60).save()
    engine.faults = script = Script(Fault.FAILED)
    with clock.use(Stopwatch()):
        assert read(Thing, "o", "none") is None
    assert script.requests[-1][1]["ConsistentRead"] is True
    kept = read(Thing, "o", "kept")
    assert kept is not None
    assert kept.sk == "kept"
    assert read(Thing, "o", "over") is None


def test_update_and_read_loads_the_outcome(engine: EmbeddedEngine) -> None:
    """The record holds what the item became; a failed condition leaves it alone and says so."""
    Thing("o", "1", amount=1, note="kept").save()
    record = Thing("o", "1")
    assert update_and_read(record, [Thing.amount.set(Thing.amount + 1)], Thing.amount == 1) is True
    assert (record.amount, record.note) == (2, "kept")
    assert update_and_read(record, [Thing.amount.set(9)], Thing.amount == 1) is False
    assert Thing.get("o", "1").amount == 2


def test_each_record_is_read_consistently(engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records come in the order asked for, None for what is missing or over, and what the store left is asked again."""
    assert read_each() == []
    for sk, ttl in (("1", None), ("2", None), ("3", 1)):
        put_if_absent(Thing("o", sk, note="x" * 100, ttl=ttl))
    engine.faults = script = Script()
    monkeypatch.setattr("shared.store.embedded.reads.BATCH_LIMIT", 150)
    watch = Stopwatch()
    with clock.use(watch):
        found = read_each((Thing, "o", "2"), (Thing, "o", "nowhere"), (Thing, "o", "1"), (Thing, "o", "3"))
    assert [None if row is None else row.sk for row in found] == ["2", None, "1", None]
    assert [operation for operation, _ in script.requests] == ["BatchGetItem"] * 3
    assert all(request["RequestItems"]["signalbox-things"]["ConsistentRead"] for _, request in script.requests)


def test_records_the_store_never_gives_are_contended(engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that leaves keys out to the end raises Contention rather than taking them for missing."""
    put_if_absent(Thing("o", "1"))
    monkeypatch.setattr("shared.store.embedded.reads.BATCH_LIMIT", 0)
    with clock.use(Stopwatch()), pytest.raises(Contention):
        read_each((Thing, "o", "1"))
