from __future__ import annotations

from typing import Any

from shared.engine.departure import cancel_executions
from shared.engine.views import ExecutionView, Page
from shared.identity.deletion import Departure
from shared.identity.principal import Principal
from shared.kit.errors import Conflict


class Engine:
    """Lists executions of two orgs and notes what is cancelled; cancelled ones stay listed."""

    def __init__(self, **running: int) -> None:
        self.running = {org: [f"{org}-{number}" for number in range(count)] for org, count in running.items()}
        self.cancelled: list[str] = []

    def list(self, principal: Principal, *, statuses: Any = None, limit: int, offset: int) -> Page[ExecutionView]:
        assert "running" in statuses
        rows = self.running.get(principal.org_id, [])
        views = [ExecutionView(row, 1, "flow", "d", 1, "a", "running", 0) for row in rows[offset : offset + limit]]
        return Page(views, len(rows), limit, offset)

    def cancel(self, principal: Principal, execution_id: str) -> None:
        if execution_id in self.cancelled or execution_id.endswith("-5"):
            raise Conflict("The execution has ended")
        self.cancelled.append(execution_id)


def test_everything_live_in_the_org_is_cancelled_and_nothing_else() -> None:
    """Over many pages; one that ended meanwhile is no error; other orgs go on; again is harmless."""
    engine = Engine(gone=250, stays=3)
    for _ in range(2):
        cancel_executions(engine, Departure("ada", ("gone",)))
    assert sorted(engine.cancelled) == sorted(row for row in engine.running["gone"] if not row.endswith("-5"))
