"""Frames of the control plane: what NullRun's SDK hears over its WebSocket. Pure.

A change puts its frames into its :class:`~shared.governance.events.Fact`; the message id and the signature come when
they are sent. Types are snake_case, states PascalCase, times whole Unix seconds.
Source: NullRun docs, Control plane; docs/rulings.md#control-plane.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

from shared.governance.signatures import sign
from shared.kit import json

Frame: TypeAlias = Mapping[str, Any]

STATE_CHANGE = "state_change"

SHOWN_OUT = {"key_revoked": "key_id", "member_removed": "account_id"}
"""Frames that no client hears: they close the sockets that were opened with a key or by an account."""

LARGEST_FRAME = 100_000
"""Bytes of a frame: API Gateway takes 128 KB (Amazon API Gateway quotas, WebSocket message payload size)."""


def state_change(workflow_id: str, state: str, version: int, reason: str | None, updated_ms: int) -> Frame:
    """A workflow's new state; ``version`` is higher with each change, and clients drop what is not."""
    return {"type": STATE_CHANGE, **state_entry(workflow_id, state, version, reason, updated_ms)}


def policy_invalidated(org_id: str, policy_id: str, new_version: int) -> Frame:
    """A policy or rule was changed; ``new_version`` is the org's policy version."""
    return {
        "type": "policy_invalidated", "organization_id": org_id, "policy_id": policy_id, "new_version": new_version,
    }  # fmt: skip


def key_rotated(org_id: str, key_id: str, new_version: int) -> Frame:
    """An API key has a new secret."""
    return {"type": "key_rotated", "organization_id": org_id, "key_id": key_id, "new_version": new_version}


def key_revoked(key_id: str) -> Frame:
    """An API key was revoked; see :data:`SHOWN_OUT`."""
    return {"type": "key_revoked", "key_id": key_id}


def member_removed(account_id: str) -> Frame:
    """Somebody is no member any more; see :data:`SHOWN_OUT`."""
    return {"type": "member_removed", "account_id": account_id}


def approval_resolved(
    approval_id: str, workflow_id: str, execution_id: str, outcome: Literal["approved", "denied"],
    note: str | None, resolved_ms: int,
) -> Frame:  # fmt: skip
    """An approval was decided; may be sent again, because clients ignore one they know."""
    return {
        "type": "approval_resolved", "approval_id": approval_id, "workflow_id": workflow_id,
        "execution_id": execution_id, "outcome": outcome, "note": note, "resolved_at": resolved_ms // 1000,
    }  # fmt: skip


def state_entry(workflow_id: str, state: str, version: int, reason: str | None, updated_ms: int) -> dict[str, Any]:
    """The state of a workflow under one of the texts that mean it."""
    return {
        "workflow_id": workflow_id, "state": state, "version": int(version), "reason": reason,
        "updated_at": int(updated_ms) // 1000,
    }  # fmt: skip


def copies(entry: Frame, texts: Iterable[str]) -> Iterator[Frame]:
    """A state, and the same under each further text."""
    yield entry
    for text in texts:
        yield {**entry, "workflow_id": text}


def initial_states(entries: Iterable[Frame]) -> Iterator[str]:
    """``initial_state`` as texts: one, or several below :data:`LARGEST_FRAME`; clients add them up."""
    part: list[str] = []
    size = 0
    for entry in entries:
        text = json.dumps(entry)
        length = len(text.encode()) + 1
        if part and size + length > LARGEST_FRAME:
            yield _initial_state(part)
            part, size = [], 0
        part.append(text)
        size += length
    yield _initial_state(part)


def _initial_state(entries: list[str]) -> str:
    return f'{{"type":"initial_state","workflows":[{",".join(entries)}]}}'


def signed(frame: Frame, api_key: str, secret: str, timestamp: int) -> Frame:
    """A frame with its signature; clients believe the signed bytes and not what stands beside them."""
    payload = json.dumpb(frame)
    proof = {"api_key": api_key, "timestamp": timestamp, "signed_payload": payload.hex()}
    return {**frame, **proof, "signature": sign(secret, timestamp, api_key, payload)}
