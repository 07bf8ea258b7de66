"""``notification``: a message for whoever watches the execution."""

from __future__ import annotations

from typing import Any, ClassVar

from shared.engine.kinds.base import Call, Done, NodeKind, Outcome
from shared.engine.kinds.scripting import text_of


class Notification(NodeKind):
    """Writes an info row, which the execution's log and its live channel show."""

    name: ClassVar[str] = "notification"
    description: ClassVar[str] = "Show a message in the execution's log and on its live channel."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"message": {}, "channel": {"type": "string", "default": "log"}},
        "required": ["message"],
    }

    def run(self, call: Call) -> Outcome:
        message, channel = text_of(call.require("message")), text_of(call.params.get("channel") or "log")
        call.log("info", message, {"channel": channel})
        return Done({"status": "sent", "channel": channel, "message": message})
