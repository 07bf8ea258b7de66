"""A rule of Ada's org, and calls that wait for a person."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from functions.approvals.app import handler
from functions.gate.app import handler as gate
from shared.governance.digests import action_digest
from shared.kit import ids
from tests.support.deployment import Person
from tests.support.governance import Governed
from tests.support.orgs import made, ok, org_path, send_to

LARGEST = 4 * 1024 * 1024

send = partial(send_to, handler)
"""One request to the family: method, path, who, body."""


def refund(amount: str = "900") -> dict[str, Any]:
    """A call of the tool refund as the SDK describes it."""
    impact = {
        "kind": "tool_call",
        "tool_name": "refund",
        "params": {"args": [], "kwargs": {"amount": amount}},
        "extractor_id": "nullrun.tool_call.path",
        "extractor_version": "1",
    }
    return {"tools": ["refund"], "business_impact": impact, "action_digest": action_digest(impact)}


def asked(bot: Governed) -> dict[str, Any]:
    """The gate's answer to a call that waits for a person."""
    body = ok(bot.gate(gate, operation_id=ids.uuid4(), **refund()))
    assert body["decision"] == "require_approval", body
    return body


@pytest.fixture
def rule(ada: Person) -> dict[str, Any]:
    """A rule by which every refund waits for a person."""
    sent = {"name": "Refunds", "tool_patterns": ["refund*"], "action_label": "Refund", "risk_level": "HIGH"}
    return made(send("POST", org_path(ada, "/approval-rules"), ada, sent))


@pytest.fixture
def waiting(bot: Governed, rule: dict[str, Any]) -> dict[str, Any]:
    """The gate's answer to a refund."""
    return asked(bot)
