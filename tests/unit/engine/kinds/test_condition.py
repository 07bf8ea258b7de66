"""condition, and the candidate actions of what it decides (FlowRunner language, candidate actions)."""

from typing import Any

import pytest

from shared.engine.kinds.base import Done, NodeFailed
from shared.engine.kinds.condition import Condition
from tests.unit.engine.kinds.conftest import CallFactory


@pytest.mark.parametrize(
    ("source", "actions"),
    [
        ("return 'high'", ("high", "default")),
        ("return input.a > 0", ("true", "default")),
        ("return input.a > 5", ("false", "default")),
        ("return 7", ("7", "default")),
        ("return 1.5", ("1.5", "default")),
        ("return null", ("null", "default")),
        ("", None),
        ("return [1]", ("[1]", "default")),
        ("return {action: 'go', route: 'r', branch: 5}", ("go", "r", "default", "success")),
        ("return {branch_decision: 'd', branch: 'b'}", ("b", "d", "default", "success")),
        ("return {}", ("default", "success")),
    ],
)
def test_actions_of_a_script(call: CallFactory, source: str, actions: tuple[str, ...] | None) -> None:
    """Each kind of answer offers its edges in the contract's order."""
    made = call({"condition_script": source}, {"a": 1})
    if actions is None:
        with pytest.raises(NodeFailed, match="condition_script parameter is required"):
            Condition().run(made)
    else:
        outcome = Condition().run(made)
        assert isinstance(outcome, Done) and outcome.actions == actions


@pytest.mark.parametrize(
    ("source", "output"), [("return true", {"a": 1}), ("return 'x'", {"a": 1}), ("return {b: 2}", {"b": 2})]
)
def test_the_input_goes_through(call: CallFactory, source: str, output: Any) -> None:
    """The output is the input, unless the script answers an object."""
    outcome = Condition().run(call({"condition_script": source}, {"a": 1}))
    assert isinstance(outcome, Done) and outcome.output == output


CONDITIONS = [
    {"condition": "input.n > 10", "action": "big"},
    {"condition": "return input.n > 5;", "action": "middle"},
    {"condition": "input.list", "action": "list"},
]


@pytest.mark.parametrize(
    ("value", "action"),
    [({"n": 11}, "big"), ({"n": 6}, "middle"), ({"n": 1, "list": []}, "list"), ({"n": 1}, "small")],
)
def test_the_first_true_condition_wins(call: CallFactory, value: Any, action: str) -> None:
    """Conditions are asked in order with JavaScript's idea of truth; none true means the default action."""
    outcome = Condition().run(call({"conditions": CONDITIONS, "default_action": "small"}, value))
    assert outcome == Done(value, (action, "default"))


def test_conditions_without_a_default(call: CallFactory) -> None:
    """No condition true and no default action: the default edge."""
    assert Condition().run(call({"conditions": []}, 1)) == Done(1, ("default", "default"))
    outcome = Condition().run(call({"conditions": [{"condition": True, "action": "always"}]}, 1))
    assert outcome == Done(1, ("always", "default"))


def test_a_failing_condition_counts_only_when_it_is_reached(call: CallFactory) -> None:
    """Conditions after the first true one do not matter; one before it fails the node with its number."""
    bad, good = {"condition": "nope.x", "action": "a"}, {"condition": "true", "action": "b"}
    assert Condition().run(call({"conditions": [good, bad]}, 1)) == Done(1, ("b", "default"))
    with pytest.raises(NodeFailed, match=r"^condition 1: nope is not defined$"):
        Condition().run(call({"conditions": [bad, good]}, 1))


@pytest.mark.parametrize("conditions", ["text", [1], None])
def test_malformed_conditions(call: CallFactory, conditions: Any) -> None:
    """Anything but a list of objects is refused with a reason."""
    with pytest.raises(NodeFailed, match="conditions must be a list"):
        Condition().run(call({"conditions": conditions}))
