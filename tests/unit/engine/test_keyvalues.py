"""Values of accounts: what is kept, for how long, and that every change counts exactly once."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from shared.engine import keyvalues
from shared.engine.keyvalues import MAX_KEY_BYTES, MAX_VALUE_BYTES, StoredValues
from shared.identity import Departure
from shared.kit import clock
from shared.kit.errors import InvalidRequest, PayloadTooLarge, Unavailable
from shared.store.embedded import EmbeddedEngine, Fault
from shared.store.models.keyvalue import KeyValue, values_pk
from shared.store.models.vault import account_scope
from tests.support.time import HeldClock

ADA, BOB = "ada", "bob"


class Script:
    """Faults for the next transactions, one each; None lets one through."""

    def __init__(self, *faults: Fault | None) -> None:
        self.faults = list(faults)

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        return self.faults.pop(0) if operation == "TransactWriteItems" and self.faults else None


@pytest.fixture
def values(store: EmbeddedEngine) -> StoredValues:
    return StoredValues()


@pytest.mark.parametrize("value", [None, True, 0, 1.5, 2**70, "", "ä\ud800", [], {"a": [1, {"b": None}]}])
def test_a_value_comes_back_as_it_was(values: StoredValues, value: Any) -> None:
    """Every JSON value survives, null and half surrogate pairs included."""
    values.set(ADA, "k", value)
    assert values.get(ADA, "k") == value
    assert list(values.items(ADA)) == [("k", value)]


def test_what_is_not_there(values: StoredValues) -> None:
    """Reading a missing key is a KeyError, deleting one says so, and so does a key that could not exist."""
    for key in ("missing", "", "x" * 2000, "\ud800"):
        with pytest.raises(KeyError):
            values.get(ADA, key)
        assert values.delete(ADA, key) is False


def test_accounts_do_not_meet(values: StoredValues) -> None:
    """Each account has keys of its own in everything."""
    values.set(ADA, "k", 1)
    values.set(BOB, "k", 2)
    assert values.increment(ADA, "k", 1, "same operation") == 2
    assert values.increment(BOB, "k", 1, "same operation") == 3
    assert values.delete(ADA, "k") is True
    assert values.clear(ADA) == 0
    assert values.get(BOB, "k") == 3


def test_keys_are_sorted(values: StoredValues) -> None:
    """In the order of their code points, whatever the order of writing."""
    names = ["b", "a", "ä", "B", "10", "9", "a b", "\U0001f600", "\uffff"]
    for name in names:
        values.set(ADA, name, {"n": name})
    assert list(values.keys(ADA)) == sorted(names)
    assert [key for key, _ in values.items(ADA)] == sorted(names)


def test_time_to_live_is_exact(values: StoredValues, held: HeldClock) -> None:
    """Nobody sees a value once its time is over, though it is still stored; setting it again without one keeps it."""
    values.set(ADA, "short", 1, ttl_s=0.5)
    values.set(ADA, "long", 2, ttl_s=60)
    values.set(ADA, "kept", 3, ttl_s=0.5)
    values.set(ADA, "kept", 3)
    held.advance(0.499)
    assert list(values.keys(ADA)) == ["kept", "long", "short"]
    held.advance(0.001)
    assert list(values.keys(ADA)) == ["kept", "long"]
    assert [key for key, _ in values.items(ADA)] == ["kept", "long"]
    with pytest.raises(KeyError):
        values.get(ADA, "short")
    assert values.delete(ADA, "short") is False
    assert len(list(KeyValue.query(values_pk(account_scope(ADA))))) == 3


def test_the_store_removes_what_is_over(values: StoredValues, store: EmbeddedEngine, held: HeldClock) -> None:
    """A value with a time to live leaves the table, the others stay."""
    values.set(ADA, "short", 1, ttl_s=5)
    values.set(ADA, "kept", 3)
    held.advance(7)
    assert store.purge_expired(clock.now_ms()) == 1
    assert [record.sk for record in KeyValue.query(values_pk(account_scope(ADA)))] == ["kept"]


def test_increment_creates_and_adds(values: StoredValues) -> None:
    """From nothing it starts at 0; whole numbers stay whole."""
    totals = [values.increment(ADA, "n", amount, f"op{amount}") for amount in (1, 41, -2, 0.5)]
    assert totals == [1, 42, 40, 40.5]
    assert [type(total) for total in totals] == [int, int, int, float]
    assert values.get(ADA, "n") == 40.5


def test_increment_keeps_the_time_to_live(values: StoredValues, held: HeldClock) -> None:
    """A counter ends when it was to end, and then starts anew without an end."""
    values.set(ADA, "n", 5, ttl_s=10)
    assert values.increment(ADA, "n", 1, "a") == 6
    held.advance(10)
    assert values.increment(ADA, "n", 1, "b") == 1
    held.advance(1000)
    assert values.get(ADA, "n") == 1


def test_append_creates_and_extends(values: StoredValues) -> None:
    """From nothing it starts an empty list; a list is appended as one element."""
    for number, value in enumerate(({"a": 1}, None, [2])):
        values.append(ADA, "l", value, f"op{number}")
    assert values.get(ADA, "l") == [{"a": 1}, None, [2]]


@pytest.mark.parametrize(
    ("held_value", "change", "message"),
    [
        ("5", "increment", "n holds no number"),
        (True, "increment", "n holds no number"),
        ([1], "increment", "n holds no number"),
        (None, "increment", "n holds no number"),
        (1.7e308, "increment", "larger than a number can be"),
        ("text", "append", "n holds no list"),
        ({"a": 1}, "append", "n holds no list"),
        (None, "append", "n holds no list"),
    ],
)
def test_values_of_the_wrong_kind(values: StoredValues, held_value: Any, change: str, message: str) -> None:
    """Neither is changed, and the error says what is there."""
    values.set(ADA, "n", held_value)
    method = getattr(values, change)
    with pytest.raises(TypeError, match=message):
        method(ADA, "n", 1.7e308, "op")
    assert values.get(ADA, "n") == held_value


def test_an_operation_counts_once(values: StoredValues) -> None:
    """A further attempt changes nothing and gets the first one's answer, whatever happened to the value meanwhile."""
    assert values.increment(ADA, "n", 5, "op") == 5
    values.set(ADA, "n", "text by now")
    assert values.increment(ADA, "n", 5, "op") == 5
    assert values.get(ADA, "n") == "text by now"
    values.append(ADA, "l", 1, "append")
    values.append(ADA, "l", 1, "append")
    assert values.get(ADA, "l") == [1]


@pytest.mark.parametrize("fault", [Fault.FAILED, Fault.THROTTLED, Fault.ANSWER_LOST, Fault.REPEATED, Fault.CONFLICT])
def test_faults_of_the_store_change_no_count(
    values: StoredValues, store: EmbeddedEngine, held: HeldClock, fault: Fault
) -> None:
    """Whatever happens to a request, and twice in a row, it counts once."""
    for change in range(3):
        store.faults = Script(fault, None, fault, fault)
        values.increment(ADA, "n", 1, f"i{change}")
        values.append(ADA, "l", change, f"a{change}")
    store.faults = None
    assert values.get(ADA, "n") == 3
    assert values.get(ADA, "l") == [0, 1, 2]


def test_a_worker_that_died_after_the_change(values: StoredValues, store: EmbeddedEngine, held: HeldClock) -> None:
    """When every answer was lost the caller knows nothing; its next attempt still counts once."""
    store.faults = Script(*[Fault.ANSWER_LOST] * 8)
    with pytest.raises(Unavailable):
        values.increment(ADA, "n", 7, "op")
    store.faults = None
    assert values.increment(ADA, "n", 7, "op") == 7
    assert values.get(ADA, "n") == 7


def test_racing_changes_are_exact(values: StoredValues) -> None:
    """8 threads that increment and append at once, every operation tried twice: none is lost, none counts twice."""
    barrier, errors = threading.Barrier(8), []

    def work(number: int) -> None:
        barrier.wait()
        try:
            for turn in range(6):
                for _ in range(2):
                    values.increment(ADA, "n", 1, f"i{number}-{turn}")
                    values.append(ADA, "l", [number, turn], f"a{number}-{turn}")
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert values.get(ADA, "n") == 48
    assert sorted(values.get(ADA, "l")) == [[number, turn] for number in range(8) for turn in range(6)]


def test_one_operation_tried_by_many_at_once(values: StoredValues) -> None:
    """Two workers that both believe the node is theirs count once and get the same answer."""
    barrier, answers = threading.Barrier(4), []

    def work() -> None:
        barrier.wait()
        answers.append(values.increment(ADA, "n", 3, "op"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [3, 3, 3, 3]


def test_a_set_between_reading_and_writing_is_not_lost(
    values: StoredValues, store: EmbeddedEngine, held: HeldClock
) -> None:
    """An increment that read an old value starts again from the new one."""

    class Meanwhile:
        """Sets the value while the first change is under way."""

        done = False

        def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
            if operation == "TransactWriteItems" and not self.done:
                self.done = True
                values.set(ADA, "n", 100)
            return None

    values.set(ADA, "n", 1)
    store.faults = Meanwhile()
    assert values.increment(ADA, "n", 1, "op") == 101


def test_too_large(values: StoredValues) -> None:
    """A value beyond the limit is refused with what to do, set and append alike; one at the limit is kept."""
    largest = "x" * (MAX_VALUE_BYTES - 2)
    values.set(ADA, "k" * MAX_KEY_BYTES, largest)
    assert values.get(ADA, "k" * MAX_KEY_BYTES) == largest
    with pytest.raises(PayloadTooLarge, match=r"358,401 bytes; 358,400 is the limit. Spread it over several keys"):
        values.set(ADA, "k", largest + "x")
    values.append(ADA, "l", "x" * (MAX_VALUE_BYTES - 10), "a")
    with pytest.raises(PayloadTooLarge, match="The value of l"):
        values.append(ADA, "l", "x" * 10, "b")
    assert len(values.get(ADA, "l")) == 1


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY_BYTES + 1), "ä" * (MAX_KEY_BYTES // 2 + 1), "\ud800"])
def test_keys_that_cannot_be_kept(values: StoredValues, key: str) -> None:
    """Refused before anything is written, in every operation that would create it."""
    with pytest.raises(InvalidRequest, match="key must be"):
        values.set(ADA, key, 1)
    with pytest.raises(InvalidRequest, match="key must be"):
        values.increment(ADA, key, 1, "op")
    with pytest.raises(InvalidRequest, match="key must be"):
        values.append(ADA, key, 1, "op")


def test_clear_removes_everything(values: StoredValues, held: HeldClock) -> None:
    """Many batches; the answer counts what was alive. A change that was made still counts only once."""
    for number in range(60):
        values.set(ADA, f"{number}", number)
    values.set(ADA, "over", 1, ttl_s=1)
    values.increment(ADA, "n", 1, "op")
    held.advance(1)
    assert values.clear(ADA) == 61
    assert list(values.keys(ADA)) == []
    assert values.increment(ADA, "n", 1, "op") == 1
    assert list(values.keys(ADA)) == []


def test_who_goes_leaves_nothing(values: StoredValues, store: EmbeddedEngine) -> None:
    """Values and remembered changes of the account are removed, twice without harm; others keep theirs."""
    for account in (ADA, BOB):
        values.set(account, "k", 1)
        values.append(account, "l", 1, "op")
    for _ in range(2):
        values.forget(Departure(ADA, ("org",)))
    left = store._make_api_call("Scan", {"TableName": KeyValue.Meta.table_name})["Items"]
    assert {item["pk"]["S"].split("#")[1] for item in left} == {BOB}
    assert len(left) == 3


def test_a_change_is_remembered_for_a_month(values: StoredValues, store: EmbeddedEngine, held: HeldClock) -> None:
    """The record of a change leaves the table in the end."""
    values.increment(ADA, "n", 1, "op")
    held.advance(keyvalues.CHANGES_KEPT_S - 1)
    assert store.purge_expired(clock.now_ms()) == 0
    held.advance(2)
    assert store.purge_expired(clock.now_ms()) == 1
