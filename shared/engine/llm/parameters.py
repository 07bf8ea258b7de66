"""A node's parameters as a request to a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from shared.engine.kinds.base import Call, NodeFailed
from shared.engine.kinds.scripting import DURATION, text_of
from shared.engine.llm.base import ChatRequest

DEFAULT_TEMPERATURE = 0.7
PROVIDERS = ("openai", "anthropic", "generic")

CONNECTION_PARAMETERS: dict[str, Any] = {
    "provider": {
        "type": "string",
        "enum": list(PROVIDERS),
        "default": "openai",
        "description": "generic is any server that speaks OpenAI's chat completions.",
    },
    "api_key": {"type": "string"},
    "model": {"type": "string"},
    "base_url": {"type": "string", "description": "Where the API is; required for generic."},
    "options": {
        "type": "object",
        "description": "base_url or endpoint, headers, organization, project; all else goes into the request.",
    },
    "timeout": DURATION,
}
SAMPLING_PARAMETERS: dict[str, Any] = {
    "temperature": {
        "type": ["number", "null"],
        "default": DEFAULT_TEMPERATURE,
        "description": "null leaves it to the model.",
    },
    "max_tokens": {"type": ["integer", "null"], "minimum": 1},
    "stop": {"type": ["string", "array"], "items": {"type": "string"}},
    "tools": {
        "type": "array",
        "items": {"type": "object"},
        "description": "Functions the model may call, in OpenAI's form.",
    },
    "tool_choice": {"type": ["string", "object"], "description": "auto, none, required, or one function."},
    "functions": {"type": "array", "items": {"type": "object"}, "description": "The older form of tools."},
    "response_format": {
        "type": ["object", "string"],
        "description": "text, json_object, or OpenAI's json_schema object.",
    },
}

_OWN_OPTIONS = ("base_url", "endpoint", "headers", "organization", "project", "stream", "stream_options")
_ACCOUNT_HEADERS = {"organization": "OpenAI-Organization", "project": "OpenAI-Project"}


def chat_request(call: Call, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> ChatRequest:
    """The request the node's parameters describe. Raises NodeFailed when one of them makes no sense."""
    params = call.params
    options = _object(params.get("options"), "options")
    provider = text_of(params.get("provider") or "openai").lower()
    if provider not in PROVIDERS:
        raise NodeFailed(f"unknown provider {provider}; use openai, anthropic or generic", retryable=False)
    base_url = _base_url(options.get("base_url") or options.get("endpoint") or params.get("base_url"))
    if provider == "generic" and base_url is None:
        raise NodeFailed("base_url parameter is required with provider generic", retryable=False)
    return ChatRequest(
        provider=provider,
        api_key=_key(call),
        base_url=base_url,
        model=text_of(call.require("model")),
        messages=messages,
        temperature=_number(params.get("temperature", DEFAULT_TEMPERATURE), "temperature"),
        temperature_is_default="temperature" not in params,
        max_tokens=_positive(params.get("max_tokens"), "max_tokens"),
        stop=_texts(params.get("stop"), "stop"),
        tools=tools,
        functions=_objects(params.get("functions"), "functions"),
        tool_choice=_tool_choice(params.get("tool_choice")),
        response_format=_response_format(params.get("response_format")),
        options={name: value for name, value in options.items() if name not in _OWN_OPTIONS},
        headers=_headers(options),
    )


def tool_definitions(value: Any) -> list[dict[str, Any]]:
    """Tools in OpenAI's form. A flat function is wrapped; tools of a provider's own kind stay as they are."""
    return [_tool(tool) for tool in _objects(value, "tools")]


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type", "function") != "function":
        return tool
    function = tool.get("function", {name: value for name, value in tool.items() if name != "type"})
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise NodeFailed(
            "tools must be a list of {type: function, function: {name, description, parameters}}", retryable=False
        )
    schema = function.get("input_schema")
    if "parameters" not in function and schema is not None:
        function = {name: value for name, value in function.items() if name != "input_schema"} | {"parameters": schema}
    return {"type": "function", "function": function}


def _base_url(value: Any) -> str | None:
    if not value:
        return None
    text = text_of(value).strip()
    try:
        urlsplit(text)
    except ValueError:
        raise NodeFailed("base_url must be an http or https address", retryable=False) from None
    return text


def _key(call: Call) -> str:
    # Keys are pasted with line ends; a header cannot carry one, nor anything but ASCII.
    key = text_of(call.require("api_key")).strip()
    if not key.isascii() or not key.isprintable():
        raise NodeFailed("api_key must be one line of ASCII text", retryable=False)
    return key


def _headers(options: dict[str, Any]) -> dict[str, str]:
    given = {name: text_of(value) for name, value in _object(options.get("headers"), "options.headers").items()}
    account = {header: text_of(options[name]) for name, header in _ACCOUNT_HEADERS.items() if options.get(name)}
    return account | given


def _tool_choice(value: Any) -> Any:
    if value in (None, "") or isinstance(value, (str, dict)):
        return value or None
    raise NodeFailed("tool_choice must be auto, none, required or one function", retryable=False)


def _response_format(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str) and value:
        return {"type": "json_object" if value == "json" else value}
    return _object(value, "response_format") or None


def _object(value: Any, name: str) -> dict[str, Any]:
    if value in (None, ""):
        return {}
    if not isinstance(value, dict):
        raise NodeFailed(f"{name} must be an object", retryable=False)
    return value


def _objects(value: Any, name: str) -> list[dict[str, Any]]:
    entries = [] if value in (None, "") else value
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise NodeFailed(f"{name} must be a list of objects", retryable=False)
    return entries


def _texts(value: Any, name: str) -> tuple[str, ...]:
    entries = [] if value in (None, "") else [value] if isinstance(value, str) else value
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise NodeFailed(f"{name} must be text or a list of texts", retryable=False)
    return tuple(entries)


def _number(value: Any, name: str) -> float | None:
    """A number, also one written as text; null is none."""
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise NodeFailed(f"{name} must be a number", retryable=False)
    return number


def _positive(value: Any, name: str) -> int | None:
    number = _number(value, name)
    if number is not None and (number < 1 or number != int(number)):
        raise NodeFailed(f"{name} must be a whole number from 1", retryable=False)
    return None if number is None else int(number)
