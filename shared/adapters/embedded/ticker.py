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
    """Something to do every ``every_s`` seconds; ``apart`` if it may wait for others and must not keep them waiting."""

    name: str
    every_s: float
    work: Callable[[], object]
    apart: bool = False


class Ticker:
    """One thread does its duties in turn, and one each those apart. What fails is done again at its next time."""

    def __init__(self, duties: Sequence[Duty]) -> None:
        self._due = {duty.name: clock.monotonic() + duty.every_s for duty in duties}
        self._stop = threading.Event()
        groups = [[duty for duty in duties if not duty.apart], *([duty] for duty in duties if duty.apart)]
        self._threads = [
            threading.Thread(target=self._run, args=(group,), name="ticker", daemon=True) for group in groups if group
        ]

    def run(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop after the duties under way."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _run(self, duties: Sequence[Duty]) -> None:
        while not self._stop.wait(self._pause(duties)):
            for duty in duties:
                if self._due[duty.name] <= clock.monotonic() and not self._stop.is_set():
                    self._due[duty.name] = clock.monotonic() + duty.every_s
                    self._do(duty)

    def _pause(self, duties: Sequence[Duty]) -> float:
        return max(min(self._due[duty.name] for duty in duties) - clock.monotonic(), 0.0)

    def _do(self, duty: Duty) -> None:
        try:
            duty.work()
        except Exception:
            log.exception("a periodic duty failed; it is done again at its next time", extra={"duty": duty.name})
