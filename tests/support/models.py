"""Stand-ins for language model APIs: they check requests as strictly as the real ones and answer from a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.support.standin import Received, Reply, StandIn

KEY = "sk-test-key"

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city now.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

_OPENAI_FIELDS = frozenset(
    {
        "model", "messages", "temperature", "max_tokens", "max_completion_tokens", "stop", "tools", "functions",
        "tool_choice", "response_format", "top_p", "seed", "parallel_tool_calls",
    }
)  # fmt: skip
_ANTHROPIC_FIELDS = frozenset(
    {
        "model", "messages", "max_tokens", "system", "temperature", "stop_sequences", "tools", "tool_choice", "top_p",
        "top_k", "output_config", "thinking",
    }
)  # fmt: skip


class OpenAIApi:
    """``POST /v1/chat/completions``. ``replies`` are taken in turn: a dict is a whole body, a Reply is sent as is."""

    path = "/v1/chat/completions"

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)

    def __call__(self, request: Received) -> Reply:
        if (request.method, request.path) != ("POST", self.path):
            return Reply({"error": {"message": f"Invalid URL ({request.method} {request.path})"}}, 404)
        if not self.authorised(request):
            return Reply(
                {"error": {"message": f"Incorrect API key provided: {request.headers.get('authorization')}"}}, 401
            )
        problem = next(self.problems(request), None)
        if problem is not None:
            return self.refusal(problem)
        reply = self.replies.pop(0)
        return reply if isinstance(reply, Reply) else Reply(reply)

    def authorised(self, request: Received) -> bool:
        return request.headers.get("authorization") == f"Bearer {KEY}"

    def refusal(self, problem: str) -> Reply:
        return Reply({"error": {"message": problem, "type": "invalid_request_error", "param": None, "code": None}}, 400)

    def problems(self, request: Received) -> Iterator[str]:
        body = request.json
        yield from _unknown(body, _OPENAI_FIELDS)
        if request.headers.get("content-type") != "application/json":
            yield "Content-Type must be application/json"
        if not isinstance(body.get("model"), str) or not body.get("messages"):
            yield "model and messages are required"
        open_calls: set[str] = set()
        for message in body["messages"]:
            if message.get("role") not in ("system", "developer", "user", "assistant", "tool"):
                yield f"Invalid role {message.get('role')}"
            if message["role"] == "tool" and message.get("tool_call_id") not in open_calls:
                yield "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
            if message["role"] == "assistant":
                open_calls = {call["id"] for call in message.get("tool_calls", [])}
            if "thinking_blocks" in message:
                yield "Unknown parameter: thinking_blocks"
        for tool in body.get("tools", []):
            if tool.get("type") != "function" or not isinstance(tool.get("function", {}).get("name"), str):
                yield "Invalid tool"


class AnthropicApi(OpenAIApi):
    """``POST /v1/messages``."""

    path = "/v1/messages"

    def authorised(self, request: Received) -> bool:
        return request.headers.get("x-api-key") == KEY and "authorization" not in request.headers

    def refusal(self, problem: str) -> Reply:
        return Reply({"type": "error", "error": {"type": "invalid_request_error", "message": problem}}, 400)

    def problems(self, request: Received) -> Iterator[str]:
        body = request.json
        yield from _unknown(body, _ANTHROPIC_FIELDS)
        if request.headers.get("anthropic-version") != "2023-06-01":
            yield "anthropic-version: header is required"
        if not isinstance(body.get("max_tokens"), int):
            yield "max_tokens: Field required"
        if not 0 <= body.get("temperature", 1) <= 1:
            yield "temperature: must be between 0 and 1"
        yield from _turns(body.get("messages", []))
        for tool in body.get("tools", []):
            if (
                not set(tool) <= {"name", "description", "input_schema", "strict"}
                or tool["input_schema"]["type"] != "object"
            ):
                yield "tools.0.custom: invalid"
        if body.get("tool_choice", {"type": "auto"})["type"] not in ("auto", "any", "tool", "none"):
            yield "tool_choice: invalid"


def _unknown(body: dict[str, Any], known: frozenset[str]) -> Iterator[str]:
    for name in body.keys() - known:
        yield f"Unknown parameter: {name}"


def _turns(messages: list[dict[str, Any]]) -> Iterator[str]:
    if not messages or messages[0]["role"] != "user":
        yield "messages: first message must use the user role"
    asked: list[str] = []
    for position, message in enumerate(messages):
        if message["role"] != ("user", "assistant")[position % 2]:
            yield "messages: roles must alternate"
        blocks = message["content"]
        if not blocks or any(block["type"] == "text" and not block["text"] for block in blocks):
            yield "messages: text content blocks must be non-empty"
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if answered != asked:
            yield "messages: tool_use ids were found without tool_result blocks immediately after"
        asked = [block["id"] for block in blocks if block["type"] == "tool_use"]


def openai_answer(content: str | None = "Hello.", *calls: tuple[str, str, str], **fields: Any) -> dict[str, Any]:
    """A chat completion; ``calls`` are (id, tool, arguments as JSON text)."""
    tool_calls = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, name, arguments in calls
    ]
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    choice = {
        "index": 0,
        "message": message | ({"tool_calls": tool_calls} if calls else {}),
        "logprobs": None,
        "finish_reason": "tool_calls" if calls else "stop",
    }
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18"}
    return head | {"choices": [choice], "usage": usage} | fields


def anthropic_answer(*blocks: dict[str, Any], stop_reason: str = "end_turn", **fields: Any) -> dict[str, Any]:
    """A message of content blocks."""
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929"}
    tail = {"stop_reason": stop_reason, "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 3}}
    return head | {"content": list(blocks)} | tail | fields


def params(server: StandIn, provider: str = "openai", **more: Any) -> dict[str, Any]:
    """Parameters of a node that asks ``server``."""
    base = server.url if provider == "anthropic" else f"{server.url}/v1"
    return {"provider": provider, "api_key": KEY, "model": "m", "prompt": "Hi", "options": {"base_url": base}} | more


def sent(server: StandIn) -> Any:
    """The body of the last request."""
    return server.received[-1].json
