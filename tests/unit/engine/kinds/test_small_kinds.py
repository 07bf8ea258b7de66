"""base, the batch kinds, parallel_batch, notification and the registry."""

from dataclasses import replace
from typing import Any

import pytest

from shared.engine.expressions.base import Scope
from shared.engine.kinds import registry
from shared.engine.kinds.base import Done, NodeFailed, NodeKind, Registry
from tests.unit.engine.kinds.conftest import CallFactory


@pytest.mark.parametrize(
    ("kind", "value", "output"),
    [
        ("base", {"a": 1}, {"a": 1}),
        ("base", None, None),
        ("batch", [1, 2], [1, 2]),
        ("batch", {"items": [1]}, []),
        ("async_batch", [1], [1]),
        ("worker_pool", "x", []),
    ],
)
def test_kinds_without_work(call: CallFactory, kind: str, value: Any, output: Any) -> None:
    """base passes anything on; the batch kinds pass lists on."""
    found = registry().get(kind)
    assert found is not None
    assert found.run(call({}, value)) == Done(output)


@pytest.mark.parametrize("kind", ["batch", "async_batch", "worker_pool"])
def test_elements_of_a_batch_are_kept(call: CallFactory, kind: str) -> None:
    """Behind a batch modifier the node has one element at a time, which goes on as it is."""
    found = registry().get(kind)
    assert found is not None
    element = replace(call({}, 1), scope=Scope(input=[1, 2], item=1, index=0, has_item=True))
    assert found.run(element) == Done(1)


@pytest.mark.parametrize(
    ("params", "brought", "output"),
    [
        ({}, [1, {"branch": "b"}], [1, {"branch": "b"}]),
        ({"format": "array"}, None, []),
        ({"format": "object"}, ["x", "y"], {"result_0": "x", "result_1": "y"}),
        ({"format": "map"}, ["x", {"branch": "b"}, {"branch": 2}],
         {"branch_0": "x", "b": {"branch": "b"}, "branch_2": {"branch": 2}}),
    ],
)  # fmt: skip
def test_join_gathers_what_the_branches_brought(
    call: CallFactory, params: dict[str, Any], brought: Any, output: Any
) -> None:
    """As a list, numbered, or by each output's own name."""
    kind = registry().get("join")
    assert kind is not None
    assert kind.run(call(params, shared={"mapper_results": brought})) == Done(output)


@pytest.mark.parametrize(("params", "brought"), [({"format": "set"}, []), ({"format": "map"}, 5), ({}, {"a": 1})])
def test_what_join_cannot_gather(call: CallFactory, params: dict[str, Any], brought: Any) -> None:
    """Another format, or what a script put in the place of the list, fails the node for good."""
    kind = registry().get("join")
    assert kind is not None
    with pytest.raises(NodeFailed, match="must be") as caught:
        kind.run(call(params, shared={"mapper_results": brought}))
    assert caught.value.retryable is False


def test_parallel_batch_is_its_script(call: CallFactory) -> None:
    """The value of processor_script, which is required."""
    kind = registry().get("parallel_batch")
    assert kind is not None
    assert kind.run(call({"processor_script": "return input.map(x => x * 2)"}, [1, 2])) == Done([2, 4])
    with pytest.raises(NodeFailed, match="processor_script parameter is required"):
        kind.run(call({}))


def test_notification_writes_an_info_row(call: CallFactory, rows: list[Any]) -> None:
    """The message is on the execution's log with its channel."""
    kind = registry().get("notification")
    assert kind is not None
    assert kind.run(call({"channel": "ops", "message": {"a": 1}})) == Done(
        {"status": "sent", "channel": "ops", "message": '{"a":1}'}
    )
    assert rows == [("info", '{"a":1}', {"channel": "ops"})]
    with pytest.raises(NodeFailed, match="message parameter is required"):
        kind.run(call({}))


def test_every_kind_describes_itself() -> None:
    """The plugin list and the flow schema need a description and an object schema of each kind."""
    for kind in registry().all():
        assert kind.description, kind.name
        assert kind.parameters["type"] == "object", kind.name


def test_two_kinds_of_one_name_are_a_programming_error() -> None:
    """A name cannot silently change its meaning."""

    class Twice(NodeKind):
        name = "twice"

    found = Registry()
    found.register(Twice())
    with pytest.raises(ValueError, match="two node kinds are called twice"):
        found.register(Twice())
