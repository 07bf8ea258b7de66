"""llm with provider anthropic: requests in that API's form, answers in OpenAI's."""

from __future__ import annotations

from typing import Any

import pytest

from shared.engine.kinds.base import Call, Done, NodeFailed
from shared.engine.kinds.llm import LanguageModel
from tests.support.models import WEATHER, AnthropicApi, anthropic_answer, params, sent
from tests.unit.engine.kinds.conftest import CallFactory, Serve

HELLO = {"type": "text", "text": "Hello."}
USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Delft"}}


def run(call: Call) -> Done:
    outcome = LanguageModel().run(call)
    assert isinstance(outcome, Done)
    return outcome


def test_anthropic_request(call: CallFactory, serve: Serve) -> None:
    """System prompts stand beside the conversation; tools, choice and stops are translated; max_tokens is there."""
    server = serve(AnthropicApi(anthropic_answer(HELLO)))
    messages = [
        {"role": "system", "content": "One."},
        {"role": "developer", "content": [{"type": "text", "text": "Two."}]},
        {"role": "user", "content": "Hi"},
    ]
    options = {"base_url": server.url, "top_k": 5, "parallel_tool_calls": False}
    given = {
        "messages": messages,
        "tools": [WEATHER],
        "tool_choice": "required",
        "stop": ["A", "B"],
        "options": options,
    }
    run(call(params(server, "anthropic", **given)))
    function = WEATHER["function"]
    assert isinstance(function, dict)
    assert sent(server) == {
        "model": "m", "max_tokens": 4096, "system": "One.\n\nTwo.", "temperature": 0.7, "stop_sequences": ["A", "B"],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "top_k": 5,
        "tools": [
            {"name": "weather", "description": function["description"], "input_schema": function["parameters"]}
        ],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    }  # fmt: skip


def test_anthropic_conversation_with_tools(call: CallFactory, serve: Serve) -> None:
    """Calls become tool_use blocks, all results of one turn one message; thoughts go back before the calls."""
    server = serve(AnthropicApi(anthropic_answer(HELLO)))
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    calls = [
        {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Delft"}'}},
        {"id": "b", "type": "function", "function": {"name": "weather", "arguments": "no json"}},
    ]
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": calls, "thinking_blocks": [thought]},
        {"role": "tool", "tool_call_id": "a", "content": "rain"},
        {"role": "tool", "tool_call_id": "b", "content": ""},
        {"role": "user", "content": "And?"},
    ]
    run(call(params(server, "anthropic", messages=messages)))
    assert sent(server)["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                thought,
                {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Delft"}},
                {"type": "tool_use", "id": "b", "name": "weather", "input": {"arguments": "no json"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "rain"}]},
                {"type": "tool_result", "tool_use_id": "b"},
                {"type": "text", "text": "And?"},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("https://example.org/a.png", {"type": "url", "url": "https://example.org/a.png"}),
        ("data:image/png;base64,AAAA", {"type": "base64", "media_type": "image/png", "data": "AAAA"}),
    ],
)
def test_anthropic_images(call: CallFactory, serve: Serve, url: str, source: dict[str, str]) -> None:
    """Images are translated, linked and embedded ones."""
    server = serve(AnthropicApi(anthropic_answer(HELLO)))
    content = [{"type": "image_url", "image_url": {"url": url}}, "What is it?", {"type": "text", "text": ""}]
    run(call(params(server, "anthropic", messages=[{"role": "user", "content": content}])))
    assert sent(server)["messages"][0]["content"] == [
        {"type": "image", "source": source},
        {"type": "text", "text": "What is it?"},
    ]


@pytest.mark.parametrize(
    ("choice", "translated"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
        ({"type": "any"}, {"type": "any"}),
    ],
)
def test_anthropic_tool_choice(call: CallFactory, serve: Serve, choice: Any, translated: Any) -> None:
    """Every choice OpenAI knows has its counterpart; Anthropic's own forms stay."""
    server = serve(AnthropicApi(anthropic_answer(HELLO)))
    run(call(params(server, "anthropic", tools=[WEATHER], tool_choice=choice)))
    assert sent(server)["tool_choice"] == translated


def test_anthropic_response_formats(call: CallFactory, serve: Serve) -> None:
    """A schema becomes an output format; json_object, which the API has not, a sentence of the system prompt."""
    server = serve(AnthropicApi(anthropic_answer(HELLO), anthropic_answer(HELLO)))
    schema = {"type": "object", "properties": {}}
    given = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    run(call(params(server, "anthropic", response_format=given)))
    assert sent(server)["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    run(call(params(server, "anthropic", response_format={"type": "json_object"})))
    assert "JSON object" in sent(server)["system"]


def test_anthropic_answer_in_openais_shape(call: CallFactory, serve: Serve) -> None:
    """Text and tool calls, the finish reason and the counts read as if OpenAI had answered; the original is kept."""
    usage = {"input_tokens": 5, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 1, "output_tokens": 3}
    answer = anthropic_answer(HELLO, USE, stop_reason="tool_use", usage=usage)
    server = serve(AnthropicApi(answer))
    done = run(call(params(server, "anthropic", tools=[WEATHER])))
    calls = [{"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Delft"}'}}]
    counts = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    message = {"role": "assistant", "content": "Hello.", "tool_calls": calls}
    assert done.output == {
        "id": "msg_1", "model": "claude-sonnet-4-5-20250929", "content": "Hello.", "finish_reason": "tool_calls",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": counts | {"prompt_tokens_details": {"cached_tokens": 3, "cache_creation_tokens": 1}},
        "raw_response": answer,
        "has_tool_calls": True, "tool_calls": calls,
    }  # fmt: skip
    assert done.usage == {"provider": "anthropic", "model": "claude-sonnet-4-5-20250929"} | counts


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("something_new", "something_new"),
    ],
)
def test_anthropic_stop_reasons(call: CallFactory, serve: Serve, stop_reason: str, finish_reason: str) -> None:
    """Each of the documented reasons has OpenAI's word; a new one keeps its own."""
    server = serve(AnthropicApi(anthropic_answer(HELLO, stop_reason=stop_reason)))
    assert run(call(params(server, "anthropic"))).output["finish_reason"] == finish_reason


def test_anthropic_base_url_with_version(call: CallFactory, serve: Serve) -> None:
    """A base URL may or may not end in /v1."""
    server = serve(AnthropicApi(anthropic_answer(HELLO), anthropic_answer(HELLO)))
    run(call(params(server, "anthropic", base_url=f"{server.url}/v1", options={})))
    run(call(params(server, "anthropic", base_url=f"{server.url}/v1/messages", options={})))
    assert [request.path for request in server.received] == ["/v1/messages"] * 2


def test_anthropic_has_no_function_role(call: CallFactory, serve: Serve) -> None:
    """A role without a counterpart is the author's mistake."""
    with pytest.raises(NodeFailed, match="no role function"):
        run(call(params(serve(AnthropicApi()), "anthropic", messages=[{"role": "function", "content": "x"}])))
