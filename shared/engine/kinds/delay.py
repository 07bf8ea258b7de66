"""``delay``: pass the input on, later."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from shared.engine.kinds.base import Answer, Call, Done, NodeKind, Outcome, Wait
from shared.engine.kinds.scripting import DURATION, seconds
from shared.kit import clock


class Delay(NodeKind):
    """A durable timer; the execution holds no process while it runs."""

    name: ClassVar[str] = "delay"
    description: ClassVar[str] = "Wait for a duration, then pass the input on."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"duration": DURATION},
        "required": ["duration"],
    }

    def run(self, call: Call) -> Outcome:
        delay_ms = math.ceil(seconds(call.require("duration"), "duration") * 1000)
        return Wait(until_ms=clock.now_ms() + delay_ms) if delay_ms else Done(call.input)

    def resume(self, call: Call, answer: Answer) -> Outcome:
        return Done(call.input)
