"""Races: threads and processes on one store, and a writer that is killed."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pynamodb.exceptions import PutError
from pynamodb.expressions.update import Action

from shared.store.embedded import EmbeddedEngine, installed
from shared.store.embedded.storage import Storage
from shared.store.transaction import ConditionFailed, Transaction, put_if_absent, read_together
from tests.unit.store.conftest import Thing


def _together(count: int, action: Callable[[int], None]) -> None:
    """Run ``action`` in ``count`` threads that start at once; the first error is raised."""
    barrier, errors = threading.Barrier(count), []

    def run(number: int) -> None:
        barrier.wait()
        try:
            action(number)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_increments_of_threads_are_exact(engine: EmbeddedEngine) -> None:
    """8 threads of 100 increments make 800, half of them in transactions."""
    Thing("o", "count", amount=0).save()

    def increment(number: int) -> None:
        for turn in range(100):
            record = Thing("o", "count")
            actions: list[Action] = [Thing.amount.set(Thing.amount + 1)]
            if (number + turn) % 2:
                record.update(actions)
            else:
                Transaction().update(record, actions).put(Thing("o", f"{number}-{turn}")).commit()

    _together(8, increment)
    assert Thing.get("o", "count").amount == 800
    assert Thing.count("o") == 401


def test_a_cap_is_never_exceeded(engine: EmbeddedEngine) -> None:
    """Of 160 racing takers exactly 50 get one of 50 places, and each knows whether it did."""
    Thing("o", "purse", amount=50).save()
    taken: list[str] = []
    reasons: list[set[str]] = []

    def take(number: int) -> None:
        for turn in range(20):
            name = f"{number}-{turn}"
            transaction = Transaction().put(Thing("taken", name), Thing.pk.does_not_exist())
            transaction.update(Thing("o", "purse"), [Thing.amount.set(Thing.amount - 1)], Thing.amount >= 1)
            try:
                transaction.commit()
            except ConditionFailed as failure:
                reasons.append(set(failure.failures))
            else:
                taken.append(name)

    _together(8, take)
    assert len(taken) == 50
    assert reasons == [{"1"}] * 110
    assert sorted(taken) == [thing.sk for thing in Thing.query("taken")]
    assert Thing.get("o", "purse").amount == 0


def test_one_of_many_creates(engine: EmbeddedEngine) -> None:
    """Of racing creators of one key exactly one wins."""
    winners: list[int] = []

    def create(number: int) -> None:
        winners.extend(turn for turn in range(20) if put_if_absent(Thing("o", f"{turn}", amount=number)))

    _together(8, create)
    assert sorted(winners) == list(range(20))


def test_readers_see_transactions_whole(engine: EmbeddedEngine) -> None:
    """A transactional read never sees half of a transaction."""
    Transaction().put(Thing("o", "left", amount=100)).put(Thing("o", "right", amount=0)).commit()

    def act(number: int) -> None:
        for _ in range(50):
            if number == 0:
                transaction = Transaction().update(Thing("o", "left"), [Thing.amount.set(Thing.amount - 1)])
                transaction.update(Thing("o", "right"), [Thing.amount.set(Thing.amount + 1)]).commit()
            else:
                left, right = read_together((Thing, "o", "left"), (Thing, "o", "right"))
                assert isinstance(left, Thing)
                assert isinstance(right, Thing)
                assert (left.amount or 0) + (right.amount or 0) == 100

    _together(4, act)


def test_a_failing_write_does_not_disturb_those_committed_with_it(engine: EmbeddedEngine) -> None:
    """Writes that share a commit succeed and fail on their own."""

    def write(number: int) -> None:
        for turn in range(50):
            thing = Thing("o", f"{number}-{turn}")
            if number % 2:
                with pytest.raises(PutError):
                    thing.save(Thing.pk.exists())
            else:
                thing.save()

    _together(8, write)
    assert Thing.count("o") == 200
    assert engine.stream.last() == 200


def test_an_interrupt_undoes_only_its_own_work(tmp_path: Path) -> None:
    """When the thread that commits for others is interrupted, the others' work is still done."""
    storage = Storage(tmp_path / "store.db")
    storage.write(lambda sql: sql.execute("CREATE TABLE t (x)").rowcount)
    entered, release, interrupted = threading.Event(), threading.Event(), threading.Event()

    def hold(sql: object) -> None:
        entered.set()
        release.wait(30)

    def insert(sql: sqlite3.Connection) -> int:
        return sql.execute("INSERT INTO t VALUES (1)").rowcount

    def interrupt_once(sql: sqlite3.Connection) -> int:
        # It hits whichever thread commits for all.
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt
        return insert(sql)

    holder = threading.Thread(target=lambda: storage.write(hold), daemon=True)
    holder.start()
    entered.wait(30)
    outcomes: list[str] = []

    def write(work: Callable[[sqlite3.Connection], int]) -> None:
        try:
            storage.write(work)
        except KeyboardInterrupt:
            outcomes.append("interrupted")
        else:
            outcomes.append("inserted")

    waiting = [threading.Thread(target=write, args=(work,), daemon=True) for work in (interrupt_once, *[insert] * 5)]
    for thread in waiting:
        thread.start()
    while len(storage._waiting) < len(waiting):
        pass
    release.set()
    for thread in [holder, *waiting]:
        thread.join(10)
    assert sorted(outcomes) == ["inserted"] * 5 + ["interrupted"]
    assert storage.read(lambda sql: sql.execute("SELECT count(*) FROM t").fetchone()) == (5,)
    storage.close()


INCREMENT = """
import sys
from shared.store.embedded import EmbeddedEngine, install
from tests.unit.store.conftest import Thing
engine = EmbeddedEngine.open(sys.argv[1])
engine.create_tables(Thing)
install(engine)
for _ in range(200):
    Thing("o", "count").update([Thing.amount.set(Thing.amount + 1)])
engine.close()
"""


def test_increments_of_processes_are_exact(tmp_path: Path) -> None:
    """4 processes of 200 increments on one file make 800."""
    path = str(tmp_path / "store.db")
    engine = EmbeddedEngine.open(path)
    engine.create_tables(Thing)
    with installed(engine):
        Thing("o", "count", amount=0).save()
        processes = [subprocess.Popen([sys.executable, "-c", INCREMENT, path]) for _ in range(4)]
        assert [process.wait(120) for process in processes] == [0] * 4
        assert Thing.get("o", "count").amount == 800
        assert len(engine.stream.read(0, limit=1000)) == 801
    engine.close()


WRITE_FOREVER = """
import sys, threading
from shared.store.embedded import EmbeddedEngine, install
from shared.store.transaction import Transaction
from tests.unit.store.conftest import Thing
install(EmbeddedEngine.open(sys.argv[1]))
def run(thread):
    for number in range(1_000_000):
        name = f"{thread}-{number}"
        Transaction().put(Thing("left", name)).put(Thing("right", name)).commit()
        sys.stdout.write(name + "\\n")
        sys.stdout.flush()
for thread in range(4):
    threading.Thread(target=run, args=(thread,)).start()
"""


def test_a_killed_writer_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """After kill -9 every acknowledged transaction is there, none by half, and the file goes on working."""
    path = str(tmp_path / "store.db")
    engine = EmbeddedEngine.open(path)
    engine.create_tables(Thing)
    with installed(engine):
        for round_number in range(3):
            process = subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, path], stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            acknowledged = {process.stdout.readline().strip() for _ in range(40 * (round_number + 1))}
            process.send_signal(signal.SIGKILL)
            # A last line may be cut off in the middle; it was never acknowledged whole.
            rest = process.stdout.read()
            acknowledged |= set(rest[: rest.rfind("\n") + 1].split())
            process.wait(30)
            process.stdout.close()
            left = {thing.sk for thing in Thing.query("left")}
            assert acknowledged <= left
            assert left == {thing.sk for thing in Thing.query("right")}
            Thing("o", f"{round_number}").save()
    engine.close()
