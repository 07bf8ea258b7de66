"""States of a workflow. Source: NullRun docs, HTTP API, Workflows."""

from __future__ import annotations

import pytest

from shared.governance.states import STATES, Change, next_state, status_of
from shared.kit.errors import Conflict


@pytest.mark.parametrize(
    ("state", "pause", "resume", "kill"),
    [
        ("Normal", "Paused", None, "Killed"),
        ("Flagged", "Paused", None, "Killed"),
        ("Tripped", "Paused", None, "Killed"),
        ("Paused", None, "Normal", "Killed"),
    ],
)
def test_what_becomes_of_a_living_state(state: str, pause: str | None, resume: str | None, kill: str) -> None:
    """Each change leads to its state; None is a change that finds it so already."""
    assert next_state("pause", state) == pause
    assert next_state("resume", state) == resume
    assert next_state("kill", state) == kill


@pytest.mark.parametrize("change", ["pause", "resume"])
def test_killed_is_final(change: Change) -> None:
    """Nothing revives a killed workflow; killing it again finds it so."""
    with pytest.raises(Conflict):
        next_state(change, "Killed")
    assert next_state("kill", "Killed") is None


def test_every_state_has_a_status() -> None:
    """Of the five states, three are active."""
    assert [status_of(state) for state in STATES] == ["active", "active", "active", "paused", "killed"]
