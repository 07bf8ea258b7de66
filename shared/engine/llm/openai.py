"""OpenAI's chat completions, which many providers and local servers speak too.

Source: OpenAI API Reference, Create chat completion.
"""

from __future__ import annotations

from typing import Any

from shared.engine.llm.base import ChatRequest, Completion, count, with_path


class OpenAI:
    """``POST {base_url}/chat/completions`` with a bearer token."""

    default_url = "https://api.openai.com/v1"

    def url(self, base_url: str) -> str:
        return with_path(base_url, "/chat/completions", "/chat/completions")

    def headers(self, request: ChatRequest) -> dict[str, str]:
        return {"Authorization": f"Bearer {request.api_key}"}

    def body(self, request: ChatRequest) -> dict[str, Any]:
        own = {
            "model": request.model,
            "messages": list(request.messages),
            "temperature": request.temperature,
            # Newer models take max_completion_tokens instead and refuse a request with both.
            "max_tokens": None if "max_completion_tokens" in request.options else request.max_tokens,
            "stop": list(request.stop),
            "tools": list(request.tools),
            "functions": list(request.functions),
            "tool_choice": request.tool_choice,
            "response_format": request.response_format,
        }
        return {**request.options, **{name: value for name, value in own.items() if value not in (None, [])}}

    def completion(self, answer: dict[str, Any]) -> Completion:
        choices = answer.get("choices")
        usable = [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []
        if not usable:
            raise ValueError("the answer has no choices")
        return Completion(
            id=_text(answer.get("id")),
            model=_text(answer.get("model")),
            choices=usable,
            usage=_usage(answer.get("usage")),
            raw=answer,
        )


def _usage(reported: Any) -> dict[str, Any]:
    usage: dict[str, Any] = dict(reported) if isinstance(reported, dict) else {}
    prompt, completion = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    total = count(usage.get("total_tokens")) or prompt + completion
    return usage | {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
