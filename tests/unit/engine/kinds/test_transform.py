"""transform (FlowRunner node types)."""

from dataclasses import replace
from typing import Any

import pytest

from shared.engine.expressions.base import ScriptError, ScriptTimeout
from shared.engine.kinds.base import Done, NodeFailed
from shared.engine.kinds.transform import Transform
from tests.unit.engine.kinds.conftest import CallFactory


def test_the_value_of_the_script_is_the_output(call: CallFactory, rows: list[Any]) -> None:
    """The generic actions are offered, writes to shared are answered, console rows are logged."""
    outcome = Transform().run(call({"script": "console.warn('w'); shared.n = 1; return {x: input.a + 1}"}, {"a": 1}))
    assert outcome == Done({"x": 2}, ("default", "success"), shared={"n": 1})
    assert rows == [("warn", "w", None)]


def test_a_throw_is_the_nodes_failure(call: CallFactory, rows: list[Any]) -> None:
    """The author's message reaches the engine, and so does what was printed before."""
    with pytest.raises(ScriptError, match=r"^boom$"):
        Transform().run(call({"script": "console.log('before'); throw new Error('boom')"}))
    assert rows == [("info", "before", None)]


@pytest.mark.parametrize("params", [{}, {"script": ""}, {"script": None}, {"mapping": [1]}])
def test_a_script_is_required(call: CallFactory, params: dict[str, Any]) -> None:
    """Neither a script nor a mapping: a failure that no retry cures."""
    with pytest.raises(NodeFailed, match="script parameter is required") as caught:
        Transform().run(call(params))
    assert caught.value.retryable is False


def test_timeout_bounds_the_script(call: CallFactory) -> None:
    """The timeout parameter replaces the default limit."""
    with pytest.raises(ScriptTimeout, match=r"0\.1 s"):
        Transform().run(call({"script": "for (;;);", "timeout": "100ms"}))


INPUT = {"user": {"name": "Ada", "tags": ["x", "y"], "a-b": 1}, "rows": [{"id": 1}, {"id": 2}], "$": "dollar"}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("$", INPUT),
        ("$.user.name", "Ada"),
        ("$['user'][\"name\"]", "Ada"),
        ("$.user.tags[0]", "x"),
        ("$.user.tags[-1]", "y"),
        ("$.user.tags[9]", None),
        ("$.user.a-b", 1),
        ("$.missing.deeper", None),
        ("$.rows[*].id", [1, 2]),
        ("$.user.tags.*", ["x", "y"]),
        ("$.user.name[*]", []),
        ("$5", "$5"),
        ("plain", "plain"),
        (7, 7),
    ],
)
def test_mapping_reads_paths(call: CallFactory, written: Any, value: Any) -> None:
    """A field is a JSONPath into the input, or the value as written."""
    assert Transform().run(call({"mapping": {"f": written}}, INPUT)) == Done({"f": value})


def test_a_bad_path_is_named(call: CallFactory) -> None:
    """A path that cannot be read fails the node with its text."""
    with pytest.raises(NodeFailed, match=r"mapping of f: cannot read the path '\$\.\.x'"):
        Transform().run(call({"mapping": {"f": "$..x"}}, INPUT))


def test_data_is_never_a_path(call: CallFactory) -> None:
    """A text that a template brought in stays data, also when it looks like a path."""
    made = call({"mapping": {"f": "$.secret"}}, {"secret": 1})
    written = replace(made.node, params={"mapping": {"f": "${input.text}"}})
    assert Transform().run(replace(made, node=written)) == Done({"f": "$.secret"})
