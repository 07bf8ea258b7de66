"""Programs this process has loaded. A version's program never changes, so nothing here is ever stale."""

from __future__ import annotations

import threading
from collections import OrderedDict

from shared.engine.ports import DefinitionRef
from shared.engine.program import Program

CACHE_BYTES = 32 * 1024 * 1024
"""JSON size of the programs that are kept."""


class ProgramCache:
    """The most recently used programs, up to a total size. Safe to share between threads."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._held: OrderedDict[DefinitionRef, tuple[Program, int]] = OrderedDict()
        self._total = 0

    def get(self, ref: DefinitionRef) -> Program | None:
        """The program, if it is here."""
        with self._lock:
            found = self._held.get(ref)
            if found is None:
                return None
            self._held.move_to_end(ref)
            return found[0]

    def put(self, ref: DefinitionRef, program: Program, size: int) -> None:
        """Keep a program whose JSON has ``size`` bytes; the longest unused ones make room."""
        with self._lock:
            if ref in self._held or size > self._limit:
                return
            self._held[ref] = (program, size)
            self._total += size
            while self._total > self._limit:
                self._total -= self._held.popitem(last=False)[1][1]

    def forget(self, org_id: str) -> None:
        """Drop the programs of an org."""
        with self._lock:
            for ref in [ref for ref in self._held if ref.org_id == org_id]:
                self._total -= self._held.pop(ref)[1]
