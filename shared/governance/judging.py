"""What policies say to a call. Pure; in the order of the docs, the first step that does not allow ends it.

state ─▶ lineage ─▶ tool blocks ─▶ business impact and digest ─▶ rates ─▶ approval rules ─▶ money

State, rates and money are judged where they are written: by the gate's transaction.
Source: NullRun docs, Policies, Evaluation order; docs/rulings.md#policy-order.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.governance.calls import Call
from shared.governance.digests import verify_digest
from shared.governance.money import cents
from shared.governance.policyset import PolicySet, blocked_by
from shared.governance.refusals import Refused
from shared.governance.rules import ApprovalRule, rule_for

_HALTS = {"Killed": "WORKFLOW_INACTIVE", "Paused": "WORKFLOW_PAUSED"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policies say: a refusal, or a rule by which a person decides, or neither."""

    refusal: Refused | None = None
    rule: ApprovalRule | None = None


def halted(state: str, reason: str | None, *, at_gate: bool) -> Refused | None:
    """The refusal of a workflow that was stopped; None while it works."""
    code = _HALTS.get(state)
    if code is None:
        return None
    why = f": {reason}" if reason else ""
    return Refused(code, f"The workflow is {state.lower()}{why}", at_gate=at_gate, details={"state": state})


def judge(policies: PolicySet, key_id: str, call: Call, projected: int, *, at_gate: bool = True) -> Verdict:
    """The verdict on a call that is projected to cost ``projected`` micro-cents."""
    refusal = _blocked(policies, key_id, call, at_gate=at_gate)
    if refusal is not None:
        return Verdict(refusal)
    try:
        if call.impact is not None:
            verify_digest(call.impact, call.action_digest)
        rule = rule_for(
            policies.rules, tools=call.names, workflow_id=policies.workflow_id, projected_cents=cents(projected),
            impact=call.impact,
        )  # fmt: skip
        if rule is None and call.runs_tools:
            rule = policies.every_tool
        if rule is not None and call.action_digest is None:
            reason = "An approval binds to what is done; send action_digest, or use a client that does"
            raise Refused("LEGACY_GRANT_REJECTED", reason, at_gate=at_gate, operation_id=call.operation_id)
    except Refused as refused:
        return Verdict(refused)
    return Verdict(rule=rule)


def _blocked(policies: PolicySet, key_id: str, call: Call, *, at_gate: bool) -> Refused | None:
    if call.tools is None and call.tool is None:
        # Nothing can run on the gate's word alone: execute asks again, with the tool.
        if at_gate or not policies.blocks:
            return None
        return Refused(
            "TOOL_BLOCKED", "Tools are blocked by a policy, and the call does not say which it uses",
            details={"reason": "no_tools_field"}, operation_id=call.operation_id,
            policy_id=policies.blocks[0].policy_id, policy_version=policies.version,
        )  # fmt: skip
    found = blocked_by(policies, key_id, call.names)
    if found is None:
        return None
    block, pattern, tool = found
    return Refused(
        "TOOL_BLOCKED", f"The tool {tool} is blocked by the policy {block.name}", at_gate=at_gate,
        details={"matched_pattern": pattern, "tool": tool, "rule_kind": "tool_pattern"},
        operation_id=call.operation_id, policy_id=block.policy_id, policy_version=policies.version,
        matched_rule=pattern,
    )  # fmt: skip
