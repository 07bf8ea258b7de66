from __future__ import annotations

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
