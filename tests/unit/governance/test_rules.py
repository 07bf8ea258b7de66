"""Which calls wait for a person. Source: docs/rulings.md#approval-rules."""

from __future__ import annotations

from typing import Any

import pytest

from shared.governance.rules import ApprovalRule, compile_rule, rule_for
from shared.kit import json
from shared.store.models.policies import Rule, rules_pk

REGION = {"param_name": "region", "matcher": {"kind": "equals", "value": "EU"}}
PREDICATE = {"kind": "tool_parameters", "trigger_logic": "all", "conditions": [REGION]}


def rule(rule_id: str = "r", **values: Any) -> ApprovalRule:
    fields: dict[str, Any] = {
        "name": "Refunds",
        "tool_patterns": "[]",
        "priority": 100,
        "expires_in_s": 300,
        "risk_level": "HIGH",
        "revision": 1,
        "created_ms": 1,
        "updated_ms": 1,
    } | values
    return compile_rule(Rule(rules_pk("org"), rule_id, rule_id=rule_id, org_id="org", **fields))


def impact(region: str) -> dict[str, Any]:
    return {"kind": "tool_call", "tool_name": "refund", "params": {"args": [], "kwargs": {"region": region}}}


def found(*rules: ApprovalRule, **values: Any) -> str | None:
    asked: dict[str, Any] = {"tools": ("refund",), "workflow_id": "w", "projected_cents": 10, "impact": impact("'EU'")}
    chosen = rule_for(rules, **asked | values)
    return None if chosen is None else chosen.rule_id


@pytest.mark.parametrize(
    ("patterns", "tools", "asks"),
    [
        ([], (), True),
        ([], ("anything",), True),
        (["refund"], ("refund",), True),
        (["REFUND*"], ("refund_all",), True),
        (["charge|refund"], ("read", "refund"), True),
        (["refund"], ("read",), False),
        (["refund"], (), False),
    ],
)
def test_a_rule_is_about_the_tools_it_names(patterns: list[str], tools: tuple[str, ...], asks: bool) -> None:
    """About every call if it names none."""
    assert (found(rule(tool_patterns=json.dumps(patterns)), tools=tools) == "r") is asks


@pytest.mark.parametrize(
    ("threshold", "predicate", "cents", "region", "asks"),
    [
        (None, None, 0, "'US'", True),
        (10, None, 9.99, "'EU'", False),
        (10, None, 10, "'US'", True),
        (0, None, 0, "'US'", True),
        (None, PREDICATE, 0, "'EU'", True),
        (None, PREDICATE, 99, "'US'", False),
        (10, PREDICATE, 10, "'EU'", True),
        (10, PREDICATE, 9, "'EU'", False),
        (10, PREDICATE, 10, "'US'", False),
        (10, PREDICATE, 9, "'US'", False),
    ],
)
def test_conditions(threshold: int | None, predicate: Any, cents: float, region: str, asks: bool) -> None:
    """With both conditions both must hold, with one that one, with none every call waits."""
    text = None if predicate is None else json.dumps(predicate)
    made = rule(threshold_cents=threshold, predicate=text)
    assert (found(made, projected_cents=cents, impact=impact(region)) == "r") is asks


def test_a_call_without_impact_meets_no_predicate() -> None:
    """It is about nothing that could be judged; a threshold still counts."""
    assert found(rule(predicate=json.dumps(PREDICATE)), impact=None) is None
    assert found(rule(threshold_cents=10), impact=None) == "r"


@pytest.mark.parametrize(
    ("values", "asks"),
    [({}, True), ({"workflow_id": "w"}, True), ({"workflow_id": "v"}, False), ({"enabled": False}, False)],
)
def test_rules_of_other_workflows_and_disabled_ones_are_passed_over(values: dict[str, Any], asks: bool) -> None:
    """A rule of the org is about all its workflows."""
    assert (found(rule(**values)) == "r") is asks


def test_the_smallest_priority_decides_then_age() -> None:
    """In whatever order the rules come; rules that do not ask are not in the way."""
    late, early = rule("late", priority=5, created_ms=9), rule("early", priority=5, created_ms=8)
    weak, silent = rule("weak", priority=6, created_ms=1), rule("silent", priority=0, workflow_id="v")
    for order in ((late, early, weak, silent), (silent, weak, early, late)):
        assert found(*order) == "early"
    assert found() is None


def test_a_compiled_rule_tells_what_an_approval_needs() -> None:
    """Its name, how long a person has, and how it is shown."""
    made = rule(expires_in_s=60, action_label="Refund", threshold_cents=5)
    assert (made.name, made.expires_in_s, made.risk_level, made.action_label) == ("Refunds", 60, "HIGH", "Refund")
