"""Which part of the scope a source is given."""

import pytest

from shared.engine.expressions.base import Scope
from shared.engine.expressions.names import reachable, scope_message


@pytest.mark.parametrize(
    ("source", "reach"),
    [
        ("return 1", {}),
        ("return input.a + input?.b", {"input": {"a", "b"}}),
        ("return input.a, input", {"input": None}),
        ("return {...input}", {"input": None}),
        ("return input[k]", {"input": None}),
        ("return input /* */ .a", {"input": None}),
        ("return input.hasOwnProperty('x')", {"input": None}),
        ("return input.toString()", {"input": None}),
        ("return myinput + $input + inputs", {}),
        ("`${secrets.KEY}`", {"secrets": {"KEY"}}),
        ("nodes.fetch.output.x + x.input + results . load", {"nodes": {"fetch"}, "results": {"load"}}),
        ("item ? .5 : index", {"item": None, "index": None}),
    ],
)
def test_what_a_text_can_reach(source: str, reach: dict[str, set[str] | None]) -> None:
    """Names are found with the properties read of them; anything but a plain property read means all of them."""
    assert {name: None if props is None else set(props) for name, props in reachable(source).items()} == reach


@pytest.mark.parametrize(
    "source", ["eval('inp'+'ut')", "this", "globalThis", "new Function('x')", "inp\\u0075t", "f.constructor"]
)
def test_indirect_code_is_given_everything(source: str) -> None:
    """Code that can build names at run time gets the whole scope."""
    assert set(reachable(source)) >= {"input", "shared", "results", "nodes", "secrets"}
    assert all(props is None for props in reachable(source).values())


def test_only_the_mentioned_part_is_sent() -> None:
    """Neither another node's output nor another secret leaves the process when the source does not name it."""
    scope = Scope(
        input={"a": 1, "big": "x" * 1000}, previous_input={"p": 1}, shared={"count": 1, "other": 2},
        results={"one": 1, "two": 2}, secrets={"K": "v", "L": "w"},
    )  # fmt: skip
    message, shared = scope_message("return input.a + input.count + results.two + secrets.K", scope, {}, 100)
    assert message["input"] == {"a": 1}
    assert shared == {"count": 1}
    assert message["names"] == {"results": {"two": 2}, "secrets": {"K": "v"}}
    assert "previous" not in message
