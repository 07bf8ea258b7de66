"""``cron``: run a flow by the clock. Source: FlowRunner language, cron node."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from shared.engine.kinds.base import Call, Done, NodeFailed, NodeKind, Outcome
from shared.engine.kinds.scripting import text_of
from shared.engine.kinds.secrecy import without_secrets
from shared.kit.errors import SignalboxError

OPERATIONS = ("schedule", "list", "get", "delete")


class CronNode(NodeKind):
    """Makes, shows and deletes the account's jobs in the org."""

    name: ClassVar[str] = "cron"
    effectful: ClassVar[bool] = True
    description: ClassVar[str] = "Run a flow of the organisation by the clock."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "operation": {"enum": list(OPERATIONS), "default": "schedule"},
            "schedule": {
                "type": "string",
                "description": "Cron expression of five fields (minute first), or six with seconds first.",
            },
            "timezone": {"type": "string", "default": "UTC", "description": "A zone such as Europe/Berlin."},
            "flow_id": {"type": "string", "description": "The flow to run; without it the flow of this node."},
            "node_id": {"type": "string", "description": "Shown with the job."},
            "payload": {"description": "Object that is the input of every run."},
            "id": {"type": "string", "description": "Name of the job. Scheduling it again replaces it."},
        },
    }

    def run(self, call: Call) -> Outcome:
        operation = call.params.get("operation") or "schedule"
        try:
            match operation:
                case "schedule":
                    return Done(_schedule(call))
                case "list":
                    rows = call.services.schedules.list(call.execution)
                    return Done({"jobs": [_without_entry(row) for row in rows]})
                case "get":
                    return Done(_get(call, _text(call.require("id"), "id")))
                case "delete":
                    job_id = _text(call.require("id"), "id")
                    return Done({"deleted": call.services.schedules.delete(call.execution, job_id), "id": job_id})
        except SignalboxError as error:
            raise NodeFailed(error.message, retryable=error.status >= 500) from None
        raise NodeFailed(f"operation must be schedule, list, get or delete, not {text_of(operation)}", retryable=False)


def _schedule(call: Call) -> dict[str, Any]:
    given = call.params
    spec = {
        "id": _text(given.get("id") or _own_id(call), "id"),
        "schedule": _text(call.require("schedule"), "schedule"),
        "timezone": _text(given.get("timezone") or "UTC", "timezone"),
        "flow_id": _text(given.get("flow_id") or call.execution.definition_id, "flow_id"),
        "node_id": _text(given.get("node_id") or call.node.name, "node_id"),
        "payload": given["payload"] if given.get("payload") is not None else {},
    }
    if without_secrets(call, spec) != spec:
        message = (
            "a job must not contain a secret, because its runs show it; let the scheduled flow read it from secrets"
        )
        raise NodeFailed(message, retryable=False)
    row = call.services.schedules.create(call.execution, spec)
    made = {"job_id": row["id"], "entry_id": row["entry_id"]}
    return made | {"schedule": row["schedule"], "next_run_time": row["next_run_time"]}


def _own_id(call: Call) -> str:
    """One node, one job: a flow that is run by its own job would otherwise make another with every run."""
    item = f"#{call.scope.index}" if call.scope.has_item else ""
    name = f"{call.execution.definition_id}#{call.node.name}{item}"
    return f"cron-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def _get(call: Call, job_id: str) -> dict[str, Any]:
    row = call.services.schedules.get(call.execution, job_id)
    if row is None:
        raise NodeFailed(f"there is no job {job_id}", retryable=False)
    return _without_entry(row)


def _without_entry(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "entry_id"}


def _text(value: Any, name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise NodeFailed(f"{name} must be text", retryable=False)
    return str(value)
