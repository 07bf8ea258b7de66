"""Executions of a definition that a workflow governs pass the same gate as agents do.

    before an effect    gate: allow ─▶ go on · refuse ─▶ the node fails with the reason
                        paused, out of calls for the minute, or a person decides ─▶ hold
    after it            what a model used is settled; the rest of the reservation goes back

Each attempt has one operation id, so a second look at it finds the first one's answer. What every call of a model used
is counted under an id of its own. Source: docs/rulings.md#governed-definitions.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shared.engine.ports import Decision, Effect
from shared.governance.arguments import MASK
from shared.governance.authentication import KnownKey
from shared.governance.calls import Call
from shared.governance.digests import action_digest
from shared.governance.events import DEFINITION, Actor
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

PAUSED_MS = 15 * 60_000
"""As before, under a pause: each look leaves a refusal in the books."""

MODEL_KINDS = ("llm", "ai.agent", "agent")
LONGEST_ARGUMENT = 200
LONGEST_NAME = 64
MOST_ARGUMENTS = 16
LONGEST_MODEL = 256
_REMEMBERED = 4096
_TEMPLATE = "${"
_SECRET = re.compile(r"key|secret|token|passw|auth|credential|connection|dsn|cookie", re.IGNORECASE)
_USER_IN_URL = re.compile(r"://[^/\s]*@")


class FlowGate:
    """The engine's governance."""

    def __init__(self, gate: Gate, tracking: Tracking, approvals: Callable[[], Approvals]) -> None:
        self._gate = gate
        self._tracking = tracking
        self._approvals = approvals
        self._bound: dict[tuple[str, str], tuple[int, str | None]] = {}
        self._begun: dict[str, str] = {}
        self._lock = threading.Lock()

    def before(self, effect: Effect) -> Decision:
        """Whether an attempt may start."""
        workflow_id = self._workflow(effect)
        while workflow_id is not None:
            decision = self._decide(_key(effect, workflow_id), effect)
            if decision.verdict == "allow":
                self._begin(effect.key, workflow_id)
                return decision
            # A killed workflow that is deleted frees its definitions, and their executions before these are told.
            current = workflow_id if decision.reason.startswith("WORKFLOW_INACTIVE") else self._bound_to(effect)
            if current == workflow_id:
                return decision
            workflow_id = current
        return Decision()

    def _decide(self, key: KnownKey, effect: Effect) -> Decision:
        call = _call(effect)
        try:
            answer = self._gate.decide("", key, call)
            if answer["decision"] != "require_approval":
                return Decision()
            return self._asked(key, call, answer)
        except Refused as refused:
            return _refusal(refused)

    def after(self, effect: Effect, usage: Sequence[Mapping[str, Any]], *, failed: bool) -> None:
        """Settle what an attempt used, and give back the rest."""
        with self._lock:
            begun = self._begun.pop(effect.key, None)
        try:
            workflow_id = begun or self._workflow(effect)
            if workflow_id is not None:
                self._settle(_key(effect, workflow_id), effect, usage, failed=failed)
        except SignalboxError as error:
            # The node is not to fail for it: its reservation expires, and the log has what it used.
            about = {"execution_id": effect.execution.id, "reason": error.message, "usage": list(usage)}
            log.error("use not settled", extra=about)

    def _settle(self, key: KnownKey, effect: Effect, usage: Sequence[Mapping[str, Any]], *, failed: bool) -> None:
        operation = read(Operation, pk_of(key.org_id, operation_tail(key.key_id, effect.key)), "operation")
        if operation is None:
            return
        principal = Principal(
            kind="system", org_id=key.org_id, account_id=effect.execution.account_id, username=key.label,
            role="operator", key_id=key.key_id, workflow_id=key.workflow_id,
        )  # fmt: skip
        for number, used in enumerate(usage):
            event = _event(operation, f"{effect.key}:{number}", used)
            report = read_report(event)
            self._tracking.settle(principal, report, Mark.of(principal, report, json.dumpb(event)), "llm_call")
        latency_ms = max(0, clock.now_ms() - int(operation.created_ms))
        complete(key.org_id, operation.execution_id, failed=failed, latency_ms=latency_ms, workflow_id=key.workflow_id)

    def _asked(self, key: KnownKey, call: Call, answer: Mapping[str, Any]) -> Decision:
        """Whether a person has decided: allow, or hold. Raises Refused."""
        operation = read(Operation, pk_of(key.org_id, operation_tail(key.key_id, call.operation_id)), "operation")
        if operation is None or operation.approval_id is None:
            return Decision("hold", until_ms=clock.now_ms() + LOOK_MS)
        approvals, approval_id = self._approvals(), operation.approval_id
        try:
            approvals.check(operation, approval_id, call.action_digest)
        except Refused as refused:
            if refused.reason != "APPROVAL_NOT_YET_APPROVED":
                complete(key.org_id, operation.execution_id, failed=True, latency_ms=None, workflow_id=key.workflow_id)
                raise
            reason = f"waiting for approval {approval_id}: {answer['explanation']}"
            return Decision("hold", reason, until_ms=clock.now_ms() + LOOK_MS, alone=True)
        approvals.consume(key.org_id, approval_id, call.flow_execution_id, Actor.of_key(key.key_id, key.label))
        return Decision()

    def _begin(self, effect_key: str, workflow_id: str) -> None:
        """Remember under which workflow an attempt begins: its binding may be gone when it ends."""
        with self._lock:
            if len(self._begun) >= _REMEMBERED:
                self._begun.clear()
            self._begun[effect_key] = workflow_id

    def _workflow(self, effect: Effect) -> str | None:
        """The workflow that governs the definition, as far as this process knows."""
        with self._lock:
            known = self._bound.get((effect.execution.org_id, effect.execution.definition_id))
        return known[1] if known is not None and known[0] > clock.now_ms() else self._bound_to(effect)

    def _bound_to(self, effect: Effect) -> str | None:
        """The workflow that governs the definition now."""
        place = org_id, definition_id = effect.execution.org_id, effect.execution.definition_id
        found = read(Binding, bindings_pk(org_id), definition_id)
        workflow_id = None if found is None else str(found.workflow_id)
        with self._lock:
            if len(self._bound) >= _REMEMBERED:
                self._bound.clear()
            self._bound[place] = clock.now_ms() + BELIEVED_MS, workflow_id
        return workflow_id


def _key(effect: Effect, workflow_id: str) -> KnownKey:
    """What stands for a key at the gate."""
    definition_id = effect.execution.definition_id
    return KnownKey(
        org_id=effect.execution.org_id, key_id=f"{DEFINITION}{definition_id}", workflow_id=workflow_id,
        label=f"definition {definition_id}", version=0, scopes=frozenset("*"), secrets=(), expires_ms=None,
        revoked=False,
    )  # fmt: skip


def _refusal(refused: Refused) -> Decision:
    now, reason = clock.now_ms(), f"{refused.reason}: {refused.message}"
    if refused.reason == "WORKFLOW_PAUSED":
        return Decision("hold", reason, until_ms=now + PAUSED_MS, status="paused")
    if refused.reason in ("RATE_LIMIT_EXCEEDED", "TOO_MANY_PENDING_APPROVALS"):
        return Decision("hold", reason, until_ms=now + (refused.retry_after or 1) * 1000)
    return Decision("refuse", reason)


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
        tools=(node.kind, node.name, *_mcp_tools(node.kind, params)),
        tool_class="mcp" if node.kind == "mcp" else "builtin",
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
    kwargs: dict[str, str] = {}
    for name, value in params.items():
        told = str(value) if isinstance(value, str | int) and len(name.encode()) <= LONGEST_NAME else ""
        if told and len(told) <= LONGEST_ARGUMENT and len(kwargs) < MOST_ARGUMENTS:
            hidden = _SECRET.search(name) or _USER_IN_URL.search(told)
            kwargs[name] = MASK if hidden else told
    return {
        "kind": "tool_call", "tool_name": kind, "params": {"args": [], "kwargs": kwargs},
        "extractor_id": "signalbox.node", "extractor_version": "1",
    }  # fmt: skip


def _mcp_tools(kind: str, params: Mapping[str, Any]) -> tuple[str, ...]:
    """The tool of an MCP server by its own name and as ``mcp://server/tool``, where the definition spells both out."""
    url, tool = params.get("url"), params.get("toolName")
    if kind != "mcp" or not isinstance(tool, str) or not tool or _TEMPLATE in tool:
        return ()
    host = _host(url) if isinstance(url, str) and _TEMPLATE not in url else None
    return (tool,) if host is None else (tool, f"mcp://{host}/{tool}")


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _event(operation: Operation, key: str, used: Mapping[str, Any]) -> dict[str, Any]:
    """What one call of a model used, as an agent would report it."""
    provider, model = used.get("provider"), used.get("model")
    cached, written = used.get("cached_tokens", 0), used.get("cache_creation_tokens", 0)
    is_anthropic = provider == "anthropic"
    prompt = used.get("prompt_tokens", 0)
    return {
        "reservation_id": operation.execution_id,
        "idempotency_key": key.replace(":", "."),
        "model": model if isinstance(model, str) and len(model) <= LONGEST_MODEL else None,
        # Servers of another make speak OpenAI's protocol, which counts what was cached among the input.
        "provider": "anthropic" if is_anthropic else "openai",
        "input_tokens": max(0, prompt - cached - written) if is_anthropic else prompt,
        "output_tokens": used.get("completion_tokens", 0),
        "cache_read_tokens": cached,
        "cache_write_tokens": written,
        "tokens": used.get("total_tokens", 0),
    }
