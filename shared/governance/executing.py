"""Execute: the tool is about to run under a reservation of the gate. Everything but money and rates is judged again.

Source: NullRun docs, HTTP API, Execute; docs/rulings.md#execute.
"""

from __future__ import annotations

from typing import Any

from shared.governance.authentication import KeyRefused, KnownKey
from shared.governance.calls import Call
from shared.governance.events import Actor, Fact, add_event
from shared.governance.gate import Gate
from shared.governance.judging import halted, judge
from shared.governance.operations import is_bound, pk_of_execution
from shared.governance.refusals import Refused
from shared.governance.rules import ApprovalRule
from shared.kit import clock, ids, json
from shared.kit.errors import Unavailable
from shared.store.base import Record
from shared.store.models.governance import Operation, Purse, purse_pk
from shared.store.models.policies import Approval
from shared.store.transaction import ConditionFailed, Transaction, read_each

_ATTEMPTS = 8


class Executing:
    """Judges execute calls, with what the gate of this process knows."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def decide(self, api_key: str, key: KnownKey, call: Call) -> dict[str, Any]:
        """The answer to a tool that may run, or that a person is to decide about. Raises Refused, KeyRefused."""
        purse, found = self._read(key, call)
        self._prove_key(api_key, key, purse)
        try:
            refusal = halted(purse.state, purse.state_reason, at_gate=False)
            if refusal is not None:
                raise refusal
            operation = _bound(key, call, found)
            rule, approval = self._judge(key, call, purse, operation)
        except Refused as refused:
            refused.about(call.operation_id)
            self._gate.recorder.refused(key, call, refused, source="execute")
            raise
        if rule is not None:
            return self._ask(key, call, operation, rule)
        self._record(key, call, operation, approval)
        return _answer(call, operation, "allow", "Within policy.")

    def _read(self, key: KnownKey, call: Call) -> tuple[Purse, Record | None]:
        """The workflow's purse and what the execution id may belong to, in one request."""
        if call.execution_id is None:
            raise Refused("INVALID_FIELD", "execution_id is required: the reservation_id that the gate answered")
        pk = pk_of_execution(key.org_id, call.execution_id)
        if pk is None:
            raise _unknown(call)
        purse, found = read_each((Purse, purse_pk(key.org_id, key.workflow_id), "purse"), (Operation, pk, "operation"))
        if not isinstance(purse, Purse):
            raise Refused("WORKFLOW_INACTIVE", "The workflow of this API key has been deleted")
        return purse, found

    def _prove_key(self, api_key: str, key: KnownKey, purse: Purse) -> None:
        version = purse.key_versions.attribute_values.get(key.key_id)
        if version != key.version:
            self._gate.authenticator.check(api_key, key.signature, fresh=True)
        if version is None:
            raise KeyRefused("API_KEY_REVOKED", "The API key has been revoked")

    def _judge(
        self, key: KnownKey, call: Call, purse: Purse, operation: Operation
    ) -> tuple[ApprovalRule | None, Approval | None]:
        """The rule by which a person must decide first, or the approval by which one has. Raises Refused."""
        policies = self._gate.standings.saw(purse).policies
        verdict = judge(policies, key.key_id, call, int(operation.projected), at_gate=False)
        if verdict.refusal is not None:
            raise verdict.refusal
        # Further tools may run under one reservation; an approval is about the action it was asked for.
        asked = operation.approval_id if call.action_digest in (None, operation.action_digest) else None
        wanted = call.approval_id or asked or (operation.approval_id if verdict.rule is not None else None)
        if wanted is not None:
            approval = self._gate.approvals().check(operation, wanted, call.action_digest, call.names)
            self._recheck_budget(purse, operation)
            return None, approval
        return verdict.rule, None

    def _recheck_budget(self, purse: Purse, operation: Operation) -> None:
        """A reservation that lapsed while a person decided is good only while there is money still."""
        if operation.status == "expired" and purse.available < operation.projected:
            raise Refused("BUDGET_RECHECK_FAILED", "The budget was used up while the approval was waited for")

    def _ask(self, key: KnownKey, call: Call, operation: Operation, rule: ApprovalRule) -> dict[str, Any]:
        """Put the question to a person; a second call about it gets the same question."""
        for _ in range(_ATTEMPTS):
            if operation.approval_id is not None:
                break
            operation = self._asked(key, call, operation, rule)
        else:
            raise Unavailable("Others ask for approvals at the same time; try again")
        answer = _answer(call, operation, "require_approval", f"{rule.name}: a person decides.")
        return answer | {
            "approval_id": operation.approval_id,
            "approval_timeout_seconds": rule.expires_in_s,
            "approval_expires_at": clock.rfc3339(clock.now_ms() + rule.expires_in_s * 1000),
        }

    def _asked(self, key: KnownKey, call: Call, operation: Operation, rule: ApprovalRule) -> Operation:
        """The operation once the question was put; as it is, when another call or another question came between."""
        approval_id = ids.uuid7()
        operation.approval_id, operation.action_digest = approval_id, call.action_digest
        operation.tool = call.tool or operation.tool
        tx = Transaction()
        actions = [Operation.approval_id.set(approval_id), Operation.decision.set("require_approval")]
        tx.update(operation, actions, Operation.approval_id.does_not_exist(), label="operation")
        self._gate.approvals().request(tx, Actor.of_key(key.key_id, key.label), rule, operation, call.impact)
        try:
            tx.commit()
        except ConditionFailed:
            return _bound(key, call, self._read(key, call)[1])
        return operation

    def _record(self, key: KnownKey, call: Call, operation: Operation, approval: Approval | None) -> None:
        """Write down that the tool runs, and use up the approval it runs by."""
        fact = Fact(
            "execute.allow", ("workflow", key.workflow_id), event_type="authorization_decision", decision="allow",
            workflow_id=key.workflow_id, execution_id=operation.execution_id,
            details={"tool_name": call.tool, "action_digest": call.action_digest, "tools": list(call.tools or ())},
        )  # fmt: skip
        tx = Transaction()
        add_event(tx, key.org_id, Actor("api_key", key.key_id, key.label), fact)
        if call.tool is not None and call.tool != operation.tool:
            tx.update(operation, [Operation.tool.set(call.tool)], Operation.pk.exists(), label="operation")
        if approval is None:
            tx.commit()
            return
        approvals = self._gate.approvals()
        approvals.use(tx, approval)
        try:
            tx.commit()
        except ConditionFailed:
            # Somebody was faster, or the approval has changed: looking again says which.
            approvals.check(operation, approval.approval_id, call.action_digest, call.names)
            raise Refused("APPROVAL_REPLAY_REJECTED", "This approval has been used") from None


def _bound(key: KnownKey, call: Call, found: Record | None) -> Operation:
    """What was found for an execution id, if it is that execution, the key's own, and goes on. Raises Refused."""
    if not isinstance(found, Operation) or found.execution_id != (call.execution_id or "").lower():
        raise _unknown(call)
    if found.key_id != key.key_id:
        raise Refused("EXECUTION_KEY_MISMATCH", "The execution belongs to another API key")
    if found.status in ("refused", "canceled") or not is_bound(found):
        raise _unknown(call)
    return found


def _unknown(call: Call) -> Refused:
    return Refused(
        "EXECUTION_NOT_FOUND", "There is no such execution; ask the gate first", details={"id": call.execution_id}
    )


def _answer(call: Call, operation: Operation, decision: str, explanation: str) -> dict[str, Any]:
    return {
        "decision": decision,
        "decision_source": "gateway",
        "reservation_id": operation.execution_id,
        "execution_id": operation.execution_id,
        "operation_id": call.operation_id,
        "explanation": explanation,
        "explanations": [],
        "policy_id": None,
        "policy_version": int(operation.policy_version),
        "policy_hash": None,
        "tools": json.loads(operation.tools) if operation.tools else [],
        "details": {},
    }
