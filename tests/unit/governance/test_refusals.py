"""What the gate and execute refuse with. Source: NullRun docs, Errors; docs/rulings.md#refusals."""

from __future__ import annotations

import re
from typing import Any

import pytest

from shared.governance.refusals import CODES, Refused


@pytest.mark.parametrize("code", sorted(CODES))
def test_words_of_callers_are_told_as_they_are(code: str) -> None:
    """Braces in the name of a tool or of a policy are no pattern of ours, whatever the code."""
    body: dict[str, Any] = (
        Refused(code, "The approval is for the tool {x}.", details={"tool": "{0.__class__}"}).body or {}
    )
    assert body["explanation"] == body["message"] == "The approval is for the tool {x}."
    denied = body["category"] == "denied"
    assert ("agent_message" in body) == denied
    assert "{tool}" not in body.get("agent_message", "")


def test_a_model_is_told_in_sentences() -> None:
    """With and without a full stop at the end of the explanation."""
    for explanation in ("An approval binds to what is done", "An approval binds to what is done."):
        body = Refused("LEGACY_GRANT_REJECTED", explanation).body or {}
        assert body["agent_message"] == "An approval binds to what is done. Do not retry it."
    blocked = Refused("TOOL_BLOCKED", "It is blocked", details={"tool": "db.{drop}"}).body or {}
    assert blocked["agent_message"] == "The tool db.{drop} is not available. Do not retry it."


_TRIPS_THE_SDK = re.compile(
    r"WORKFLOW_(INACTIVE|CYCLE_DETECTED|DEPTH_EXCEEDED|DEPTH_LOOKUP_FAILED|PARENT_BINDING_EXPIRED)"
    r"|CHAIN_(CROSS_ORG|ID_INVALID|MAX_DURATION_EXCEEDED|ORG_MISMATCH)|PARENT_EXECUTION_.*|SUBWORKFLOW_INVOKE_DISABLED"
    r"|BUDGET_RECHECK_FAILED|CONSUME_OVERBUDGET"
)
"""Codes for which NullRun's SDK 0.22.2 raises a TypeError out of a gate call."""


@pytest.mark.parametrize("code", CODES)
def test_the_sdk_can_raise_every_code_of_the_gate(code: str) -> None:
    """The documented code is on top; where the SDK trips over it the details, which it reads first, have another."""
    body = Refused(code, "Because", at_gate=True).body
    assert body is not None
    assert (body["error_code"], body["decision"], body["decision_source"]) == (code, "block", "gateway")
    assert not _TRIPS_THE_SDK.fullmatch(body["details"]["error_code"])
    assert body["category"] in ("denied", "budget", "halt", "infra")


@pytest.mark.parametrize("code", CODES)
def test_execute_has_the_documented_code_everywhere(code: str) -> None:
    """The SDK can raise them all there."""
    body = Refused(code, "Because").body
    assert body is not None
    assert body["error_code"] == body["details"]["error_code"] == code


def test_a_refusal_is_about_one_call() -> None:
    """The operation it was made for is not taken from it."""
    refused = Refused("TOOL_BLOCKED", "No", operation_id="mine")
    refused.about("other")
    assert refused.body is not None and refused.body["operation_id"] == "mine"
