"""Refusals of the gate and of execute: one table of codes, and the body that NullRun's SDK reads.

Source: NullRun docs, Errors; docs/rulings.md#refusals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from shared.kit.errors import SignalboxError

Category: TypeAlias = Literal["denied", "budget", "halt", "infra"]


@dataclass(frozen=True, slots=True)
class Code:
    """How a code is told: its status and category, and what an end user and a model may read.

    ``at_gate`` is the code the gate puts into its details instead: the SDK cannot raise some codes there.
    """

    status: int
    category: Category
    user_message: str = "This action is not allowed."
    agent_message: str = ""
    at_gate: str = ""


_BUDGET = "The budget for this is used up."
_HALTED = "This assistant has been stopped."

CODES: Mapping[str, Code] = {
    "BUDGET_HARD_BLOCKED": Code(402, "budget", _BUDGET),
    "BUDGET_WORKFLOW_BLOCKED": Code(402, "budget", _BUDGET),
    "BUDGET_ORG_CEILING_BLOCKED": Code(402, "budget", _BUDGET),
    "BUDGET_OVERDRAFT_EXCEEDED": Code(402, "budget", _BUDGET),
    "BUDGET_REDIS_UNAVAILABLE": Code(402, "infra", "The budget cannot be checked right now."),
    "BUDGET_RECHECK_FAILED": Code(402, "budget", _BUDGET, at_gate="BUDGET_HARD_BLOCKED"),
    "EXECUTION_QUOTA_EXCEEDED": Code(403, "budget", "The plan's executions for this month are used up."),
    "TOOL_BLOCKED": Code(403, "denied", agent_message="The tool {tool} is not available. Do not retry it."),
    "RATE_LIMIT_EXCEEDED": Code(429, "denied", "Too many calls; try again in a moment."),
    "WORKFLOW_INACTIVE": Code(403, "halt", _HALTED, at_gate="WORKFLOW_KILLED"),
    "WORKFLOW_PAUSED": Code(403, "halt", "This assistant is paused."),
    "WORKFLOW_DEPTH_EXCEEDED": Code(422, "denied", at_gate="WORKFLOW_TOO_DEEP"),
    "PARENT_EXECUTION_NOT_FOUND": Code(404, "denied", at_gate="PARENT_NOT_FOUND"),
    "CHAIN_ID_INVALID": Code(422, "denied", at_gate="CHAIN_INVALID"),
    "CHAIN_MAX_DURATION_EXCEEDED": Code(402, "denied", at_gate="CHAIN_EXPIRED"),
    "EXECUTION_NOT_FOUND": Code(404, "infra", "This action has expired."),
    "EXECUTION_KEY_MISMATCH": Code(403, "infra"),
    "ORG_MISMATCH": Code(403, "infra"),
    "APPROVAL_NOT_YET_APPROVED": Code(403, "denied", "This action waits for approval."),
    "APPROVAL_DENIED": Code(403, "denied", "This action was not approved.", "A person denied this. Do not retry it."),
    "APPROVAL_EXPIRED": Code(403, "denied", "Nobody approved this in time."),
    "APPROVAL_DIGEST_MISMATCH": Code(403, "denied", "What was approved is not what was asked."),
    "APPROVAL_TOOL_DIGEST_MISMATCH": Code(403, "denied", "What was approved is not what was asked."),
    "APPROVAL_REPLAY_REJECTED": Code(403, "denied", "This approval has been used."),
    "APPROVAL_NOT_FOUND": Code(404, "infra"),
    "TOO_MANY_PENDING_APPROVALS": Code(429, "denied", "Too many actions wait for approval."),
    "LEGACY_GRANT_REJECTED": Code(403, "denied"),
    "BUSINESS_IMPACT_INVALID": Code(422, "denied"),
    "VALIDATION_FAILED": Code(422, "denied"),
    "INVALID_FIELD": Code(422, "infra"),
    "INVALID_JSON": Code(400, "infra"),
    "INTERNAL_ERROR": Code(500, "infra", "This cannot be checked right now."),
    "IDEMPOTENCY_KEY_MISMATCH": Code(409, "infra"),
}
"""Every code the gate or execute refuses with."""


class Refused(SignalboxError):
    """A call the gate or execute does not let happen; ``body`` is the whole answer."""

    def __init__(
        self, code: str, explanation: str, *, at_gate: bool = False, details: Mapping[str, Any] | None = None,
        operation_id: str | None = None, policy_id: str | None = None, policy_version: int | None = None,
        retry_after: int | None = None, matched_rule: str | None = None,
    ) -> None:  # fmt: skip
        told = CODES[code]
        effective = told.at_gate if at_gate and told.at_gate else code
        full = {"error_code": effective, **(details or {})}
        super().__init__(explanation, details=full)
        self.status, self.code, self.retry_after = told.status, code.lower(), retry_after
        self.reason, self.policy_id, self.matched_rule = code, policy_id, matched_rule
        self.body = {
            "decision": "block",
            "decision_source": "gateway",
            "category": told.category,
            "error_code": code,
            "code": code,
            "error": code.lower(),
            "explanation": explanation,
            "explanations": [explanation],
            "message": explanation,
            "error_message": explanation,
            "user_message": told.user_message,
            "reservation_id": None,
            "operation_id": operation_id,
            "policy_id": policy_id,
            "policy_version": policy_version,
            "details": full,
            "retry_after_ms": None if retry_after is None else retry_after * 1000,
        }
        if told.category == "denied":
            # An explanation may have words of a caller's, which are no pattern.
            known = told.agent_message.format(tool=full.get("tool", "asked for"))
            self.body["agent_message"] = known or f"{explanation.rstrip('.')}. Do not retry it."

    def about(self, operation_id: str) -> None:
        """Say which call it refuses, where that was not known when it was made."""
        if self.body is not None and self.body["operation_id"] is None:
            self.body["operation_id"] = operation_id
