"""``router``: follow the tool a language model asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from shared.engine.kinds.base import Call, Done, NodeKind, Outcome
from shared.engine.kinds.condition import decide
from shared.engine.kinds.scripting import DURATION, SCRIPT, actions_of
from shared.kit import json


class Router(NodeKind):
    """Takes the edge named after the first tool call; without one, ``condition_script`` decides, or ``output``."""

    name: ClassVar[str] = "router"
    description: ClassVar[str] = "Route to the node of the tool that a language model wants to call."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "input": {"description": "Where to look for tool calls; the node's input if missing."},
            "condition_script": SCRIPT,
            "timeout": DURATION,
        },
    }

    def run(self, call: Call) -> Outcome:
        source = call.params.get("input", call.input)
        for holder in _holders(source, call.scope.shared):
            tool_call = first_tool_call(holder)
            if tool_call is not None:
                return _routed(call, source, tool_call)
        if call.params.get("condition_script"):
            return decide(call, call.params["condition_script"])
        output = {"route": "output", "reason": "no_tool_calls"}
        return Done(output, actions_of(output))


def first_tool_call(holder: Any) -> dict[str, Any] | None:
    """The first entry of ``tool_calls`` that names a tool."""
    calls = holder.get("tool_calls") if isinstance(holder, dict) else None
    usable = (one for one in calls if isinstance(one, dict) and tool_name(one)) if isinstance(calls, list) else ()
    return next(iter(usable), None)


def tool_name(tool_call: dict[str, Any]) -> str:
    """The tool's name, in OpenAI's nested form or flat; empty when there is none."""
    name = _function(tool_call).get("name")
    return name if isinstance(name, str) else ""


def _function(tool_call: dict[str, Any]) -> dict[str, Any]:
    function = tool_call.get("function")
    return function if isinstance(function, dict) else tool_call


def _arguments(tool_call: dict[str, Any]) -> Any:
    arguments = _function(tool_call).get("arguments", {})
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _routed(call: Call, source: Any, tool_call: dict[str, Any]) -> Done:
    name = tool_name(tool_call)
    output = {
        "route": name,
        "tool_name": name,
        "tool_call": tool_call,
        "tool_params": _arguments(tool_call),
        "original_input": source,
    }
    return Done(output, (name, "default"), shared=call.scope.shared | {"active_tool_call": tool_call})


def _holders(source: Any, shared: dict[str, Any]) -> Iterator[Any]:
    yield from _answers(source)
    if isinstance(source, dict):
        yield from _answers(source.get("llm_result", shared.get("llm_result")))


def _answers(value: Any) -> Iterator[Any]:
    if not isinstance(value, dict):
        return
    yield value
    yield value.get("result")
    choices = value.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        yield choices[0].get("message")
    yield value.get("message")
