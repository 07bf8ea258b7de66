"""``agent``: ask a language model again and again, running the tools it calls, until it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from shared.engine.kinds.base import Answer, Call, Done, NodeFailed, NodeKind, Outcome, Wait
from shared.engine.kinds.scripting import text_of
from shared.engine.llm import (
    CONNECTION_PARAMETERS,
    SAMPLING_PARAMETERS,
    Completion,
    chat_request,
    complete,
    timeout_s,
    tool_definitions,
)
from shared.kit import clock, json

DEFAULT_STEPS = 10
MOST_STEPS = 100
LARGEST_CONVERSATION = 4 * 1024 * 1024
"""Bytes of JSON text; every step sends all of it again, and a waiting node keeps it."""
HANDOVER_MS = 2_000
"""How long the loop rests when it leaves a process: longer than what is waited for inside one."""

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


class Agent(NodeKind):
    """Every model call has an idempotency key of its own. The loop goes on in another attempt of the same visit, where
    it stopped, when the process is about to end or the next call might exceed the limit of one effect.
    """

    name: ClassVar[str] = "agent"
    effectful: ClassVar[bool] = True
    description: ClassVar[str] = "Let a language model work in steps, calling tools until it has the answer."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            **CONNECTION_PARAMETERS,
            **{name: SAMPLING_PARAMETERS[name] for name in ("temperature", "max_tokens", "tool_choice")},
            "tools": {
                "type": "array",
                "items": {"type": ["object", "string"]},
                "description": "Functions in OpenAI's form, or names of built-in ones: get_current_time.",
            },
            "prompt": {"type": "string"},
            "user_prompt": {"type": "string", "description": "Another name of prompt."},
            "system_prompt": {"type": "string"},
            "max_steps": {"type": "integer", "default": DEFAULT_STEPS, "minimum": 1, "maximum": MOST_STEPS},
        },
        "required": ["api_key", "model"],
        "anyOf": [{"required": ["prompt"]}, {"required": ["user_prompt"]}],
    }

    def run(self, call: Call) -> Outcome:
        return _Loop(call).go(_Progress())

    def resume(self, call: Call, answer: Answer) -> Outcome:
        return _Loop(call).go(_Progress(**answer.state))


@dataclass(slots=True)
class _Progress:
    """What was said and done after the prompt; the prompt, which may hold secrets, is made anew from the node."""

    steps: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=dict)


class _Loop:
    def __init__(self, call: Call) -> None:
        self._call = call
        self._began = clock.monotonic()
        self._asked = False
        self._most = _max_steps(call)
        self._prompt = _prompt(call)
        self._tools = _tools(call.params.get("tools"))
        self._request = chat_request(call, self._prompt, self._tools)

    def go(self, progress: _Progress) -> Outcome:
        while progress.steps < self._most:
            if self._must_leave():
                return Wait(until_ms=clock.now_ms() + HANDOVER_MS, state=asdict(progress))
            progress.steps += 1
            completion = self._ask(progress)
            calls = completion.tool_calls
            if not calls:
                return self._done(progress, completion)
            if completion.content:
                progress.thinking.append(completion.content)
            progress.messages += [self._run_tool(progress, tool_call) for tool_call in calls]
            if json.size(progress.messages) > LARGEST_CONVERSATION:
                raise NodeFailed("the agent's conversation is larger than 4 MB; ask for less", retryable=False)
        raise NodeFailed(f"the agent did not finish within {self._most} steps; raise max_steps or ask for less")

    def _must_leave(self) -> bool:
        latest_end = clock.monotonic() - self._began + timeout_s(self._call)
        return self._call.stopping() or (self._asked and latest_end > self._call.services.wall_clock_limit_s)

    def _ask(self, progress: _Progress) -> Completion:
        request = self._request.with_messages([*self._prompt, *progress.messages])
        completion = complete(self._call, request, f"{self._call.idempotency_key}:{progress.steps}")
        self._asked = True
        progress.messages.append(_said(completion))
        for name in _COUNTS:
            progress.usage[name] = progress.usage.get(name, 0) + completion.usage[name]
        return completion

    def _run_tool(self, progress: _Progress, tool_call: dict[str, Any]) -> dict[str, Any]:
        function = tool_call.get("function")
        name = str(function.get("name", "")) if isinstance(function, dict) else ""
        arguments, result, error = _arguments(function), None, None
        try:
            result = _handler(name)(arguments)
        except ToolFailed as failed:
            error = failed.args[0]
        self._call.log("debug", f"Tool {name} called", {"arguments": arguments, "error": error})
        entry = {"step": progress.steps, "tool": name, "arguments": arguments, "result": result, "error": error}
        progress.results.append(entry)
        content = text_of(result) if error is None else json.dumps({"error": error})
        return {"role": "tool", "tool_call_id": tool_call.get("id", ""), "content": content}

    def _done(self, progress: _Progress, completion: Completion) -> Done:
        output = {
            "response": completion.content,
            "steps": progress.steps,
            "thinking": progress.thinking,
            "intermediate_results": progress.results,
            "conversation": [*self._prompt, *progress.messages],
        }
        who = {"provider": self._request.provider, "model": completion.model or self._request.model}
        return Done(output, usage=who | progress.usage)


def _said(completion: Completion) -> dict[str, Any]:
    """The model's message as it goes back to it; servers differ in which further fields they put up with."""
    message: dict[str, Any] = {"role": "assistant", "content": completion.message.get("content")}
    if completion.tool_calls:
        message["tool_calls"] = completion.tool_calls
    if "thinking_blocks" in completion.message:
        message["thinking_blocks"] = completion.message["thinking_blocks"]
    return message


# Parameters


def _max_steps(call: Call) -> int:
    value = call.params.get("max_steps", DEFAULT_STEPS)
    value = int(value) if isinstance(value, str) and value.isdecimal() and len(value) <= len(str(MOST_STEPS)) else value
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_STEPS:
        raise NodeFailed(f"max_steps must be between 1 and {MOST_STEPS}", retryable=False)
    return value


def _prompt(call: Call) -> list[dict[str, Any]]:
    user = call.params.get("prompt") or call.params.get("user_prompt") or call.require("prompt")
    system = call.params.get("system_prompt")
    messages = [{"role": "system", "content": text_of(system)}] if system else []
    return [*messages, {"role": "user", "content": text_of(user)}]


def _tools(value: Any) -> list[dict[str, Any]]:
    """The author's tools, also as bare names, and those built in."""
    entries = (
        [{"name": entry} if isinstance(entry, str) else entry for entry in value] if isinstance(value, list) else value
    )
    given = tool_definitions(entries)
    names = [_function_name(tool) for tool in given]
    own = {name: definition for name, (definition, _) in _BUILT_IN.items()}
    return [
        *(own.get(name, tool) for name, tool in zip(names, given, strict=True)),
        *(definition for name, definition in own.items() if name not in names),
    ]


def _function_name(tool: dict[str, Any]) -> str:
    """Empty for a tool of the provider's own kind."""
    return str(tool["function"]["name"]) if tool["type"] == "function" else ""


# Tools


class ToolFailed(Exception):
    """The tool did not do it; the message is for the model."""


def _arguments(function: Any) -> Any:
    given = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(given, str):
        return given or {}
    try:
        return json.loads(given) if given.strip() else {}
    except (ValueError, RecursionError):
        return given


def _handler(name: str) -> Callable[[Any], Any]:
    known = _BUILT_IN.get(name)
    if known is None:
        raise ToolFailed(f"no tool {name} is available; available: {', '.join(_BUILT_IN)}")
    return known[1]


def _get_current_time(arguments: Any) -> str:
    zone = arguments.get("timezone") or "UTC" if isinstance(arguments, dict) else arguments
    try:
        where = ZoneInfo(text_of(zone))
    except (KeyError, ValueError, OSError):
        raise ToolFailed('arguments must be {} or {"timezone": "Europe/Amsterdam"}') from None
    return datetime.fromtimestamp(clock.now_ms() / 1000, where).isoformat(timespec="seconds")


_BUILT_IN: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "get_current_time": (
        {
            "type": "function",
            "function": {
                "name": "get_current_time",
                "description": "The date and time now, in RFC 3339.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "timezone": {
                            "type": "string",
                            "description": "An IANA time zone such as Europe/Amsterdam; UTC if missing.",
                        }
                    },
                },
            },
        },
        _get_current_time,
    )
}
