"""Wire models of executions and the audit trail.

Source: NullRun docs, HTTP API, Executions and Audit log; docs/rulings.md#governed-executions, #audit-chain.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict
from pydantic.config import JsonDict

from shared.governance.chain import canonical
from shared.governance.executions import ExecutionDetail, ExecutionRow
from shared.governance.exports import ExportView
from shared.governance.money import cents
from shared.governance.trail import Happening, Span
from shared.governance.verification import MOST_VERIFIED, Verification
from shared.kit import clock
from shared.web.requests import WireAnswer, WireModel

_EXECUTION = "0198f2c0-de7a-7c2e-9d3a-2f9c41aa01f7"
_WORKFLOW = "51b2f7aa-2b1c-4d7e-8f00-6a1d5e0c9b42"
_JOB = "0198f2c1-0a11-7b2e-8d3a-2f9c41aa01f7"
_KEY = "7c1e0b52-7a34-4a5e-9a7e-3e5b0b8f2d11"
_HASHES = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_AT = "2026-10-01T12:00:00.123Z"

_ROW: JsonDict = {
    "id": _EXECUTION, "execution_id": _EXECUTION, "kind": "operation", "workflow_id": _WORKFLOW,
    "workflow_name": "support bot", "definition_id": None, "trace_id": None, "tool": "refund", "model": None,
    "decision": "allow", "result": "completed", "error_code": None, "explanation": "Within policy.",
    "projected_cost_cents": 1, "cost_cents": 3, "tokens": 1200, "llm_calls": 2, "latency_ms": 840, "policy_id": None,
    "created_at": _AT, "completed_at": _AT,
}  # fmt: skip
_EVENT: JsonDict = {"type": "gate.allow", "timestamp": _AT, "details": {"decision": "allow"}}
_SPAN: JsonDict = {
    "name": "refund", "type": "tool_call", "span_id": "b7ad6b7169203331", "parent_span_id": None, "started_at": _AT,
    "ended_at": _AT, "duration_ms": 840, "status": "completed",
}  # fmt: skip
_ENTRY: JsonDict = {
    "id": _EXECUTION, "action": "gate.block", "event_type": "authorization_decision", "actor": f"api_key:{_KEY}",
    "actor_label": "prod key (nr_live_ab12)", "actor_type": "api_key", "actor_id": _KEY, "resource_type": "workflow",
    "resource_id": _WORKFLOW, "outcome": "blocked", "timestamp": _AT, "metadata": {}, "previous_event_hash": "0" * 64,
    "current_event_hash": _HASHES, "agent_id": None, "principal_id": None, "decision": "deny", "policy_id": None,
    "policy_version": 3, "policy_hash": None, "matched_rule": "db.*", "reason_code": "TOOL_BLOCKED",
    "execution_id": _EXECUTION, "action_digest": None, "tool_name": "db.drop", "tool_version": None,
    "tool_digest": None,
}  # fmt: skip
EXPORT_LINE = canonical(_ENTRY) + "\n"
"""A line of an export."""

_EXPORT: JsonDict = {
    "id": _JOB, "job_id": _JOB, "status": "completed", "file_url": f"https://example.com/api/v1/orgs/o/{_JOB}/file",
    "record_count": 1, "truncated": False, "created_at": _AT, "completed_at": _AT, "error_message": None,
}  # fmt: skip


class GovernedExecution(WireAnswer):
    """An operation of the gate, or an execution of a definition."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ROW]})

    id: str
    execution_id: str
    kind: str
    workflow_id: str | None
    workflow_name: str | None
    definition_id: str | None
    trace_id: str | None
    tool: str | None
    model: str | None
    decision: str
    result: str
    error_code: str | None
    explanation: str | None
    projected_cost_cents: int
    cost_cents: int
    tokens: int
    llm_calls: int
    latency_ms: int
    policy_id: str | None
    created_at: str
    completed_at: str | None


class GovernedExecutionList(WireAnswer):
    """A part of the executions, newest first. Counts and total are of the newest 2,000 unless ``complete``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "executions": [_ROW], "counts": {"allow": 1, "block": 0, "pending": 0, "denied": 0}, "total": 1,
                    "complete": True, "next_cursor": None,
                }
            ]
        }
    )  # fmt: skip

    executions: list[GovernedExecution]
    counts: dict[str, int]
    total: int
    complete: bool
    next_cursor: str | None


class GovernedExecutionDetail(GovernedExecution):
    """An execution with what happened in it, oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_ROW, "events": [_EVENT], "spans": [_SPAN]}]})

    events: list[dict[str, Any]]
    spans: list[dict[str, Any]]


class AuditLog(WireAnswer):
    """Entries of the audit trail, newest first. ``total_matching`` is of all entries if ``complete``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "data": [_ENTRY],
                    "meta": {
                        "total_returned": 1, "total_matching": 1, "filtered": False, "limit": 100, "complete": True
                    },
                }
            ]
        }
    )  # fmt: skip

    data: list[dict[str, Any]]
    meta: dict[str, Any]


class AuditVerification(WireAnswer):
    """Whether the chain is whole. ``unchained`` counts recent events and operations that are not in it yet."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "verified": True, "chain_valid": True, "record_count": 41, "first_hash": _HASHES,
                    "last_hash": _HASHES, "first_failure_reason": None, "first_failure_number": None,
                    "timestamp": _AT, "hmac_checked": False, "chain_window_limit": MOST_VERIFIED,
                    "null_timestamp_rows_skipped": 0, "unchained": 0,
                }
            ]
        }
    )  # fmt: skip

    verified: bool
    chain_valid: bool
    record_count: int
    first_hash: str | None
    last_hash: str | None
    first_failure_reason: str | None
    first_failure_number: int | None
    timestamp: str
    hmac_checked: bool
    chain_window_limit: int
    null_timestamp_rows_skipped: int
    unchained: int


class NewExport(WireModel):
    """The time to export, RFC 3339; by default the last 30 days."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{}, {"since": "2026-09-01T00:00:00Z", "until": "2026-10-01T00:00:00Z"}]}
    )

    since: str | None = None
    until: str | None = None


class ExportStarted(WireAnswer):
    """The job; its status tells when the file is there."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"job_id": _JOB, "id": _JOB, "status": "pending"}]})

    job_id: str
    id: str
    status: str


class ExportStatus(WireAnswer):
    """A job. ``file_url`` is there once it is completed, needs no credentials, and works for 15 minutes."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXPORT]})

    id: str
    job_id: str
    status: str
    file_url: str | None
    record_count: int
    truncated: bool
    created_at: str
    completed_at: str | None
    error_message: str | None


class ExportList(WireAnswer):
    """The newest ten jobs."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"exports": [_EXPORT]}]})

    exports: list[ExportStatus]


def execution_row(row: ExecutionRow) -> dict[str, Any]:
    """An execution as it is answered."""
    return {
        "id": row.id, "execution_id": row.id, "kind": row.kind, "workflow_id": row.workflow_id,
        "workflow_name": row.workflow_name, "definition_id": row.definition_id, "trace_id": row.trace_id,
        "tool": row.tool, "model": row.model, "decision": row.decision, "result": row.result,
        "error_code": row.error_code, "explanation": row.explanation, "projected_cost_cents": cents(row.projected),
        "cost_cents": cents(row.spent), "tokens": row.tokens, "llm_calls": row.llm_calls,
        "latency_ms": row.latency_ms, "policy_id": row.policy_id, "created_at": clock.rfc3339(row.created_ms),
        "completed_at": _moment(row.completed_ms),
    }  # fmt: skip


def execution_detail(detail: ExecutionDetail) -> dict[str, Any]:
    """An execution with its events and spans as it is answered."""
    events = [_event_row(event) for event in detail.events]
    return {**execution_row(detail.row), "events": events, "spans": [_span_row(span) for span in detail.spans]}


def _event_row(event: Happening) -> dict[str, Any]:
    return {"type": event.type, "timestamp": clock.rfc3339(event.at_ms), "details": dict(event.details)}


def _span_row(span: Span) -> dict[str, Any]:
    ended = span.ended_ms
    return {
        "name": span.name, "type": span.type, "span_id": span.span_id, "parent_span_id": span.parent_span_id,
        "started_at": clock.rfc3339(span.started_ms), "ended_at": _moment(ended),
        "duration_ms": None if ended is None else max(ended - span.started_ms, 0), "status": span.status,
    }  # fmt: skip


def verification_row(found: Verification, unchained: int) -> dict[str, Any]:
    """What a verification found as it is answered."""
    return {
        "verified": found.failure is None, "chain_valid": found.failure is None, "record_count": found.count,
        "first_hash": found.first_hash, "last_hash": found.last_hash, "first_failure_reason": found.failure,
        "first_failure_number": found.failed_at, "timestamp": clock.rfc3339(clock.now_ms()), "hmac_checked": False,
        "chain_window_limit": MOST_VERIFIED, "null_timestamp_rows_skipped": 0, "unchained": unchained,
    }  # fmt: skip


def export_row(job: ExportView) -> dict[str, Any]:
    """An export job as it is answered."""
    return {
        "id": job.id, "job_id": job.id, "status": job.status, "file_url": job.file_url,
        "record_count": job.record_count, "truncated": job.truncated, "created_at": clock.rfc3339(job.created_ms),
        "completed_at": _moment(job.completed_ms), "error_message": job.error_message,
    }  # fmt: skip


def _moment(ms: int | None) -> str | None:
    return None if ms is None else clock.rfc3339(ms)
