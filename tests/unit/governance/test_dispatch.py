from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from shared.adapters.embedded.workers import WorkerThreads
from shared.governance.dispatch import Dispatch
from shared.kit.errors import Unavailable


class Line:
    """Work that waits until the test does it."""

    def __init__(self) -> None:
        self.works: list[Callable[[], None]] = []

    def submit(self, org_id: str, work: Callable[[], None]) -> None:
        self.works.append(work)

    def work(self) -> None:
        works, self.works = self.works, []
        for one in works:
            one()


class Sent:
    """Deliveries that were sent; ``failing`` ones raise."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.failing = False

    def __call__(self, org_id: str, delivery_id: str) -> bool:
        self.done.append((org_id, delivery_id))
        if self.failing:
            raise Unavailable("away")
        return True


def test_without_threads_it_is_sent_at_once() -> None:
    """In a function that ends with its call there is no later."""
    sent = Sent()
    assert Dispatch(sent, None)("o", "d") is True
    assert sent.done == [("o", "d")]


def test_with_threads_the_caller_does_not_wait() -> None:
    """It is handed over; until it was sent it is handed over once, however often somebody asks."""
    sent, line = Sent(), Line()
    dispatch = Dispatch(sent, line.submit)
    assert [dispatch("o", "d"), dispatch("o", "d"), dispatch("o", "e"), dispatch("p", "d")] == [True, False, True, True]
    assert sent.done == []
    line.work()
    assert sent.done == [("o", "d"), ("o", "e"), ("p", "d")]
    assert dispatch("o", "d") is True


def test_a_failure_is_over_and_forgotten() -> None:
    """The thread lives on, and the sweep can hand the delivery over again."""
    sent, line = Sent(), Line()
    sent.failing = True
    dispatch = Dispatch(sent, line.submit)
    dispatch("o", "d")
    line.work()
    assert dispatch("o", "d") is True


def test_askers_at_once_hand_it_over_once() -> None:
    """The relay and the sweep may see it in the same moment."""
    line, answers, barrier = Line(), [], threading.Barrier(8)
    dispatch = Dispatch(Sent(), line.submit)

    def ask() -> None:
        barrier.wait()
        answers.append(dispatch("o", "d"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(True) == len(line.works) == 1


def test_errors_reach_a_caller_without_threads() -> None:
    """The sweep logs them and goes on with others."""
    sent = Sent()
    sent.failing = True
    with pytest.raises(Unavailable):
        Dispatch(sent, None)("o", "d")


def test_a_silent_receiver_holds_up_nobody_else() -> None:
    """While one org's message waits for an answer, the caller goes on and other orgs' messages are sent."""
    answered, sent, arrived = threading.Event(), [], threading.Event()

    def deliver(org_id: str, delivery_id: str) -> bool:
        if org_id == "slow":
            assert answered.wait(30)
        sent.append(org_id)
        if org_id == "quick":
            arrived.set()
        return True

    workers = WorkerThreads(1)
    dispatch = Dispatch(deliver, workers.submit)
    assert dispatch("slow", "d") and dispatch("slow", "e") and dispatch("quick", "d")
    assert arrived.wait(30)
    assert sent == ["quick"]
    answered.set()
    workers.close()
