"""What calls ``advance``: the embedded driver's own loop, or a state machine as ``driver.asl.json`` describes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from functions.engine import app
from shared.adapters.embedded.driver import EmbeddedDriver
from shared.adapters.embedded.workers import HeartbeatThread
from shared.kit import ids
from tests.simulation.scheduler import Actor, Condition, Died, Scheduler, Stop
from tests.simulation.weather import Weather

MAX_FAILURES = 20


class Mailbox:
    """The attempts of one advance (``shared.engine.ports.Workers``), each an actor."""

    def __init__(
        self, scheduler: Scheduler, process: str, execution_id: str, closed: Callable[[Mailbox], None]
    ) -> None:
        self._scheduler = scheduler
        self._process = process
        self._execution_id = execution_id
        self._on_close = closed
        self._parent = scheduler.current
        self._results: deque[tuple[int, Any]] = deque()
        self._attempts: list[Actor] = []
        self._poked = False
        self._closed = False

    def submit(self, token: int, work: Callable[[], Any]) -> None:
        def attempt() -> None:
            if not self._closed:
                self._results.append((token, work()))

        actor = self._scheduler.spawn(f"attempt {self._execution_id[-6:]}/{token}", attempt, process=self._process)
        actor.parent = self._parent
        self._attempts.append(actor)

    def next(self, timeout_s: float) -> tuple[int, Any] | None:
        self._scheduler.wait(lambda: bool(self._results) or self._poked, max(int(timeout_s * 1000), 1))
        self._poked = False
        return self._results.popleft() if self._results else None

    def poke(self) -> None:
        self._poked = True

    def close(self) -> None:
        self._closed = True
        self._on_close(self)
        if self._parent.dying:
            for actor in self._attempts:
                self._scheduler.doom(actor)


class Mailboxes:
    """The mailboxes of a process, by execution."""

    def __init__(self, scheduler: Scheduler, process: str) -> None:
        self._scheduler = scheduler
        self._process = process
        self._open: dict[str, Mailbox] = {}

    def open(self, execution_id: str) -> Mailbox:
        """The workers of one advance."""

        def forget(closed: Mailbox) -> None:
            if self._open.get(execution_id) is closed:
                del self._open[execution_id]

        self._open[execution_id] = Mailbox(self._scheduler, self._process, execution_id, forget)
        return self._open[execution_id]

    def poke(self, execution_id: str) -> None:
        """Make the advance of this execution look up."""
        if execution_id in self._open:
            self._open[execution_id].poke()


class Heart(HeartbeatThread):
    """The real one, with an actor for its thread."""

    def __init__(self, scheduler: Scheduler, process: str) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._process = process
        self._actor: Actor | None = None
        loop: Any = self
        loop._stop = Stop(scheduler)
        loop._thread = self

    def beat(self, renew: Callable[[], bool]) -> Callable[[], None]:
        if self._actor is None:
            self._actor = self._scheduler.spawn("heart", self._run, process=self._process)
        worker = self._scheduler.current
        # What holds a worker up for so long holds up its whole process: the lease is not renewed.
        return super().beat(lambda: worker.stalled or renew())


def embedded_driver(scheduler: Scheduler, threads: int, poke: Callable[[str], None]) -> EmbeddedDriver:
    """The real driver, waiting on the simulated clock."""
    driver = EmbeddedDriver(threads, poke)
    loop: Any = driver
    loop._changed = Condition(scheduler)
    return driver


class Machines:
    """State machines (``shared.engine.ports.Driver``): one per generation, each an actor.

    Calls that start or wake them get lost, come late or twice.
    """

    def __init__(self, scheduler: Scheduler, weather: Weather) -> None:
        self._scheduler = scheduler
        self._weather = weather
        self._started: set[str] = set()
        self._tokens: dict[str, bool] = {}

    def start(self, org_id: str, execution_id: str, generation: int) -> None:
        scheduler, climate = self._scheduler, self._weather.climate
        name = f"{execution_id}-{generation}"
        if name in self._started:
            return
        if scheduler.chance(climate.lost_call):
            scheduler.note(f"start {name} is lost")
            return
        self._started.add(name)
        copies = 2 if scheduler.chance(climate.double_call) else 1
        for _ in range(copies):
            delay = scheduler.random.randrange(60_000) if scheduler.chance(climate.late_call) else 0
            work = self._machine(f"{org_id}/{execution_id}", generation)
            scheduler.spawn(f"machine {execution_id[-6:]}-{generation}", work, mortal=True, delay_ms=delay)

    def wake(self, org_id: str, execution_id: str, generation: int, task_token: str | None) -> None:
        if task_token is None or task_token not in self._tokens:
            return
        if self._scheduler.chance(self._weather.climate.lost_call):
            self._scheduler.note("a wake-up is lost")
            return
        self._tokens[task_token] = True

    def _machine(self, execution: str, generation: int) -> Callable[[], None]:
        def run() -> None:
            event: dict[str, Any] = {"execution": execution, "generation": generation}
            while (verdict := self._advance(event)) is not None:
                self._scheduler.note(f"machine is told {verdict['word']} {verdict['status']}")
                if verdict["word"] == "park":
                    self._park(event, verdict)
                elif verdict["word"] == "busy":
                    self._scheduler.sleep(verdict["seconds"])
                elif verdict["word"] == "handover":
                    org_id, _, execution_id = execution.partition("/")
                    self.start(org_id, execution_id, verdict["generation"])
                    return
                elif verdict["word"] == "end":
                    return

        return run

    def _advance(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """What the function answers; None when it failed too often and the sweep has to begin again."""
        for failures in range(MAX_FAILURES):
            answer = self._invoke({"op": "advance", **event})
            if answer is not None:
                return answer
            self._scheduler.sleep(min(2.0**failures, 60.0) * self._scheduler.random.random())
        return None

    def _park(self, event: dict[str, Any], verdict: dict[str, Any]) -> None:
        token = ids.uuid4()
        self._tokens[token] = False
        answer = self._invoke({"op": "park", "wake": verdict["wake"], "task_token": token, **event})
        if answer is None:
            self._scheduler.sleep(5)
        else:
            self._scheduler.wait(lambda: self._tokens[token], verdict["seconds"] * 1000)
        del self._tokens[token]

    def _invoke(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """One call of the function; None when it raised or its process died."""
        actor = self._scheduler.current
        try:
            return app.handle(event, None)
        except Died:
            if actor.doomed or self._scheduler.over:
                raise
            actor.dying = False
            return None
        except Exception as error:  # noqa: BLE001
            self._scheduler.note(f"the function raised {error!r}")
            return None
