"""``wait``: for a duration, a point in time, a condition, or a signal from outside."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from shared.engine.expressions.base import DEFAULT_LIMITS
from shared.engine.kinds.base import Answer, Call, Done, NodeFailed, NodeKind, Outcome, Wait
from shared.engine.kinds.scripting import DURATION, SCRIPT, run_script, seconds, text_of, truthy
from shared.kit import clock

SHORTEST_INTERVAL_S = 0.1
MOST_ATTEMPTS = 10_000


class WaitNode(NodeKind):
    """``type`` says what ends the wait; a ``key`` without a type waits for a signal of that name."""

    name: ClassVar[str] = "wait"
    description: ClassVar[str] = "Wait for a duration, a time, a condition or a signal."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "type": {"enum": ["duration", "until_time", "condition", "external"], "default": "duration"},
            "duration": DURATION,
            "time": {"type": "string", "format": "date-time", "description": "For until_time; the past ends at once."},
            "condition_script": SCRIPT,
            "max_attempts": {"type": "integer", "minimum": 1, "maximum": MOST_ATTEMPTS, "default": 10},
            "interval": DURATION | {"default": "1s"},
            "key": {"type": "string", "description": "Name of the signal that ends the wait; its value is the output."},
            "timeout": DURATION,
        },
    }

    def run(self, call: Call) -> Outcome:
        match call.params.get("type") or ("external" if call.params.get("key") else "duration"):
            case "duration":
                written = call.require("duration")
                shown = written if isinstance(written, str) else f"{written}s"
                wait_ms = math.ceil(seconds(written, "duration") * 1000)
                return _until(clock.now_ms() + wait_ms, {"waited_for": shown, "type": "duration"})
            case "until_time":
                return _until(
                    _instant(call.require("time")), {"waited_until": call.params["time"], "type": "until_time"}
                )
            case "condition":
                return _poll(call, attempts=1, deadline=_deadline(call))
            case "external":
                return Wait(until_ms=_deadline(call), key=text_of(call.require("key")))
            case other:
                raise NodeFailed(
                    f"type must be duration, until_time, condition or external, not {other}", retryable=False
                )

    def resume(self, call: Call, answer: Answer) -> Outcome:
        match answer.state:
            case {"output": output}:
                return Done(output)
            case {"attempts": attempts, "deadline": deadline}:
                return _poll(call, attempts=attempts + 1, deadline=deadline)
        if answer.timed_out:
            raise NodeFailed(
                f"no signal {text_of(call.params.get('key'))} within {text_of(call.params.get('timeout'))}"
            )
        return Done(answer.value)


def _until(instant_ms: int, output: dict[str, Any]) -> Outcome:
    if instant_ms <= clock.now_ms():
        return Done(output)
    return Wait(until_ms=instant_ms, state={"output": output})


def _instant(text: Any) -> int:
    try:
        return clock.parse_rfc3339(text_of(text))
    except ValueError:
        raise NodeFailed("time must be an RFC 3339 time such as 2030-01-31T12:00:00Z", retryable=False) from None


def _deadline(call: Call) -> int | None:
    timeout = call.params.get("timeout")
    return None if timeout is None else clock.now_ms() + math.ceil(seconds(timeout, "timeout") * 1000)


def _poll(call: Call, *, attempts: int, deadline: int | None) -> Outcome:
    most = call.params.get("max_attempts", 10)
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MOST_ATTEMPTS:
        raise NodeFailed(f"max_attempts must be between 1 and {MOST_ATTEMPTS}", retryable=False)
    written = call.params.get("interval", "1s")
    output = {"attempts": attempts, "interval": written, "type": "condition", "completed": True}
    script = call.params.get("condition_script")
    # A wait that names no condition has nothing to wait for (docs/rulings.md#wait-without-a-condition).
    if not script:
        return Done(output)
    evaluated = run_script(call, script, extra={"attempt": attempts}, own_limits=DEFAULT_LIMITS)
    if truthy(evaluated.value):
        return Done(output, shared=evaluated.shared)
    if attempts >= most:
        return Done(output | {"completed": False}, shared=evaluated.shared)
    next_ms = clock.now_ms() + math.ceil(max(seconds(written, "interval"), SHORTEST_INTERVAL_S) * 1000)
    if deadline is not None and next_ms > deadline:
        raise NodeFailed(f"the condition did not hold within {text_of(call.params.get('timeout'))}")
    return Wait(until_ms=next_ms, state={"attempts": attempts, "deadline": deadline})
