"""Wire models of tracking. Source: NullRun docs, HTTP API, Track."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from shared.web.requests import WireAnswer

_EXECUTION = "0198f2c0-de7a-7c2e-9d3a-2f9c41aa01f7"
_WORKFLOW = "51b2f7aa-2b1c-4d7e-8f00-6a1d5e0c9b42"
_EVENT = "0198f2c0-e1b3-7d10-a5c4-7b9e33f2d805"

_CALL: JsonDict = {
    "reservation_id": _EXECUTION,
    "workflow_id": _WORKFLOW,
    "model": "gpt-4o-mini",
    "provider": "openai",
    "tokens": 1200,
    "input_tokens": 1000,
    "output_tokens": 200,
    "latency_ms": 840,
    "idempotency_key": "0f6e5a52-7a34-4a5e-9a7e-3e5b0b8f2d11:a1b2c3d4e5f60718",
}
_EVENTS: JsonDict = {
    "events": [
        {"event_id": _EVENT, "type": "span_end", "execution_id": _EXECUTION, "fn_name": "search", "latency_ms": 900}
    ]
}


class TrackRequest(WireAnswer):
    """One model call. Further fields are ignored."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_CALL]})

    reservation_id: str | None = Field(None, description="What the gate answered; without it nothing was reserved.")
    workflow_id: str | None = Field(None, description="A text other than the key's workflow is kept as a label.")
    model: str | None = None
    provider: str | None = Field(None, description="Says how cached tokens are counted.")
    tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_cents: float | None = Field(None, description="Counts only where the model has no price.")
    latency_ms: float | None = None
    idempotency_key: str | None = None
    event_id: str | None = Field(None, description="Stands for the idempotency key where there is none.")


class Snapshot(WireAnswer):
    """How the workflow's budget stands, in cents; null without one."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"spent_cents": 231, "budget_cents": 5000, "remaining_cents": 4769}]}
    )

    spent_cents: int | None
    budget_cents: int | None
    remaining_cents: int | None


class TrackAnswer(WireAnswer):
    """What was counted."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "event_id": _EVENT,
                    "snapshot": {"spent_cents": 231, "budget_cents": 5000, "remaining_cents": 4769},
                    "actions_taken": [],
                    "processing_mode": "sync",
                    "cost_source": "catalog",
                    "cost_cents": 0.027,
                    "confidence": "high",
                    "idempotent_replay": False,
                }
            ]
        }
    )

    event_id: str
    snapshot: Snapshot
    actions_taken: list[Any]
    processing_mode: str
    cost_source: str = Field(description="catalog, client (its cost_cents) or default.")
    cost_cents: float
    confidence: str = Field(description="high or low.")
    idempotent_replay: bool


class BatchRequest(WireAnswer):
    """Up to 100 events, each with an `event_id` and a `type`. Further fields are ignored."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_EVENTS]})

    events: list[dict[str, Any]]


class Rejection(WireAnswer):
    """Why an event was not taken; with `retry_after_ms` it may be sent again."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "event_id": _EVENT,
                    "reason": "invalid_field",
                    "message": "tokens must be a whole number from 0 to 1000000000",
                    "retry_after_ms": None,
                }
            ]
        }
    )

    event_id: str | None
    reason: str
    message: str
    retry_after_ms: int | None


class BatchAnswer(WireAnswer):
    """What became of the events. `accepted_event_ids` has the stored and the known ones."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "accepted_event_ids": [_EVENT],
                    "accepted": 1,
                    "duplicates": 0,
                    "rejection_details": [],
                    "actions": [],
                    "messages": [],
                }
            ]
        }
    )

    accepted_event_ids: list[str]
    accepted: int
    duplicates: int
    rejection_details: list[Rejection]
    actions: list[Any]
    messages: list[Any]
