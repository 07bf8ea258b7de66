"""A clock that stands still until it is told to move."""

from __future__ import annotations

from shared.kit import clock


class HeldClock:
    """Time for :func:`shared.kit.clock.use`; ``sleep`` moves it and returns at once."""

    def __init__(self, now_ms: int = 1_767_225_600_000) -> None:
        self._now_ms = float(now_ms)

    def now_ms(self) -> int:
        return int(self._now_ms)

    def monotonic(self) -> float:
        return self._now_ms / 1000

    def sleep(self, seconds: float) -> None:
        self._now_ms += seconds * 1000

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.sleep(seconds)


__all__ = ["HeldClock", "clock"]
