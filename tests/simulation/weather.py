"""The store of a history, and what goes wrong between it and its callers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from shared.store.embedded import EmbeddedEngine, Fault
from tests.simulation.scheduler import Died, Scheduler

_READS = {"GetItem", "BatchGetItem", "TransactGetItems", "Query", "Scan"}
Observer = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Climate:
    """How bad it gets: probabilities per store call (the first four) or per event. A calm one is all zero."""

    fault: float = 0.0
    stall: float = 0.0
    death: float = 0.0
    outage: float = 0.0
    lost_call: float = 0.0
    late_call: float = 0.0
    double_call: float = 0.0
    reorder: float = 0.0
    double_record: float = 0.0
    full: float = 0.0

    @property
    def relay_is_safe(self) -> bool:
        """Whether no sender can die, or lose its claim, between a message and its cursor."""
        return self.stall == self.death == self.outage == 0

    @classmethod
    def drawn(cls, random: Random) -> Climate:
        """Each history has its own mixture, because rare faults hide behind frequent ones."""

        def either(*values: float) -> float:
            return random.choice(values)

        return cls(
            fault=either(0, 0.01, 0.05), stall=either(0, 0, 0.01, 0.02),
            death=either(0, 0.004, 0.02), outage=either(0, 0, 0.004),
            lost_call=either(0, 0.2, 0.8), late_call=either(0, 0.2), double_call=either(0, 0.2),
            reorder=either(0, 0.5), double_record=either(0, 0.2), full=either(0, 0.1),
        )  # fmt: skip


CALM = Climate()


class Weather:
    """The store's fault points (``shared.store.embedded.faults.Faults``)."""

    def __init__(self, scheduler: Scheduler, climate: Climate, switching: float) -> None:
        self.climate = climate
        self.takeovers: Callable[[], int] = lambda: 0
        self.on_death: Callable[[], None] = lambda: None
        self.was_safe = climate.relay_is_safe
        self._scheduler = scheduler
        self._switching = switching
        self._outage_until = 0

    def calm(self) -> None:
        """Nothing goes wrong from now on."""
        self.climate, self._outage_until = CALM, 0

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        """Hand over, then decide what becomes of the request. Called outside any lock, so it may block or kill."""
        scheduler = self._scheduler
        if scheduler.outside:
            return None
        if scheduler.current.dying or scheduler.current.doomed or scheduler.over:
            raise Died
        if scheduler.random.random() < self._switching:
            scheduler.step()
        fault = self._fault(operation) if self.climate is not CALM else None
        scheduler.note(f"{operation} {_target(request)}{f' [{fault.value}]' if fault else ''}")
        return fault

    def after(self) -> None:
        """Between the commit and its answer: the caller may die of it."""
        if not self._scheduler.outside:
            self._perhaps_die()

    def _fault(self, operation: str) -> Fault | None:
        scheduler, climate = self._scheduler, self.climate
        self._perhaps_die()
        # A worker that stands still before it appends is the one that may lose its lease and not know it.
        if scheduler.chance(climate.stall * (5 if operation == "TransactWriteItems" else 1)):
            self._stall()
        if scheduler.now_ms() < self._outage_until:
            return scheduler.random.choice((Fault.FAILED, Fault.THROTTLED))
        if scheduler.chance(climate.outage):
            self._outage_until = scheduler.now_ms() + scheduler.random.choice((500, 4_000, 20_000))
            scheduler.note("outage begins")
        if not scheduler.chance(climate.fault):
            return None
        possible = list(Fault)
        if operation in _READS:
            possible.remove(Fault.CONFLICT)
        return scheduler.random.choice(possible)

    def _stall(self) -> None:
        """Stand still: for a time, or until somebody takes something over, which is the worst moment to go on."""
        scheduler, seen = self._scheduler, self.takeovers()
        worker = scheduler.current
        scheduler.note("stalls")
        worker.stalled = True
        try:
            if scheduler.chance(0.5):
                scheduler.wait(lambda: self.takeovers() != seen, 100_000)
            else:
                scheduler.sleep(scheduler.random.choice((3.0, 40.0, 100.0)))
        finally:
            worker.stalled = False

    def _perhaps_die(self) -> None:
        scheduler = self._scheduler
        if scheduler.current.mortal and scheduler.chance(self.climate.death):
            scheduler.note("dies")
            scheduler.current.dying = True
            self.on_death()
            raise Died


class SimulatedStore(EmbeddedEngine):
    """The embedded engine in memory; ``observer`` sees every operation that was carried out."""

    observer: Observer
    weather: Weather
    revise: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None
    """A planted bug: changes requests before they are carried out."""

    def _make_api_call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        answer = super()._make_api_call(operation, request)
        self.weather.after()
        return answer

    def _call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        if self.revise is not None:
            request = self.revise(operation, request)
        answer = super()._call(operation, request)
        self.observer(operation, request)
        return answer

    def peek(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Look without being noticed."""
        return super()._call(operation, request)


def _target(request: dict[str, Any]) -> str:
    if "TransactItems" in request:
        return " ".join(_target(next(iter(action.values()))) for action in request["TransactItems"])
    key = request.get("Key") or request.get("Item") or {}
    if "sk" in key:
        return f"{key['pk']['S'][-12:]}/{key['sk']['S']}"
    return str(request.get("IndexName") or request.get("TableName") or "")
