"""The flow docs/examples/flows/assistant.yaml, node by node with the real kinds, against stand-ins of what it calls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.dialects.flowrunner import FlowRunnerDialect
from shared.engine.attempt import Attempts, Failure, Job
from shared.engine.expressions.base import Scope
from shared.engine.expressions.javascript import JavaScript
from shared.engine.kinds import registry
from shared.engine.kinds.base import Done, ExecutionFacts, KindServices
from shared.engine.program import Node, Program
from shared.outbound import OutboundClient
from tests.support.models import KEY, OpenAIApi, openai_answer
from tests.support.standin import Received, Reply, StandIn
from tests.unit.engine.kinds.conftest import Serve

FLOW = Path(__file__).resolve().parents[4] / "docs" / "examples" / "flows" / "assistant.yaml"
WEATHER = {"current_condition": [{"temp_C": "7", "weatherDesc": [{"value": "Light rain"}]}]}
ASKS = openai_answer(None, ("call_1", "weather", '{"city":"Delft"}'))


class Walk:
    """Follows a program without an engine: each node once, retries left out."""

    def __init__(self, js: JavaScript, http: OutboundClient, server: StandIn) -> None:
        text = FLOW.read_text(encoding="utf-8").replace("https://wttr.in", server.url)
        self.program: Program = FlowRunnerDialect(registry()).compile(text)[1]
        self.path: list[str] = []
        services = SimpleNamespace(language=js, http=http, wall_clock_limit_s=600.0)
        self._attempts = Attempts(registry(), cast(KindServices, services))

    def run(self, value: dict[str, Any]) -> Any:
        scope = Scope(input=value, shared=dict(value), secrets={"LLM_API_KEY": KEY})
        node: Node | None = self.program.nodes[self.program.start]
        while node is not None:
            self.path.append(node.name)
            facts = ExecutionFacts("e", "o", "a", "d")
            job = Job(node, scope.input, scope, facts, 1, f"e:{node.name}", None, False, lambda given: given)
            result = self._attempts.run(job)
            outcome = result.outcome
            assert isinstance(outcome, (Done, Failure))
            if isinstance(outcome, Done):
                output: Any = outcome.output
            else:
                output = {"error": {"message": outcome.message, "node_id": node.name, "node_type": node.kind}}
            shared = {**scope.shared, **result.shared, **dict.fromkeys(node.result_keys, output)}
            results = {**scope.results, **({node.name: output} if isinstance(outcome, Done) else {})}
            scope = replace(scope, input=output, shared=shared, results=results)
            edge = next((found for action in outcome.actions if (found := node.edge(action))), None)
            node = self.program.nodes.get(edge.target) if edge else None
        return scope.input


@pytest.mark.parametrize(
    ("replies", "answer", "path"),
    [
        (
            (ASKS, openai_answer("Take an umbrella.")),
            {"answer": "Take an umbrella."},
            ["ask", "route", "look_up", "as_tool_result", "advise", "answer"],
        ),
        ((openai_answer("Always."),), {"answer": "Always."}, ["ask", "route", "answer"]),
        (
            (Reply({"error": {"message": "No."}}, 401),),
            {"answer": None, "reason": "LLM API error: No. (HTTP 401)"},
            ["ask", "apologise"],
        ),
        (
            (ASKS, Reply(b"", 503)),
            {"answer": None, "reason": "LLM API error: no reason given (HTTP 503)"},
            ["ask", "route", "look_up", "as_tool_result", "advise", "apologise"],
        ),
    ],
)
def test_the_example_runs(
    js: JavaScript, http: OutboundClient, serve: Serve, replies: tuple[Any, ...], answer: Any, path: list[str]
) -> None:
    """With a tool call, without one, and with a model that refuses at either question."""
    model = OpenAIApi(*replies)
    server = serve(lambda request: model(request) if request.method == "POST" else look_up(request))
    walk = Walk(js, http, server)
    assert walk.run({"city": "Delft", "base_url": f"{server.url}/v1"}) == answer
    assert walk.path == path


def look_up(request: Received) -> Reply:
    assert (request.path, request.query) == ("/Delft", "format=j1")
    return Reply(WEATHER)


def test_the_model_is_told_what_the_tool_found(js: JavaScript, http: OutboundClient, serve: Serve) -> None:
    """The weather of the city the model named is in the second question."""
    model = OpenAIApi(ASKS, openai_answer("Fine."))
    server = serve(lambda request: model(request) if request.method == "POST" else look_up(request))
    Walk(js, http, server).run({"city": "Delft", "base_url": f"{server.url}/v1"})
    first, _, second = server.received
    assert first.json["messages"][1]["content"] == "Is today a good day for a walk in Delft?"
    assert first.json["tools"][0]["function"]["name"] == "weather"
    assert second.json["messages"][0]["content"].startswith("It is 7 °C and Light rain in Delft.")
