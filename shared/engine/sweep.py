"""The backstop of every wake-up: whatever is overdue in the due index is begun again as a new generation.

The index may lag behind its items. That is harmless: a row that is no longer true fails the condition of its restart (a
schedule is read again before it is fired), and a row that is not there yet is found by the next sweep.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from shared.engine.advance import Advancer
from shared.kit import clock
from shared.kit.logging import logger
from shared.store.models.executions import DUE_SHARDS, Control

FireSchedule = Callable[[str, str], bool]
"""Run a due schedule, given its key; whether this call did."""

BUDGET_S = 40.0
"""When a sweep leaves the rest to the next one. On AWS its function has 55 seconds."""

log = logger("sweep")


class Sweep:
    """Looks over the due index. Called every second when embedded, every minute on AWS; running twice is harmless."""

    def __init__(self, advancer: Advancer, fire_schedule: FireSchedule) -> None:
        self._advancer = advancer
        self._fire_schedule = fire_schedule

    def run(self) -> int:
        """Restart overdue executions and fire due schedules; answers how many. One that fails comes again next time."""
        handled, until = 0, clock.monotonic() + BUDGET_S
        for row in _in_turn(clock.now_ms()):
            if clock.monotonic() >= until:
                log.warning("the sweep leaves the rest to the next one", extra={"handled": handled})
                break
            try:
                handled += self._take_up(row)
            except Exception:
                log.exception("a due row could not be taken up", extra={"pk": row.pk, "sk": row.sk})
        return handled

    def _take_up(self, row: Control) -> bool:
        if row.sk != "control":
            return self._fire_schedule(row.pk, row.sk)
        if not self._advancer.restart(row):
            return False
        self._advancer.driver.start(row.org_id, row.execution_id, int(row.generation) + 1)
        return True

    def live(self) -> Iterator[Control]:
        """Every execution that has not ended, for a driver that begins after a restart of its process."""
        return (row for row in _in_turn(None) if row.sk == "control")


def _in_turn(until_ms: int | None) -> Iterator[Control]:
    """Rows of the due index, one shard after the other, so that a crowded shard keeps none waiting; oldest first."""
    bound = Control.due_ms <= until_ms if until_ms is not None else None
    shards = deque(iter(Control.due.query(str(shard), bound)) for shard in range(DUE_SHARDS))
    while shards:
        rows = shards.popleft()
        row = next(rows, None)
        # The index belongs to schedules too, but asked through this model every row is one of it.
        if isinstance(row, Control):
            shards.append(rows)
            yield row
