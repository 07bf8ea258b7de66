"""Pause, resume and kill of a workflow reach the executions of every definition it governs.

The purse has said no since the change itself was written; this tells what runs already.
Source: docs/rulings.md#governed-definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from shared.governance.states import KILLED, PAUSED
from shared.identity.principal import Principal, system_principal
from shared.kit.errors import Conflict, NotFound
from shared.store.models.governance import Event, Purse, purse_pk
from shared.store.models.policies import Approval, Binding, bindings_pk
from shared.store.transaction import read


class Runs(Protocol):
    """The part of the engine that is needed."""

    def live(self, principal: Principal, definition_id: str) -> Sequence[str]:
        """Ids of the live executions of a definition."""

    def pause(self, principal: Principal, execution_id: str) -> None: ...

    def resume(self, principal: Principal, execution_id: str) -> None: ...

    def cancel(self, principal: Principal, execution_id: str) -> None: ...

    def nudge(self, principal: Principal, execution_id: str) -> None:
        """Have an execution that is held ask again."""


class FlowCommands:
    """Follows events of workflows. One that is told late is a hint like any other: the purse says what holds now."""

    def __init__(self, runs: Callable[[], Runs]) -> None:
        self._runs = runs

    def follow(self, event: Event) -> None:
        """Tell every live execution that the event's workflow governs."""
        if event.action not in ("workflow.paused", "workflow.resumed", "workflow.killed", "workflow.deleted"):
            return
        rows = Binding.query(bindings_pk(event.org_id), consistent_read=True)
        bound = [row.definition_id for row in rows if row.workflow_id == event.resource_id]
        if not bound:
            return
        runs, principal = self._runs(), system_principal(event.org_id, "")
        purse = read(Purse, purse_pk(event.org_id, event.resource_id), "purse")
        state = KILLED if purse is None else purse.state
        tell = {PAUSED: runs.pause, KILLED: runs.cancel}.get(state, runs.resume)
        for definition_id in bound:
            for execution_id in runs.live(principal, definition_id):
                _tell(tell, principal, execution_id)

    def decided(self, approval: Approval) -> None:
        """Wake the execution that waits for an approval."""
        if approval.flow_execution_id is not None:
            _tell(self._runs().nudge, system_principal(approval.org_id, ""), approval.flow_execution_id)


def _tell(tell: Callable[[Principal, str], None], principal: Principal, execution_id: str) -> None:
    try:
        tell(principal, execution_id)
    except (Conflict, NotFound):
        # It has ended meanwhile.
        return
