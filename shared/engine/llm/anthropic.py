"""Anthropic's Messages API, translated from and to OpenAI's shape.

Source: Claude API Reference: Create a Message, Versioning; Claude Docs: Tool use, Handling stop reasons, Structured
outputs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared.engine.kinds.base import NodeFailed
from shared.engine.llm.base import ChatRequest, Completion, count, text_of_content, with_path
from shared.kit import json

API_VERSION = "2023-06-01"
DEFAULT_MAX_TOKENS = 4096
"""The API requires ``max_tokens``; this is sent when the author names none."""

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+);base64,(?P<data>.*)", re.DOTALL)
_ONLY_JSON = "Answer with one JSON object and nothing else."


class Anthropic:
    """``POST {base_url}/v1/messages`` with ``x-api-key`` and a dated version."""

    default_url = "https://api.anthropic.com"

    def url(self, base_url: str) -> str:
        versioned = base_url.partition("?")[0].rstrip("/").endswith("/v1")
        return with_path(base_url, "/messages", "/messages" if versioned else "/v1/messages")

    def headers(self, request: ChatRequest) -> dict[str, str]:
        return {"x-api-key": request.api_key, "anthropic-version": API_VERSION}

    def body(self, request: ChatRequest) -> dict[str, Any]:
        options = dict(request.options)
        parallel = options.pop("parallel_tool_calls", None)
        max_tokens = options.pop("max_completion_tokens", None)
        own = {
            "model": request.model,
            "max_tokens": request.max_tokens or max_tokens or DEFAULT_MAX_TOKENS,
            "system": _system(request),
            "messages": _turns(request),
            "temperature": request.temperature,
            "stop_sequences": list(request.stop),
            "tools": [_tool(tool) for tool in (*request.tools, *request.functions)],
            "tool_choice": _tool_choice(request.tool_choice, parallel),
            "output_config": _output_config(request, options),
        }
        return {**options, **{name: value for name, value in own.items() if value not in (None, [], "")}}

    def completion(self, answer: dict[str, Any]) -> Completion:
        content = answer.get("content")
        if not isinstance(content, list):
            raise ValueError("the answer has no content")
        blocks = [block for block in content if isinstance(block, dict)]
        reason = answer.get("stop_reason")
        choice = {
            "index": 0,
            "message": _message(blocks),
            "finish_reason": FINISH_REASONS.get(reason, reason) if isinstance(reason, str) else None,
        }
        return Completion(
            id=str(answer.get("id", "")),
            model=str(answer.get("model", "")),
            choices=[choice],
            usage=_usage(answer.get("usage")),
            raw=answer,
        )


# Requests


def _system(request: ChatRequest) -> str:
    """The API has no system role: every such message is part of one text beside the conversation."""
    texts = [text_of_content(message.get("content")) for message in request.messages if _is_system(message)]
    if request.response_format is not None and request.response_format.get("type") == "json_object":
        texts.append(_ONLY_JSON)
    return "\n\n".join(text for text in texts if text)


def _is_system(message: Mapping[str, Any]) -> bool:
    return message.get("role") in ("system", "developer")


def _turns(request: ChatRequest) -> list[dict[str, Any]]:
    """Turns of user and assistant; the results of several tools belong into one turn of the user."""
    turns: list[dict[str, Any]] = []
    for message in request.messages:
        if _is_system(message):
            continue
        role, blocks = _turn(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _turn(message: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    match message.get("role"):
        case "user":
            return "user", list(_blocks(message.get("content")))
        case "assistant":
            thinking, calls = _objects(message.get("thinking_blocks")), _objects(message.get("tool_calls"))
            return "assistant", [*thinking, *_blocks(message.get("content")), *map(_tool_use, calls)]
        case "tool":
            result: dict[str, Any] = {"type": "tool_result", "tool_use_id": message.get("tool_call_id", "")}
            blocks = list(_blocks(message.get("content")))
            return "user", [result | ({"content": blocks} if blocks else {})]
        case other:
            raise NodeFailed(
                f"provider anthropic knows no role {other}; use system, user, assistant or tool", retryable=False
            )


def _blocks(content: Any) -> Iterator[dict[str, Any]]:
    """Content blocks; empty texts are left out because the API refuses them."""
    for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
        match part:
            case {"type": "text", "text": str(text)}:
                if text:
                    yield dict(part)
            case {"type": "text"}:
                continue
            case {"type": "image_url", "image_url": {"url": str(url)}} | {"type": "image_url", "image_url": str(url)}:
                yield {"type": "image", "source": _image(url)}
            case dict():
                yield part
            case str() if part:
                yield {"type": "text", "text": part}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _image(url: str) -> dict[str, Any]:
    embedded = _DATA_URL.fullmatch(url)
    if embedded is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": embedded["type"], "data": embedded["data"]}


def _tool_use(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    return {
        "type": "tool_use",
        "id": call.get("id", ""),
        "name": function.get("name", ""),
        "input": _object(function.get("arguments")),
    }


def _object(arguments: Any) -> dict[str, Any]:
    """A call's arguments; the API takes only an object, so text that is none goes into one."""
    try:
        value = json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        value = {"arguments": arguments}
    return value if isinstance(value, dict) else {}


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A function in the API's form. Tools the provider runs itself, such as web search, stay as they are."""
    function = tool.get("function", tool)
    if not isinstance(function, dict) or tool.get("type", "function") != "function":
        return dict(tool)
    translated = {
        "name": function.get("name"),
        "description": function.get("description"),
        "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
        "strict": function.get("strict"),
    }
    return {name: value for name, value in translated.items() if value is not None}


def _tool_choice(choice: Any, parallel: Any) -> dict[str, Any] | None:
    match choice:
        case None:
            translated: dict[str, Any] = {}
        case "required":
            translated = {"type": "any"}
        case str(word):
            translated = {"type": word}
        case {"function": {"name": name}}:
            translated = {"type": "tool", "name": name}
        case _:
            translated = dict(choice)
    if parallel is False and translated.get("type") != "none":
        translated = {"type": "auto"} | translated | {"disable_parallel_tool_use": True}
    return translated or None


def _output_config(request: ChatRequest, options: dict[str, Any]) -> dict[str, Any] | None:
    given = options.pop("output_config", None)
    match request.response_format:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return {**(given or {}), "format": {"type": "json_schema", "schema": schema}}
    return given if isinstance(given, dict) else None


# Answers


def _message(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    text = "".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")
    calls = [
        {
            "id": block.get("id", ""),
            "type": "function",
            "function": {"name": block.get("name", ""), "arguments": json.dumps(block.get("input") or {})},
        }
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    # Thoughts are signed; the API wants them back unchanged before the results of the tools they asked for.
    thinking = [block for block in blocks if block.get("type") in ("thinking", "redacted_thinking")]
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    return message | ({"tool_calls": calls} if calls else {}) | ({"thinking_blocks": thinking} if thinking else {})


def _usage(reported: Any) -> dict[str, Any]:
    """Tokens read from and written to the cache are not in ``input_tokens`` but were part of the prompt."""
    usage: dict[str, Any] = reported if isinstance(reported, dict) else {}
    cached = count(usage.get("cache_read_input_tokens"))
    written = count(usage.get("cache_creation_input_tokens"))
    prompt = count(usage.get("input_tokens")) + cached + written
    completion = count(usage.get("output_tokens"))
    counted: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    details = {"cached_tokens": cached, "cache_creation_tokens": written}
    details = {name: tokens for name, tokens in details.items() if tokens}
    more = {"prompt_tokens_details": details} if details else {}
    return counted | {"total_tokens": prompt + completion} | more
