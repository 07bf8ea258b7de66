"""router and format: from a model's tool call to the tool's node and back."""

from typing import Any

import pytest

from shared.engine.kinds.base import Done
from shared.engine.kinds.format import Format
from shared.engine.kinds.router import Router
from tests.unit.engine.kinds.conftest import CallFactory

TOOL = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": '{"q": "x"}'}}
CALLS = {"tool_calls": [TOOL, {"function": {"name": "second"}}]}


@pytest.mark.parametrize(
    "source",
    [
        CALLS,
        {"result": CALLS},
        {"choices": [{"message": CALLS}]},
        {"message": CALLS},
        {"llm_result": CALLS},
        {"llm_result": {"choices": [{"message": CALLS}]}},
        {"tool_calls": [], "message": CALLS},
    ],
)
@pytest.mark.parametrize("by_param", [True, False])
def test_where_tool_calls_are_found(call: CallFactory, source: Any, by_param: bool) -> None:
    """The first call decides, wherever the model's answer holds it."""
    made = call({"input": source}, "other") if by_param else call({}, source, shared={"kept": 1})
    outcome = Router().run(made)
    assert isinstance(outcome, Done)
    assert outcome.actions == ("search", "default")
    assert outcome.output == {
        "route": "search", "tool_name": "search", "tool_call": TOOL, "tool_params": {"q": "x"},
        "original_input": source,
    }  # fmt: skip
    assert outcome.shared == made.scope.shared | {"active_tool_call": TOOL}


def test_the_last_model_answer_stands_behind_the_input(call: CallFactory) -> None:
    """As ``input.llm_result`` does in scripts, the shared scope stands behind an object."""
    outcome = Router().run(call({}, {"x": 1}, shared={"llm_result": CALLS}))
    assert isinstance(outcome, Done) and outcome.actions == ("search", "default")


@pytest.mark.parametrize(
    ("arguments", "params"), [("not json", "not json"), ({"a": 1}, {"a": 1}), ("[" * 100_000, "[" * 100_000)]
)
def test_arguments_that_are_no_json_stay_text(call: CallFactory, arguments: Any, params: Any) -> None:
    """A model's broken arguments are handed on instead of failing the node."""
    outcome = Router().run(call({}, {"tool_calls": [{"name": "flat", "arguments": arguments}]}))
    assert isinstance(outcome, Done) and outcome.output["tool_params"] == params


@pytest.mark.parametrize("source", [None, "text", [], {}, {"tool_calls": "x"}, {"tool_calls": [{"function": {}}]}])
def test_no_tool_calls(call: CallFactory, source: Any) -> None:
    """Without a call the route is output, or what condition_script says."""
    assert Router().run(call({}, source)) == Done(
        {"route": "output", "reason": "no_tool_calls"}, ("output", "default", "success")
    )
    assert Router().run(call({"condition_script": "return 'finish'"}, source)) == Done(source, ("finish", "default"))


def test_a_tools_result_becomes_a_message(call: CallFactory) -> None:
    """Name and id come from the call the router chose."""
    outcome = Format().run(call({}, {"hits": 2}, shared={"active_tool_call": TOOL}))
    assert outcome == Done({
        "tool_response": {"role": "tool", "name": "search", "content": '{"hits":2}', "tool_call_id": "c1"},
        "formatted_result": '{"hits":2}', "tool_name": "search", "original_input": {"hits": 2},
    })  # fmt: skip


def test_format_with_a_script_or_without_a_call(call: CallFactory) -> None:
    """A script makes the output like transform's; parameters name the tool when no router did."""
    assert Format().run(call({"script": "return input.n + 1"}, {"n": 1})) == Done(2)
    outcome = Format().run(call({"tool_name": "t", "tool_call_id": "i"}, "text"))
    assert isinstance(outcome, Done)
    assert outcome.output["tool_response"] == {"role": "tool", "name": "t", "content": "text", "tool_call_id": "i"}
