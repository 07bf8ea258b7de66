"""The gate: may this happen, and is there money for it? Answered by one transaction.

    remembered key and policies ──▶ judge ──▶ transaction: purse (money, state, versions, calls) + operation
                                      │                │
                                   refusal      a condition failed: the purse as it was says why
                                                state · key · policies · period · minute · money

A refusal that rests on what is remembered is confirmed by reading the purse first. An operation that exists already is
answered again as it was answered before. Source: NullRun docs, HTTP API, Gate; docs/rulings.md#gate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shared.governance import chains
from shared.governance.authentication import KeyAuthenticator, KeyRefused, KnownKey
from shared.governance.calls import Call
from shared.governance.judging import Verdict, halted, judge
from shared.governance.operations import find_operation, is_bound
from shared.governance.prices import project
from shared.governance.purses import OVERDRAFT, is_over, new_purse, read_purse, roll_over
from shared.governance.recording import Recorder
from shared.governance.refusals import Refused
from shared.governance.reserving import Attempt, Overdraft
from shared.governance.standing import Standing, Standings
from shared.kit import clock, ids, json
from shared.kit.errors import NotFound, Unavailable
from shared.store.models.governance import Chain, Operation, Purse
from shared.store.transaction import ConditionFailed, put_if_absent

if TYPE_CHECKING:
    from shared.governance.approvals import Approvals

_ATTEMPTS = 24
_PAUSE_S = 0.004
MOST_DEPTH = 8
"""How deep operations may be nested in one another."""


class Gate:
    """Judges gate calls. ``approvals`` is asked for when a rule wants a person."""

    def __init__(self, authenticator: KeyAuthenticator, approvals: Callable[[], Approvals]) -> None:
        self.authenticator = authenticator
        self.approvals = approvals
        self.standings = Standings()
        self.recorder = Recorder()

    def decide(self, api_key: str, key: KnownKey, call: Call) -> dict[str, Any]:
        """The answer to a call that may go on. Raises Refused, and KeyRefused for a key revoked meanwhile."""
        if call.chain_op == "end":
            # No purse is written that would prove the key.
            return _end_chain(self.authenticator.check(api_key, key.signature, fresh=True).org_id, call)
        question = _Question(self, api_key, key, call)
        for attempt in range(_ATTEMPTS):
            if attempt > 1:
                # A policy change is on its way to the purse, or others are faster; both are over in a moment.
                clock.sleep(_PAUSE_S * attempt * (0.5 + ids.uniform()))
            answer = question.ask()
            if answer is not None:
                return answer
        raise Unavailable("Too many calls change the same budget at once; try again")

    def check(self, api_key: str, key: KnownKey, call: Call) -> dict[str, Any]:
        """What the gate would answer, without reserving or recording anything. Raises Refused."""
        return _Question(self, api_key, key, call, advisory=True).preview()

    def prove(self, api_key: str, key: KnownKey, call: Call) -> None:
        """Raise what is told before any other refusal: KeyRefused where there is no such key, Refused where halted."""
        _Question(self, api_key, key, call).prove()


class _Question:
    """One call on its way to an answer."""

    def __init__(self, gate: Gate, api_key: str, key: KnownKey, call: Call, *, advisory: bool = False) -> None:
        self._gate = gate
        self._api_key = api_key
        self._key = key
        self._call = call
        self._advisory = advisory
        self._projected = project(call.model, call.estimated_tokens, call.max_output_tokens)
        self._depth = 0
        self._overdraft: Overdraft | None = None
        self._released = False

    def ask(self) -> dict[str, Any] | None:
        """One attempt: the answer, or None to try again with what was learnt. Raises refusals."""
        attempt = self._attempt(self._standing())
        approvals = None if attempt.verdict.rule is None else self._gate.approvals()
        try:
            return attempt.commit(approvals)
        except Refused as refusal:
            # Too many wait for approval, which is nothing to tell whoever must not ask at all.
            self._prove(self._purse())
            raise self._recorded(refusal) from None
        except ConditionFailed as failed:
            purse = failed.failures.get("purse")
            if isinstance(purse, Purse):
                self._prove(purse)
            earlier = failed.failures.get("operation")
            if not isinstance(earlier, Operation):
                self._learn(attempt, failed)
            elif is_bound(earlier):
                return self._again(earlier)
            else:
                _give_back(earlier)
        return None

    def preview(self) -> dict[str, Any]:
        """What would be answered to the first attempt."""
        purse = self._purse()
        self._prove(purse)
        attempt = self._attempt(self._saw(purse))
        limited = attempt.over_rate(purse)
        if limited is not None:
            raise limited
        if purse.available < self._projected:
            self._short("BUDGET_WORKFLOW_BLOCKED", purse, attempt)
            attempt = self._attempt(attempt.standing)
        return attempt.answer(reserved=False)

    def prove(self) -> None:
        """That it may be asked at all, by the purse as it is now. Raises KeyRefused, Refused."""
        self._prove(self._purse())

    # Steps

    def _lineage(self) -> Refused | None:
        """What is wrong with the parent that the call names, once per call; else its depth is known."""
        if self._call.parent_execution_id is None or self._depth:
            return None
        parent = find_operation(self._key.org_id, self._call.parent_execution_id)
        if parent is None:
            return Refused("PARENT_EXECUTION_NOT_FOUND", "There is no such parent execution", at_gate=True)
        if parent.depth >= MOST_DEPTH:
            reason = f"Executions are nested more than {MOST_DEPTH} deep"
            return Refused("WORKFLOW_DEPTH_EXCEEDED", reason, at_gate=True)
        self._depth = int(parent.depth) + 1
        return None

    def _standing(self) -> Standing:
        try:
            return self._gate.standings.get(self._key.org_id, self._key.workflow_id)
        except NotFound:
            raise self._gone() from None

    def _saw(self, purse: Purse) -> Standing:
        try:
            return self._gate.standings.saw(purse)
        except NotFound:
            raise self._gone() from None

    def _purse(self) -> Purse:
        purse = read_purse(self._key.org_id, self._key.workflow_id)
        if purse is None:
            raise self._gone()
        return purse

    def _gone(self) -> Refused:
        return Refused(
            "WORKFLOW_INACTIVE", "The workflow of this API key has been deleted", at_gate=True,
            operation_id=self._call.operation_id,
        )  # fmt: skip

    def _attempt(self, standing: Standing) -> Attempt:
        verdict = self._judge(standing)
        return Attempt(self._key, self._call, standing, verdict, self._projected, self._depth, self._overdraft)

    def _judge(self, standing: Standing) -> Verdict:
        """The verdict of the policies. A refusal only after the purse was read, so that it is today's."""
        verdict = self._verdict(standing)
        if verdict.refusal is None:
            return verdict
        purse = self._purse()
        self._prove(purse)
        verdict = self._verdict(self._saw(purse))
        if verdict.refusal is not None:
            raise self._recorded(verdict.refusal)
        return verdict

    def _verdict(self, standing: Standing) -> Verdict:
        refusal = self._lineage()
        if refusal is not None:
            return Verdict(refusal)
        return judge(standing.policies, self._key.key_id, self._call, self._projected)

    def _prove(self, purse: Purse) -> None:
        """That the key is one of the workflow's still, and that the workflow works. Raises KeyRefused, Refused."""
        if self._key.version and purse.key_versions.attribute_values.get(self._key.key_id) != self._key.version:
            self._renew_key(purse)
        refusal = halted(purse.state, purse.state_reason, at_gate=True)
        if refusal is not None:
            raise self._recorded(refusal)

    def _recorded(self, refusal: Refused) -> Refused:
        refusal.about(self._call.operation_id)
        if not self._advisory:
            self._gate.recorder.refused(self._key, self._call, refusal, self._projected)
        return refusal

    # Learning from a transaction that failed

    def _learn(self, attempt: Attempt, failed: ConditionFailed) -> None:
        """Find out why, and put right what can be; else raise the refusal."""
        failures = failed.failures
        if "purse" in failures:
            purse = failures["purse"]
            if not isinstance(purse, Purse):
                raise self._gone()
            self._learn_from(attempt, purse)
            return
        if "chain" in failures:
            chain = failures["chain"]
            refusal = chains.refusal(chain if isinstance(chain, Chain) else None)
            if refusal is not None:
                raise self._recorded(refusal)
            return
        for label, code in (("org", "BUDGET_ORG_CEILING_BLOCKED"), ("key", "BUDGET_HARD_BLOCKED")):
            fund = failures.get(label)
            if isinstance(fund, Purse):
                self._learn_from_fund(attempt, fund, code)
        if "overdraft" in failures:
            self._overdraft = None
            counted = failures["overdraft"]
            if isinstance(counted, Purse) and is_over(counted):
                roll_over(counted)

    def _learn_from(self, attempt: Attempt, purse: Purse) -> None:
        if is_over(purse):
            roll_over(purse)
            self._gate.standings.look(self._key.org_id, self._key.workflow_id)
            return
        known = attempt.standing
        outdated = purse.policy_version > known.policies.version or int(purse.minute) != known.minute
        self._saw(purse)
        if outdated:
            return
        limited = attempt.over_rate(purse)
        if limited is not None:
            raise self._recorded(limited)
        if purse.available < self._projected:
            self._short("BUDGET_WORKFLOW_BLOCKED", purse, attempt)

    def _learn_from_fund(self, attempt: Attempt, fund: Purse, code: str) -> None:
        if is_over(fund):
            roll_over(fund)
        elif fund.available < self._projected and not self._release(everywhere=True):
            raise self._recorded(attempt.unaffordable(code, fund))

    def _renew_key(self, purse: Purse) -> None:
        """The key as it is now. Raises KeyRefused when it is none any more."""
        self._key = self._gate.authenticator.check(self._api_key, self._key.signature, fresh=True)
        if self._key.key_id not in purse.key_versions.attribute_values:
            raise KeyRefused("API_KEY_REVOKED", "The API key has been revoked")

    def _short(self, code: str, purse: Purse, attempt: Attempt) -> None:
        """The purse has too little: try again with what expired reservations give back, or on credit; else refuse."""
        if not self._advisory and self._release():
            return
        soft = attempt.standing.policies.soft
        if soft is None or self._call.chain_id is None:
            raise self._recorded(attempt.unaffordable(code, purse))
        counted = read_purse(purse.org_id, OVERDRAFT)
        used, available = 0 if counted is None else int(counted.overdraft), int(purse.available)
        limit, amount = soft.limit(int(purse.cap)), self._projected - max(0, available)
        # What settlements have overrun counts as well: the purse may lack more than was ever lent.
        if max(used + amount, self._projected - available) > limit:
            raise self._recorded(attempt.unaffordable("BUDGET_OVERDRAFT_EXCEEDED", purse))
        if counted is None and not self._advisory:
            anchor_ms, org_id = int(purse.anchor_ms), purse.org_id
            put_if_absent(new_purse(org_id, OVERDRAFT, OVERDRAFT, cap=None, anchor_ms=anchor_ms, policy_version=0))
        self._overdraft = Overdraft(amount, limit, used, available)

    def _release(self, *, everywhere: bool = False) -> bool:
        """Give back what expired reservations of the workflow, or the org, hold, once; whether there was any."""
        if self._released:
            return False
        self._released = True
        # Only whoever runs out of money needs it.
        from shared.governance.sweep import release_expired

        return release_expired(self._key.org_id, None if everywhere else self._key.workflow_id) > 0

    # An operation that is known

    def _again(self, earlier: Operation) -> dict[str, Any]:
        call = self._call
        if earlier.fingerprint != call.fingerprint:
            raise Refused(
                "IDEMPOTENCY_KEY_MISMATCH", "This operation_id was used for a different call; choose a new one",
                at_gate=True, operation_id=call.operation_id,
            )  # fmt: skip
        answer: dict[str, Any] = json.loads(earlier.answer or "{}")
        if call.approval_id is not None and call.approval_id == earlier.approval_id:
            self._gate.approvals().check(earlier, call.approval_id, call.action_digest)
            answer |= {"decision": "allow", "explanation": "A person approved this."}
        return answer | {"idempotent_replay": True}


def _give_back(earlier: Operation) -> None:
    """Release what an operation of another day holds, which nobody has swept: the new one takes its place."""
    from shared.governance.reservations import expire

    expire(earlier.pk)


def _end_chain(org_id: str, call: Call) -> dict[str, Any]:
    if call.chain_id is not None:
        chains.end(org_id, call.chain_id)
    return {
        "decision": "allow", "decision_source": "gateway", "reservation_id": None, "execution_id": None,
        "operation_id": call.operation_id, "explanation": "The chain has ended.", "explanations": [],
        "suggestions": [], "details": {}, "idempotent_replay": False,
    }  # fmt: skip
