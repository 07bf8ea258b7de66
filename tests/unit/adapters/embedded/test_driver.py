"""The embedded driver: what each verdict leads to, and that one execution is never advanced twice at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from shared.adapters.embedded import driver as module
from shared.adapters.embedded.driver import EmbeddedDriver, Ref
from shared.engine.interpreter import Verdict
from shared.kit import clock
from tests.support.time import HeldClock

SOON = 20.0
ONE: Ref = ("org", "one", 0)
TWO: Ref = ("org", "two", 0)


class Script:
    """Answers each advance with the next of its verdicts, then with the end; keeps who was advanced."""

    def __init__(self, *verdicts: Verdict | Exception) -> None:
        self.verdicts = list(verdicts)
        self.advanced: queue.Queue[Ref] = queue.Queue()

    def __call__(self, org_id: str, execution_id: str, generation: int) -> Verdict:
        verdict = self.verdicts.pop(0) if self.verdicts else Verdict("end", status="completed")
        self.advanced.put((org_id, execution_id, generation))
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    def take(self) -> Ref:
        return self.advanced.get(timeout=SOON)

    def nothing_more(self, driver: EmbeddedDriver) -> bool:
        """Whether, with everything queued before now done, nobody else was advanced."""
        driver.start(*TWO)
        return self.take() == TWO and self.advanced.empty()


@contextmanager
def running(advance: Callable[[str, str, int], Verdict], threads: int = 1) -> Iterator[EmbeddedDriver]:
    driver = EmbeddedDriver(threads)
    driver.run(advance)
    try:
        yield driver
    finally:
        driver.close()


def in_ms(milliseconds: int) -> int:
    return clock.now_ms() + milliseconds


def test_an_end_is_the_end() -> None:
    """It is not advanced again."""
    script = Script(Verdict("end", status="failed"))
    with running(script) as driver:
        driver.start(*ONE)
        assert script.take() == ONE
        assert script.nothing_more(driver)


def test_a_slice_goes_on_at_once() -> None:
    """The word advance brings it back into the queue."""
    script = Script(Verdict("advance"), Verdict("advance"))
    with running(script) as driver:
        driver.start(*ONE)
        assert [script.take() for _ in range(3)] == [ONE] * 3
        assert script.nothing_more(driver)


def test_a_park_or_busy_comes_back_at_its_moment() -> None:
    """Not before."""
    moment = in_ms(30)
    script = Script(Verdict("park", until_ms=moment), Verdict("busy", until_ms=moment + 20))
    with running(script) as driver:
        driver.start(*ONE)
        assert script.take() == ONE
        assert script.take() == ONE and clock.now_ms() >= moment
        assert script.take() == ONE and clock.now_ms() >= moment + 20


def test_a_park_without_a_moment_waits_for_a_wake() -> None:
    """A wake brings it back and tells an advance under way to look."""
    poked: list[str] = []
    script = Script(Verdict("park"))
    driver = EmbeddedDriver(1, poked.append)
    driver.run(script)
    driver.start(*ONE)
    assert script.take() == ONE and script.nothing_more(driver)
    driver.wake(*ONE, None)
    assert script.take() == ONE
    driver.close()
    assert poked == ["one"]


def test_a_wake_during_an_advance_is_not_lost() -> None:
    """A park that was decided before it is not slept through; the end needs no second look."""
    for verdict, again in ((Verdict("park", until_ms=in_ms(3_600_000)), True), (Verdict("end"), False)):
        inside, go_on = threading.Event(), threading.Event()
        script = Script()

        def advance(
            org_id: str, execution_id: str, generation: int, script: Script = script, verdict: Verdict = verdict,
            inside: threading.Event = inside, go_on: threading.Event = go_on,
        ) -> Verdict:  # fmt: skip
            script(org_id, execution_id, generation)
            if execution_id == "one" and not inside.is_set():
                inside.set()
                go_on.wait(SOON)
                return verdict
            return Verdict("end")

        with running(advance) as driver:
            driver.start(*ONE)
            assert inside.wait(SOON) and script.take() == ONE
            driver.wake(*ONE, None)
            go_on.set()
            if again:
                assert script.take() == ONE
            assert script.nothing_more(driver)


def test_one_execution_is_never_advanced_twice_at_once() -> None:
    """However many threads and wakes there are."""
    inside, worst, lock = 0, 0, threading.Lock()
    done = threading.Event()
    count = 0

    def advance(org_id: str, execution_id: str, generation: int) -> Verdict:
        nonlocal inside, worst, count
        with lock:
            inside += 1
            count += 1
            worst = max(worst, inside)
        driver.wake(*ONE, None)
        with lock:
            inside -= 1
            if count >= 50:
                done.set()
                return Verdict("end")
        return Verdict("park")

    driver = EmbeddedDriver(4)
    driver.run(advance)
    driver.start(*ONE)
    assert done.wait(SOON)
    driver.close()
    assert worst == 1


def test_a_broken_advance_is_tried_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Each time twice as late, up to a limit; one that works makes it begin anew."""
    monkeypatch.setattr(module, "RETRY_MS", 10)
    monkeypatch.setattr(module, "LONGEST_RETRY_MS", 30)
    script = Script(*[RuntimeError("away")] * 3, Verdict("advance"), RuntimeError("away"))
    planned: list[int] = []
    driver = EmbeddedDriver(1)

    def at(moment_ms: int, org_id: str, execution_id: str, generation: int) -> None:
        planned.append(moment_ms - clock.now_ms())
        driver.start(org_id, execution_id, generation)

    monkeypatch.setattr(driver, "at", at)
    with clock.use(HeldClock()):
        driver.run(script)
        driver.start(*ONE)
        assert [script.take() for _ in range(6)] == [ONE] * 6
        driver.close()
    assert planned == [10, 20, 30, 10]
    assert caplog.text.count("advance failed") == 4


def test_queued_twice_is_advanced_once() -> None:
    """Starts and wakes of the same generation are one; another generation is its own."""
    gate = threading.Event()
    script = Script()

    def advance(org_id: str, execution_id: str, generation: int) -> Verdict:
        if execution_id == "gate":
            gate.wait(SOON)
            return Verdict("end")
        return script(org_id, execution_id, generation)

    with running(advance) as driver:
        driver.start("org", "gate", 0)
        for _ in range(3):
            driver.start(*ONE)
            driver.wake(*ONE, None)
        driver.start("org", "one", 1)
        gate.set()
        assert [script.take(), script.take()] == [ONE, ("org", "one", 1)]
        assert script.nothing_more(driver)


def test_closing_finishes_what_runs() -> None:
    """What is queued stays for the next process."""
    inside, go_on, finished = threading.Event(), threading.Event(), []

    def advance(org_id: str, execution_id: str, generation: int) -> Verdict:
        inside.set()
        go_on.wait(SOON)
        finished.append(execution_id)
        return Verdict("advance")

    driver = EmbeddedDriver(1)
    driver.run(advance)
    driver.start(*ONE)
    assert inside.wait(SOON) and not driver.stopping
    driver.start(*TWO)
    closer = threading.Thread(target=driver.close)
    closer.start()
    while not driver.stopping:
        threading.Event().wait(0.001)
    go_on.set()
    closer.join(SOON)
    assert (finished, driver.stopping) == (["one"], True)


def test_one_organisation_leaves_room_for_others() -> None:
    """While all it may run waits for something, another organisation's execution is advanced."""
    gate, inside = threading.Event(), threading.Semaphore(0)
    other = threading.Event()

    def advance(org_id: str, execution_id: str, generation: int) -> Verdict:
        if org_id == "other":
            other.set()
            return Verdict("end")
        inside.release()
        gate.wait(SOON)
        return Verdict("end")

    with running(advance, threads=2) as driver:
        for number in range(10):
            driver.start("org", f"e{number}", 0)
        assert inside.acquire(timeout=SOON) and inside.acquire(timeout=SOON)
        driver.start("other", "e", 0)
        assert other.wait(SOON)
        assert not inside.acquire(blocking=False)
        gate.set()


def test_timers_of_the_past_are_forgotten() -> None:
    """An execution woken often keeps one timer, and one that has ended none, however far off its moments were."""
    far = in_ms(3_600_000)
    script = Script(*[Verdict("park", until_ms=far + number) for number in range(500)])
    with running(script) as driver:
        driver.start(*ONE)
        for _ in range(500):
            assert script.take() == ONE
            driver.wake(*ONE, None)
        assert script.take() == ONE
        assert script.nothing_more(driver)
        assert len(driver._timers) < 100


def test_a_wake_replaces_the_timer() -> None:
    """The moment that counts is the one the last advance named."""
    script = Script(Verdict("park", until_ms=in_ms(50)), Verdict("park", until_ms=in_ms(3_600_000)))
    with running(script) as driver:
        driver.start(*ONE)
        assert script.take() == ONE
        driver.wake(*ONE, None)
        assert script.take() == ONE
        driver.at(in_ms(60), *TWO)
        assert script.take() == TWO


def test_every_place_that_is_free_is_used() -> None:
    """When the end of one lets an execution of each of two organisations begin, both begin."""
    first, second, rest = threading.Event(), threading.Event(), threading.Event()
    gates = {"a1": first, "a2": second}
    inside: queue.Queue[str] = queue.Queue()

    def advance(org_id: str, execution_id: str, generation: int) -> Verdict:
        inside.put(execution_id)
        if org_id != "c":
            gates.get(execution_id, rest).wait(10 * SOON)
        return Verdict("end")

    with running(advance, threads=3) as driver:
        for execution_id in ("a1", "a2", "a3", "b1", "b2"):
            driver.start(execution_id[0], execution_id, 0)
            assert inside.get(timeout=SOON) == execution_id
        driver.start("b", "b3", 0)
        driver.start("a", "a4", 0)
        first.set()
        while ("a", "a1", 0) in driver._running:
            threading.Event().wait(0.001)
        driver.start("c", "c1", 0)
        assert inside.get(timeout=SOON) == "c1"
        while ("c", "c1", 0) in driver._running:
            threading.Event().wait(0.001)
        second.set()
        try:
            assert {inside.get(timeout=SOON), inside.get(timeout=SOON)} == {"b3", "a4"}
        finally:
            rest.set()


def test_closing_does_not_wait_for_ever() -> None:
    """An advance that waits for something endless is left alone."""
    gate, inside = threading.Event(), threading.Event()

    def advance(org_id: str, execution_id: str, generation: int) -> Verdict:
        inside.set()
        gate.wait(SOON)
        raise OSError("the store is gone")

    driver = EmbeddedDriver(1)
    driver.closing_s = 0.01
    driver.run(advance)
    driver.start(*ONE)
    assert inside.wait(SOON)
    driver.close()
    assert not gate.is_set()
    gate.set()
    for worker in driver._workers:
        worker.join(SOON)
