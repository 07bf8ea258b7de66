"""The embedded driver: a few threads over the same ``advance`` that the state machine calls on AWS.

start / wake ──▶ queue ──▶ worker: advance ──▶ end       nothing more
                   ▲                       ├─▶ advance   back into the queue
                   │                       ├─▶ park      a timer, unless only a signal ends it
                   └──────── timers ◀──────┴─▶ busy      a timer
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

from shared.engine.interpreter import Verdict
from shared.kit import clock
from shared.kit.fairness import FairQueue
from shared.kit.logging import logger

log = logger("driver")

Ref = tuple[str, str, int]
"""Org, execution, generation."""

Advance = Callable[[str, str, int], Verdict]

RETRY_MS = 1_000
"""When to try again after an advance broke (the store was out of reach, say); each time twice as late."""

LONGEST_RETRY_MS = 60_000

_MOST_VOID = 64
"""So many timers that no longer count are kept, beside as many as do."""


class EmbeddedDriver:
    """Advances executions on threads: ``share`` for one org, up to twice as many in all.

    One execution is never advanced twice at once here. An advance waits for its effects, so an org whose nodes all call
    a slow server would otherwise keep every other waiting.
    """

    closing_s = 10.0
    """How long advances have to end when the process stops."""

    def __init__(self, share: int, poke: Callable[[str], None] = lambda execution_id: None) -> None:
        self._threads = 2 * share
        self._poke = poke
        self._changed = threading.Condition()
        self._queue: FairQueue[Ref] = FairQueue(share)
        self._queued: set[Ref] = set()
        self._running: set[Ref] = set()
        self._again: set[Ref] = set()
        self._broken: dict[Ref, int] = {}
        self._timers: list[tuple[int, int, Ref]] = []
        self._timer_of: dict[Ref, int] = {}
        self._sequence = itertools.count()
        self._stopping = False
        self._workers: list[threading.Thread] = []

    def run(self, advance: Advance) -> None:
        """Begin to work."""
        for number in range(self._threads):
            worker = threading.Thread(target=self._work, args=(advance,), name=f"driver-{number}", daemon=True)
            self._workers.append(worker)
            worker.start()

    def close(self) -> None:
        """Stop, and give the advances under way a while to end; the next process finds them and what is queued."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        end = clock.monotonic() + self.closing_s
        for worker in self._workers:
            worker.join(max(end - clock.monotonic(), 0))

    @property
    def stopping(self) -> bool:
        """Whether the process is about to end."""
        return self._stopping

    def start(self, org_id: str, execution_id: str, generation: int) -> None:
        """Queue an execution."""
        self._enqueue((org_id, execution_id, generation))

    def wake(self, org_id: str, execution_id: str, generation: int, task_token: str | None) -> None:
        """Queue an execution again; one that is being advanced is told to look."""
        self._enqueue((org_id, execution_id, generation))
        self._poke(execution_id)

    def at(self, moment_ms: int, org_id: str, execution_id: str, generation: int) -> None:
        """Queue an execution at a moment, unless it is advanced before."""
        with self._changed:
            ref, number = (org_id, execution_id, generation), next(self._sequence)
            self._timer_of[ref] = number
            heapq.heappush(self._timers, (moment_ms, number, ref))
            if len(self._timers) > 2 * len(self._timer_of) + _MOST_VOID:
                self._timers = [timer for timer in self._timers if self._timer_of.get(timer[2]) == timer[1]]
                heapq.heapify(self._timers)
            self._changed.notify()

    def _enqueue(self, ref: Ref) -> None:
        with self._changed:
            if ref in self._running:
                self._again.add(ref)
            elif ref not in self._queued:
                self._line_up(ref)
                self._changed.notify()

    def _line_up(self, ref: Ref) -> None:
        self._queued.add(ref)
        self._queue.put(ref[0], ref)

    def _work(self, advance: Advance) -> None:
        while (ref := self._take()) is not None:
            try:
                verdict = advance(*ref)
                self._broken.pop(ref, None)
            except Exception:
                if self._stopping:
                    # An advance that outlasts the closing finds the store gone.
                    return
                log.exception("advance failed; it will be tried again", extra={"execution_id": ref[1]})
                verdict = Verdict("busy", until_ms=clock.now_ms() + self._retry_ms(ref))
            self._settle(ref, verdict)

    def _retry_ms(self, ref: Ref) -> int:
        times = self._broken[ref] = self._broken.get(ref, 0) + 1
        # The shift is bounded, so that an execution broken for days does not make a giant of a number.
        return min(RETRY_MS << min(times - 1, 16), LONGEST_RETRY_MS)

    def _take(self) -> Ref | None:
        with self._changed:
            while not self._stopping:
                self._fire()
                if (taken := self._queue.take()) is not None:
                    ref = taken[1]
                    self._queued.discard(ref)
                    self._running.add(ref)
                    self._timer_of.pop(ref, None)
                    if self._queued:
                        # The place that became free may have made room for one of another org too.
                        self._changed.notify()
                    return ref
                timeout = (self._timers[0][0] - clock.now_ms()) / 1000 if self._timers else None
                self._changed.wait(timeout)
            return None

    def _fire(self) -> None:
        now = clock.now_ms()
        while self._timers and self._timers[0][0] <= now:
            _, number, ref = heapq.heappop(self._timers)
            if self._timer_of.get(ref) != number:
                continue
            del self._timer_of[ref]
            if ref not in self._queued and ref not in self._running:
                self._line_up(ref)
                # Of several that are due at once, whoever woke takes one.
                self._changed.notify()
            elif ref in self._running:
                self._again.add(ref)

    def _settle(self, ref: Ref, verdict: Verdict) -> None:
        with self._changed:
            self._running.discard(ref)
            self._queue.done(ref[0])
            again = ref in self._again
            self._again.discard(ref)
        if verdict.word == "advance" or (again and verdict.word in ("park", "busy")):
            self._enqueue(ref)
        elif verdict.until_ms is not None and verdict.word in ("park", "busy"):
            self.at(verdict.until_ms, *ref)
