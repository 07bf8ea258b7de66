"""Stopping what runs in an org that goes."""

from __future__ import annotations

import contextlib
from typing import Protocol

from shared.engine.views import LIVE, ExecutionView, Page
from shared.identity.deletion import Departure
from shared.identity.principal import Principal, system_principal
from shared.kit.errors import Conflict, NotFound

_MANY = 1_000_000


class Executions(Protocol):
    """The part of the engine that is needed."""

    def list(
        self, principal: Principal, *, statuses: frozenset[str] | None = None, limit: int, offset: int
    ) -> Page[ExecutionView]: ...

    def cancel(self, principal: Principal, execution_id: str) -> None: ...


def cancel_executions(engine: Executions, departure: Departure) -> None:
    """Cancel every live execution of the orgs whose data go. Harmless when called again."""
    for org_id in departure.org_ids:
        principal = system_principal(org_id, departure.account_id)
        # One look, because those that end meanwhile would move the rows of a second page.
        for view in engine.list(principal, statuses=LIVE, limit=_MANY, offset=0).items:
            # It may have ended by itself, or have been cancelled and not ended yet.
            with contextlib.suppress(Conflict, NotFound):
                engine.cancel(principal, view.id)
