"""Wire models of the executions family. Source: FlowRunner API Reference, Flow Execution."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from shared.web.requests import WireAnswer

Status = Literal["running", "completed", "failed", "canceled"]
Level = Literal["debug", "info", "warn", "error"]

_EXECUTION: dict[str, Any] = {
    "id": "0198c0de-0000-7000-8000-000000000000",
    "flow_id": "flow-0198c0de",
    "status": "completed",
    "started_at": "2023-01-01T12:00:00.000Z",
    "completed_at": "2023-01-01T12:00:05.000Z",
    "duration": 5000,
}
_LOG: dict[str, Any] = {
    "timestamp": "2023-01-01T12:00:01.000Z",
    "level": "info",
    "message": "HTTP request successful",
    "node_id": "start",
    "node_type": "http.request",
    "data": {"status_code": 200, "url": "https://api.example.com/data"},
}


class RunRequest(WireAnswer):
    """What a flow is run with; ``shared`` is another name of ``input``."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": {"key": "value"}}]})

    input: dict[str, Any] = Field(default={}, description="The run's input, an object.")


class StartedExecution(WireAnswer):
    """An execution that has just begun."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "execution_id": _EXECUTION["id"],
                    "flow_id": _EXECUTION["flow_id"],
                    "status": "running",
                    "created_at": "2023-01-01T12:00:00.000Z",
                }
            ]
        }
    )

    execution_id: str
    flow_id: str
    status: Literal["running"]
    created_at: str


class ExecutionRow(WireAnswer):
    """An execution in a list. ``duration`` is in whole milliseconds; what does not apply is left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXECUTION]})

    id: str
    flow_id: str
    kind: str = Field("flow", description="Which API's definition it runs.")
    status: Status
    started_at: str
    completed_at: str | None = None
    duration: int | None = None
    error: str | None = Field(None, description="Only after a failure or a cancellation.")
    progress: int = 0


class ExecutionDetail(ExecutionRow):
    """One execution with its input, and its result once completed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**_EXECUTION, "input": {"key": "value"}, "result": {"output": "value"}}]}
    )

    input: dict[str, Any] = Field(default_factory=dict)
    result: dict[str, Any] | None = None
    results: dict[str, Any] | None = Field(None, description="The result with the action that ended the flow.")
    current_node: str | None = None


class ExecutionList(WireAnswer):
    """A part of the list of executions, oldest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"executions": [_EXECUTION], "total": 1, "limit": 10, "offset": 0}]}
    )

    executions: list[ExecutionRow]
    total: int
    limit: int
    offset: int


class LogRow(WireAnswer):
    """A line of an execution's log."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LOG]})

    timestamp: str
    level: Level
    message: str
    node_id: str | None = None
    node_type: str | None = None
    data: dict[str, Any] | None = None


class LogList(WireAnswer):
    """A part of an execution's log in the order of time."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"logs": [_LOG], "total": 1, "limit": 10, "offset": 0}]})

    logs: list[LogRow]
    total: int
    limit: int
    offset: int


class Signal(WireAnswer):
    """What a waiting node gets as its answer: any object."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [{"approved": True}]})


class Acknowledged(WireAnswer):
    """That it was done."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message": "Execution cancelled successfully"}]})

    message: str
