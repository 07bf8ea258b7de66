from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from shared.dialects.flowrunner import FlowRunnerDialect, tree
from shared.dialects.flowrunner.schema import flow_schema, with_templates
from shared.dialects.flowrunner.values import plain
from shared.engine.kinds.base import Registry
from shared.kit.errors import Unprocessable
from tests.unit.dialects.flowrunner.test_parser import CORPUS

EXAMPLES = sorted((Path(__file__).resolve().parents[4] / "docs" / "examples" / "flows").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator(kinds: Registry) -> Draft202012Validator:
    schema = flow_schema(kinds)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def complaints(validator: Draft202012Validator, text: str) -> list[str]:
    return [f"{list(error.absolute_path)}: {error.message}" for error in validator.iter_errors(plain(tree.parse(text)))]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_compile_and_validate(validator: Draft202012Validator, kinds: Registry, path: Path) -> None:
    """Every example in the documentation is a flow, and its schema agrees."""
    text = path.read_text(encoding="utf-8")
    metadata, program = FlowRunnerDialect(kinds).compile(text)
    assert metadata.name == path.stem
    assert program.start in program.nodes
    assert complaints(validator, text) == []


LENIENT = {"retry in other words", "retry without a number, with a long pause"}
"""Flows that a server takes and that an editor should still underline: a number in quotes, one that is missing."""


@pytest.mark.parametrize("name", sorted(CORPUS))
def test_what_compiles_has_the_shape(validator: Draft202012Validator, name: str) -> None:
    """Beside parameters, which are checked when they are used, the schema asks for nothing the server does not."""
    errors = validator.iter_errors(plain(tree.parse(CORPUS[name][0])))
    told = [error for error in errors if "params" not in error.absolute_path and "'params'" not in error.message]
    assert bool(told) == (name in LENIENT)


def flow(node: str) -> str:
    return f"metadata: {{name: n}}\nnodes:\n  a: {{{node}}}\n"


@pytest.mark.parametrize(
    "node",
    [
        "type: transform, params: {script: return 1}",
        "type: http.request, params: {url: 'https://x.example', timeout: 5s}",
        "type: http.request, params: {url: '${input.url}', timeout: '${shared.t}', headers: '${shared.headers}'}",
        "type: http.request, params: {url: u, follow_redirects: '${input.follow}'}",
        "type: delay, params: {duration: 5}",
        "type: delay, params: {duration: '${shared.n}s'}",
        "type: wait, params: {type: condition, max_attempts: '${input.n}', condition_script: return true}",
        "type: condition, params: {conditions: [{condition: input.ok, action: yes}]}",
        "type: condition, params: {conditions: '${input.conditions}'}",
        "type: join, params: {format: '${input.format}'}",
        "type: http.request, hooks: {prep: 'return {url: input.url};'}",
        "type: transform, hooks: {exec: return 1}",
        "type: base, params: ",
        "type: base, retry: {max_retries: 3, wait: 5s, backoff: exponential, max_delay: 1m}",
        "type: base, batch: {strategy: worker_pool, max_parallel: 3}, timeout: 1h30m",
        "type: base, next: {default: END, true: a, 5: '*'}",
        "type: base, description: [anything], unknown: {x: 1}",
    ],
)
def test_valid_nodes(validator: Draft202012Validator, node: str) -> None:
    """Templates stand wherever a value of another type does, and hooks may supply what is required."""
    assert complaints(validator, flow(node)) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "is not of type 'object'"),
        ("nodes: {a: {type: base}}", "'metadata' is a required property"),
        ("metadata: {name: n}", "'nodes' is a required property"),
        ("metadata: {name: n}\nnodes: {}", "should be non-empty"),
        ("metadata: {}\nnodes: {a: {type: base}}", "'name' is a required property"),
        ("metadata: {name: [n]}\nnodes: {a: {type: base}}", "is not of type"),
        (flow("params: {}"), "'type' is a required property"),
        (flow("type: loop"), "'loop' is not one of"),
        (flow("type: [base]"), "is not one of"),
        (flow("type: base, next: b"), "is not of type"),
        (flow("type: base, next: {default: [b]}"), "is not of type"),
        (flow("type: base, retry: 3"), "is not of type"),
        (flow("type: base, retry: {wait: soon}"), "is not valid under any"),
        (flow("type: base, retry: {max_retries: 501}"), "is greater than the maximum"),
        (flow("type: base, retry: {backoff: wild}"), "is not one of"),
        (flow("type: base, batch: {strategy: magic}"), "is not one of"),
        (flow("type: base, batch: {max_parallel: 0}"), "is less than the minimum"),
        (flow("type: base, hooks: {prep: {}}"), "is not of type"),
        (flow("type: base, timeout: soon"), "is not valid under any"),
        (flow("type: base, params: []"), "is not"),
    ],
)
def test_invalid_flows(validator: Draft202012Validator, kinds: Registry, text: str, told: str) -> None:
    """What a server refuses an editor underlines, as far as one node can tell."""
    assert any(told in line for line in complaints(validator, text)), complaints(validator, text)
    with pytest.raises(Unprocessable):
        FlowRunnerDialect(kinds).compile(text)


@pytest.mark.parametrize(
    "node",
    [
        "type: http.request",
        "type: http.request, params: {method: GET}",
        "type: transform, params: {script: [1]}",
        "type: condition, params: {}",
        "type: join, params: {format: heap}",
        "type: wait, params: {type: forever}",
        "type: wait, params: {max_attempts: many}",
    ],
)
def test_parameters_that_fail_when_they_run(validator: Draft202012Validator, node: str) -> None:
    """An editor warns of parameters that are stored all the same, because only the run knows."""
    assert complaints(validator, flow(node)) != []


@pytest.mark.parametrize(
    ("schema", "takes", "refuses"),
    [
        ({"type": "integer"}, [1, "${n}", "a ${n} b"], ["1", "n", [1]]),
        ({"enum": ["a"]}, ["a", "${x}"], ["b"]),
        ({"type": "string"}, ["a", 1, 1.5, True], [[], {}, None]),
        ({"type": "string", "pattern": "^a$"}, ["a", "${x}"], ["b"]),
        ({"type": ["string", "number"]}, ["a", 1], [True]),
        ({"type": "array", "items": {"type": "integer"}}, [[1, "${n}"], "${list}"], [["n"], {}]),
        ({"type": "object", "properties": {"n": {"type": "integer"}}}, [{"n": "${n}"}, "${o}"], [{"n": "n"}]),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, [{"x": "${n}"}], [{"x": "n"}]),
        (
            {"oneOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]},
            [1, ["${n}"], "${n}"],
            ["n"],
        ),
        ({"description": "anything"}, [1, "a", None, []], []),
        ({}, [1, "a", None, []], []),
        (True, [1, "a"], []),
    ],
)
def test_where_templates_may_stand(schema: Any, takes: list[Any], refuses: list[Any]) -> None:
    """In place of any value that is no text, at any depth, and nowhere else does text become valid."""
    template = {"template": {"type": "string", "pattern": r"\$\{"}}
    validator = Draft202012Validator({"allOf": [with_templates(schema)], "$defs": template})
    assert [value for value in takes if not validator.is_valid(value)] == []
    assert [value for value in refuses if validator.is_valid(value)] == []


def test_every_kind_is_described(kinds: Registry) -> None:
    """Each registered type and alias may be used, and its parameters have a definition."""
    schema = flow_schema(kinds)
    for kind in kinds.all():
        assert f"params.{kind.name}" in schema["$defs"]
        assert {kind.name, *kind.aliases} <= set(schema["$defs"]["node"]["properties"]["type"]["enum"])
