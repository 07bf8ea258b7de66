"""Sending without holding up others: a receiver that does not answer must not delay the relay or the sweep.

Source: docs/rulings.md#alert-channels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from shared.kit.logging import logger

log = logger("deliveries")

Submit: TypeAlias = Callable[[str, Callable[[], None]], None]
"""Has work of an org done by another thread, sooner or later."""


class Dispatch:
    """Hands deliveries to other threads; without any, as in a function that ends with its call, sends at once.

    A delivery that waits for its turn or is being sent is not handed over again.
    """

    def __init__(self, deliver: Callable[[str, str], bool], submit: Submit | None) -> None:
        self._deliver = deliver
        self._submit = submit
        self._known: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def __call__(self, org_id: str, delivery_id: str) -> bool:
        """Have a delivery sent if it is due; whether there is something to do."""
        if self._submit is None:
            return self._deliver(org_id, delivery_id)
        with self._lock:
            if (org_id, delivery_id) in self._known:
                return False
            self._known.add((org_id, delivery_id))
        self._submit(org_id, partial(self._run, org_id, delivery_id))
        return True

    def _run(self, org_id: str, delivery_id: str) -> None:
        try:
            self._deliver(org_id, delivery_id)
        except Exception:
            # It is due still or again, and the sweep comes back to it.
            log.exception("a delivery could not be handled", extra={"org_id": org_id, "delivery_id": delivery_id})
        finally:
            with self._lock:
                self._known.discard((org_id, delivery_id))
