"""What may be said of a policy. Source: NullRun docs, HTTP API, Policies."""

from __future__ import annotations

from typing import Any

import pytest

from shared.governance.money import LARGEST_CENTS
from shared.governance.patterns import LONGEST_PATTERN, InvalidGlob, PatternTooLong
from shared.governance.policy_forms import (
    MAX_CONFIG_BYTES,
    MAX_PATTERNS,
    MAX_PRIORITY,
    BareStringPattern,
    PolicyForm,
    PolicyTypeImmutable,
    changed_form,
    new_form,
)
from shared.kit.errors import SignalboxError, Unprocessable
from tests.support.workflows import ORG

BUDGET = {"name": "cap", "policy_type": "BudgetLimit", "config": {"budget_cents": 5000}}


def form(**sent: Any) -> PolicyForm:
    return new_form(ORG, {**BUDGET, **sent})


def blocking(**config: Any) -> PolicyForm:
    return form(policy_type="ToolBlock", config=config)


def test_what_a_policy_is_unless_it_is_said() -> None:
    """About the whole org, enabled, hard, of middling priority."""
    assert form() == PolicyForm("cap", "BudgetLimit", "org", None, True, 100, "Hard", {"budget_cents": 5000})


@pytest.mark.parametrize("said", ["BudgetLimit", "budget_limit", "BUDGETLIMIT", "budget-limit", "Budget Limit"])
@pytest.mark.parametrize("name", ["policy_type", "type"])
def test_a_type_is_said_in_any_case_under_either_name(name: str, said: str) -> None:
    """policy_type and type are the same thing."""
    sent = {"name": "cap", "config": {"budget_cents": 1}, name: said}
    assert new_form(ORG, sent).policy_type == "BudgetLimit"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"scope": "Org"}, ("org", None)),
        ({"scope": "ORGANIZATION", "scope_id": ORG}, ("org", None)),
        ({"scope": "workflow", "scope_id": "w"}, ("workflow", "w")),
        ({"scope": "Workflow", "workflow_id": "w"}, ("workflow", "w")),
        ({"scope": "Workflow", "workflow_id": "w", "scope_id": "w"}, ("workflow", "w")),
        ({"scope": "ApiKey", "api_key_id": "k"}, ("api_key", "k")),
        ({"scope": "api_key", "scope_id": "k"}, ("api_key", "k")),
        ({"scope": "ApiKey", "api_key_id": "k", "workflow_id": "w"}, ("api_key", "k")),
        ({"workflow_id": "w"}, ("workflow", "w")),
        ({"api_key_id": "k", "workflow_id": "w"}, ("api_key", "k")),
        ({"scope_id": ""}, ("org", None)),
    ],
)
def test_what_a_policy_is_about(sent: dict[str, Any], expected: tuple[str, str | None]) -> None:
    """The scope in any case, its target under any of its names; a target alone says the scope."""
    found = form(**sent)
    assert (found.scope, found.scope_id) == expected


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"name": None}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"policy_type": None}, "policy_type"),
        ({"policy_type": "LoopDetection"}, "policy_type"),
        ({"policy_type": "BudgetLimit", "type": "RateLimit"}, "policy_type"),
        ({"config": None}, "config"),
        ({"scope": "galaxy"}, "scope"),
        ({"scope": "Org", "workflow_id": "w"}, "scope"),
        ({"scope": "Org", "scope_id": "somebody else"}, "scope"),
        ({"scope_id": "w"}, "scope"),
        ({"scope": "Workflow"}, "workflow_id"),
        ({"scope": "Workflow", "workflow_id": "w", "scope_id": "v"}, "workflow_id"),
        ({"scope": "ApiKey", "workflow_id": "w"}, "api_key_id"),
        ({"priority": -1}, "priority"),
        ({"priority": MAX_PRIORITY + 1}, "priority"),
        ({"enforcement_mode": "firm"}, "enforcement_mode"),
        ({"config": {}}, "config.budget_cents"),
        ({"config": {"budget_cents": -1}}, "config.budget_cents"),
        ({"config": {"budget_cents": True}}, "config.budget_cents"),
        ({"config": {"budget_cents": 1.5}}, "config.budget_cents"),
        ({"config": {"budget_cents": "5"}}, "config.budget_cents"),
        ({"config": {"budget_cents": LARGEST_CENTS + 1}}, "config.budget_cents"),
        ({"config": {"budget_cents": 1, "max_cents": 2}}, "config.max_cents"),
        ({"config": {"max_cents": []}}, "config.max_cents"),
        ({"config": {"budget_cents": 1, "max_overdraft_cents": -1}}, "config.max_overdraft_cents"),
        ({"config": {"budget_cents": 1, "max_overdraft_percent": 1001}}, "config.max_overdraft_percent"),
        ({"config": {"budget_cents": 1, "max_overdraft_percent": 2.5}}, "config.max_overdraft_percent"),
        ({"config": {"budget_cents": 1, "max_chain_duration_seconds": 0}}, "config.max_chain_duration_seconds"),
        ({"config": {"budget_cents": 1, "consume_epsilon_cents": "1"}}, "config.consume_epsilon_cents"),
        ({"policy_type": "RateLimit", "config": {}}, "config.max_calls_per_minute"),
        ({"policy_type": "RateLimit", "config": {"max_calls_per_minute": 0}}, "config.max_calls_per_minute"),
        ({"policy_type": "RateLimit", "config": {"max_calls_per_minute": 1_000_001}}, "config.max_calls_per_minute"),
        ({"policy_type": "ToolBlock", "config": {}}, "config.tool_pattern"),
        ({"policy_type": "ToolBlock", "config": {"tool_pattern": []}}, "config.tool_pattern"),
        ({"policy_type": "ToolBlock", "config": {"tool_pattern": None}}, "config.tool_pattern"),
        ({"policy_type": "ToolBlock", "config": {"tool_pattern": ["a", 1]}}, "config.tool_pattern"),
        ({"policy_type": "ToolBlock", "config": {"tool_pattern": ["a"], "tools": {}}}, "config.tools"),
        ({"policy_type": "ToolBlock", "config": {"tool_patterns": ["a"]}}, "config"),
        ({"policy_type": "ToolBlock", "config": {"tool_pattern": ["a"], "blocked_tool": ["b"]}}, "config"),
        ({"policy_type": "ToolBlock", "config": {"tools": ["a"] * (MAX_PATTERNS + 1)}}, "config"),
        ({"policy_type": "ToolBlock", "config": {"tools": ["a" * LONGEST_PATTERN] * 17}}, "config"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_the_field(sent: dict[str, Any], field: str) -> None:
    """422 naming what is wrong."""
    assert MAX_CONFIG_BYTES == 16 * LONGEST_PATTERN
    with pytest.raises(Unprocessable) as caught:
        form(**sent)
    assert caught.value.details is not None
    assert caught.value.details["field"] == field


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"tool_pattern": "bash"}, BareStringPattern),
        ({"tool_pattern": ""}, BareStringPattern),
        ({"tools": ["a"], "blocked_tools": "b"}, BareStringPattern),
        ({"tool_pattern": [""]}, InvalidGlob),
        ({"tool_pattern": ["a", "b\x00"]}, InvalidGlob),
        ({"tool_pattern": ["a" * 4097]}, PatternTooLong),
    ],
)
def test_patterns_are_refused_by_codes_of_their_own(config: dict[str, Any], error: type[SignalboxError]) -> None:
    """400 with the code that the docs give each."""
    with pytest.raises(error) as caught:
        blocking(**config)
    assert caught.value.status == 400


def test_a_budget_has_another_name() -> None:
    """max_cents is budget_cents; settings that a type does not have are not kept, and what is null was not said."""
    config = {"max_cents": 5, "max_overdraft_cents": 0, "consume_epsilon_cents": None, "colour": "red"}
    assert form(config=config).config == {"budget_cents": 5, "max_overdraft_cents": 0}
    assert form(config={"budget_cents": 5, "max_cents": 5}).config == {"budget_cents": 5}


def test_lists_of_patterns_keep_their_names() -> None:
    """What was sent is what is shown."""
    config = {"tool_pattern": ["Bash"], "tools": ["a|b"]}
    assert blocking(**config).config == config


@pytest.mark.parametrize("name", ["enabled", "active", "is_active"])
def test_a_policy_is_switched_off_under_any_name(name: str) -> None:
    """enabled, active and is_active are the same thing."""
    assert form(**{name: False}).enabled is False
    assert changed_form(ORG, form(**{name: False}), {name: True}).enabled is True


def test_a_change_leaves_what_it_does_not_mention() -> None:
    """What is left out, or null, stays; the config is replaced as a whole."""
    before = form(
        enforcement_mode="soft", priority=5, workflow_id="w", enabled=False,
        config={"budget_cents": 9, "max_overdraft_cents": 3},
    )  # fmt: skip
    assert changed_form(ORG, before, {}) == before
    assert changed_form(ORG, before, dict.fromkeys(BUDGET)) == before
    after = changed_form(ORG, before, {"config": {"budget_cents": 1}, "name": "less"})
    assert (after.name, after.config) == ("less", {"budget_cents": 1})
    assert (after.enforcement_mode, after.priority, after.scope_id, after.enabled) == ("Soft", 5, "w", False)
    assert changed_form(ORG, before, {"scope": "Org"}).scope == "org"


def test_a_type_does_not_change() -> None:
    """The same type may be repeated; another is refused whatever the config."""
    assert changed_form(ORG, form(), {"type": "budget_limit"}) == form()
    with pytest.raises(PolicyTypeImmutable) as caught:
        changed_form(ORG, form(), {"policy_type": "RateLimit", "config": {"max_calls_per_minute": 1}})
    assert (caught.value.status, caught.value.code) == (400, "policy_type_immutable")
