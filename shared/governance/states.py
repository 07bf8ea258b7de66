"""States of a workflow, and what may become of each.

                 pause ───────▶ Paused ── resume ──▶ Normal
Normal, Flagged, Tripped          │
                 kill ────────▶ Killed ◀── kill ─────┘      Killed is final

What is asked for and already so changes nothing. Source: NullRun docs, HTTP API, Workflows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from shared.kit.errors import Conflict

NORMAL, FLAGGED, TRIPPED, PAUSED, KILLED = "Normal", "Flagged", "Tripped", "Paused", "Killed"
STATES = (NORMAL, FLAGGED, TRIPPED, PAUSED, KILLED)

Change: TypeAlias = Literal["pause", "resume", "kill"]

EVENTS: Mapping[Change, str] = {"pause": "workflow.paused", "resume": "workflow.resumed", "kill": "workflow.killed"}
"""What each change is called once it has happened."""

_AIMS: Mapping[Change, str] = {"pause": PAUSED, "resume": NORMAL, "kill": KILLED}


def next_state(change: Change, state: str) -> str | None:
    """What ``state`` becomes; None where nothing changes. Raises Conflict for whatever would revive the killed."""
    if state == KILLED:
        if change == "kill":
            return None
        raise Conflict("The workflow has been killed, which is final; make a new workflow")
    if state == _AIMS[change] or (change == "resume" and state != PAUSED):
        return None
    return _AIMS[change]


def status_of(state: str) -> str:
    """``active``, ``paused`` or ``killed``."""
    return state.lower() if state in (PAUSED, KILLED) else "active"
