"""Wire models of workflows and API keys. Source: NullRun docs, HTTP API, Workflows and Org management."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from shared.governance.keys import KeyView, MintedKey, RotatedKey
from shared.governance.states import status_of
from shared.governance.workflow_views import WorkflowView
from shared.kit import clock
from shared.store.models.policies import Binding
from shared.web.requests import WireAnswer, WireModel

_WORKFLOW_ID = "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7"
_KEY_ID = "0198c0df-1b20-7a41-8c11-6d2e0b9f3c55"
_ORG_ID = "6f1d2a0e-9c55-5b0e-8a57-0d5ba7e2c001"
_DEFINITION_ID = "0198c0e0-44c1-7d02-9b7e-51a0c3d7e812"
_SECRET = "5e0a7c1f93b24d68a1f0c2e4d6b8091a3c5e7f90b1d2f4a6c8e0123456789abc"  # noqa: S105

_WORKFLOW: JsonDict = {
    "id": _WORKFLOW_ID,
    "workflow_id": _WORKFLOW_ID,
    "organization_id": _ORG_ID,
    "name": "support bot",
    "external_id": "support-bot",
    "description": "Answers tickets",
    "state": "Normal",
    "status": "active",
    "version": 1,
    "reason": None,
    "budget_cents": 5000,
    "spent_cents": 0,
    "period_start": "2026-01-01T12:00:00.000Z",
    "period_end": "2026-02-01T12:00:00.000Z",
    "human_approvals_enabled": False,
    "api_key_count": 0,
    "last_activity_at": None,
    "created_at": "2026-01-01T12:00:00.000Z",
    "updated_at": "2026-01-01T12:00:00.000Z",
}
_KEY: JsonDict = {
    "id": _KEY_ID,
    "name": "prod",
    "key_prefix": "nr_live_k3w9",
    "workflow_id": _WORKFLOW_ID,
    "workflow_name": "support bot",
    "scopes": ["*"],
    "status": "active",
    "key_version": 1,
    "last_used_at": None,
    "expires_at": None,
    "created_at": "2026-01-01T12:00:00.000Z",
}
_BINDING: JsonDict = {
    "definition_id": _DEFINITION_ID,
    "workflow_id": _WORKFLOW_ID,
    "created_at": "2026-01-01T12:00:00.000Z",
}
_KEY_TEXT = "nr_live_k3w9XbT2mQ7vLc5RfYh8ZpDs4NjGa1Ue"
_BUDGET = "Cents of a period, from 0; 0 and null: no budget of its own."
_HUMAN = "Every call that names a tool waits for a person."


class NewWorkflow(WireModel):
    """A workflow to be."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "support bot", "external_id": "support-bot", "budget_cents": 5000}]}
    )

    name: str = Field(description="1 to 255 characters.")
    external_id: str | None = Field(None, description="An id of your own: 1 to 64 letters, digits, `_` or `-`.")
    description: str | None = Field(None, description="2000 characters at most.")
    budget_cents: int | None = Field(None, description=_BUDGET)
    human_approvals_enabled: bool = Field(False, description=_HUMAN)


class WorkflowChanges(WireModel):
    """What to change; what is left out stays, and null removes what may be absent. A state is ignored."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"budget_cents": 10000, "description": None}]})

    name: str | None = None
    external_id: str | None = None
    description: str | None = None
    budget_cents: int | None = Field(None, description=_BUDGET)
    human_approvals_enabled: bool | None = Field(None, description=_HUMAN)

    def sent(self) -> dict[str, Any]:
        """The fields that were there."""
        return self.model_dump(include=self.model_fields_set)


class StateReason(WireModel):
    """Why; may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "runaway"}]})

    reason: str | None = Field(None, description="500 characters at most.")


class WorkflowRow(WireAnswer):
    """A workflow. `version` counts changes of its state; money and period are the current ones."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WORKFLOW]})

    id: str
    workflow_id: str
    organization_id: str
    name: str
    external_id: str | None
    description: str | None
    state: Literal["Normal", "Flagged", "Tripped", "Paused", "Killed"]
    status: Literal["active", "paused", "killed"]
    version: int
    reason: str | None
    budget_cents: int | None
    spent_cents: int
    period_start: str
    period_end: str
    human_approvals_enabled: bool
    api_key_count: int
    last_activity_at: str | None
    created_at: str
    updated_at: str


class WorkflowList(WireAnswer):
    """A part of the workflows, oldest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"workflows": [_WORKFLOW], "total": 1, "next_cursor": None}]}
    )

    workflows: list[WorkflowRow]
    total: int
    next_cursor: str | None


class NewApiKey(WireModel):
    """A key to be. It belongs to one workflow for good."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "prod", "workflow_id": _WORKFLOW_ID}]})

    name: str = Field(description="1 to 80 characters.")
    workflow_id: str | None = Field(None, description="Required, unless the path names the workflow.")
    scopes: list[str] | None = Field(None, description="Of `gate`, `execute`, `track`, `verify`; `*` is all of them.")
    expires_at: str | None = Field(None, description="RFC 3339, in the future.")
    environment: Literal["live", "test"] = "live"


class ApiKeyRow(WireAnswer):
    """A key, without anything secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [_KEY]})

    id: str
    name: str
    key_prefix: str
    workflow_id: str
    workflow_name: str | None
    scopes: list[str]
    status: Literal["active", "revoked", "expired"]
    key_version: int
    last_used_at: str | None
    expires_at: str | None
    created_at: str


class ApiKeyList(WireAnswer):
    """A part of the keys, oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"api_keys": [_KEY], "total": 1, "next_cursor": None}]})

    api_keys: list[ApiKeyRow]
    total: int
    next_cursor: str | None


class MintedApiKey(ApiKeyRow):
    """A fresh key. `key` (also `api_key`) and `secret_key` are shown only here."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{**_KEY, "key": _KEY_TEXT, "api_key": _KEY_TEXT, "secret_key": _SECRET}],
        }
    )

    key: str
    api_key: str
    secret_key: str


class RotatedApiKey(WireAnswer):
    """A key with a new secret, shown only here. The key itself stays as it is and is not stored, so `key` is null."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _KEY_ID,
                    "key": None,
                    "secret_key": _SECRET,
                    "key_version": 2,
                    "key_prefix": "nr_live_k3w9",
                    "previous_secret_expires_at": "2026-01-02T12:00:00.000Z",
                }
            ]
        }
    )

    id: str
    key: None
    secret_key: str
    key_version: int
    key_prefix: str
    previous_secret_expires_at: str


class BindingRow(WireAnswer):
    """That a workflow governs the executions of a definition."""

    model_config = ConfigDict(json_schema_extra={"examples": [_BINDING]})

    definition_id: str
    workflow_id: str
    created_at: str


class BindingList(WireAnswer):
    """Every definition the workflow governs, by id."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"definitions": [_BINDING], "total": 1}]})

    definitions: list[BindingRow]
    total: int


def workflow_row(workflow: WorkflowView) -> dict[str, Any]:
    """A workflow as it is answered."""
    return {
        "id": workflow.id,
        "workflow_id": workflow.id,
        "organization_id": workflow.org_id,
        "name": workflow.name,
        "external_id": workflow.external_id,
        "description": workflow.description,
        "state": workflow.state,
        "status": status_of(workflow.state),
        "version": workflow.version,
        "reason": workflow.reason,
        "budget_cents": workflow.budget_cents,
        "spent_cents": workflow.spent_cents,
        "period_start": clock.rfc3339(workflow.period_start_ms),
        "period_end": clock.rfc3339(workflow.period_end_ms),
        "human_approvals_enabled": workflow.human_approvals_enabled,
        "api_key_count": workflow.key_count,
        "last_activity_at": _time(workflow.active_ms),
        "created_at": clock.rfc3339(workflow.created_ms),
        "updated_at": clock.rfc3339(workflow.updated_ms),
    }


def key_row(key: KeyView) -> dict[str, Any]:
    """A key as lists have it."""
    return {
        "id": key.id,
        "name": key.name,
        "key_prefix": key.prefix,
        "workflow_id": key.workflow_id,
        "workflow_name": key.workflow_name,
        "scopes": list(key.scopes),
        "status": key.status,
        "key_version": key.version,
        "last_used_at": _time(key.last_used_ms),
        "expires_at": _time(key.expires_ms),
        "created_at": clock.rfc3339(key.created_ms),
    }


def minted_row(minted: MintedKey) -> dict[str, Any]:
    """A fresh key, the only time in full."""
    return key_row(minted.view) | {"key": minted.key, "api_key": minted.key, "secret_key": minted.secret}


def rotated_row(rotated: RotatedKey) -> dict[str, Any]:
    """A key's new secret."""
    return {
        "id": rotated.view.id,
        "key": None,
        "secret_key": rotated.secret,
        "key_version": rotated.view.version,
        "key_prefix": rotated.view.prefix,
        "previous_secret_expires_at": clock.rfc3339(rotated.previous_until_ms),
    }


def binding_row(binding: Binding) -> dict[str, Any]:
    """A binding as it is answered."""
    return {
        "definition_id": binding.definition_id,
        "workflow_id": binding.workflow_id,
        "created_at": clock.rfc3339(int(binding.created_ms)),
    }


def _time(moment_ms: int | None) -> str | None:
    return None if moment_ms is None else clock.rfc3339(moment_ms)
