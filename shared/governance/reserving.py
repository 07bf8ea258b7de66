"""The transaction of a gate call: money set aside, the operation written, and everything proven that it rests on.

Source: docs/rulings.md#gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from shared.governance.authentication import KnownKey
from shared.governance.calls import Call
from shared.governance.chains import touch
from shared.governance.events import Actor
from shared.governance.judging import Verdict
from shared.governance.money import MICRO, cents
from shared.governance.operations import BOUND_MS, KEPT_S, RESERVED_MS, operation_tail, pk_of
from shared.governance.policyset import rate_limit
from shared.governance.purses import OVERDRAFT, WORKING, in_period, move, purse_key, room
from shared.governance.refusals import Refused
from shared.governance.standing import Standing, this_minute
from shared.kit import clock, ids, json
from shared.store.models.governance import Operation, Purse, due_shard, purse_pk
from shared.store.transaction import Transaction

if TYPE_CHECKING:
    from shared.governance.approvals import Approvals


@dataclass(frozen=True, slots=True)
class Overdraft:
    """Money beyond a soft budget: how much of the call, how much may be used in the period and has been.

    ``available`` is what the purse had when the amount was computed, and must have still.
    """

    amount: int
    limit: int
    used: int
    available: int


@dataclass(frozen=True)
class Attempt:
    """One attempt at one call. ``projected`` is in micro-cents; a key of version 0 means that a definition asks."""

    key: KnownKey
    call: Call
    standing: Standing
    verdict: Verdict
    projected: int
    depth: int = 0
    overdraft: Overdraft | None = None

    @cached_property
    def now_ms(self) -> int:
        """When the attempt is made."""
        return clock.now_ms()

    @cached_property
    def minute(self) -> int:
        """The minute the call counts in, since the epoch."""
        return max(self.now_ms // 60_000, self.standing.minute)

    @cached_property
    def carried(self) -> int:
        """The policy version that the purse had when it was seen."""
        return self.standing.carried

    @cached_property
    def execution_id(self) -> str:
        """The id of the reservation and of what runs under it."""
        return ids.uuid7_with(self.now_ms, operation_tail(self.key.key_id, self.call.operation_id))

    @cached_property
    def approval_id(self) -> str | None:
        """The id of the approval that is asked for."""
        return None if self.verdict.rule is None else ids.uuid7()

    @property
    def decision(self) -> str:
        """allow, soft_pass or require_approval."""
        if self.verdict.rule is not None:
            return "require_approval"
        return "allow" if self.overdraft is None else "soft_pass"

    # Writing

    def commit(self, approvals: Approvals | None) -> dict[str, Any]:
        """Write it all and answer. Raises ConditionFailed, labelled purse, operation, org, key, chain or overdraft."""
        answer = self.answer()
        self._transaction(json.dumps(answer), approvals).commit()
        self.standing.count(self.projected, self.minute)
        return answer

    def _transaction(self, answer: str, approvals: Approvals | None) -> Transaction:
        org_id = self.standing.org_id
        actions, condition = self._purse()
        tx = Transaction().update(purse_key(org_id, self.standing.workflow_id), actions, condition, label="purse")
        # What an operation of another day still holds is given back before another takes its place.
        over = (Operation.created_ms <= self.now_ms - BOUND_MS) & (Operation.reserved == 0)
        fresh = Operation.pk.does_not_exist() | over
        operation = self._operation(answer)
        tx.put(operation, fresh, label="operation")
        for label, scope_id in self._funds():
            # It pays once the workflow's purse has joined it, not before: what was reserved till then joins as well.
            joined = Purse.since_version <= self.standing.policies.version
            tx.update(purse_key(org_id, scope_id), move(reserved=self.projected), room(self.projected) & joined, label)
        if self.standing.policies.org_cap is None and self.carried < self.standing.policies.version:
            # A ceiling that these policies know no more may come back before it has gone; then this call is of it.
            tx.check(Purse, purse_pk(org_id, org_id), "purse", Purse.pk.does_not_exist(), label="org")
        if self.call.chain_id is not None:
            touch(tx, org_id, self.call.chain_id, self.now_ms, self.standing.policies.max_chain_ms)
        if self.overdraft is not None:
            room_left = Purse.overdraft <= self.overdraft.limit - self.overdraft.amount
            spend = move(overdraft=self.overdraft.amount)
            tx.update(purse_key(org_id, OVERDRAFT), spend, room_left & in_period(), label="overdraft")
        if approvals is not None and self.verdict.rule is not None:
            asker = Actor.of_key(self.key.key_id, self.key.label)
            approvals.request(tx, asker, self.verdict.rule, operation, self.call.impact)
        return tx

    def _purse(self) -> tuple[list[Action], Condition]:
        standing, calls = self.standing, Purse.calls[self.key.key_id]
        # A newer set than the purse's is no harm, unless other purses pay, too: those may not have been joined yet.
        proven = standing.policies.version if self._funds() else self.carried
        condition = Purse.state.is_in(*WORKING) & (Purse.policy_version == proven)
        if self.key.version:
            condition &= Purse.key_versions[self.key.key_id] == self.key.version
        if self.overdraft is None:
            condition &= room(self.projected)
        else:
            condition &= in_period() & (Purse.available == self.overdraft.available)
        actions = move(reserved=self.projected)
        if self.minute > standing.minute:
            condition &= Purse.minute < self.minute
            return [*actions, Purse.minute.set(self.minute), Purse.calls.set({self.key.key_id: 1})], condition
        condition &= Purse.minute == self.minute
        limit = rate_limit(standing.policies, self.key.key_id)
        if limit is not None:
            condition &= calls.does_not_exist() | (calls < limit.per_minute)
        return [*actions, calls.set((calls | 0) + 1)], condition

    def _funds(self) -> list[tuple[str, str]]:
        """Purses beside the workflow's that pay, too: label and scope id."""
        policies = self.standing.policies
        org = [("org", self.standing.org_id)] if policies.org_cap is not None else []
        return org + ([("key", self.key.key_id)] if self.key.key_id in policies.key_caps else [])

    def _credit(self) -> int:
        """By how much its settlement may leave the workflow's purse short: inside a chain, the overdraft."""
        soft = self.standing.policies.soft
        return 0 if soft is None or self.call.chain_id is None else soft.limit(self.standing.policies.cap)

    def _operation(self, answer: str) -> Operation:
        call, standing, rule = self.call, self.standing, self.verdict.rule
        waits_ms = 0 if rule is None else rule.expires_in_s * 1000
        expires_ms = self.now_ms + RESERVED_MS + waits_ms
        return Operation(
            pk_of(standing.org_id, operation_tail(self.key.key_id, call.operation_id)), "operation",
            org_id=standing.org_id, execution_id=self.execution_id, operation_id=call.operation_id,
            workflow_id=standing.workflow_id, key_id=self.key.key_id, fingerprint=call.fingerprint,
            decision=self.decision, status="open", result="pending", answer=answer,
            funds=json.dumps([scope_id for _, scope_id in self._funds()]), projected=self.projected,
            reserved=self.projected, reserved_total=self.projected, epsilon=standing.policies.epsilon,
            overdraft=0 if self.overdraft is None else self.overdraft.amount, credit=self._credit(),
            period_start_ms=standing.period_start_ms, expires_ms=expires_ms, model=call.model, tool=call.tool,
            tools=None if call.tools is None else json.dumps(list(call.tools)), chain_id=call.chain_id,
            trace_id=call.trace_id, action_digest=call.action_digest, approval_id=self.approval_id, depth=self.depth,
            flow_execution_id=call.flow_execution_id,
            policy_id=None if rule is None else rule.rule_id, policy_version=standing.policies.version,
            explanation=self.explanation, created_ms=self.now_ms, ttl=self.now_ms // 1000 + KEPT_S,
            due_shard=due_shard(standing.org_id), due_ms=expires_ms, org_listing=standing.org_id,
            listed_at=self.execution_id,
        )  # fmt: skip

    # Answering

    @property
    def explanation(self) -> str:
        """Why the call may go on, or whom it waits for."""
        if self.verdict.rule is not None:
            return f"{self.verdict.rule.name}: a person decides."
        return "Within policy." if self.overdraft is None else "Over budget, inside the overdraft."

    def answer(self, *, reserved: bool = True) -> dict[str, Any]:
        """The answer to a call that is not refused."""
        standing = self.standing
        left = max(0, standing.available - self.projected)
        body: dict[str, Any] = {
            "decision": self.decision,
            "decision_source": "gateway",
            "reservation_id": self.execution_id if reserved else None,
            "execution_id": self.execution_id if reserved else None,
            "operation_id": self.call.operation_id,
            "explanation": self.explanation,
            "explanations": [],
            "suggestions": [],
            "projected_cost_cents": -(-self.projected // MICRO),
            "remaining_budget_cents": left // MICRO if standing.capped else None,
            "policy_id": None if self.verdict.rule is None else self.verdict.rule.rule_id,
            "policy_version": standing.policies.version,
            "policy_hash": None,
            "action_digest": self.call.action_digest,
            "staleness_ms": max(0, self.now_ms - standing.seen_ms),
            "idempotent_replay": False,
            "details": {},
        }
        return body | self._waiting(reserved=reserved) | self._borrowed()

    def _waiting(self, *, reserved: bool) -> dict[str, Any]:
        rule = self.verdict.rule
        if rule is None or not reserved:
            return {}
        return {
            "approval_id": self.approval_id,
            "approval_timeout_seconds": rule.expires_in_s,
            "approval_expires_at": clock.rfc3339(self.now_ms + rule.expires_in_s * 1000),
        }

    def _borrowed(self) -> dict[str, Any]:
        if self.overdraft is None:
            return {}
        used = self.overdraft.used + self.overdraft.amount
        return {
            "overdraft_used_cents": cents(used),
            "max_overdraft_cents": cents(self.overdraft.limit),
            "remaining_overdraft_cents": cents(max(0, self.overdraft.limit - used)),
        }

    # Refusing

    def over_rate(self, purse: Purse) -> Refused | None:
        """The refusal of a key that has used up its calls of the minute."""
        limit = rate_limit(self.standing.policies, self.key.key_id)
        used = int(purse.calls.attribute_values.get(self.key.key_id, 0))
        if limit is None or int(purse.minute) < this_minute() or used < limit.per_minute:
            return None
        wait_s = max(1, 60 - self.now_ms // 1000 % 60)
        return Refused(
            "RATE_LIMIT_EXCEEDED", f"{limit.per_minute} calls a minute are allowed; try again in {wait_s} s",
            at_gate=True, retry_after=wait_s, operation_id=self.call.operation_id, policy_id=limit.policy_id,
            policy_version=self.standing.policies.version,
            details={
                "scope": "api_key", "limit_per_minute": limit.per_minute, "current_count": used,
                "retry_after_seconds": wait_s, "retry_after_ms": wait_s * 1000,
            },
        )  # fmt: skip

    def unaffordable(self, code: str, purse: Purse) -> Refused:
        """The refusal for want of money in a purse."""
        details = {
            "spent_cents": cents(int(purse.spent)), "reserved_cents": cents(int(purse.reserved)),
            "budget_cents": cents(int(purse.cap)), "projected_cents": -(-self.projected // MICRO), "scope": purse.scope,
        }  # fmt: skip
        return Refused(
            code, "The budget is used up; raise it, or wait for the next period", at_gate=True, details=details,
            operation_id=self.call.operation_id, policy_version=self.standing.policies.version,
        )  # fmt: skip
