"""Frames of the control plane."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from shared.governance import frames

KEY, SECRET = "nr_live_" + "k" * 32, "5e" * 32


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            frames.state_change("w1", "Killed", 5, "runaway", 1_790_856_000_999),
            {
                "type": "state_change", "workflow_id": "w1", "state": "Killed", "version": 5, "reason": "runaway",
                "updated_at": 1_790_856_000,
            },
        ),
        (
            frames.policy_invalidated("o1", "p1", 7),
            {"type": "policy_invalidated", "organization_id": "o1", "policy_id": "p1", "new_version": 7},
        ),
        (
            frames.key_rotated("o1", "k1", 2),
            {"type": "key_rotated", "organization_id": "o1", "key_id": "k1", "new_version": 2},
        ),
        (
            frames.approval_resolved("a1", "w1", "e1", "denied", None, 1_790_856_000_001),
            {
                "type": "approval_resolved", "approval_id": "a1", "workflow_id": "w1", "execution_id": "e1",
                "outcome": "denied", "note": None, "resolved_at": 1_790_856_000,
            },
        ),
    ],
)  # fmt: skip
def test_frames_have_the_documented_fields(frame: Any, expected: dict[str, Any]) -> None:
    """Snake_case types, whole Unix seconds, no field more."""
    assert frame == expected


def test_a_signed_frame_verifies_by_the_documented_formula() -> None:
    """The signature covers the bytes in signed_payload, which repeat the whole frame."""
    frame = {**frames.state_change("w1", "Paused", 2, "läuft heiß", 1_000), "message_id": "m1"}
    sent = json.loads(json.dumps(frames.signed(frame, KEY, SECRET, 1_790_000_000)))
    payload = bytes.fromhex(sent["signed_payload"])
    message = f"{sent['timestamp']}:{sent['api_key']}:{hashlib.sha256(payload).hexdigest()}"
    assert sent["signature"] == hmac.new(SECRET.encode(), message.encode(), hashlib.sha256).hexdigest()
    assert (sent["api_key"], sent["timestamp"]) == (KEY, 1_790_000_000)
    assert json.loads(payload) == frame and {name: sent[name] for name in frame} == frame


def test_a_state_is_copied_under_every_text() -> None:
    """Each copy has its own id and the same version."""
    entry = frames.state_entry("w1", "Killed", 3, None, 0)
    found = list(frames.copies(entry, ["support bot", "ext-1"]))
    assert [copy["workflow_id"] for copy in found] == ["w1", "support bot", "ext-1"]
    assert {copy["version"] for copy in found} == {3}


def test_an_org_without_workflows_has_an_empty_state() -> None:
    """A client is told even that there is nothing."""
    (text,) = frames.initial_states([])
    assert json.loads(text) == {"type": "initial_state", "workflows": []}


def test_many_states_are_split() -> None:
    """No frame reaches 100 KB however long the reasons are, and nothing is lost, doubled or reordered."""
    entries = [frames.state_entry(f"w{number}", "Paused", 1, "ü" * 500, 0) for number in range(300)]
    texts = list(frames.initial_states(entries))
    assert len(texts) > 1 and all(len(text.encode()) < 101_000 for text in texts)
    assert [entry for text in texts for entry in json.loads(text)["workflows"]] == entries
