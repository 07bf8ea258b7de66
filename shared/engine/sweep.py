"""The backstop of every wake-up: whatever is overdue in the due index is begun again as a new generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shared.engine.advance import Advancer
from shared.kit import clock
from shared.store.models.executions import DUE_SHARDS, Control

FireSchedule = Callable[[str, str], None]
"""Run a due schedule, given its key."""


class Sweep:
    """Looks over the due index. Called every second when embedded, every minute on AWS; running twice is harmless."""

    def __init__(self, advancer: Advancer, fire_schedule: FireSchedule) -> None:
        self._advancer = advancer
        self._fire_schedule = fire_schedule

    def run(self) -> int:
        """Restart overdue executions and fire due schedules; answers how many."""
        handled = 0
        for row in self._due(clock.now_ms()):
            if row.sk == "control":
                self._restart(row)
            else:
                self._fire_schedule(row.pk, row.sk)
            handled += 1
        return handled

    def _restart(self, row: Control) -> None:
        if self._advancer.restart(row):
            self._advancer.driver.start(row.org_id, row.execution_id, int(row.generation) + 1)

    def live(self) -> Iterator[Control]:
        """Every execution that has not ended, for a driver that begins after a restart of its process."""
        return (row for row in self._due(None) if row.sk == "control")

    def _due(self, until_ms: int | None) -> Iterator[Control]:
        for shard in range(DUE_SHARDS):
            bound = Control.due_ms <= until_ms if until_ms is not None else None
            yield from Control.due.query(str(shard), bound)
