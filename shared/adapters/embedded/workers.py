"""Threads that run attempts, and the one that keeps leases alive."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from shared.kit.fairness import FairQueue
from shared.kit.logging import logger

log = logger("heart")

HEARTBEAT_SECONDS = 10.0

Work = Callable[[], None]


class WorkerThreads:
    """Threads of the process, ``share`` for one org and twice as many in all; each is started when needed.

    Each advance gets its own mailbox of results. The threads end with the process, whatever they wait for: an attempt
    that is cut off is delivered again by the next process.
    """

    def __init__(self, share: int = 64) -> None:
        self._ready: queue.SimpleQueue[tuple[str, Work] | None] = queue.SimpleQueue()
        self._threads = self._idle = 0
        self._closed = False
        self._line: FairQueue[Work] = FairQueue(share)
        self._lock = threading.Lock()
        self._open: dict[str, Mailbox] = {}

    def mailbox(self, org_id: str, execution_id: str) -> Mailbox:
        """The workers of one advance."""
        box = Mailbox(lambda work: self.submit(org_id, work), lambda closed: self._forget(execution_id, closed))
        self._open[execution_id] = box
        return box

    def submit(self, org_id: str, work: Work) -> None:
        """Have a thread do this for an org, when its turn comes. It must not raise."""
        with self._lock:
            self._line.put(org_id, work)
        self._begin()

    def _begin(self) -> None:
        """Start what may start; there is a thread for each place in the line."""
        with self._lock:
            while not self._closed and (taken := self._line.take()) is not None:
                self._ready.put(taken)
                if self._idle:
                    self._idle -= 1
                else:
                    self._threads += 1
                    threading.Thread(target=self._run, name=f"attempt-{self._threads}", daemon=True).start()

    def _run(self) -> None:
        while (taken := self._ready.get()) is not None:
            org_id, work = taken
            work()
            with self._lock:
                self._line.done(org_id)
                self._idle += 1
            self._begin()

    def _forget(self, execution_id: str, closed: Mailbox) -> None:
        # One that lost its lease may close after the next one opened.
        if self._open.get(execution_id) is closed:
            del self._open[execution_id]

    def poke(self, execution_id: str) -> None:
        """Make the advance of this execution look at its control item now."""
        box = self._open.get(execution_id)
        if box is not None:
            box.poke()

    def close(self) -> None:
        """Begin nothing more."""
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._ready.put(None)


class Mailbox:
    """Has work done and hands out (token, value) as it finishes."""

    def __init__(self, submit: Callable[[Work], None], closed: Callable[[Mailbox], object]) -> None:
        self._submit = submit
        self._closed = closed
        self._over = False
        self._finished: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()

    def submit(self, token: int, work: Callable[[], Any]) -> None:
        """Start ``work``, which never raises."""
        self._submit(lambda: self._run(token, work))

    def _run(self, token: int, work: Callable[[], Any]) -> None:
        # What still queues when the advance is over must not begin: nobody would record what came of it.
        if not self._over:
            self._finished.put((token, work()))

    def next(self, timeout_s: float) -> tuple[int, Any] | None:
        """The next result; None after the time-out or a poke."""
        try:
            return self._finished.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def poke(self) -> None:
        """End a wait in :meth:`next` early."""
        self._finished.put(None)

    def close(self) -> None:
        """Work that has not begun never does; results that come later are dropped."""
        self._over = True
        self._closed(self)


class HeartbeatThread:
    """Renews every lease of the process from one thread."""

    def __init__(self, interval_s: float = HEARTBEAT_SECONDS) -> None:
        self._interval_s = interval_s
        self._beating: dict[int, Callable[[], bool]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._next = 0

    def beat(self, renew: Callable[[], bool]) -> Callable[[], None]:
        """Call ``renew`` at every interval until the returned function is called or it answers False."""
        with self._lock:
            self._next += 1
            number = self._next
            self._beating[number] = renew
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
                self._thread.start()
        return lambda: self._forget(number)

    def close(self) -> None:
        """Stop; leases run out by themselves."""
        self._stop.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _forget(self, number: int) -> None:
        with self._lock:
            self._beating.pop(number, None)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            with self._lock:
                beating = list(self._beating.items())
            for number, renew in beating:
                if not self._still(renew):
                    self._forget(number)

    def _still(self, renew: Callable[[], bool]) -> bool:
        try:
            return renew()
        except Exception:
            log.exception("a lease could not be renewed; the next beat tries again")
            # A store that is out of reach now may answer at the next beat; the lease itself decides.
            return True
