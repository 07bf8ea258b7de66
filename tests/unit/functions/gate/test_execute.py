"""POST /api/v1/execute through its Lambda handler."""

from __future__ import annotations

from typing import Any

import pytest

from functions.gate.app import handler
from shared.composition import Services
from shared.governance.digests import action_digest
from shared.governance.key_forms import NewKey
from shared.governance.operations import find_operation
from shared.governance.rule_forms import RuleDraft
from shared.governance.signatures import PREFIX_CHARACTERS
from tests.support.apigw import Answer
from tests.support.governance import NONE_DIGEST, Governed, govern, owner
from tests.support.time import HeldClock
from tests.support.workflows import events_of


@pytest.fixture
def bot(services: Services) -> Governed:
    """A workflow with a budget."""
    return govern(services, budget_cents=100)


def _execute(bot: Governed, execution_id: Any, **fields: Any) -> Answer:
    body = {"organization_id": bot.org_id, "execution_id": execution_id, "mode": "strict", "tool": "refund"}
    return bot.post(handler, "/api/v1/execute", body | {"tools": ["refund"], "action_digest": NONE_DIGEST} | fields)


def _gated(bot: Governed, **fields: Any) -> str:
    answer = bot.gate(handler, **fields)
    assert answer.status == 200, answer
    return str(answer.body["reservation_id"])


def test_a_reserved_call_may_execute(bot: Governed) -> None:
    """200 that echoes the reservation, without which the client would drop its usage; repeatable; reserves no more."""
    execution_id = _gated(bot)
    before = bot.purse.reserved
    for tool in ("refund", "search"):
        answer = _execute(bot, execution_id, tool=tool, tools=[tool])
        assert (answer.status, answer.body["decision"], answer.body["reservation_id"]) == (200, "allow", execution_id)
        assert answer.body["decision_source"] == "gateway"
    assert bot.purse.reserved == before
    found = find_operation(bot.org_id, execution_id)
    assert found is not None and found.tool == "search"


@pytest.mark.parametrize(
    "execution_id", ["0198f2c0-de7a-7c2e-9d3a-2f9c41aa01f7", "0d7c3a10-6f3f-4b0e-9a55-3f1f0f7c2b11", "nobody"]
)
def test_an_unknown_execution_is_refused(bot: Governed, execution_id: str) -> None:
    """404 EXECUTION_NOT_FOUND in the form of a refusal."""
    answer = _execute(bot, execution_id)
    assert (answer.status, answer.body["error_code"], answer.body["category"]) == (404, "EXECUTION_NOT_FOUND", "infra")


@pytest.mark.parametrize("execution_id", [None, "", 7])
def test_an_execution_must_be_named(bot: Governed, execution_id: Any) -> None:
    """422 INVALID_FIELD tells which field."""
    answer = _execute(bot, execution_id)
    assert (answer.status, answer.body["error_code"]) == (422, "INVALID_FIELD")


def test_another_key_may_not_use_the_execution(services: Services, bot: Governed) -> None:
    """403 EXECUTION_KEY_MISMATCH, though it is a key of the same workflow."""
    minted = services.governance.keys.mint(owner(), NewKey(name="other", workflow_id=bot.workflow_id))
    other = Governed(bot.org_id, bot.workflow_id, minted.view.id, minted.key, minted.secret)
    answer = _execute(other, _gated(bot))
    assert (answer.status, answer.body["error_code"]) == (403, "EXECUTION_KEY_MISMATCH")


def test_a_bound_day_is_over(held: HeldClock, bot: Governed) -> None:
    """A day after the gate the execution is unknown."""
    execution_id = _gated(bot)
    held.advance(24 * 3600)
    assert _execute(bot, execution_id).status == 404


def test_a_canceled_execution_is_over(bot: Governed) -> None:
    """What was given up cannot run any more."""
    execution_id = _gated(bot)
    canceled = bot.post(handler, "/api/v1/cancel", {"execution_id": execution_id, "reason": "tool_exception"})
    assert (canceled.status, canceled.body["reservation_released_cents"]) == (200, 1)
    assert _execute(bot, execution_id).status == 404
    assert bot.purse.reserved == 0


@pytest.mark.parametrize(("change", "code"), [("pause", "WORKFLOW_PAUSED"), ("kill", "WORKFLOW_INACTIVE")])
def test_a_halted_workflow_executes_nothing(services: Services, bot: Governed, change: Any, code: str) -> None:
    """Although the gate said yes a moment ago."""
    execution_id = _gated(bot)
    services.governance.workflows.change_state(owner(), bot.workflow_id, change, None)
    answer = _execute(bot, execution_id)
    assert (answer.status, answer.body["error_code"], answer.body["category"]) == (403, code, "halt")


def test_a_revoked_key_executes_nothing(services: Services, bot: Governed) -> None:
    """401 at once."""
    execution_id = _gated(bot)
    services.governance.keys.revoke(owner(), bot.key_id)
    assert _execute(bot, execution_id).body["error_code"] == "API_KEY_REVOKED"


def _block(services: Services) -> None:
    body = {"name": "No refunds", "policy_type": "ToolBlock", "scope": "Org", "config": {"tool_pattern": ["refund*"]}}
    services.governance.policies.create(owner(), body)


def test_a_blocked_tool_is_refused(services: Services, bot: Governed) -> None:
    """403 TOOL_BLOCKED names the pattern, tells the model, and is listed as a refusal."""
    execution_id = _gated(bot)
    _block(services)
    answer = _execute(bot, execution_id)
    assert (answer.status, answer.body["error_code"], answer.body["category"]) == (403, "TOOL_BLOCKED", "denied")
    assert answer.body["details"]["matched_pattern"] == "refund*"
    assert "refund" in answer.body["agent_message"]
    assert _execute(bot, execution_id, tool="search", tools=["search"]).status == 200


def test_a_call_must_say_its_tools_where_some_are_blocked(services: Services, bot: Governed) -> None:
    """Absent tools are refused, an empty list is none."""
    execution_id = _gated(bot)
    _block(services)
    answer = _execute(bot, execution_id, tool=None, tools=None)
    assert (answer.status, answer.body["details"]["reason"]) == (403, "no_tools_field")
    assert _execute(bot, execution_id, tool=None, tools=[]).status == 200


IMPACT = {
    "kind": "tool_call", "tool_name": "refund", "params": {"args": [], "kwargs": {"amount": "70"}},
    "extractor_id": "x", "extractor_version": "1",
}  # fmt: skip
DIGEST = action_digest(IMPACT)


def _rule(services: Services) -> None:
    services.governance.approval_rules.create(owner(), RuleDraft("Refunds", ["refund"]))


def test_a_rule_that_concerns_only_the_tool_asks_here(services: Services, bot: Governed) -> None:
    """require_approval once; approved and named it runs once, and not again."""
    execution_id = _gated(bot)
    _rule(services)
    asked = _execute(bot, execution_id, business_impact=IMPACT, action_digest=DIGEST)
    assert (asked.status, asked.body["decision"]) == (200, "require_approval")
    approval_id = asked.body["approval_id"]
    early = _execute(bot, execution_id, business_impact=IMPACT, action_digest=DIGEST, approval_id=approval_id)
    assert (early.status, early.body["error_code"]) == (403, "APPROVAL_NOT_YET_APPROVED")
    services.governance.approvals.decide(owner(), approval_id, "approved")
    named = {"business_impact": IMPACT, "action_digest": DIGEST, "approval_id": approval_id}
    assert _execute(bot, execution_id, **named).body["decision"] == "allow"
    assert _execute(bot, execution_id, **named).body["error_code"] == "APPROVAL_REPLAY_REJECTED"


@pytest.mark.parametrize("route", ["gate", "execute"])
def test_a_question_says_which_key_asks(services: Services, bot: Governed, route: str) -> None:
    """Its event has the key's name and prefix, so that people know whose question it is."""
    about = {"business_impact": IMPACT, "action_digest": DIGEST}
    if route == "gate":
        _rule(services)
        bot.gate(handler, tools=["refund"], **about)
    else:
        execution_id = _gated(bot)
        _rule(services)
        _execute(bot, execution_id, **about)
    (event,) = events_of(bot.org_id, "approval.requested")
    label = f"prod ({bot.key[:PREFIX_CHARACTERS]})"
    assert (event.actor_type, event.actor_id, event.actor_label) == ("api_key", bot.key_id, label)


def test_human_approvals_of_a_workflow(services: Services, bot: Governed) -> None:
    """Switched on, the next call of a tool waits for a person, one of a model alone does not; switched off, none."""
    about = {"business_impact": IMPACT, "action_digest": DIGEST}
    execution_id = _gated(bot, tools=["refund"], **about)
    services.governance.workflows.update(owner(), bot.workflow_id, {"human_approvals_enabled": True})
    assert bot.gate(handler, model="gpt-4o").body["decision"] == "allow"
    asked = bot.gate(handler, tools=["refund"], **about).body
    assert (asked["decision"], asked["policy_id"]) == ("require_approval", None)
    assert (asked["explanation"], asked["approval_timeout_seconds"]) == ("Human approvals: a person decides.", 300)
    assert services.governance.approvals.get(owner(), asked["approval_id"]).rule_id is None
    assert _execute(bot, execution_id, **about).body["decision"] == "require_approval"
    services.governance.approvals.decide(owner(), asked["approval_id"], "approved")
    assert _execute(bot, asked["reservation_id"], **about).body["decision"] == "allow"
    services.governance.workflows.update(owner(), bot.workflow_id, {"human_approvals_enabled": False})
    assert bot.gate(handler, tools=["refund"], **about).body["decision"] == "allow"


def test_what_was_approved_is_what_runs(services: Services, bot: Governed) -> None:
    """Another digest is refused, however much it was approved."""
    _rule(services)
    asked = bot.gate(handler, tools=["refund"], business_impact=IMPACT, action_digest=DIGEST).body
    services.governance.approvals.decide(owner(), asked["approval_id"], "approved")
    other = IMPACT | {"params": {"args": [], "kwargs": {"amount": "7000"}}}
    changed = _execute(bot, asked["reservation_id"], business_impact=other, action_digest=action_digest(other))
    assert changed.body["error_code"] == "APPROVAL_DIGEST_MISMATCH"
    forged = _execute(bot, asked["reservation_id"], business_impact=other, action_digest=DIGEST)
    assert forged.body["error_code"] == "BUSINESS_IMPACT_INVALID"
    assert _execute(bot, asked["reservation_id"], business_impact=IMPACT, action_digest=DIGEST).status == 200


def test_what_was_denied_does_not_run(services: Services, bot: Governed) -> None:
    """403 APPROVAL_DENIED."""
    _rule(services)
    asked = bot.gate(handler, tools=["refund"], business_impact=IMPACT, action_digest=DIGEST).body
    assert asked["decision"] == "require_approval"
    services.governance.approvals.decide(owner(), asked["approval_id"], "denied")
    answer = _execute(bot, asked["reservation_id"], business_impact=IMPACT, action_digest=DIGEST)
    assert answer.body["error_code"] == "APPROVAL_DENIED"


def test_an_approval_needs_a_digest_to_bind_to(services: Services, bot: Governed) -> None:
    """403 LEGACY_GRANT_REJECTED from a client that sends none."""
    _rule(services)
    answer = bot.gate(handler, tools=["refund"])
    assert (answer.status, answer.body["error_code"]) == (403, "LEGACY_GRANT_REJECTED")
