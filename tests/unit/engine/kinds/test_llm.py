"""llm: prompts, both wire formats, answers in one shape, and what a refusal means."""

from __future__ import annotations

from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from shared.engine.kinds.base import Call, Done, NodeFailed
from shared.engine.kinds.format import Format
from shared.engine.kinds.llm import LanguageModel
from shared.engine.kinds.router import Router
from tests.support.models import WEATHER, AnthropicApi, OpenAIApi, anthropic_answer, openai_answer, params, sent
from tests.support.standin import Received, Reply
from tests.unit.engine.kinds.conftest import CallFactory, Serve

USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Delft"}}


def run(call: Call) -> Done:
    outcome = LanguageModel().run(call)
    assert isinstance(outcome, Done)
    return outcome


# Prompts


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ({"prompt": "Hi"}, [{"role": "user", "content": "Hi"}]),
        ({"prompt": {"a": 1}}, [{"role": "user", "content": '{"a":1}'}]),
        ({"template": "Hi {{.name}}", "variables": {"name": "Ada"}}, [{"role": "user", "content": "Hi Ada"}]),
        ({"template": "Hi {{.name}}"}, [{"role": "user", "content": "Hi <no value>"}]),
        (
            {
                "template": "{a:{b:1}} {{/* note */}}{{ $.n }}{{.no.way}} -{{- .s -}} - {{.x.y}}",
                "variables": {"n": 1, "s": "s"},
            },
            [{"role": "user", "content": "{a:{b:1}} 1<no value> -s- <no value>"}],
        ),
        ({"template": "{{.}}", "variables": {"n": True}}, [{"role": "user", "content": '{"n":true}'}]),
        ({"template": "Be kind", "role": "system"}, [{"role": "system", "content": "Be kind"}]),
        (
            {
                "templates": [{"role": "system", "template": "{{.a.b}}"}, {"role": "user", "template": "{{.c}}"}],
                "context": {"a": {"b": "deep"}, "c": [1, 2]},
            },
            [{"role": "system", "content": "deep"}, {"role": "user", "content": "[1,2]"}],
        ),
        ({"messages": [{"role": "user", "content": "{{.x}}"}]}, [{"role": "user", "content": "{{.x}}"}]),
        ({"messages": [{"role": "user", "content": {"a": 1}}]}, [{"role": "user", "content": '{"a":1}'}]),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
            [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
        ),
    ],
)
def test_prompt_forms(call: CallFactory, serve: Serve, given: dict[str, Any], messages: Any) -> None:
    """Each of the documented forms becomes the messages it means."""
    server = serve(OpenAIApi(openai_answer()))
    run(call(params(server, prompt=None) | given))
    assert sent(server)["messages"] == messages


def test_prompt_forms_have_an_order(call: CallFactory, serve: Serve) -> None:
    """A question in the run's input comes first, then templates, messages, prompt, template."""
    forms = [
        ("templates", [{"role": "user", "template": "templates"}]),
        ("messages", [{"role": "user", "content": "messages"}]),
        ("prompt", "prompt"),
        ("template", "template"),
    ]
    server = serve(OpenAIApi(*(openai_answer() for _ in range(5))))
    run(call(params(server) | dict(forms), shared={"question": "Why?"}))
    assert sent(server)["messages"][1] == {"role": "user", "content": "Why?"}
    assert sent(server)["messages"][0]["role"] == "system"
    for position, (name, _) in enumerate(forms):
        run(call(params(server, prompt=None) | dict(forms[position:]), shared={"question": {"not": "text"}}))
        assert sent(server)["messages"] == [{"role": "user", "content": name}]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"api_key": ""}, "api_key parameter is required"),
        ({"api_key": "a\nb"}, "api_key must be one line"),
        ({"model": None}, "model parameter is required"),
        ({"prompt": None}, "a prompt is required"),
        ({"provider": "acme"}, "unknown provider acme"),
        ({"provider": "generic", "options": None}, "base_url parameter is required"),
        ({"prompt": None, "template": "{{range .x}}"}, "only fields such as"),
        ({"prompt": None, "template": "a {{.x"}, "{{ without }}"),
        ({"prompt": None, "template": "{{name}}"}, "only fields such as"),
        ({"prompt": None, "template": "{{.a}}", "variables": [1]}, "variables must be an object"),
        ({"messages": [{"content": "x"}]}, "messages must be a list of {role, content}"),
        ({"templates": "x"}, "templates must be a list of {role, template}"),
        ({"tools": {"a": 1}}, "tools must be a list"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools must be a list of {type: function"),
        ({"temperature": "warm"}, "temperature must be a number"),
        ({"temperature": True}, "temperature must be a number"),
        ({"temperature": "nan"}, "temperature must be a number"),
        ({"max_tokens": "inf"}, "max_tokens must be a number"),
        ({"options": {"base_url": "http://[::1"}}, "base_url must be an http or https address"),
        ({"options": {"endpoint": "http://[x]/v1"}}, "base_url must be an http or https address"),
        ({"max_tokens": 0}, "max_tokens must be a whole number from 1"),
        ({"max_tokens": 1.5}, "max_tokens must be a whole number from 1"),
        ({"stop": [1]}, "stop must be text or a list of texts"),
        ({"options": "x"}, "options must be an object"),
        ({"tool_choice": 1}, "tool_choice must be"),
        ({"timeout": "soon"}, "timeout must be a duration"),
        ({"timeout": 0}, "timeout must be more than 0"),
    ],
)
def test_mistakes_of_the_author(call: CallFactory, serve: Serve, given: dict[str, Any], message: str) -> None:
    """A parameter that makes no sense fails the node for good, before anything is sent."""
    server = serve(OpenAIApi())
    with pytest.raises(NodeFailed, match=message) as failed:
        run(call(params(server) | given))
    assert not failed.value.retryable
    assert server.received == []


# OpenAI and servers like it


def test_openai_request(call: CallFactory, serve: Serve) -> None:
    """Every setting arrives under its own name; options go through; the key travels in the head only."""
    server = serve(OpenAIApi(openai_answer()))
    given = params(
        server, max_tokens="64", stop="END", tools=[WEATHER], tool_choice="auto", response_format="json",
        options={
            "base_url": f"{server.url}/v1/", "seed": 7, "stream": True, "organization": "org-1",
            "headers": {"X-Team": "a"},
        },
    )  # fmt: skip
    run(replace(call(given), idempotency_key="key-1", attempt=2))
    assert sent(server) == {
        "model": "m", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0.7, "max_tokens": 64,
        "stop": ["END"], "tools": [WEATHER], "tool_choice": "auto", "seed": 7,
        "response_format": {"type": "json_object"},
    }  # fmt: skip
    headers = server.received[0].headers
    expected = {
        "idempotency-key": "key-1", "x-signalbox-attempt": "2", "openai-organization": "org-1", "x-team": "a",
    }  # fmt: skip
    assert expected.items() <= headers.items()


@pytest.mark.parametrize("where", ["base_url", "endpoint"])
@pytest.mark.parametrize("provider", ["openai", "generic"])
def test_base_url_may_be_the_whole_address(call: CallFactory, serve: Serve, where: str, provider: str) -> None:
    """The path is completed unless it is complete; a query stays."""
    server = serve(OpenAIApi(openai_answer(), openai_answer()))
    run(call(params(server, provider, options={where: f"{server.url}/v1/chat/completions?api-version=1"})))
    run(call(params(server, provider, options={}, base_url=f"{server.url}/v1")))
    assert [request.query for request in server.received] == ["api-version=1", ""]


@pytest.mark.parametrize(("temperature", "expected"), [(0, 0), ("0.5", 0.5), (None, None)])
def test_temperature(call: CallFactory, serve: Serve, temperature: Any, expected: Any) -> None:
    """Zero is a temperature, text may stand for a number, null leaves it to the model."""
    server = serve(OpenAIApi(openai_answer()))
    run(call(params(server, temperature=temperature)))
    assert sent(server).get("temperature") == expected


def test_a_model_without_temperature_gets_none(call: CallFactory, serve: Serve) -> None:
    """Our default is withdrawn when the model refuses it; the author's own choice is not."""
    refusal = Reply({"error": {"message": "Unsupported value: 'temperature' does not support 0.7."}}, 400)
    server = serve(OpenAIApi(refusal, openai_answer(), refusal))
    assert run(call(params(server))).output["content"] == "Hello."
    assert "temperature" not in sent(server)
    assert len({request.headers["idempotency-key"] for request in server.received}) == 2
    with pytest.raises(NodeFailed, match="Unsupported value") as failed:
        run(call(params(server, temperature=0.7)))
    assert not failed.value.retryable


def test_newer_models_count_completion_tokens(call: CallFactory, serve: Serve) -> None:
    """max_completion_tokens in options replaces max_tokens, which such models refuse."""
    server = serve(OpenAIApi(openai_answer()))
    run(call(params(server, max_tokens=5, options={"base_url": f"{server.url}/v1", "max_completion_tokens": 9})))
    assert "max_tokens" not in sent(server)
    assert sent(server)["max_completion_tokens"] == 9


def test_openai_answer(call: CallFactory, serve: Serve, rows: list[Any]) -> None:
    """All documented fields; usage is recorded with provider and model; the log says so without the texts."""
    answer = openai_answer("Hello.")
    server = serve(OpenAIApi(answer))
    done = run(call(params(server)))
    assert done.output == {
        "id": "chatcmpl-1", "model": "gpt-4o-mini-2024-07-18", "choices": answer["choices"], "usage": answer["usage"],
        "content": "Hello.", "finish_reason": "stop", "raw_response": answer, "has_tool_calls": False, "tool_calls": [],
    }  # fmt: skip
    assert done.usage == {"provider": "openai", "model": "gpt-4o-mini-2024-07-18"} | answer["usage"]
    assert [(level, message) for level, message, _ in rows] == [("debug", "Model answered")]
    assert "Hello." not in str(rows)


def test_functions_of_older_servers(call: CallFactory, serve: Serve) -> None:
    """functions are sent as they are, and a function_call is found among the tool calls."""
    message = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    server = serve(
        OpenAIApi(openai_answer(choices=[{"index": 0, "message": message, "finish_reason": "function_call"}]))
    )
    output = run(call(params(server, functions=[{"name": "f", "parameters": {}}]))).output
    assert sent(server)["functions"] == [{"name": "f", "parameters": {}}]
    assert output["tool_calls"] == [{"id": "call_f", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    assert output["content"] == ""


@pytest.mark.parametrize(
    ("tool", "function"),
    [
        ({"name": "f", "parameters": {"type": "object"}}, {"name": "f", "parameters": {"type": "object"}}),
        ({"name": "f", "input_schema": {"type": "object"}}, {"name": "f", "parameters": {"type": "object"}}),
        ({"type": "function", "name": "f"}, {"name": "f"}),
    ],
)
def test_flat_tools_are_wrapped(call: CallFactory, serve: Serve, tool: Any, function: Any) -> None:
    """Tools may be written without the nesting, or in Anthropic's form."""
    server = serve(OpenAIApi(openai_answer()))
    run(call(params(server, tools=[tool])))
    assert sent(server)["tools"] == [{"type": "function", "function": function}]


# Structured answers


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ("a: 1\nb: [x, yes]", {"a": 1, "b": ["x", True]}),
        ("Here it is:\n```yaml\na: 1\n```\nAnything else?", {"a": 1}),
        ("```json\n[1,\t2]\n```", [1, 2]),
        ("~~~~\na: |\n  ```\n  x\n~~~~", {"a": "```\nx"}),
        ("```yaml\na: 1", {"a": 1}),
        ('```json\r\n{"a": "x\u2028y"}\r\n```\r\nDone.', {"a": "x\u2028y"}),
        ("day: 2026-01-31", {"day": "2026-01-31"}),
        ("plain words", "plain words"),
    ],
)
def test_structured_answers(call: CallFactory, serve: Serve, content: str, value: Any) -> None:
    """YAML and JSON are read, in a fence or not; dates stay text, as JSON has none."""
    server = serve(OpenAIApi(openai_answer(content)))
    output = run(call(params(server, parse_structured=True))).output
    assert output["structured_output"] == value
    assert output["content"] == content


@pytest.mark.parametrize(
    "content",
    ["", "a: [1", "a: &x [1]\nb: *x", "a: .nan", "!!python/object/apply:os.system [ls]", "? [a]\n: b", "- " * 140_000],
)
def test_unreadable_answers_fail(call: CallFactory, serve: Serve, content: str) -> None:
    """What is no YAML, or more than JSON can carry, fails the attempt; another answer may be better."""
    server = serve(OpenAIApi(openai_answer(content)))
    with pytest.raises(NodeFailed, match="parse_structured: the answer cannot be read") as failed:
        run(call(params(server, parse_structured=True)))
    assert failed.value.retryable


# Refusals


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (401, False), (404, False), (408, True), (422, False), (429, True), (500, True), (529, True)],
)
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_refusals(call: CallFactory, serve: Serve, provider: str, status: int, retryable: bool) -> None:
    """Overload and faults of the server may pass with time; a request it does not want stays unwanted."""
    server = serve(lambda request: Reply({"error": {"message": "No."}}, status))
    with pytest.raises(NodeFailed, match=rf"^LLM API error: No\. \(HTTP {status}\)$") as failed:
        run(call(params(server, provider)))
    assert failed.value.retryable is retryable


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply({"error": "flat"}, 500), r"LLM API error: flat \(HTTP 500\)"),
        (Reply({"message": "top"}, 500), r"LLM API error: top \(HTTP 500\)"),
        (Reply(b"<html>Bad Gateway</html>", 502), r"LLM API error: <html>Bad Gateway</html> \(HTTP 502\)"),
        (Reply(b"", 503), r"LLM API error: no reason given \(HTTP 503\)"),
        (Reply({"error": {"message": "upstream"}}), r"LLM API error: upstream \(HTTP 200\)"),
        (Reply(b"hello"), "LLM request failed: the answer is no JSON object"),
        (Reply([1]), "LLM request failed: the answer is no JSON object"),
        (Reply({"choices": []}), "LLM request failed: the answer has no choices"),
        (Reply(b"", 307, {"Location": "/elsewhere"}), "LLM request failed: the server redirects"),
    ],
)
def test_odd_answers(call: CallFactory, serve: Serve, reply: Reply, message: str) -> None:
    """Whatever comes back, the node fails with a sentence."""
    with pytest.raises(NodeFailed, match=message):
        run(call(params(serve(lambda request: reply))))


def test_the_key_is_never_in_a_message(call: CallFactory, serve: Serve) -> None:
    """Providers repeat the key they refuse; we do not."""
    wrong = "sk-wrong-key-123"
    with pytest.raises(NodeFailed, match=r"Incorrect API key provided: Bearer \[redacted\]"):
        run(call(params(serve(OpenAIApi()), api_key=wrong)))


def test_an_address_that_is_refused_or_dead(call: CallFactory, serve: Serve) -> None:
    """A refused address stays refused; a dead one may come back."""
    server = serve(OpenAIApi())
    with pytest.raises(NodeFailed, match=r"LLM request failed: .*127\.0\.0\.2") as refused:
        run(call(params(server, options={"base_url": "http://127.0.0.2:9/v1"})))
    assert not refused.value.retryable
    with pytest.raises(NodeFailed, match="LLM request failed: ") as dead:
        run(call(params(server, options={"base_url": "http://127.0.0.1:1/v1"})))
    assert dead.value.retryable


def test_a_slow_model_is_given_up(call: CallFactory, serve: Serve) -> None:
    """The node's timeout bounds the answer."""
    over = Event()

    def silent(request: Received) -> Reply:
        over.wait(10)
        return Reply()

    server = serve(silent)
    with pytest.raises(NodeFailed, match=r"LLM request failed: .* did not answer in time") as failed:
        run(call(params(server, timeout="50ms")))
    over.set()
    assert failed.value.retryable


# With the nodes around it


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_tool_call_through_router_and_format(call: CallFactory, serve: Serve, provider: str) -> None:
    """The model asks for a tool, the router finds its node, format wraps the result, and the model answers from it."""
    asking, answering = (
        (openai_answer(None, ("toolu_1", "weather", '{"city":"Delft"}')), openai_answer("Take a coat."))
        if provider == "openai"
        else (anthropic_answer(USE, stop_reason="tool_use"), anthropic_answer({"type": "text", "text": "Take a coat."}))
    )
    server = serve((OpenAIApi if provider == "openai" else AnthropicApi)(asking, answering))
    user = {"role": "user", "content": "A walk in Delft?"}
    asked = run(call(params(server, provider, messages=[user], tools=[WEATHER]))).output
    routed = Router().run(call({}, asked))
    assert isinstance(routed, Done) and routed.shared is not None
    assert routed.actions[0] == "weather"
    assert routed.output["tool_params"] == {"city": "Delft"}
    formatted = Format().run(call({}, {"weather": "rain"}, shared=routed.shared))
    assert isinstance(formatted, Done)
    messages = [user, asked["choices"][0]["message"], formatted.output["tool_response"]]
    answer = run(call(params(server, provider, messages=messages, tools=[WEATHER])))
    assert answer.output["content"] == "Take a coat."
    assert not answer.output["has_tool_calls"]
