"""Wake-ups from the change stream: the promise behind the short cuts that API calls take.

A call that starts, signals or cancels an execution writes first and then tells the driver. If it dies in between, the
change record of its write comes here and the driver is told again; a wake-up that is not needed does nothing.
"""

from __future__ import annotations

from shared.engine.ports import Driver
from shared.engine.repository import ExecutionRepository
from shared.store.base import table_name
from shared.store.models.executions import Control
from shared.store.stream import ChangeRecord


class WakeUps:
    """A relay handler over the executions table."""

    def __init__(self, repository: ExecutionRepository, driver: Driver) -> None:
        self._repository = repository
        self._driver = driver

    def __call__(self, record: ChangeRecord) -> None:
        """Start what was just created; wake what has unread commands or signals."""
        pk, sk = record.keys["pk"]["S"], record.keys["sk"]["S"]
        if record.table != table_name("executions") or sk != "control" or record.event == "REMOVE":
            return
        org_id, _, execution_id = pk.partition("#")
        control = self._repository.control(org_id, execution_id)
        if control is None or not control.live:
            return
        if record.event == "INSERT":
            # One that was advanced already was started; an Express machine would run a second time.
            if not control.segment:
                self._driver.start(org_id, execution_id, 0)
        elif _unread(control):
            self._driver.wake(org_id, execution_id, int(control.generation), control.task_token)


def _unread(control: Control) -> bool:
    """Whether somebody wrote since the lease holder last looked, and nobody holds the lease who would look."""
    return control.wake != control.absorbed and control.lease is None
