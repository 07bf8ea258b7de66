"""What policies say to a call. Source: NullRun docs, Policies, Evaluation order; docs/rulings.md#human-approvals."""

from __future__ import annotations

from typing import Any

import pytest

from shared.governance.calls import Call, read_call
from shared.governance.judging import judge
from shared.governance.policyset import PolicySet
from shared.governance.rules import EVERY_TOOL, ApprovalRule
from tests.support.governance import NONE_DIGEST

RULE = ApprovalRule("r-1", "Dear calls", 1000, 1, expires_in_s=60, risk_level="HIGH", threshold_cents=5)
ASKING = PolicySet(1, "w", rules=(RULE,), every_tool=EVERY_TOOL)


def call(*, at_gate: bool = True, **fields: Any) -> Call:
    return read_call({"check_type": "llm", "action_digest": NONE_DIGEST} | fields, "o", at_gate=at_gate)


@pytest.mark.parametrize(
    ("fields", "asks"),
    [
        ({}, False),
        ({"model": "gpt-4o"}, False),
        ({"tools": []}, False),
        ({"tools": ["search"]}, True),
        ({"tool": "search"}, True),
        ({"tools": [], "tool": "search"}, True),
        ({"model": "gpt-4o", "tools": ["search"]}, True),
        ({"tools": ["llm"]}, True),
    ],
)
@pytest.mark.parametrize("at_gate", [True, False])
def test_human_approvals_ask_about_calls_that_name_tools(fields: dict[str, Any], asks: bool, at_gate: bool) -> None:
    """Not about what only asks a model; and about nothing where the workflow has none."""
    asked = call(at_gate=at_gate, **fields)
    assert judge(ASKING, "k", asked, 1, at_gate=at_gate).rule == (EVERY_TOOL if asks else None)
    assert judge(PolicySet(1, "w"), "k", asked, 1, at_gate=at_gate).rule is None


def test_a_rule_that_asks_goes_before_human_approvals() -> None:
    """Its time and risk count, whatever its priority."""
    assert judge(ASKING, "k", call(tools=["search"]), 5 * 10**6).rule == RULE


def test_human_approvals_need_a_digest_to_bind_to() -> None:
    """As every approval."""
    refusal = judge(ASKING, "k", call(tools=["search"], action_digest=None), 1).refusal
    assert refusal is not None
    assert refusal.reason == "LEGACY_GRANT_REJECTED"
