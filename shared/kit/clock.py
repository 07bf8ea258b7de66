"""Time. Everything that needs it asks here, so that a test can hold it still.

Times inside the system are whole milliseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol


class Source(Protocol):
    """Where time comes from."""

    def now_ms(self) -> int: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemSource:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


_source: Source = SystemSource()


def now_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return _source.now_ms()


def monotonic() -> float:
    """Seconds on a clock that never goes back."""
    return _source.monotonic()


def sleep(seconds: float) -> None:
    """Let ``seconds`` pass."""
    _source.sleep(seconds)


@contextmanager
def use(source: Source) -> Iterator[None]:
    """Take time from ``source`` inside the block."""
    global _source
    before, _source = _source, source
    try:
        yield
    finally:
        _source = before


def rfc3339(ms: int) -> str:
    """``1767225600123`` → ``2026-01-01T00:00:00.123Z``."""
    seconds, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def parse_rfc3339(text: str) -> int:
    """The reverse of :func:`rfc3339`; any offset is accepted, a missing one is refused with ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time without an offset: {text!r}")
    return int(moment.timestamp() * 1000)
