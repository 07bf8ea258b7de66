"""Bugs to plant: what the simulation must find, or its invariants are too weak."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from shared.engine.attempt import Attempts
from shared.engine.beginning import Beginning
from shared.engine.children import Children
from shared.engine.commands import Commands
from shared.engine.journal import Journal
from shared.engine.repository import ExecutionRepository
from shared.engine.scope import ScopeFactory
from shared.engine.service import Engine
from shared.engine.state import State
from shared.engine.sweep import Sweep
from shared.identity.principal import Principal
from shared.kit import json
from shared.push import Connections
from shared.store.models.executions import Snapshot, Summary
from tests.simulation.history import History, Outcome
from tests.simulation.weather import Climate

Revise = Callable[[str, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Plant:
    """A bug: requests that are changed on their way to the store, or functions that are replaced.

    ``climate`` is one in which it shows soon; ``governed`` are histories in which it does.
    """

    revise: Revise | None = None
    patches: tuple[tuple[type, str, Any], ...] = ()
    climate: Climate | None = None
    governed: bool = False

    @contextmanager
    def growing(self) -> Iterator[None]:
        """The bug exists inside the block."""
        with ExitStack() as stack:
            for owner, name, replacement in self.patches:
                stack.enter_context(patch.object(owner, name, replacement))
            yield

    def found_by(self, seeds: range) -> Outcome | None:
        """The first history that ends in a violation."""
        with self.growing():
            for seed in seeds:
                history = History(seed, climate=self.climate, governed=self.governed)
                history.store.revise = self.revise
                outcome = history.run()
                if outcome.failure is not None:
                    return outcome
        return None


def unconditional(prefix: str, *names: str) -> Revise:
    """Drop comparisons of these attributes from the conditions of updates whose sort key begins with ``prefix``."""

    def revise(operation: str, request: dict[str, Any]) -> dict[str, Any]:
        if operation == "TransactWriteItems":
            return {
                **request,
                "TransactItems": [_dropped(action, prefix, names) for action in request["TransactItems"]],
            }
        return _dropped({"Update": request}, prefix, names)["Update"] if operation == "UpdateItem" else request

    return revise


def _dropped(action: dict[str, Any], prefix: str, names: tuple[str, ...]) -> dict[str, Any]:
    update = action.get("Update")
    if update is None or "ConditionExpression" not in update or not update["Key"]["sk"]["S"].startswith(prefix):
        return action
    condition = update["ConditionExpression"]
    for placeholder, name in update["ExpressionAttributeNames"].items():
        if name in names:
            # Every name and value must still be used, or the request is refused.
            always = (
                rf"({placeholder} = \1 OR attribute_exists ({placeholder}) OR attribute_not_exists ({placeholder}))"
            )
            condition = re.sub(rf"{re.escape(placeholder)} = (:\d+)", always, condition)
    return {"Update": {**update, "ConditionExpression": condition}}


def _unswept(sweep: Sweep) -> int:
    return 0


def _stale(repository: ExecutionRepository, pk: str, index: int, state: State) -> Snapshot:
    return Snapshot(pk, "snapshot", index=index, state=json.dumps(State().to_json()))


_listed, _parked = Engine.list, Journal.park


def _list_of_anybody(engine: Engine, principal: Principal, **asked: Any) -> Any:
    """The list of the first org in the store, whoever asks."""
    first = next(iter(Summary.scan(Summary.sk == "summary")), None)
    org_id = first.pk.partition("#")[0] if first is not None else principal.org_id
    return _listed(engine, replace(principal, org_id=org_id), **asked)


def _parked_for_ever(journal: Journal, until_ms: int | None, status: str) -> bool:
    return _parked(journal, None, status)


def _half_cancelled(engine: Engine, principal: Principal, execution_id: str) -> None:
    engine.get(principal, execution_id)


_STALLS = Climate(stall=0.05, lost_call=0.2)
_RECORDS = Climate(fault=0.02, reorder=0.5, double_record=0.5)
_DEATHS = Climate(death=0.03, lost_call=0.5)

PLANTS: dict[str, Plant] = {
    "appends without the wake counter": Plant(unconditional("control", "wake")),
    "appends without the lease": Plant(unconditional("control", "lease"), climate=_STALLS),
    "appends without wake counter and command": Plant(unconditional("control", "wake", "command")),
    "answers without the state of the wait": Plant(unconditional("wait#", "status"), climate=Climate()),
    "effects before their start is written": Plant(patches=((Attempts, "effectful", lambda attempts, node: False),)),
    "an inbox nobody reads": Plant(patches=((ExecutionRepository, "inbox", lambda repository, pk: []),)),
    "a sweep that does nothing": Plant(patches=((Sweep, "run", _unswept),), climate=_DEATHS),
    "a take-over that forgets nothing": Plant(
        patches=((State, "forget_deliveries", lambda state: None),), climate=_DEATHS
    ),
    "secrets that are not redacted": Plant(patches=((ScopeFactory, "redact", lambda scopes, value: value),)),
    "cancellations that are only acknowledged": Plant(patches=((Engine, "cancel", _half_cancelled),)),
    "cursors that stay": Plant(
        patches=((Connections, "settle", lambda connections, listener, cursor: True),), climate=_RECORDS
    ),
    "claims that anybody gets": Plant(
        patches=((Connections, "claim", lambda connections, listener: listener),), climate=_RECORDS
    ),
    "lists of another tenant": Plant(patches=((Engine, "list", _list_of_anybody),)),
    "moments that the due index does not know": Plant(patches=((Journal, "park", _parked_for_ever),)),
    "children that tell nobody of their end": Plant(patches=((Journal, "_report", lambda journal, ended: {}),)),
    "children that outlive their parents": Plant(patches=((Children, "leave", lambda children: True),)),
    "commands that stop at the parent": Plant(patches=((Commands, "pass_on", lambda *given: None),)),
    "effects that nobody has allowed": Plant(
        patches=((Beginning, "_judge", lambda beginning, tokens: (tokens, [])),), governed=True
    ),
    "wake-ups that what is held does not hear": Plant(
        patches=((Commands, "nudge", lambda *given: None),), climate=Climate(), governed=True
    ),
    "snapshots of another state": Plant(patches=((ExecutionRepository, "snapshot", _stale),)),
}
