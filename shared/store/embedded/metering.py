"""Request units as DynamoDB bills them on demand.

Writes: one unit per started KB of the larger of the old and the new item, twice that in a transaction, and the same
for every index entry that changes. Reads: one unit per started 4 KB, half for eventually consistent ones, twice in a
transaction. Source: Amazon DynamoDB Developer Guide, Read and write operations; Provisioned capacity mode.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shared.store.embedded.tables import Index
from shared.store.embedded.values import Item, item_size


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """One request as the bill sees it: ``items`` touched or examined, units consumed."""

    operation: str
    tables: tuple[str, ...]
    items: int
    read_units: float
    write_units: float


@dataclass(slots=True)
class Usage:
    """The units of a request in the making. Those of indexes are counted only if somebody wants to know: ``exact``."""

    exact: bool = True
    items: int = 0
    read: float = 0.0
    write: float = 0.0
    doubled: bool = False

    def read_bytes(self, size: int, *, consistent: bool, items: int = 1) -> None:
        """One read of ``size`` bytes in all."""
        units = max(1, -(-size // 4096)) * (1.0 if consistent else 0.5)
        self.read += units * 2 if self.doubled else units
        self.items += items

    def write_bytes(self, size: int) -> None:
        """One write of an item that is ``size`` bytes, before or after, whichever is larger."""
        self._write(size)
        self.items += 1

    def _write(self, size: int) -> None:
        units = max(1, -(-size // 1024))
        self.write += units * 2 if self.doubled else units

    def index_write(self, index: Index, old: Item | None, new: Item | None, *, moved: bool) -> None:
        """What a write of the base item costs in one index: a moved entry is a delete and a put."""
        if not self.exact:
            return
        before = projected(index, old) if old is not None and index.entry(old) else None
        after = projected(index, new) if new is not None and index.entry(new) else None
        if not moved:
            if before != after:
                self._write(max(item_size(before or {}), item_size(after or {})))
            return
        for part in (before, after):
            if part is not None:
                self._write(item_size(part))


def projected(index: Index, item: Item) -> Item:
    """The part of an item that an index holds."""
    if index.projected is None:
        return item
    return {name: value for name, value in item.items() if name in index.projected}


class Requests:
    """Announces every request to whoever listens, in the thread that made it."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[StoreRequest], None]] = []
        self._lock = threading.Lock()

    @property
    def are_heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def announce(self, operation: str, tables: tuple[str, ...], usage: Usage) -> None:
        """Tell the listeners of a finished request."""
        if self._listeners:
            request = StoreRequest(operation, tables, usage.items, usage.read, usage.write)
            for listener in list(self._listeners):
                listener(request)

    def subscribe(self, listener: Callable[[StoreRequest], None]) -> Callable[[], None]:
        """Have ``listener`` called for every request from now on; the answer unsubscribes it."""
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.remove(listener)

        return unsubscribe

    @contextmanager
    def recorded(self) -> Iterator[list[StoreRequest]]:
        """The requests made inside the block, from every thread."""
        seen: list[StoreRequest] = []
        unsubscribe = self.subscribe(seen.append)
        try:
            yield seen
        finally:
            unsubscribe()
