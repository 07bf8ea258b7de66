"""agent: the loop of model and tools, its end, and how it goes on elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.engine.kinds.agent import Agent
from shared.engine.kinds.base import Answer, Call, Done, KindServices, NodeFailed, Wait
from shared.kit import clock, json
from tests.support.models import WEATHER, AnthropicApi, OpenAIApi, anthropic_answer, openai_answer, params, sent
from tests.support.standin import Received, Reply
from tests.support.time import HeldClock
from tests.unit.engine.kinds.conftest import CallFactory, Serve

NOON = 1_767_268_800_000
"""2026-01-01T12:00:00Z."""


@pytest.fixture(autouse=True)
def held() -> Iterator[HeldClock]:
    with clock.use(source := HeldClock(NOON)):
        yield source


def run(call: Call) -> Done:
    outcome = Agent().run(call)
    assert isinstance(outcome, Done)
    return outcome


def time_call(id: str, arguments: str = "{}") -> tuple[str, str, str]:
    return id, "get_current_time", arguments


def test_an_answer_without_tools(call: CallFactory, serve: Serve) -> None:
    """One question, one answer; the built-in tool is offered beside the author's."""
    server = serve(OpenAIApi(openai_answer("Done.")))
    done = run(call(params(server, system_prompt="Be kind.", tools=[WEATHER], temperature=0)))
    said = {"role": "assistant", "content": "Done."}
    asked = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    assert done.output == {
        "response": "Done.", "steps": 1, "thinking": [], "intermediate_results": [], "conversation": [*asked, said],
    }  # fmt: skip
    assert [tool["function"]["name"] for tool in sent(server)["tools"]] == ["weather", "get_current_time"]
    assert sent(server)["temperature"] == 0
    counts = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    assert done.usage == {"provider": "openai", "model": "gpt-4o-mini-2024-07-18"} | counts


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_tools_run_until_the_model_answers(call: CallFactory, serve: Serve, provider: str) -> None:
    """Every result goes back under its call's id; what the model said meanwhile is its thinking; tokens add up."""
    use = {"type": "tool_use", "id": "c1", "name": "get_current_time", "input": {}}
    if provider == "openai":
        server = serve(OpenAIApi(openai_answer("Let me look.", time_call("c1")), openai_answer("Noon.")))
    else:
        look = {"type": "text", "text": "Let me look."}
        noon = anthropic_answer({"type": "text", "text": "Noon."})
        server = serve(AnthropicApi(anthropic_answer(look, use, stop_reason="tool_use"), noon))
    done = run(call(params(server, provider, user_prompt="What time is it?", prompt=None)))
    now = "2026-01-01T12:00:00+00:00"
    assert done.output["response"] == "Noon."
    assert done.output["steps"] == 2
    assert done.output["thinking"] == ["Let me look."]
    result = {"step": 1, "tool": "get_current_time", "arguments": {}, "result": now, "error": None}
    assert done.output["intermediate_results"] == [result]
    assert [message["role"] for message in done.output["conversation"]] == ["user", "assistant", "tool", "assistant"]
    assert done.output["conversation"][2] == {"role": "tool", "tool_call_id": "c1", "content": now}
    assert done.usage is not None and done.usage["total_tokens"] == 24


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ('{"timezone":"Europe/Amsterdam"}', "2026-01-01T13:00:00+01:00"),
        ('{"timezone":""}', "2026-01-01T12:00:00+00:00"),
        ("", "2026-01-01T12:00:00+00:00"),
    ],
)
def test_current_time(call: CallFactory, serve: Serve, arguments: str, result: str) -> None:
    """In UTC, or in the time zone the model asks for."""
    server = serve(OpenAIApi(openai_answer(None, time_call("c", arguments)), openai_answer()))
    assert run(call(params(server))).output["intermediate_results"][0]["result"] == result


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("weather", '{"city":"Delft"}', "no tool weather is available; available: get_current_time"),
        ("get_current_time", '{"timezone":"Mars/Base"}', "arguments must be"),
        ("get_current_time", '{"timezone":"../../etc/passwd"}', "arguments must be"),
        ("get_current_time", "not json", "arguments must be"),
    ],
)
def test_a_tool_that_fails_tells_the_model(
    call: CallFactory, serve: Serve, name: str, arguments: str, error: str
) -> None:
    """The node goes on: the model gets the error and may do without."""
    server = serve(OpenAIApi(openai_answer(None, ("c", name, arguments)), openai_answer("Sorry.")))
    done = run(call(params(server, tools=["weather"])))
    assert error in done.output["intermediate_results"][0]["error"]
    assert done.output["intermediate_results"][0]["result"] is None
    assert error in json.loads(sent(server)["messages"][-1]["content"])["error"]
    assert done.output["response"] == "Sorry."


@pytest.mark.parametrize("tool", [{"type": "web_search"}, {"type": "custom", "function": "x"}])
def test_tools_of_the_providers_own(call: CallFactory, serve: Serve, tool: dict[str, Any]) -> None:
    """They go to the model as the author wrote them, beside the built-in one."""
    server = serve(lambda request: Reply(openai_answer()))
    run(call(params(server, tools=[tool, "get_current_time"])))
    offered = sent(server)["tools"]
    assert offered[0] == tool and [one["function"]["name"] for one in offered[1:]] == ["get_current_time"]


def test_every_step_has_its_own_key(call: CallFactory, serve: Serve) -> None:
    """A provider that honours the key cannot take the second step for a repetition of the first."""
    server = serve(OpenAIApi(openai_answer(None, time_call("c")), openai_answer()))
    run(replace(call(params(server)), idempotency_key="key", attempt=3))
    assert [request.headers["idempotency-key"] for request in server.received] == ["key:1", "key:2"]
    assert {request.headers["x-signalbox-attempt"] for request in server.received} == {"3"}


def test_too_many_steps(call: CallFactory, serve: Serve) -> None:
    """A model that never stops calling tools fails the node after max_steps questions."""
    server = serve(lambda request: Reply(openai_answer(None, time_call("c"))))
    with pytest.raises(NodeFailed, match="did not finish within 2 steps; raise max_steps"):
        run(call(params(server, max_steps="2")))
    assert len(server.received) == 2


def test_a_conversation_has_an_end(call: CallFactory, serve: Serve) -> None:
    """A server that answers megabytes with every step does not fill the process."""
    server = serve(lambda request: Reply(openai_answer("x" * 1_500_000, time_call("c"))))
    with pytest.raises(NodeFailed, match="conversation is larger than 4 MB") as caught:
        run(call(params(server)))
    assert caught.value.retryable is False
    assert len(server.received) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prompt": None}, "prompt parameter is required"),
        ({"max_steps": 0}, "max_steps must be between 1 and 100"),
        ({"max_steps": "9" * 5_000}, "max_steps must be between 1 and 100"),
        ({"max_steps": True}, "max_steps must be between 1 and 100"),
        ({"tools": "weather"}, "tools must be a list"),
        ({"api_key": None}, "api_key parameter is required"),
    ],
)
def test_mistakes_of_the_author(call: CallFactory, serve: Serve, given: dict[str, Any], message: str) -> None:
    """They fail the node for good, before anything is asked."""
    server = serve(OpenAIApi())
    with pytest.raises(NodeFailed, match=message) as failed:
        run(call(params(server) | given))
    assert not failed.value.retryable
    assert server.received == []


def test_a_refusal_is_the_nodes_failure(call: CallFactory, serve: Serve) -> None:
    """The model's errors read as those of llm."""
    with pytest.raises(NodeFailed, match="LLM API error: busy") as failed:
        run(call(params(serve(lambda request: Reply({"error": "busy"}, 503)))))
    assert failed.value.retryable


def test_a_stopping_process_hands_over(call: CallFactory, serve: Serve) -> None:
    """No new step begins; the wait carries all that was said but the prompt, and resuming goes on from there."""
    api = OpenAIApi(openai_answer(None, time_call("c")), openai_answer("Noon."))
    server = serve(api)
    first = call(params(server, prompt="the prompt"))
    waiting = Agent().run(replace(first, stopping=lambda: bool(server.received)))
    assert isinstance(waiting, Wait) and waiting.until_ms is not None
    assert waiting.until_ms > NOON + 1_000
    assert waiting.key is None
    assert "the prompt" not in json.dumps(waiting.state)
    assert len(server.received) == 1
    done = Agent().resume(first, Answer(timed_out=True, state=json.loads(json.dumps(waiting.state))))
    assert isinstance(done, Done)
    assert done.output["response"] == "Noon."
    assert done.output["steps"] == 2
    assert len(done.output["intermediate_results"]) == 1
    assert done.usage is not None and done.usage["total_tokens"] == 24
    assert [request.headers["idempotency-key"] for request in server.received] == ["k:1", "k:2"]


def test_an_attempt_stays_under_the_limit_of_one_effect(call: CallFactory, serve: Serve, held: HeldClock) -> None:
    """A call begins only if it can end within the limit; at least one is made, so the loop always gets on."""

    def slow(request: Received) -> Reply:
        held.advance(40)
        return Reply(openai_answer(None, time_call("c")))

    server = serve(slow)
    limited = call(params(server, timeout="60s"))
    services = SimpleNamespace(http=limited.services.http, wall_clock_limit_s=100.0)
    outcome = Agent().run(replace(limited, services=cast(KindServices, services)))
    assert isinstance(outcome, Wait)
    assert len(server.received) == 2
    longest = replace(limited, params=params(server, timeout="10m"), services=cast(KindServices, services))
    assert isinstance(Agent().run(longest), Wait)
    assert len(server.received) == 3
