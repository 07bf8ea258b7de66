"""Wire models of policies. Source: NullRun docs, HTTP API, Policies."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from shared.governance.policies import PolicyView
from shared.governance.policy_forms import MAX_NAME, MAX_PRIORITY
from shared.governance.policyset import PolicyScope
from shared.governance.templates import Template
from shared.kit import clock
from shared.web.requests import WireAnswer, WireModel

_ID = "0198f2c0-de7a-7c2e-9d3a-2f9c41aa01f7"
_WORKFLOW = "0198f2c0-1b1c-7d7e-8f00-6a1d5e0c9b42"
_TARGET = 200
_SCOPES: dict[PolicyScope, str] = {"org": "Org", "workflow": "Workflow", "api_key": "ApiKey"}

_ROW: JsonDict = {
    "id": _ID,
    "policy_id": _ID,
    "organization_id": "8d0c2a7e-51c4-4f0e-9d3a-2f9c41aa01f7",
    "name": "No SQL drops",
    "policy_type": "ToolBlock",
    "type": "ToolBlock",
    "scope": "Org",
    "scope_id": None,
    "workflow_id": None,
    "api_key_id": None,
    "enabled": True,
    "priority": 100,
    "enforcement_mode": "Hard",
    "config": {"tool_pattern": ["db.drop*"]},
    "template_id": None,
    "version": 1,
    "created_at": "2026-01-01T12:00:00.000Z",
    "updated_at": "2026-01-01T12:00:00.000Z",
}
_TEMPLATE: JsonDict = {
    "id": "block-shell",
    "name": "Block shell tools",
    "description": "Nothing runs commands.",
    "policy_type": "ToolBlock",
    "config": {"tool_pattern": ["bash", "bash.*"]},
    "enabled": False,
    "policy_id": None,
    "plan": "growth",
}


class PolicyTarget(WireModel):
    """What a template's policy is about, if not the whole organisation."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"scope": "Workflow", "workflow_id": _WORKFLOW}]})

    scope: str | None = Field(None, description="Org, Workflow or ApiKey, in any case.")
    scope_id: str | None = Field(None, max_length=_TARGET, description="Id of the workflow or key.")
    workflow_id: str | None = Field(None, max_length=_TARGET, description="Another name of scope_id.")
    api_key_id: str | None = Field(None, max_length=_TARGET, description="Another name of scope_id.")


class PolicyChanges(PolicyTarget):
    """What to change; what is left out, or null, stays. `config` is replaced as a whole."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"config": {"budget_cents": 6000}, "priority": 50}]})

    name: str | None = Field(None, max_length=MAX_NAME)
    policy_type: str | None = Field(None, description="BudgetLimit, RateLimit or ToolBlock; it cannot change.")
    type: str | None = Field(None, description="Another name of policy_type.")
    enabled: bool | None = None
    active: bool | None = Field(None, description="Another name of enabled.")
    is_active: bool | None = Field(None, description="Another name of enabled.")
    priority: int | None = Field(None, ge=0, le=MAX_PRIORITY, description="The smallest is walked first.")
    enforcement_mode: str | None = Field(None, description="Hard or Soft.")
    config: dict[str, Any] | None = Field(None, description="The settings of the policy's type.")


class NewPolicy(PolicyChanges):
    """A new policy: name, type and config are required."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "No SQL drops", "policy_type": "ToolBlock", "scope": "Org",
                    "config": {"tool_pattern": ["db.drop*"]},
                },
                {
                    "name": "Nightly cap", "policy_type": "BudgetLimit", "scope": "Workflow", "workflow_id": _WORKFLOW,
                    "enforcement_mode": "Soft", "config": {"budget_cents": 5000, "max_overdraft_cents": 200},
                },
                {"name": "Slow down", "policy_type": "RateLimit", "config": {"max_calls_per_minute": 60}},
            ]
        }
    )  # fmt: skip


class PolicySwitch(WireModel):
    """On or off; without any of the three it is turned over."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": False}]})

    enabled: bool | None = None
    active: bool | None = Field(None, description="Another name of enabled.")
    is_active: bool | None = Field(None, description="Another name of enabled.")


class PolicyToggle(PolicySwitch):
    """Which policy is switched on or off."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"policy_id": _ID, "enabled": False}]})

    policy_id: str = Field(min_length=1)


class PolicyRow(WireAnswer):
    """A policy."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ROW]})

    id: str
    policy_id: str
    organization_id: str
    name: str
    policy_type: str
    type: str
    scope: str
    scope_id: str | None
    workflow_id: str | None
    api_key_id: str | None
    enabled: bool
    priority: int
    enforcement_mode: str
    config: dict[str, Any]
    template_id: str | None
    version: int
    created_at: str
    updated_at: str


class MadePolicy(PolicyRow):
    """A policy, and once more below `policy`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_ROW, "policy": _ROW}]})

    policy: PolicyRow


class PolicyList(WireAnswer):
    """A part of the policies, oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"policies": [_ROW], "total": 1, "next_cursor": None}]})

    policies: list[PolicyRow]
    total: int
    next_cursor: str | None


class TemplateRow(WireAnswer):
    """A policy that only has to be enabled; `policy_id` is there once it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TEMPLATE]})

    id: str
    name: str
    description: str
    policy_type: str
    config: dict[str, Any]
    enabled: bool
    policy_id: str | None
    plan: str


class TemplateList(WireAnswer):
    """Every template."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"templates": [_TEMPLATE]}]})

    templates: list[TemplateRow]


def policy_row(policy: PolicyView) -> dict[str, Any]:
    """A policy as it is answered."""
    form = policy.form
    return {
        "id": policy.id,
        "policy_id": policy.id,
        "organization_id": policy.org_id,
        "name": form.name,
        "policy_type": form.policy_type,
        "type": form.policy_type,
        "scope": _SCOPES[form.scope],
        "scope_id": form.scope_id,
        "workflow_id": form.scope_id if form.scope == "workflow" else None,
        "api_key_id": form.scope_id if form.scope == "api_key" else None,
        "enabled": form.enabled,
        "priority": form.priority,
        "enforcement_mode": form.enforcement_mode,
        "config": dict(form.config),
        "template_id": policy.template_id,
        "version": policy.version,
        "created_at": clock.rfc3339(policy.created_ms),
        "updated_at": clock.rfc3339(policy.updated_ms),
    }


def made_row(policy: PolicyView) -> dict[str, Any]:
    """A policy flat and once more below ``policy``: clients read either."""
    row = policy_row(policy)
    return row | {"policy": row}


def template_row(template: Template, policy: PolicyView | None) -> dict[str, Any]:
    """A template as it is answered."""
    return {
        "id": template.id,
        "name": template.name,
        "description": template.description,
        "policy_type": template.policy_type,
        "config": dict(template.config),
        "enabled": policy is not None,
        "policy_id": None if policy is None else policy.id,
        "plan": template.plan,
    }
