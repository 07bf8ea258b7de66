"""Many actors, of which exactly one runs at a time, in an order that a seed decides.

Every actor is a thread that waits for its baton. Whoever runs hands the baton on at each step (a store call, a sleep, a
wait), so a seed is a whole history: the same steps, faults and times whenever it is run again.

    ready ──chosen──▶ running ──step──▶ ready
                         ├──sleep, wait──▶ waiting ──time or condition──▶ ready
                         └──end or death──▶ gone
"""

from __future__ import annotations

import random
import threading
import traceback
import zlib
from collections.abc import Callable

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z, when every history begins."""

PATIENCE_S = 120.0
"""Real seconds without any end after which the scheduler itself must be stuck."""


class Died(BaseException):
    """Ends an actor where it stands, as a crash does. No handler of the code under test catches it."""


class Actor:
    """One thread of the history. ``process`` names the process it dies with, ``parent`` who started its work."""

    __slots__ = ("baton", "condition", "doomed", "dying", "mortal", "name", "parent", "process", "stalled", "wake_at")

    def __init__(self, name: str, process: str, mortal: bool, wake_at: int, baton: threading.Lock) -> None:
        self.name = name
        self.process = process
        self.mortal = mortal
        self.wake_at: int | None = wake_at
        self.condition: Callable[[], bool] | None = None
        self.doomed = False
        self.dying = False
        self.stalled = False
        self.baton = baton
        self.parent: Actor | None = None


class _Carrier:
    """A thread that lives through one actor after the other."""

    __slots__ = ("baton", "load", "thread")

    def __init__(self) -> None:
        self.baton = threading.Lock()
        self.baton.acquire()
        self.load: tuple[Actor, Callable[[], object]] | None = None
        self.thread: threading.Thread | None = None


class Scheduler:
    """The clock (``shared.kit.clock.use``) and the order of a history."""

    def __init__(self, seed: int, *, keep_trace: bool = False) -> None:
        self.random = random.Random(seed)
        self.failure: str | None = None
        self.trace: list[str] = []
        self.digest = 0
        self.steps = 0
        self.over = False
        self._keep_trace = keep_trace
        self._now = START_MS
        self._actors: list[Actor] = []
        self._current: Actor | None = None
        self._ended = threading.Event()
        self._carriers: list[_Carrier] = []
        self._idle: list[_Carrier] = []

    # The clock

    def now_ms(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._now / 1000

    def sleep(self, seconds: float) -> None:
        """Let simulated time pass, for whoever runs."""
        if self._current is None:
            self._now += int(seconds * 1000)
            return
        self.wait(None, max(int(seconds * 1000), 1))

    # Chance

    def chance(self, probability: float) -> bool:
        """True with this probability; costs no randomness where it cannot happen."""
        return probability > 0 and self.random.random() < probability

    # Actors

    def spawn(
        self, name: str, work: Callable[[], object], *, process: str = "", mortal: bool = False, delay_ms: int = 0
    ) -> Actor:
        """Add an actor; it runs when it is chosen. A ``mortal`` one may be struck dead by a fault."""
        carrier = self._idle.pop() if self._idle else self._new_carrier()
        actor = Actor(name, process, mortal, self._now + delay_ms, carrier.baton)
        carrier.load = actor, work
        self._actors.append(actor)
        return actor

    def _new_carrier(self) -> _Carrier:
        carrier = _Carrier()
        carrier.thread = threading.Thread(target=self._carry, args=(carrier,), name="actor", daemon=True)
        carrier.thread.start()
        self._carriers.append(carrier)
        return carrier

    @property
    def current(self) -> Actor:
        """Whoever runs."""
        assert self._current is not None, "no actor runs"
        return self._current

    @property
    def outside(self) -> bool:
        """Whether the caller is no actor: the history is being set up or examined."""
        return self._current is None

    def run(self) -> None:
        """Let the actors act until somebody ends the history; afterwards none is left."""
        first = self._next()
        self._current = first
        first.baton.release()
        if not self._ended.wait(PATIENCE_S):
            raise RuntimeError(f"the scheduler is stuck at {self._current.name}, step {self.steps}")
        self._current = None
        for carrier in self._carriers:
            carrier.baton.release()
            if carrier.thread is not None:
                carrier.thread.join()

    def end(self) -> None:
        """End the history: every other actor goes."""
        self.over = True

    def fail(self, message: str) -> None:
        """End the history because an invariant does not hold."""
        if self.failure is None:
            self.failure = message
            self.note(f"VIOLATION {message}")
        self.over = True
        raise Died

    def kill(self, process: str) -> None:
        """Doom every actor of a process but the caller."""
        for actor in self._actors:
            if actor.process == process and actor is not self._current:
                actor.doomed = True

    def doom(self, actor: Actor) -> None:
        """Doom one actor: it dies at its next step."""
        actor.doomed = True

    def note(self, text: str) -> None:
        """Add a line to the event log. The digest of all lines tells two histories apart."""
        line = f"{(self._now - START_MS) / 1000:9.3f} {self._current.name if self._current else '-':<28} {text}"
        self.digest = zlib.crc32(line.encode(), self.digest)
        if self._keep_trace:
            self.trace.append(line)

    # Steps

    def step(self) -> None:
        """A moment at which another actor may come first."""
        self.steps += 1
        self._now += 1
        self.current.wake_at = self._now
        self._hand_over()

    def wait(self, condition: Callable[[], bool] | None, timeout_ms: int | None) -> bool:
        """Until the condition holds (True) or the time is over (False)."""
        actor = self.current
        actor.condition = condition
        actor.wake_at = self._now + timeout_ms if timeout_ms is not None else None
        self._hand_over()
        held = condition is not None and condition()
        actor.condition, actor.wake_at = None, self._now
        return held

    def _hand_over(self) -> None:
        actor = self.current
        following = self._next()
        if following is not actor:
            self._current = following
            following.baton.release()
            actor.baton.acquire()
        if actor.doomed or actor.dying or self.over:
            raise Died

    def _next(self) -> Actor:
        """Who runs now; time passes when nobody can."""
        if self.over:
            return self._actors[0]
        while True:
            ready = [actor for actor in self._actors if self._is_ready(actor)]
            if ready:
                return ready[int(self.random.random() * len(ready))] if len(ready) > 1 else ready[0]
            moments = [actor.wake_at for actor in self._actors if actor.wake_at is not None]
            if not moments:
                self.failure = self.failure or "nothing can happen any more"
                self.over = True
                return self._actors[0]
            self._now = max(self._now, min(moments))

    def _is_ready(self, actor: Actor) -> bool:
        if actor.doomed or (actor.wake_at is not None and actor.wake_at <= self._now):
            return True
        return actor.condition is not None and actor.condition()

    def _carry(self, carrier: _Carrier) -> None:
        while True:
            carrier.baton.acquire()
            if carrier.load is None:
                return
            actor, work = carrier.load
            self._live(actor, work)
            carrier.load = None
            self._actors.remove(actor)
            self._idle.append(carrier)
            if not self._actors:
                self._ended.set()
                continue
            following = self._next()
            self._current = following
            following.baton.release()

    def _live(self, actor: Actor, work: Callable[[], object]) -> None:
        try:
            if not (actor.doomed or self.over):
                work()
        except Died:
            return
        except BaseException as error:  # noqa: BLE001
            where = "".join(traceback.format_tb(error.__traceback__)[-4:])
            self.failure = self.failure or f"{actor.name} raised {error!r}\n{where}"
            self.over = True


class Condition:
    """Stands in for :class:`threading.Condition` where only one actor runs at a time."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._notices = 0

    def __enter__(self) -> Condition:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def notify(self) -> None:
        self._notices += 1

    notify_all = notify

    def wait(self, timeout: float | None = None) -> bool:
        """Until the next notice or the time is over."""
        seen = self._notices
        limit = None if timeout is None else max(int(timeout * 1000), 1)
        return self._scheduler.wait(lambda: self._notices != seen, limit)


class Stop:
    """Stands in for a :class:`threading.Event` that ends a loop; here loops end by death."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def is_set(self) -> bool:
        return False

    def set(self) -> None:
        return None

    def wait(self, timeout: float) -> bool:
        self._scheduler.wait(None, max(int(timeout * 1000), 1))
        return False
