"""What people may say of a policy. Source: NullRun docs, HTTP API, Policies; docs/rulings.md#policies."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from shared.governance.money import LARGEST_CENTS
from shared.governance.patterns import checked_pattern
from shared.governance.policyset import PATTERN_LISTS, PolicyScope, PolicyType
from shared.kit import json
from shared.kit.errors import InvalidRequest, Unprocessable

MAX_NAME = 80
MAX_PRIORITY = 1_000_000
DEFAULT_PRIORITY = 100
MAX_PATTERNS = 256
MAX_CONFIG_BYTES = 64 * 1024
MAX_CALLS_PER_MINUTE = 1_000_000
MAX_OVERDRAFT_PERCENT = 1000
MAX_CHAIN_S = 24 * 3600

Sent: TypeAlias = Mapping[str, Any]
"""Fields as they came; what is None was not said."""

_TYPES: Mapping[str, PolicyType] = {
    "budgetlimit": "BudgetLimit",
    "ratelimit": "RateLimit",
    "toolblock": "ToolBlock",
}
_SCOPES: Mapping[str, PolicyScope] = {
    "org": "org",
    "organization": "org",
    "organisation": "org",
    "workflow": "workflow",
    "apikey": "api_key",
    "key": "api_key",
}
_MODES = {"hard": "Hard", "soft": "Soft"}
_TARGETS: Mapping[PolicyScope, str] = {"workflow": "workflow_id", "api_key": "api_key_id"}


class BareStringPattern(InvalidRequest):
    """A text where a list of patterns belongs."""

    code = "bare_string_pattern"


class PolicyTypeImmutable(InvalidRequest):
    """A policy's type does not change."""

    code = "policy_type_immutable"


@dataclass(frozen=True, slots=True)
class PolicyForm:
    """A policy as somebody wants it. ``scope_id`` is the workflow or key it is about, None for the whole org."""

    name: str
    policy_type: PolicyType
    scope: PolicyScope
    scope_id: str | None
    enabled: bool
    priority: int
    enforcement_mode: str
    config: Mapping[str, Any]


def new_form(org_id: str, sent: Sent) -> PolicyForm:
    """A new policy of an org. Raises Unprocessable and the 400s of patterns."""
    policy_type = _type(sent)
    if policy_type is None:
        raise Unprocessable.field("policy_type", f"Policy_type must be one of {', '.join(_TYPES.values())}")
    if sent.get("config") is None:
        raise Unprocessable.field("config", "Config is required")
    scope, scope_id = _target(org_id, sent) or ("org", None)
    return PolicyForm(
        _name(sent.get("name")), policy_type, scope, scope_id, enabled_of(sent, default=True),
        _priority(sent, DEFAULT_PRIORITY), _mode(sent, "Hard"), checked_config(policy_type, sent["config"]),
    )  # fmt: skip


def changed_form(org_id: str, form: PolicyForm, sent: Sent) -> PolicyForm:
    """The form with what was said changed. Raises as :func:`new_form`, and PolicyTypeImmutable."""
    if _type(sent) not in (None, form.policy_type):
        raise PolicyTypeImmutable("The type of a policy cannot change; delete it and make another")
    name, config = sent.get("name"), sent.get("config")
    scope, scope_id = _target(org_id, sent) or (form.scope, form.scope_id)
    return PolicyForm(
        form.name if name is None else _name(name), form.policy_type, scope, scope_id,
        enabled_of(sent, default=form.enabled), _priority(sent, form.priority), _mode(sent, form.enforcement_mode),
        form.config if config is None else checked_config(form.policy_type, config),
    )  # fmt: skip


def enabled_of(sent: Sent, *, default: bool) -> bool:
    """Whether the policy counts, by whichever name it was said."""
    given = (sent.get(name) for name in ("enabled", "active", "is_active"))
    return next((bool(value) for value in given if value is not None), default)


def checked_config(policy_type: PolicyType, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a policy of this type; of what it does not know nothing is kept."""
    return _CONFIGS[policy_type](config)


def _word(text: str) -> str:
    return re.sub(r"[\s_-]", "", text).lower()


def _type(sent: Sent) -> PolicyType | None:
    given = [sent[name] for name in ("policy_type", "type") if sent.get(name) is not None]
    found = {_TYPES.get(_word(text)) for text in given}
    if None in found or len(found) > 1:
        raise Unprocessable.field("policy_type", f"Policy_type must be one of {', '.join(_TYPES.values())}")
    return found.pop() if found else None


def _name(value: Any) -> str:
    name = str(value or "").strip()
    if not name:
        raise Unprocessable.field("name", "Name is required")
    if len(name) > MAX_NAME:
        raise Unprocessable.field("name", f"Name must have {MAX_NAME} characters at most")
    return name


def _target(org_id: str, sent: Sent) -> tuple[PolicyScope, str | None] | None:
    """What the policy is about; None where nothing is said of it."""
    said, scope_id = sent.get("scope"), sent.get("scope_id") or None
    if said is None:
        named: list[PolicyScope] = [scope for scope, name in _TARGETS.items() if sent.get(name)]
        if not named:
            if scope_id is not None:
                raise Unprocessable.field("scope", "Scope must say what scope_id is: Workflow or ApiKey")
            return None
        scope: PolicyScope | None = named[-1]
    else:
        scope = _SCOPES.get(_word(said))
    if scope is None:
        raise Unprocessable.field("scope", "Scope must be one of Org, Workflow, ApiKey")
    if scope == "org":
        if any(sent.get(name) for name in _TARGETS.values()) or scope_id not in (None, org_id):
            raise Unprocessable.field("scope", "Scope Org is about the whole organisation; leave out the target")
        return "org", None
    targets = {target for target in (scope_id, sent.get(_TARGETS[scope])) if target}
    if len(targets) != 1:
        raise Unprocessable.field(_TARGETS[scope], f"Name one target in scope_id or {_TARGETS[scope]}")
    return scope, targets.pop()


def _priority(sent: Sent, default: int) -> int:
    return default if sent.get("priority") is None else _whole("priority", sent["priority"], 0, MAX_PRIORITY)


def _mode(sent: Sent, default: str) -> str:
    if sent.get("enforcement_mode") is None:
        return default
    found = _MODES.get(_word(sent["enforcement_mode"]))
    if found is None:
        raise Unprocessable.field("enforcement_mode", "Enforcement_mode must be Hard or Soft")
    return found


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        label = name[:1].upper() + name[1:]
        raise Unprocessable.field(name, f"{label} must be a whole number from {least} to {most}")
    return value


def _budget(config: Mapping[str, Any]) -> dict[str, Any]:
    amounts = {name: config[name] for name in ("budget_cents", "max_cents") if config.get(name) is not None}
    if not amounts:
        raise Unprocessable.field("config.budget_cents", "Config.budget_cents is required")
    checked = {_whole(f"config.{name}", amount, 0, LARGEST_CENTS) for name, amount in amounts.items()}
    if len(checked) > 1:
        raise Unprocessable.field("config.max_cents", "Config.max_cents is another name of budget_cents; send one")
    bounds = {
        "max_overdraft_cents": (0, LARGEST_CENTS),
        "max_overdraft_percent": (0, MAX_OVERDRAFT_PERCENT),
        "max_chain_duration_seconds": (1, MAX_CHAIN_S),
        "consume_epsilon_cents": (0, LARGEST_CENTS),
    }
    given = {name: config[name] for name in bounds if config.get(name) is not None}
    return {"budget_cents": checked.pop()} | {
        name: _whole(f"config.{name}", value, *bounds[name]) for name, value in given.items()
    }


def _rate(config: Mapping[str, Any]) -> dict[str, Any]:
    limit = config.get("max_calls_per_minute")
    if limit is None:
        raise Unprocessable.field("config.max_calls_per_minute", "Config.max_calls_per_minute is required")
    return {"max_calls_per_minute": _whole("config.max_calls_per_minute", limit, 1, MAX_CALLS_PER_MINUTE)}


def _block(config: Mapping[str, Any]) -> dict[str, Any]:
    # A misspelt list would be a block that blocks nothing, so here every name must be known.
    unknown = next((name for name in config if name not in PATTERN_LISTS), None)
    if unknown is not None:
        known = ", ".join(PATTERN_LISTS)
        raise Unprocessable.field("config", f"Config may have {known}, but no {unknown[:40]}")
    if not config:
        raise Unprocessable.field("config.tool_pattern", "Config.tool_pattern must be a list of tool patterns")
    found = {name: _patterns(f"config.{name}", value) for name, value in config.items()}
    if sum(map(len, found.values())) > MAX_PATTERNS or json.size(found) > MAX_CONFIG_BYTES:
        most = f"{MAX_PATTERNS} tool patterns and {MAX_CONFIG_BYTES // 1024} KB"
        raise Unprocessable.field("config", f"Config may have {most} at most; spread them over several policies")
    return found


def _patterns(name: str, value: Any) -> list[str]:
    if isinstance(value, str):
        raise BareStringPattern.field(name, f'{name} must be a list of tool patterns, such as ["bash", "db.*"]')
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise Unprocessable.field(name, f'{name} must be a list of tool patterns, such as ["bash", "db.*"]')
    return [checked_pattern(item).text for item in value]


_CONFIGS: Mapping[PolicyType, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "BudgetLimit": _budget,
    "RateLimit": _rate,
    "ToolBlock": _block,
}
