"""What an entry of the audit chain says, and how entries are tied together. Pure.

``current_event_hash = sha256(previous_event_hash + canonical(the entry without current_event_hash))``, in hex; the
canonical text is JSON with the keys sorted at every level, without spaces, in UTF-8. An entry tells who asked for what
and how it was decided, never prompts, completions or arguments.
Source: NullRun docs, Audit log; docs/rulings.md#audit-chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, TypeAlias

from shared.governance.events import SYSTEM, Actor
from shared.kit import clock, json
from shared.store.models.governance import Event, Operation

Source: TypeAlias = Event | Operation
"""What entries are made of: something that happened, or a decision of the gate."""

BEFORE_FIRST = "0" * 64
"""The hash before the first entry's."""

MOST_METADATA = 16_384
"""Bytes of metadata an entry has room for; what is more is named by its digest."""

_DECISIONS = {"allow": "allow", "soft_pass": "allow", "require_approval": "require_approval", "block": "deny"}
_OUTCOMES = {"allow": "success", "soft_pass": "degraded", "require_approval": "success", "block": "blocked"}


def canonical(value: Any) -> str:
    """The one JSON text of a value."""
    return json.dumps(_sorted(value))


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return value


def chained_hash(previous: str, body: str) -> str:
    """The hash of the entry with this canonical text after the one with the hash ``previous``."""
    return hashlib.sha256((previous + body).encode("utf-8", "surrogatepass")).hexdigest()


def outline(source: Source, labels: Mapping[str, str]) -> dict[str, Any]:
    """What the source's entry says, but for the hashes; ``labels`` are what people call API keys, by key id."""
    return _of_event(source) if isinstance(source, Event) else _of_operation(source, labels)


def _of_operation(operation: Operation, labels: Mapping[str, str]) -> dict[str, Any]:
    decision, key_id = operation.decision, operation.key_id
    metadata = {
        "operation_id": operation.operation_id, "model": operation.model, "trace_id": operation.trace_id,
        "chain_id": operation.chain_id, "approval_id": operation.approval_id,
        "flow_execution_id": operation.flow_execution_id,
        "projected_microcents": int(operation.projected),
    }  # fmt: skip
    actor = Actor.of_key(key_id, labels.get(key_id, key_id)) if key_id else SYSTEM
    return _entry(
        operation.execution_id, f"{operation.source}.{decision}", int(operation.created_ms),
        (actor.type, actor.id, actor.label),
        {name: value for name, value in metadata.items() if value is not None},
        event_type="authorization_decision", resource_type="workflow", resource_id=operation.workflow_id,
        outcome=_OUTCOMES.get(decision, "blocked"), decision=_DECISIONS.get(decision, "deny"),
        policy_id=operation.policy_id, policy_version=int(operation.policy_version),
        matched_rule=operation.matched_rule, reason_code=operation.error_code, execution_id=operation.execution_id,
        action_digest=operation.action_digest, tool_name=tool_of(operation),
    )  # fmt: skip


def tool_of(operation: Operation) -> str | None:
    """The tool that was asked for; the only one of the tools where none was named."""
    listed = json.loads(operation.tools) if operation.tools else []
    only = listed[0] if isinstance(listed, list) and len(listed) == 1 else None
    return operation.tool or (only if isinstance(only, str) else None)


def _of_event(event: Event) -> dict[str, Any]:
    details: dict[str, Any] = json.loads(event.details)
    resource = event.resource_id if event.resource_type == "policy" else None
    version = details.get("policy_version")
    return _entry(
        event.event_id, event.action, int(event.created_ms), (event.actor_type, event.actor_id, event.actor_label),
        details, event_type=event.event_type, resource_type=event.resource_type, resource_id=event.resource_id,
        outcome=event.outcome, decision=event.decision, policy_id=_text(details, "policy_id") or resource,
        policy_version=version if isinstance(version, int) else None, matched_rule=_text(details, "matched_rule"),
        reason_code=event.reason_code, execution_id=event.execution_id,
        action_digest=_text(details, "action_digest"), tool_name=_text(details, "tool_name") or _text(details, "tool"),
    )  # fmt: skip


def _text(details: Mapping[str, Any], name: str) -> str | None:
    value = details.get(name)
    return value if isinstance(value, str) else None


def _entry(
    entry_id: str, action: str, at_ms: int, actor: tuple[str, str, str], metadata: dict[str, Any], **more: Any
) -> dict[str, Any]:
    kind, actor_id, label = actor
    unknown = ("agent_id", "principal_id", "policy_hash", "tool_version", "tool_digest")
    return {
        "id": entry_id, "action": action, "actor": f"{kind}:{actor_id}", "actor_label": label, "actor_type": kind,
        "actor_id": actor_id, "timestamp": clock.rfc3339(at_ms), "metadata": _bounded(metadata),
        **dict.fromkeys(unknown), **more,
    }  # fmt: skip


def _bounded(metadata: dict[str, Any]) -> dict[str, Any]:
    text = canonical(metadata).encode("utf-8", "surrogatepass")
    if len(text) <= MOST_METADATA:
        return metadata
    return {"left_out_bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
