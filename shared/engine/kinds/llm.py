"""``llm``: one question to a language model."""

from __future__ import annotations

from typing import Any, ClassVar

from shared.engine.kinds.base import Call, Done, NodeFailed, NodeKind, Outcome
from shared.engine.llm import (
    CONNECTION_PARAMETERS,
    PROMPT_PARAMETERS,
    SAMPLING_PARAMETERS,
    Completion,
    chat_request,
    complete,
    messages_of,
    structured,
    tool_definitions,
)


class LanguageModel(NodeKind):
    """Asks OpenAI, Anthropic or a compatible server; the answer has OpenAI's shape whoever gave it."""

    name: ClassVar[str] = "llm"
    aliases: ClassVar[tuple[str, ...]] = ("ai.agent",)
    effectful: ClassVar[bool] = True
    description: ClassVar[str] = "Ask a language model, with or without tools it may call."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            **CONNECTION_PARAMETERS,
            **PROMPT_PARAMETERS,
            **SAMPLING_PARAMETERS,
            "parse_structured": {
                "type": "boolean",
                "default": False,
                "description": "Read the answer as YAML or JSON into structured_output.",
            },
        },
        "required": ["api_key", "model"],
    }

    def run(self, call: Call) -> Outcome:
        call.require("api_key")
        request = chat_request(call, messages_of(call), tool_definitions(call.params.get("tools")))
        completion = complete(call, request, call.idempotency_key)
        model = completion.model or request.model
        output = _output(completion, model)
        if call.params.get("parse_structured") in (True, "true"):
            output["structured_output"] = _structured(completion.content)
        counts = {name: completion.usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
        call.log("debug", "Model answered", {"model": model, "finish_reason": completion.finish_reason} | counts)
        return Done(output, usage={"provider": request.provider, "model": model} | counts)


def _output(completion: Completion, model: str) -> dict[str, Any]:
    calls = completion.tool_calls
    return {
        "id": completion.id,
        "model": model,
        "choices": completion.choices,
        "usage": completion.usage,
        "content": completion.content,
        "finish_reason": completion.finish_reason,
        "raw_response": completion.raw,
        "has_tool_calls": bool(calls),
        "tool_calls": calls,
    }


def _structured(content: str) -> Any:
    try:
        return structured(content)
    except ValueError as error:
        raise NodeFailed(f"parse_structured: the answer cannot be read as YAML: {error}") from None
