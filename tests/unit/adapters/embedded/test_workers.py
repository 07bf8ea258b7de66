"""Threads that run attempts, and the one that renews leases."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from shared.adapters.embedded.workers import HeartbeatThread, WorkerThreads

SOON = 20.0
"""Seconds a test waits for another thread at most; it goes on as soon as that is there."""


@pytest.fixture
def workers() -> Iterator[WorkerThreads]:
    made = WorkerThreads(2)
    yield made
    made.close()


def test_results_come_with_their_number(workers: WorkerThreads) -> None:
    """In the order they finish; None when there is nothing in time."""
    box = workers.mailbox("org", "e")
    gate = threading.Event()
    box.submit(1, lambda: gate.wait(SOON) and "slow")
    box.submit(2, lambda: "quick")
    assert box.next(SOON) == (2, "quick")
    assert box.next(0) is None
    gate.set()
    assert box.next(SOON) == (1, "slow")
    box.close()


def test_a_poke_ends_the_wait(workers: WorkerThreads) -> None:
    """Of the advance it is meant for; unknown executions are no error."""
    box, other = workers.mailbox("org", "e"), workers.mailbox("org", "other")
    workers.poke("e")
    workers.poke("nobody")
    assert box.next(SOON) is None
    other.submit(1, lambda: "mine")
    assert other.next(SOON) == (1, "mine")
    box.close()
    other.close()
    workers.poke("e")


def test_two_advances_of_one_execution(workers: WorkerThreads) -> None:
    """The one that closes late does not take the other's mailbox away."""
    first, second = workers.mailbox("org", "e"), workers.mailbox("org", "e")
    first.close()
    workers.poke("e")
    assert second.next(SOON) is None
    second.close()


def test_work_that_queues_does_not_begin_after_the_advance(workers: WorkerThreads) -> None:
    """Nobody would record it. What runs may finish; its result is dropped."""
    box, ran = workers.mailbox("org", "e"), threading.Event()
    gate, busy = threading.Event(), [threading.Event(), threading.Event()]

    def occupy(number: int) -> None:
        busy[number].set()
        gate.wait(SOON)

    for number in range(2):
        box.submit(number, lambda number=number: occupy(number))  # type: ignore[misc]
    assert all(started.wait(SOON) for started in busy)
    box.submit(3, ran.set)
    box.close()
    after = workers.mailbox("org", "after")
    after.submit(4, lambda: "after")
    gate.set()
    assert after.next(SOON) == (4, "after")
    assert not ran.is_set()
    after.close()


def test_a_heart_beats_until_told(workers: WorkerThreads) -> None:
    """Each lease at every interval; one that is lost is not renewed again, a broken store is asked again."""
    heart = HeartbeatThread(interval_s=0.001)
    beats: dict[str, int] = {"kept": 0, "lost": 0, "broken": 0}
    enough = threading.Event()

    def renew(name: str) -> bool:
        beats[name] += 1
        if name == "broken":
            raise OSError("away")
        if beats["kept"] >= 5 and beats["broken"] >= 3:
            enough.set()
        return name != "lost"

    stops = [heart.beat(lambda name=name: renew(name)) for name in beats]  # type: ignore[misc]
    assert enough.wait(SOON)
    for stop in stops:
        stop()
        stop()
    heart.close()
    counted = dict(beats)
    assert counted["lost"] == 1 and counted["kept"] >= 5 and counted["broken"] >= 3
    HeartbeatThread().close()


def test_one_organisation_leaves_threads_for_others(workers: WorkerThreads) -> None:
    """However much it submits, and also when its advances are over before their work; what waits goes on after that."""
    hog, other = workers.mailbox("hog", "a"), workers.mailbox("org", "b")
    gate = threading.Event()
    canceled = workers.mailbox("hog", "canceled")
    canceled.submit(0, lambda: gate.wait(SOON))
    canceled.close()
    for number in range(5):
        hog.submit(number, lambda: gate.wait(SOON))
    other.submit(9, lambda: "through")
    assert other.next(SOON) == (9, "through")
    assert hog.next(0) is None
    gate.set()
    assert {(hog.next(SOON) or (None,))[0] for _ in range(5)} == set(range(5))
    hog.close()
    other.close()
