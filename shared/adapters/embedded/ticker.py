"""What happens every so often in the one-machine system: the work of the sweep rule and of TTL on AWS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.kit import clock
from shared.kit.logging import logger

log = logger("ticker")


@dataclass(frozen=True, slots=True)
class Duty:
    """Something to do every ``every_s`` seconds."""

    name: str
    every_s: float
    work: Callable[[], object]


class Ticker:
    """One thread that does its duties in turn. A duty that fails is done again at its next time."""

    def __init__(self, duties: Sequence[Duty]) -> None:
        self._duties = duties
        self._due = {duty.name: clock.monotonic() + duty.every_s for duty in duties}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def run(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the duty under way."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._pause()):
            for duty in self._duties:
                if self._due[duty.name] <= clock.monotonic() and not self._stop.is_set():
                    self._due[duty.name] = clock.monotonic() + duty.every_s
                    self._do(duty)

    def _pause(self) -> float:
        return max(min(self._due.values()) - clock.monotonic(), 0.0)

    def _do(self, duty: Duty) -> None:
        try:
            duty.work()
        except Exception:
            log.exception("a periodic duty failed; it is done again at its next time", extra={"duty": duty.name})
