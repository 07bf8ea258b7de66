"""``format``: shape a tool's result for the language model that asked for it."""

from __future__ import annotations

from typing import Any, ClassVar

from shared.engine.kinds.base import Call, Done, NodeKind, Outcome
from shared.engine.kinds.router import tool_name
from shared.engine.kinds.scripting import DURATION, SCRIPT, run_script, text_of


class Format(NodeKind):
    """With ``script`` its value; otherwise the input wrapped as a message of role ``tool``."""

    name: ClassVar[str] = "format"
    description: ClassVar[str] = "Wrap a tool's result as a chat message, or shape it with a script."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "script": SCRIPT,
            "tool_name": {"type": "string", "description": "Instead of the tool the last router chose."},
            "tool_call_id": {"type": "string"},
            "timeout": DURATION,
        },
    }

    def run(self, call: Call) -> Outcome:
        if call.params.get("script"):
            evaluated = run_script(call, call.params["script"])
            return Done(evaluated.value, shared=evaluated.shared)
        active = call.scope.shared.get("active_tool_call")
        tool_call: dict[str, Any] = active if isinstance(active, dict) else {}
        name = call.params.get("tool_name") or tool_name(tool_call)
        content = text_of(call.input)
        message = {
            "role": "tool",
            "name": name,
            "content": content,
            "tool_call_id": call.params.get("tool_call_id") or tool_call.get("id", ""),
        }
        return Done(
            {"tool_response": message, "formatted_result": content, "tool_name": name, "original_input": call.input}
        )
