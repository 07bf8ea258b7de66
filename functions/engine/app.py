"""The driver's worker: what the state machine calls (``shared/engine/driver.asl.json``).

{"op": "advance", "execution": "<org>/<id>", "generation": n} ─▶ {"word", "seconds", "wake", "status", "generation"}
{"op": "park", …, "wake": n, "task_token": "…"}               ─▶ {"parked": whether the token is kept}
"""

from __future__ import annotations

from typing import Any

from shared.adapters.aws.observability import observed
from shared.composition import services
from shared.engine.interpreter import Verdict
from shared.kit import clock

LONGEST_PARK_S = 300 * 24 * 3600
"""A state machine's time-out is at most 99,999,999 seconds; what waits longer parks again."""

BUSY_S = 1
LONGEST_BUSY_S = 5
"""A lease is mostly given back long before it is over, and what parked then may be due or answered soon after."""

_UNSUCCESSFUL = {"failed", "expired", "canceled"}

Event = dict[str, Any]


def handle(event: Event, context: object) -> Event:
    """One event."""
    org_id, _, execution_id = event["execution"].partition("/")
    generation = int(event["generation"])
    if event["op"] == "park":
        return _park(org_id, execution_id, generation, int(event["wake"]), event["task_token"])
    return _advance(org_id, execution_id, generation)


def _advance(org_id: str, execution_id: str, generation: int) -> Event:
    verdict = services().advancer.advance(org_id, execution_id, generation)
    return {
        "word": verdict.word,
        "seconds": _seconds(verdict),
        "wake": verdict.wake,
        "status": "failed" if verdict.status in _UNSUCCESSFUL else "succeeded",
        "generation": generation + 1 if verdict.word == "handover" else generation,
    }


def _seconds(verdict: Verdict) -> int:
    """Whole seconds until the machine looks again, rounded up: the interpreter alone decides by the stored deadline."""
    if verdict.until_ms is None:
        return LONGEST_PARK_S if verdict.word == "park" else BUSY_S
    seconds = -((clock.now_ms() - verdict.until_ms) // 1000)
    return min(max(seconds, 1), LONGEST_PARK_S if verdict.word == "park" else LONGEST_BUSY_S)


def _park(org_id: str, execution_id: str, generation: int, wake: int, task_token: str) -> Event:
    parked = services().advancer.register_park(org_id, execution_id, generation, wake, task_token)
    if not parked:
        # Something was written after the park was decided: its writer saw no token, so this one ends the park.
        services().driver.wake(org_id, execution_id, generation, task_token)
    return {"parked": parked}


handler = observed("engine", handle)
"""The AWS Lambda entry point."""
