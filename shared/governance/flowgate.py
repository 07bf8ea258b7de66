"""Executions of a definition that a workflow governs pass the same gate as agents do.

    before an effect    gate: allow ─▶ go on · refuse ─▶ the node fails with the reason
                        paused, out of calls for the minute, or a person decides ─▶ hold
    after it            what a model used is settled; the rest of the reservation goes back

Each attempt has one operation id, so a second look at it finds the first one's answer.
Source: docs/rulings.md#governed-definitions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from shared.engine.ports import Decision, Effect
from shared.governance.authentication import KnownKey
from shared.governance.calls import Call
from shared.governance.digests import action_digest
from shared.governance.gate import Gate
from shared.governance.operations import operation_tail, pk_of
from shared.governance.refusals import Refused
from shared.governance.reservations import complete
from shared.governance.tracking import Mark, Tracking
from shared.governance.usage import read_report
from shared.identity.principal import Principal
from shared.kit import clock, json
from shared.kit.errors import SignalboxError
from shared.kit.logging import logger
from shared.store.models.governance import Operation
from shared.store.models.policies import Binding, bindings_pk
from shared.store.transaction import read

if TYPE_CHECKING:
    from shared.governance.approvals import Approvals

log = logger("flowgate")

BELIEVED_MS = 5_000
"""How long a process believes which workflow governs a definition, or that none does."""

LOOK_MS = 60_000
"""When something held is looked at again, should its wake-up be lost."""

MODEL_KINDS = ("llm", "ai.agent", "agent")
LONGEST_ARGUMENT = 200
_REMEMBERED = 4096
_TEMPLATE = "{{"


class FlowGate:
    """The engine's governance."""

    def __init__(self, gate: Gate, tracking: Tracking, approvals: Callable[[], Approvals]) -> None:
        self._gate = gate
        self._tracking = tracking
        self._approvals = approvals
        self._bound: dict[tuple[str, str], tuple[int, str | None]] = {}
        self._lock = threading.Lock()

    def before(self, effect: Effect) -> Decision:
        """Whether an attempt may start."""
        key = self._key(effect)
        if key is None:
            return Decision()
        call = _call(effect)
        try:
            answer = self._gate.decide("", key, call)
            if answer["decision"] != "require_approval":
                return Decision()
            return self._asked(key, call, answer)
        except Refused as refused:
            return _refusal(refused)

    def after(self, effect: Effect, usage: Mapping[str, Any] | None, *, failed: bool) -> None:
        """Settle what an attempt used, and give back the rest."""
        key = self._key(effect)
        if key is None:
            return
        try:
            self._settle(key, effect, usage, failed=failed)
        except SignalboxError as error:
            # The node is not to fail for it: its reservation expires, and the log has what it used.
            about = {"execution_id": effect.execution.id, "reason": error.message, "usage": dict(usage or {})}
            log.error("use not settled", extra=about)

    def _settle(self, key: KnownKey, effect: Effect, usage: Mapping[str, Any] | None, *, failed: bool) -> None:
        operation = read(Operation, pk_of(key.org_id, operation_tail(key.key_id, effect.key)), "operation")
        if operation is None:
            return
        if usage:
            principal = Principal(
                kind="system", org_id=key.org_id, account_id=effect.execution.account_id, username=key.label,
                role="operator", key_id=key.key_id, workflow_id=key.workflow_id,
            )  # fmt: skip
            event = _event(operation, effect, usage)
            report = read_report(event)
            self._tracking.settle(principal, report, Mark.of(principal, report, json.dumpb(event)), "llm_call")
        latency_ms = max(0, clock.now_ms() - int(operation.created_ms))
        complete(key.org_id, operation.execution_id, failed=failed, latency_ms=latency_ms, workflow_id=key.workflow_id)

    def _asked(self, key: KnownKey, call: Call, answer: Mapping[str, Any]) -> Decision:
        """Whether a person has decided: allow, or hold. Raises Refused."""
        operation = read(Operation, pk_of(key.org_id, operation_tail(key.key_id, call.operation_id)), "operation")
        if operation is None or operation.approval_id is None:
            return Decision("hold", until_ms=clock.now_ms() + LOOK_MS)
        try:
            self._approvals().check(operation, operation.approval_id, call.action_digest)
        except Refused as refused:
            if refused.reason != "APPROVAL_NOT_YET_APPROVED":
                raise
            reason = "" if answer["idempotent_replay"] else f"waiting for approval {operation.approval_id}"
            return Decision("hold", reason, until_ms=clock.now_ms() + LOOK_MS)
        return Decision()

    def _key(self, effect: Effect) -> KnownKey | None:
        """What stands for a key at the gate; None when no workflow governs the definition."""
        org_id, definition_id = effect.execution.org_id, effect.execution.definition_id
        workflow_id = self._workflow(org_id, definition_id)
        if workflow_id is None:
            return None
        return KnownKey(
            org_id=org_id, key_id=f"definition:{definition_id}", workflow_id=workflow_id,
            label=f"definition {definition_id}", version=0, scopes=frozenset("*"), secrets=(), expires_ms=None,
            revoked=False,
        )  # fmt: skip

    def _workflow(self, org_id: str, definition_id: str) -> str | None:
        place, now = (org_id, definition_id), clock.now_ms()
        with self._lock:
            known = self._bound.get(place)
        if known is not None and known[0] > now:
            return known[1]
        found = read(Binding, bindings_pk(org_id), definition_id)
        workflow_id = None if found is None else found.workflow_id
        with self._lock:
            if len(self._bound) >= _REMEMBERED:
                self._bound.clear()
            self._bound[place] = now + BELIEVED_MS, workflow_id
        return workflow_id


def _refusal(refused: Refused) -> Decision:
    now = clock.now_ms()
    if refused.reason == "WORKFLOW_PAUSED":
        return Decision("hold", until_ms=now + LOOK_MS, status="paused")
    if refused.reason in ("RATE_LIMIT_EXCEEDED", "TOO_MANY_PENDING_APPROVALS"):
        return Decision("hold", until_ms=now + (refused.retry_after or 1) * 1000)
    return Decision("refuse", f"{refused.reason}: {refused.message}")


def _call(effect: Effect) -> Call:
    """What an attempt asks the gate. Parameters are those of the definition: templates are not filled in yet."""
    node, params = effect.node, effect.node.params
    is_model = node.kind in MODEL_KINDS
    model, most = params.get("model"), params.get("max_tokens")
    impact = {"kind": "none"} if is_model else _impact(node.kind, params)
    return Call(
        operation_id=effect.key,
        model=model if isinstance(model, str) and _TEMPLATE not in model else None,
        estimated_tokens=1 if is_model else 0,
        max_output_tokens=most if type(most) is int and 0 < most <= 10**6 else None,
        check_type="llm" if is_model else None,
        tool=None if is_model else node.kind,
        tools=(node.kind, node.name),
        tool_class="builtin",
        action_digest=action_digest(impact),
        impact=impact,
        chain_id=None,
        chain_op=None,
        parent_execution_id=None,
        approval_id=None,
        trace_id=None,
        execution_id=None,
        fingerprint=effect.node.kind,
        flow_execution_id=effect.execution.id,
    )


def _impact(kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The short parameters of a node as a tool call's, so that rules may look at them and people decide by them."""
    shown = {name: value for name, value in params.items() if isinstance(value, str | int | bool) and len(name) <= 64}
    kwargs = {name: str(value) for name, value in shown.items() if len(str(value)) <= LONGEST_ARGUMENT}
    return {
        "kind": "tool_call", "tool_name": kind, "params": {"args": [], "kwargs": kwargs},
        "extractor_id": "signalbox.node", "extractor_version": "1",
    }  # fmt: skip


def _event(operation: Operation, effect: Effect, usage: Mapping[str, Any]) -> dict[str, Any]:
    """What a model node used, as an agent would report it."""
    return {
        "reservation_id": operation.execution_id,
        "idempotency_key": effect.key.replace(":", "."),
        "model": usage.get("model"),
        "provider": usage.get("provider"),
        "input_tokens": usage.get("prompt_tokens", 0),
        "output_tokens": usage.get("completion_tokens", 0),
        "tokens": usage.get("total_tokens", 0),
    }
