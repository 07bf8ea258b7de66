"""Pause, resume and kill of a workflow reach the executions of every definition it governs.

The purse has said no since the change itself was written; this tells what runs already.
Source: docs/rulings.md#governed-definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from shared.governance.states import KILLED, PAUSED
from shared.identity.principal import Principal, system_principal
from shared.kit import json
from shared.kit.errors import Conflict, NotFound
from shared.store.models.governance import Event, Purse, purse_pk
from shared.store.models.policies import Approval, Binding, bindings_pk
from shared.store.transaction import read

_STATES = ("workflow.paused", "workflow.resumed", "workflow.killed")
_BINDINGS = ("workflow.bound", "workflow.unbound")

Tell: TypeAlias = Callable[[Principal, str], None]


class Runs(Protocol):
    """The part of the engine that is needed."""

    def live(self, principal: Principal, definition_id: str) -> Sequence[str]:
        """Ids of the live executions of a definition."""

    def hold(self, principal: Principal, execution_id: str) -> None:
        """Pause an execution unless its own people have."""

    def release(self, principal: Principal, execution_id: str) -> None:
        """End a hold, and have an execution that the gate holds ask again."""

    def cancel(self, principal: Principal, execution_id: str) -> None: ...

    def nudge(self, principal: Principal, execution_id: str) -> None:
        """Have an execution that is held ask again."""


class FlowCommands:
    """Follows events of workflows. One that is told late is a hint like any other: the purse says what holds now."""

    def __init__(self, runs: Callable[[], Runs]) -> None:
        self._runs = runs

    def follow(self, event: Event) -> None:
        """Tell the live executions that the event's workflow governs, or that it has just begun or ceased to govern."""
        org_id, workflow_id = event.org_id, event.resource_id
        if event.action in _STATES:
            rows = Binding.query(bindings_pk(org_id), consistent_read=True)
            governed = [row.definition_id for row in rows if row.workflow_id == workflow_id]
            concerned: dict[str, str | None] = dict.fromkeys(governed, workflow_id)
        elif event.action in _BINDINGS:
            definition_id = json.loads(event.details)["definition_id"]
            found = read(Binding, bindings_pk(org_id), definition_id)
            concerned = {definition_id: None if found is None else found.workflow_id}
        else:
            return
        for definition_id, governor in concerned.items():
            self._tell_each(event, definition_id, governor)

    def _tell_each(self, event: Event, definition_id: str, workflow_id: str | None) -> None:
        runs, principal = self._runs(), system_principal(event.org_id, "")
        live = runs.live(principal, definition_id)
        if event.action == "workflow.unbound" and json.loads(event.details).get("workflow_deleted"):
            # What a workflow governed ends with it. What has begun since is free, or another one's.
            for execution_id in [execution_id for execution_id in live if execution_id < event.event_id]:
                _tell(runs.cancel, principal, execution_id)
            return
        tell = _way(runs, event.org_id, workflow_id)
        for execution_id in live:
            _tell(tell, principal, execution_id)

    def decided(self, approval: Approval) -> None:
        """Wake the execution that waits for an approval."""
        if approval.flow_execution_id is not None:
            _tell(self._runs().nudge, system_principal(approval.org_id, ""), approval.flow_execution_id)


def _way(runs: Runs, org_id: str, workflow_id: str | None) -> Tell:
    """What executions are told that this workflow governs, or none does."""
    if workflow_id is None:
        return runs.release
    purse = read(Purse, purse_pk(org_id, workflow_id), "purse")
    state = KILLED if purse is None else purse.state
    return {PAUSED: runs.hold, KILLED: runs.cancel}.get(state, runs.release)


def _tell(tell: Tell, principal: Principal, execution_id: str) -> None:
    try:
        tell(principal, execution_id)
    except (Conflict, NotFound):
        # It has ended meanwhile.
        return
