"""A waiting line that no single tenant can fill."""

from __future__ import annotations

from collections import Counter, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items in line by whose they are. Not thread-safe: the lock of its owner guards it.

    There are ``2 * share`` places. A key's next item may begin while more places are free than the key occupies: one
    key alone gets ``share``, two get two thirds, and there is nearly always room for yet another (dynamic thresholds:
    Choudhury and Hahne, 1998). Keys take turns; items of one key begin in order.
    """

    def __init__(self, share: int) -> None:
        self._free = 2 * share
        self._waiting: dict[str, deque[T]] = {}
        self._running: Counter[str] = Counter()

    def put(self, key: str, item: T) -> None:
        """Line up."""
        self._waiting.setdefault(key, deque()).append(item)

    def take(self) -> tuple[str, T] | None:
        """The next item that may begin, which occupies a place until :meth:`done`; None when there is none."""
        for key, line in self._waiting.items():
            if self._running[key] < self._free:
                item = line.popleft()
                # The key goes to the end of the turn.
                del self._waiting[key]
                if line:
                    self._waiting[key] = line
                self._running[key] += 1
                self._free -= 1
                return key, item
        return None

    def done(self, key: str) -> None:
        """A place of this key is free again."""
        self._free += 1
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]

    def leave(self, key: str, item: T) -> bool:
        """Take a waiting item out of the line; False when it is not there any more."""
        line = self._waiting.get(key)
        if line is None or item not in line:
            return False
        line.remove(item)
        if not line:
            del self._waiting[key]
        return True
