"""What is due: reservations and approvals whose time is over, deliveries to try again, events nobody has relayed.

The due index may lag behind its items. That is harmless: a row is a hint of what to read, and whoever handles it moves
the record on condition that it is still as it was read. Source: docs/rulings.md#reservations.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from shared.governance.reservations import expire
from shared.kit import clock
from shared.kit.logging import logger
from shared.store.models.governance import DUE_SHARDS, Operation, due_shard

Handler = Callable[[str, str, str], object]
"""Handles the due record of this org, partition and sort key; truthy when it did something."""

BUDGET_S = 20.0
"""When a sweep leaves the rest to the next one. On AWS it shares its function's 55 seconds with the executions'."""

MOST_RELEASED = 100
"""Reservations a refused gate call gives back at most before it is tried once more."""

MOST_READ = 1000
"""Due records a refused gate call looks at for them."""

log = logger("sweep")


class GovernanceSweep:
    """Looks over the due index of governance. Called every second when embedded, every minute on AWS.

    ``handlers`` are by the kind of a record, beside reservations. Running twice at once is harmless.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers: dict[str, Handler] = {"reservation": lambda org_id, pk, sk: expire(pk), **handlers}
        self._unknown: set[str] = set()

    def run(self) -> int:
        """Handle everything due; answers how much. What fails comes again next time."""
        handled, until = 0, clock.monotonic() + BUDGET_S
        for row in _in_turn(clock.now_ms()):
            if clock.monotonic() >= until:
                log.warning("the sweep leaves the rest to the next one", extra={"handled": handled})
                break
            handled += self._handle(row)
        return handled

    def _handle(self, row: Operation) -> bool:
        handler = self._handlers.get(row.kind)
        if handler is None:
            if row.kind not in self._unknown:
                self._unknown.add(row.kind)
                log.error("records of an unknown kind are due", extra={"kind": row.kind})
            return False
        try:
            return bool(handler(row.org_id, row.pk, row.sk))
        except Exception:
            log.exception("a due row could not be handled", extra={"pk": row.pk, "sk": row.sk})
            return False


def release_expired(org_id: str, workflow_id: str | None = None) -> int:
    """Release reservations of the org, or of one workflow, whose time is over; how many."""
    bound = Operation.due_ms <= clock.now_ms()
    # A shard has other orgs' records, too. Where nobody sweeps, not all of them are read for one call's sake.
    due: Iterator[Any] = Operation.due.query(due_shard(org_id), bound, limit=MOST_READ)
    ours = (row for row in due if row.org_id == org_id and row.kind == "reservation")
    concerned = (row for row in ours if workflow_id in (None, row.workflow_id))
    return sum(expire(row.pk) for row in islice(concerned, MOST_RELEASED))


def _in_turn(until_ms: int) -> Iterator[Any]:
    """Rows of the due index, one shard after the other, so that a crowded shard keeps none waiting; oldest first.

    The index belongs to several models; asked through this one, every row is one of it.
    """
    bound = Operation.due_ms <= until_ms
    shards = deque(iter(Operation.due.query(str(shard), bound)) for shard in range(DUE_SHARDS))
    while shards:
        rows = shards.popleft()
        row = next(rows, None)
        if row is not None:
            shards.append(rows)
            yield row
