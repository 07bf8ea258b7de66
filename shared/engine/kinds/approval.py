"""``human.approval``: ask a person, and go on as they decide."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from shared.engine.kinds.base import GENERIC_ACTIONS, Answer, Call, Done, NodeFailed, NodeKind, Outcome, Wait
from shared.engine.kinds.scripting import DURATION, seconds, text_of
from shared.kit import clock


class HumanApproval(NodeKind):
    """Waits for the signal named after the node, ``{"approved": true}`` or false.

    Time over: ``rejected`` when there is such an edge, otherwise the node fails.
    """

    name: ClassVar[str] = "human.approval"
    description: ClassVar[str] = "Wait until a person approves or rejects."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "message": {"description": "What to decide; shown in the execution's log."},
            "timeout": DURATION,
        },
    }

    def run(self, call: Call) -> Outcome:
        timeout = call.params.get("timeout")
        until = None if timeout is None else clock.now_ms() + math.ceil(seconds(timeout, "timeout") * 1000)
        message = text_of(call.params.get("message") or "waiting for approval")
        call.log("info", message, {"signal": call.node.name})
        return Wait(until_ms=until, key=call.node.name, state={"until": until})

    def resume(self, call: Call, answer: Answer) -> Outcome:
        if answer.timed_out:
            if call.node.edge("rejected") is None:
                raise NodeFailed("nobody approved in time", retryable=False)
            return Done({"approved": False, "timed_out": True}, ("rejected",))
        decision = answer.value if isinstance(answer.value, dict) else {"approved": answer.value}
        match decision.get("approved"):
            case True:
                return Done(decision, ("approved", *GENERIC_ACTIONS))
            case False:
                # A rejection never follows the default edge, which belongs to those who approve.
                return Done(decision, ("rejected",))
        call.log("warn", "the signal has no approved of true or false; still waiting")
        return Wait(until_ms=answer.state["until"], key=call.node.name, state=answer.state)
