"""Wire models of the gate. Source: NullRun docs, HTTP API, SDK endpoints."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from shared.web.requests import WireAnswer

_ORG = "8d0c2a7e-51c4-4f0e-9d3a-2f9c41aa01f7"
_EXECUTION = "0198f2c0-de7a-7c2e-9d3a-2f9c41aa01f7"
_WORKFLOW = "51b2f7aa-2b1c-4d7e-8f00-6a1d5e0c9b42"
_NONE_DIGEST = "0049d93a36f0710269a6deb733ca78d57a770ef640a2698d0fddaa9653b7c3de"


class GateRequest(WireAnswer):
    """What is about to be done. Only ``organization_id`` is expected of everybody; further fields are ignored."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "organization_id": "local", "operation_id": "0f6e5a52-7a34-4a5e-9a7e-3e5b0b8f2d11",
                    "check_type": "llm", "model": "gpt-4o-mini", "estimated_tokens": 1, "tools": ["search"],
                    "action_digest": _NONE_DIGEST,
                }
            ]
        },
    )  # fmt: skip

    organization_id: str
    operation_id: str | None = None
    model: str | None = None
    estimated_tokens: int | None = None
    max_output_tokens: int | None = None
    tool: str | None = None
    tools: list[str] | None = None
    action_digest: str | None = None
    business_impact: dict[str, Any] | None = None
    chain_id: str | None = None
    chain_op: str | None = None
    approval_id: str | None = None


class GateAnswer(WireAnswer):
    """That it may be done, or that a person decides. ``reservation_id`` is the execution's id from here on."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "decision": "allow", "decision_source": "gateway", "reservation_id": _EXECUTION,
                    "execution_id": _EXECUTION, "operation_id": "0f6e5a52-7a34-4a5e-9a7e-3e5b0b8f2d11",
                    "explanation": "Within policy.", "projected_cost_cents": 1, "remaining_budget_cents": 4210,
                    "policy_version": 7, "idempotent_replay": False, "details": {},
                }
            ]
        },
    )  # fmt: skip

    decision: str
    decision_source: str
    reservation_id: str | None
    operation_id: str
    explanation: str


class ExecuteRequest(WireAnswer):
    """The tool about to run, under the execution id the gate answered."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "organization_id": "local", "execution_id": _EXECUTION, "tool": "search", "mode": "strict",
                    "input": {"args": [], "kwargs": {}}, "tools": ["search"], "action_digest": _NONE_DIGEST,
                }
            ]
        },
    )  # fmt: skip

    organization_id: str
    execution_id: str
    tool: str | None = None
    tools: list[str] | None = None
    action_digest: str | None = None
    business_impact: dict[str, Any] | None = None
    approval_id: str | None = None


class VerifyRequest(WireAnswer):
    """The key may be in the header instead."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"api_key": "nr_live_k3wT9xQ2mB7cV5nL1pR8sD4fG6hJ0aZy"}]})

    api_key: str | None = None


class Verified(WireAnswer):
    """Whose key it is, and the secret to sign with."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "valid": True, "organization_id": _ORG, "organization_name": "Acme", "plan": "growth", "role": None,
                    "workflow_id": _WORKFLOW, "secret_key": "5e" * 32, "key_version": 1, "features": {"alerts": True},
                    "limits": {"workflows": 50},
                }
            ]
        },
    )  # fmt: skip

    valid: bool
    organization_id: str
    organization_name: str
    plan: str
    role: str | None
    workflow_id: str
    secret_key: str
    key_version: int
    features: dict[str, Any]
    limits: dict[str, Any]


class Capabilities(WireAnswer):
    """What the server speaks."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [{"min_protocol_version": 2, "max_protocol_version": 4, "protocol_version": 4,
                          "capabilities": {"server_minted_execution_id": True}}]
        },
    )  # fmt: skip

    min_protocol_version: int
    max_protocol_version: int
    protocol_version: int
    capabilities: dict[str, Any]


class CancelRequest(WireAnswer):
    """The execution that will not go on."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"execution_id": _EXECUTION, "reason": "tool_exception"}]}
    )

    execution_id: str
    reason: str | None = None


class Canceled(WireAnswer):
    """What was given back of its reservation."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"execution_id": _EXECUTION, "canceled_at": 1790000000, "reservation_released_cents": 1,
                          "already_canceled": False}]
        }
    )  # fmt: skip

    execution_id: str
    canceled_at: int
    reservation_released_cents: int
    already_canceled: bool


class HeartbeatRequest(WireAnswer):
    """The chain that is still alive."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"chain_id": "2f1f9c59-7c0b-4f3c-9b62-0c6a0d3ee0c5"}]}
    )

    chain_id: str


class Heartbeat(WireAnswer):
    """When the chain was last heard of, in Unix seconds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"status": "ok", "chain_id": "2f1f9c59-7c0b-4f3c-9b62-0c6a0d3ee0c5",
                          "last_active": 1790000000}]
        }
    )  # fmt: skip

    status: str
    chain_id: str
    last_active: int


class WorkflowStatus(WireAnswer):
    """A workflow's state for clients that poll."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"workflow_id": _WORKFLOW, "state": "Normal", "version": 4, "reason": None,
                          "updated_at": 1790000000, "current_cost": 2.31, "rate_per_minute": 6}]
        }
    )  # fmt: skip

    workflow_id: str
    state: str
    version: int
    reason: str | None
    updated_at: int
    current_cost: float
    rate_per_minute: int


class ApproximateSpend(WireAnswer):
    """What the workflow has spent in its period."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"current_spend_cents_estimate": 231, "is_approximate": True, "source": "primary",
                          "confidence": "High", "last_updated_at": "2026-10-01T12:00:00.000Z"}]
        }
    )  # fmt: skip

    current_spend_cents_estimate: int
    is_approximate: bool
    source: str
    confidence: str
    last_updated_at: str
