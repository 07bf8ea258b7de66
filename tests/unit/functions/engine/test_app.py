"""The state machine's protocol: every word of the engine, and the park that must not sleep through a wake-up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.engine.app import LONGEST_PARK_S, handler
from shared.engine.interpreter import Verdict
from shared.kit import clock
from tests.support.deployment import deployment
from tests.support.time import HeldClock


class Advancer:
    """Answers as told and keeps what it was asked."""

    def __init__(self) -> None:
        self.verdict = Verdict("end", status="completed")
        self.parks = True
        self.asked: list[tuple[Any, ...]] = []

    def advance(self, *reference: Any) -> Verdict:
        self.asked.append(reference)
        return self.verdict

    def register_park(self, *park: Any) -> bool:
        self.asked.append(park)
        return self.parks


class Driver:
    """Keeps the wake-ups it was told."""

    def __init__(self) -> None:
        self.woken: list[tuple[Any, ...]] = []

    def wake(self, *reference: Any) -> None:
        self.woken.append(reference)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[tuple[Advancer, Driver]]:
    """The engine's function over a scripted engine, with time held still."""
    advancer, driver = Advancer(), Driver()
    with deployment(tmp_path) as services, clock.use(HeldClock(1_000_000)):
        services.__dict__ |= {"advancer": advancer, "driver": driver}
        yield advancer, driver


def advance(generation: int = 3) -> dict[str, Any]:
    answer: dict[str, Any] = handler({"op": "advance", "execution": "org/exec", "generation": generation}, None)
    return answer


@pytest.mark.parametrize(
    ("verdict", "seconds", "status", "generation"),
    [
        (Verdict("advance"), 1, "succeeded", 3),
        (Verdict("busy", until_ms=1_000_000 + 1_500), 2, "succeeded", 3),
        (Verdict("busy", until_ms=1_000_000 + 31_000), 5, "succeeded", 3),
        (Verdict("park", until_ms=1_000_000 + 60_001, status="waiting", wake=7), 61, "succeeded", 3),
        (Verdict("park", until_ms=1_000_000 - 5, status="waiting"), 1, "succeeded", 3),
        (Verdict("park", status="waiting"), LONGEST_PARK_S, "succeeded", 3),
        (Verdict("handover"), 1, "succeeded", 4),
        (Verdict("end", status="completed"), 1, "succeeded", 3),
        (Verdict("end", status="failed"), 1, "failed", 3),
        (Verdict("end", status="expired"), 1, "failed", 3),
        (Verdict("end", status="canceled"), 1, "failed", 3),
        (Verdict("end", status=""), 1, "succeeded", 3),
    ],
)
def test_every_word_has_its_answer(
    machine: tuple[Advancer, Driver], verdict: Verdict, seconds: int, status: str, generation: int
) -> None:
    """Deadlines become whole seconds, rounded up; the machine learns success, and the generation that follows."""
    advancer, _ = machine
    advancer.verdict = verdict
    assert advance() == {
        "word": verdict.word,
        "seconds": seconds,
        "wake": verdict.wake,
        "status": status,
        "generation": generation,
    }
    assert advancer.asked == [("org", "exec", 3)]


def park(wake: int = 7) -> dict[str, Any]:
    event = {"op": "park", "execution": "org/exec", "generation": 3, "wake": wake, "task_token": "token"}
    answer: dict[str, Any] = handler(event, None)
    return answer


def test_a_park_keeps_its_token(machine: tuple[Advancer, Driver]) -> None:
    """The token is stored on condition of the wake counter the park was decided with."""
    advancer, driver = machine
    assert park() == {"parked": True}
    assert advancer.asked == [("org", "exec", 3, 7, "token")] and driver.woken == []


def test_a_park_that_came_too_late_ends_itself(machine: tuple[Advancer, Driver]) -> None:
    """When something was written since, the park completes its own token: no wake-up is lost."""
    advancer, driver = machine
    advancer.parks = False
    assert park() == {"parked": False}
    assert driver.woken == [("org", "exec", 3, "token")]
