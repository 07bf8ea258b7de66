"""What flow files mean: a truth table of small flows, one per rule of the language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dialects.flowrunner import FlowRunnerDialect
from shared.engine.kinds.base import Registry
from shared.engine.program import BY_ACTION, END, Batch, Edge, Program, Retry
from shared.kit import clock, json
from shared.kit.errors import Unprocessable
from tests.support.time import HeldClock

Check = Callable[[Program], Any]


@pytest.fixture(scope="module")
def dialect(kinds: Registry) -> FlowRunnerDialect:
    return FlowRunnerDialect(kinds)


def flow(nodes: str, metadata: str = "{name: Signals}") -> str:
    """A file of these nodes, each line of which is indented."""
    return f"metadata: {metadata}\nnodes:\n" + "".join(f"  {line}\n" for line in nodes.strip("\n").splitlines())


def one(body: str) -> str:
    """A file of one node ``a`` with this in it."""
    return flow(f"a: {{{body}}}")


CORPUS: dict[str, tuple[str, Check, Any]] = {
    "a chain begins where nothing leads": (
        flow("b: {type: base}\na: {type: base, next: {default: b}}"),
        lambda program: (program.start, list(program.nodes), program.nodes["a"].edges),
        ("a", ["b", "a"], (Edge("default", "b"),)),
    ),
    "the language of a flow": (
        one("type: base"),
        lambda program: (program.dialect, program.language, program.name, program.max_visits),
        ("flowrunner", "javascript", "Signals", None),
    ),
    "END, and the action as a target": (
        flow("a: {type: router, next: {stop: END, look_up: '*', quoted: b}}\nlook_up: {type: base}\nb: {type: base}"),
        lambda program: (program.start, program.nodes["a"].edges),
        ("a", (Edge("stop", END), Edge("look_up", BY_ACTION), Edge("quoted", "b"))),
    ),
    "a target by action that is no node": (
        one("type: router, next: {anything: '*'}"),
        lambda program: program.nodes["a"].edges,
        (Edge("anything", BY_ACTION),),
    ),
    "actions and targets are text as written": (
        flow(
            "a: {type: condition, next: {true: yes, no: 1.0, 2: b}}\n"
            "yes: {type: base}\n1.0: {type: base}\nb: {type: base}"
        ),
        lambda program: program.nodes["a"].edges,
        (Edge("true", "yes"), Edge("no", "1.0"), Edge("2", "b")),
    ),
    "a loop behind the start": (
        flow(
            "a: {type: base, next: {default: b}}\n"
            "b: {type: base, next: {again: b, back: c}}\nc: {type: base, next: {default: b}}"
        ),
        lambda program: program.start,
        "a",
    ),
    "branches of a split in the order of the file": (
        flow("s: {type: split, next: {z: b, default: d, a: c}}\nb: {type: base}\nc: {type: base}\nd: {type: join}"),
        lambda program: (
            [edge.action for edge in program.nodes["s"].edges],
            [(name, node.routing, node.join) for name, node in program.nodes.items()],
        ),
        (
            ["z", "default", "a"],
            [("s", "fork", False), ("b", "exclusive", False), ("c", "exclusive", False), ("d", "exclusive", True)],
        ),
    ),
    "split.async is a split": (
        flow("s: {type: split.async, next: {x: b}}\nb: {type: base}"),
        lambda program: (program.nodes["s"].kind, program.nodes["s"].routing),
        ("split.async", "fork"),
    ),
    "parameters keep their types": (
        one(
            "type: transform, params: {n: 500, f: 0.70, t: true, nothing: ~, "
            "list: [1, a, {x: no}], date: 2026-01-31, big: 9007199254740993}"
        ),
        lambda program: program.nodes["a"].params,
        {
            "n": 500,
            "f": 0.7,
            "t": True,
            "nothing": None,
            "list": [1, "a", {"x": False}],
            "date": "2026-01-31",
            "big": 9007199254740993,
        },
    ),
    "where only text will do it is as written": (
        one(
            "type: condition, params: {default_action: 1.10, "
            "conditions: [{condition: input.ok, action: yes}, {condition: true, action: 01}]}"
        ),
        lambda program: program.nodes["a"].params,
        {
            "conditions": [{"condition": "input.ok", "action": "yes"}, {"condition": True, "action": "01"}],
            "default_action": "1.10",
        },
    ),
    "templates are left alone": (
        one("type: transform, params: {script: 'return `${x}`;', '${key}': '${input.a} and ${b}', p: $5}"),
        lambda program: program.nodes["a"].params,
        {"script": "return `${x}`;", "${key}": "${input.a} and ${b}", "p": "$5"},
    ),
    "anchors and merge keys, with helpers at the top": (
        """
x-retry: &twice {max_retries: 2, wait: 1s}
x-node: &node {type: base, retry: *twice}
metadata: {name: n}
nodes: {a: {<<: *node, next: {default: b}}, b: {<<: *node, type: transform}}
""",
        lambda program: [(node.kind, node.retry) for node in program.nodes.values()],
        [("base", Retry(2, 1000)), ("transform", Retry(2, 1000))],
    ),
    "retry in its own words": (
        one("type: base, retry: {max_retries: 3, wait: 1.5s}"),
        lambda program: program.nodes["a"].retry,
        Retry(max_retries=3, wait_ms=1500),
    ),
    "retry in other words": (
        one("type: base, retry: {attempts: '4', delay: 2, backoff: exponential, max_delay: 1m30s}"),
        lambda program: program.nodes["a"].retry,
        Retry(max_retries=4, wait_ms=2000, factor=2.0, max_wait_ms=90_000),
    ),
    "retry without a number, with a long pause": (
        one("type: base, retry: {wait: 2h, max_retries: ~}"),
        lambda program: (program.nodes["a"].retry, program.nodes["a"].retry.wait_before(2)),  # type: ignore[union-attr]
        (Retry(max_retries=3, wait_ms=7_200_000, max_wait_ms=7_200_000), 7_200_000),
    ),
    "no retry": (
        flow("a: {type: base, retry: ~, batch: null, hooks: , params: , next: }"),
        lambda program: [getattr(program.nodes["a"], name) for name in ("retry", "batch", "hooks", "params", "edges")],
        [None, None, {}, {}, ()],
    ),
    "batches": (
        flow(
            "a: {type: base, batch: {strategy: serial, max_parallel: 9}, next: {default: b}}\n"
            "b: {type: base, batch: {strategy: async}, next: {default: c}}\n"
            "c: {type: base, batch: {strategy: worker_pool, max_parallel: 5}, next: {default: d}}\n"
            "d: {type: base, batch: {strategy: parallel}, next: {default: e}}\n"
            "e: {type: base, batch: {}, next: {default: f}}\n"
            "f: {type: base, batch: {max_parallel: 7}}"
        ),
        lambda program: [node.batch for node in program.nodes.values()],
        [Batch(1), Batch(64), Batch(5), Batch(64), Batch(1), Batch(7)],
    ),
    "hooks": (
        flow(
            "a:\n  type: base\n  hooks:\n    prep: |\n      context.x = 1;\n"
            "    post: 'return result;'\n    exec: ''\n    other: 5"
        ),
        lambda program: program.nodes["a"].hooks,
        {"prep": "context.x = 1;\n", "post": "return result;"},
    ),
    "time limits of nodes": (
        flow(
            "a: {type: base, timeout: 90, next: {default: b}}\n"
            "b: {type: base, timeout: 1m, next: {default: c}}\nc: {type: base}"
        ),
        lambda program: [node.timeout_ms for node in program.nodes.values()],
        [90_000, 60_000, None],
    ),
    "what is not known is ignored": (
        "metadata: {name: n, author: me}\nversion: 3\nnodes: {a: {type: base, description: {any: thing}, ui: {x: 1}}}",
        lambda program: program.nodes["a"].params,
        {},
    ),
    "result keys of an HTTP call": (
        one("type: http.request, params: {url: 'https://x.example'}"),
        lambda program: program.nodes["a"].result_keys,
        ("result", "http_result"),
    ),
    "result keys by what the parameters are": (
        flow(
            "a: {type: email.send, params: {smtp_host: h}, next: {default: b}}\n"
            "b: {type: llm, params: {model: m}, next: {default: c}}\n"
            "c: {type: store, params: {operation: list}, next: {default: d}}\n"
            "d: {type: transform, params: {script: return 1}}"
        ),
        lambda program: [node.result_keys for node in program.nodes.values()],
        [("result", "email_result"), ("result", "llm_result"), ("result", "store_result"), ("result",)],
    ),
    "a text type names the result key": (
        flow(
            "a: {type: wait, params: {type: duration, duration: 1s}, next: {default: b}}\n"
            "b: {type: http.request, params: {type: users, url: u}, next: {default: c}}\n"
            "c: {type: http.request, params: {type: 5, url: u}, next: {default: d}}\n"
            "d: {type: http.request, params: {type: '${x}', url: u}}"
        ),
        lambda program: [node.result_keys[1] for node in program.nodes.values()],
        ["duration_result", "users_result", "http_result", "http_result"],
    ),
    "a flow in JSON": (
        '{"metadata": {"name": "n"}, "nodes": {"a": {"type": "base", "next": {"default": "END"}}}}',
        lambda program: program.nodes["a"].edges,
        (Edge("default", END),),
    ),
    "names in other scripts": (
        flow("начало: {type: base, next: {далее: 結束}}\n結束: {type: base}"),
        lambda program: (program.start, program.nodes["начало"].edges),
        ("начало", (Edge("далее", "結束"),)),
    ),
    "a node called default": (
        flow("a: {type: base, next: {default: default}}\ndefault: {type: base}"),
        lambda program: program.nodes["a"].edges,
        (Edge("default", "default"),),
    ),
}


@pytest.mark.parametrize("name", CORPUS)
def test_what_a_flow_means(dialect: FlowRunnerDialect, name: str) -> None:
    """Each compiles to the parts it should, and survives being stored."""
    text, part, expected = CORPUS[name]
    program = dialect.compile(text)[1]
    assert part(program) == expected
    assert Program.from_json(json.loads(json.dumps(program.to_json()))) == program


@pytest.mark.parametrize(
    ("metadata", "name", "description", "version"),
    [
        ("{name: My Flow, description: what, version: 1.0.0}", "My Flow", "what", "1.0.0"),
        ("{name: n, version: 1.10}", "n", "", "1.10"),
        ("{name: n, version: 2.0}", "n", "", "2.0"),
        ("{name: n, version: '3'}", "n", "", "3"),
        ("{name: n, version: 0x10}", "n", "", "0x10"),
        ("{name: n, version: 2026-01-31}", "n", "", "2026-01-31"),
        ("{name: 007, description: yes, version: true}", "007", "yes", "true"),
        ("{name: n}", "n", "", "v1767225600000000000"),
        ("{name: n, version: , description: }", "n", "", "v1767225600000000000"),
        ("{name: n, version: ''}", "n", "", "v1767225600000000000"),
    ],
)
def test_metadata(dialect: FlowRunnerDialect, metadata: str, name: str, description: str, version: str) -> None:
    """Texts are as written; a version that is missing is made of the time in nanoseconds."""
    with clock.use(HeldClock()):
        found, program = dialect.compile(flow("a: {type: base}", metadata))
    assert (found.name, found.description, found.version) == (name, description, version)
    assert (program.name, program.version) == (name, version)


UNBUILT = ["parallel", "loop", "error_handler", "validation", "rag", "HTTP.Request", "transform "]

REFUSED: list[tuple[str, str]] = [
    ("5", "must be a mapping with metadata and nodes (line 1)"),
    ("- a\n- b", "must be a mapping with metadata and nodes (line 1)"),
    ("just text", "must be a mapping with metadata and nodes"),
    ("nodes: {a: {type: base}}", "metadata.name is required"),
    ("metadata: \nnodes: {a: {type: base}}", "metadata.name is required"),
    ("metadata: {version: 1}\nnodes: {a: {type: base}}", "metadata.name is required (line 1)"),
    (flow("a: {type: base}", "{name: }"), "metadata.name is required (line 1)"),
    (flow("a: {type: base}", "{name: '  '}"), "metadata.name is required (line 1)"),
    (flow("a: {type: base}", "{name: [x]}"), "metadata.name must be text (line 1)"),
    (flow("a: {type: base}", f"{{name: {'n' * 201}}}"), "metadata.name must have 200 characters at most"),
    (flow("a: {type: base}", f"{{name: n, description: {'d' * 4001}}}"), "metadata.description must have 4000"),
    (flow("a: {type: base}", "{name: n, version: {major: 1}}"), "metadata.version must be text (line 1)"),
    (flow("a: {type: base}", "[name, n]"), "metadata must be a mapping (line 1)"),
    ("metadata: {name: n}", "The flow has no nodes"),
    ("metadata: {name: n}\nnodes:", "The flow has no nodes (line 2)"),
    ("metadata: {name: n}\nnodes: {}", "The flow has no nodes (line 2)"),
    ("metadata: {name: n}\nnodes: [{type: base}]", "nodes must be a mapping (line 2)"),
    ("metadata: {name: n}\nnodes:\n" + "".join(f"  n{n}: {{type: base}}\n" for n in range(5001)), "more than 5000"),
    (flow("a:"), "Node a: type is required (line 3)"),
    (flow("a: {}"), "Node a: type is required (line 3)"),
    (flow("a: {type: }"), "Node a: type is required (line 3)"),
    (flow("a: {type: [base]}"), "Node a: type must be text (line 3)"),
    (flow("a: base"), "Node a must be a mapping (line 3)"),
    (flow("'': {type: base}"), "a node's name is 1 to 200 characters, and not END or *"),
    (flow("END: {type: base}"), "Node END: a node's name is"),
    (flow("'*': {type: base}"), "Node *: a node's name is"),
    (flow(f"{'x' * 201}: {{type: base}}"), "a node's name is 1 to 200 characters"),
    (flow("a:\n  type: trasnform"), "Node a: there is no node type trasnform; is transform meant? (line 4)"),
    *((one(f"type: '{name}'"), f"Node a: there is no node type {name.strip()}") for name in UNBUILT),
    (one("type: base, params: [1]"), "Node a: params must be a mapping (line 3)"),
    (one("type: base, params: text"), "Node a: params must be a mapping (line 3)"),
    (one("type: base, next: b"), "Node a: next must be a mapping of action to node, such as {default: end} (line 3)"),
    (one("type: base, next: [b]"), "Node a: next must be a mapping of action to node"),
    (one("type: base, next: {default: [b]}"), "Node a: next.default must name a node, END or * (line 3)"),
    (one("type: base, next: {default: }"), "Node a: next.default must name a node, END or * (line 3)"),
    (
        flow("a:\n  type: base\n  next:\n    default: fetsh\nfetch: {type: base}"),
        "Node a: next.default leads to fetsh, which is no node; is fetch meant? (line 6)",
    ),
    (one("type: base, next: {default: end}"), "Node a: next.default leads to end, which is no node"),
    (flow("a: {type: base}\nb: {type: base}"), "more than one start node: no next leads to a, b"),
    (flow("".join(f"n{n}: {{type: base}}\n" for n in range(7))), "no next leads to n0, n1, n2, n3, n4, …"),
    (flow("a: {type: base, next: {default: b}}\nb: {type: base, next: {again: a}}"), "The flow has no start node"),
    (one("type: base, next: {again: a}"), "The flow has no start node"),
    (one("type: base, next: {a: '*'}"), "The flow has no start node"),
    (one("type: base, retry: 3"), "Node a: retry must be a mapping (line 3)"),
    (one("type: base, retry: {wait: soon}"), "retry.wait must be a duration such as 500ms, 1.5s, 2m or 1h30m (line 3)"),
    (one("type: base, retry: {delay: '5'}"), "Node a: retry.delay must be a duration"),
    (one("type: base, retry: {wait: true}"), "Node a: retry.wait must be a duration"),
    (one("type: base, retry: {wait: [1s]}"), "Node a: retry.wait must be a duration"),
    (one("type: base, retry: {wait: -1}"), "Node a: retry.wait must be between 0 and 366 days"),
    (one("type: base, retry: {wait: 9000h}"), "Node a: retry.wait must be between 0 and 366 days"),
    (one("type: base, retry: {max_delay: x}"), "Node a: retry.max_delay must be a duration"),
    (one("type: base, retry: {max_retries: -1}"), "Node a: retry.max_retries must be a whole number from 0 to 500"),
    (one("type: base, retry: {max_retries: 501}"), "Node a: retry.max_retries must be a whole number from 0 to 500"),
    (one("type: base, retry: {max_retries: 1.5}"), "Node a: retry.max_retries must be a whole number"),
    (one("type: base, retry: {attempts: yes}"), "Node a: retry.attempts must be a whole number"),
    (one("type: base, retry: {attempts: '${n}'}"), "Node a: retry.attempts must be a whole number"),
    (one("type: base, retry: {backoff: wild}"), "Node a: retry.backoff must be constant or exponential, not wild"),
    (one("type: base, batch: parallel"), "Node a: batch must be a mapping (line 3)"),
    (one("type: base, batch: {strategy: magic}"), "must be one of serial, parallel, async, worker_pool, not magic"),
    (one("type: base, batch: {max_parallel: 0}"), "Node a: batch.max_parallel must be a whole number from 1 to 1000"),
    (one("type: base, batch: {max_parallel: 1001}"), "batch.max_parallel must be a whole number from 1 to 1000"),
    (one("type: base, hooks: [x]"), "Node a: hooks must be a mapping (line 3)"),
    (one("type: base, hooks: {prep: {a: 1}}"), "Node a: hooks.prep must be text (line 3)"),
    (one("type: base, timeout: soon"), "Node a: timeout must be a duration"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_what_is_refused(dialect: FlowRunnerDialect, text: str, reason: str) -> None:
    """422, naming the definition, the node and the line."""
    with pytest.raises(Unprocessable) as caught:
        dialect.compile(text)
    assert reason in caught.value.message
    assert caught.value.details == {"field": "definition", "reason": caught.value.message}


def test_long_words_are_cut_in_messages(dialect: FlowRunnerDialect) -> None:
    """A reason stays readable whatever the author wrote."""
    with pytest.raises(Unprocessable) as caught:
        dialect.compile(one(f"type: base, next: {{default: 'x {'y' * 5000}'}}"))
    assert len(caught.value.message) < 200


def test_pauses_of_every_retry_can_be_told(dialect: FlowRunnerDialect) -> None:
    """The longest pause doubled five hundred times is still one the engine can wait for."""
    program = dialect.compile(one("type: base, retry: {max_retries: 500, wait: 8784h, backoff: exponential}"))[1]
    retry = program.nodes["a"].retry
    assert retry is not None
    assert retry.wait_before(501) == retry.max_wait_ms


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from([*"abcdef", END]), max_size=3), min_size=1))
def test_a_flow_has_exactly_one_start(kinds: Registry, graph: dict[str, list[str]]) -> None:
    """Whatever the graph: it is taken if every target is there and just one node is none, which is then the start."""
    lines = [f"{name}: {{type: base, next: {json.dumps(dict(enumerate(targets)))}}}" for name, targets in graph.items()]
    targets = {target for found in graph.values() for target in found}
    starts = [name for name in graph if name not in targets]
    try:
        program = FlowRunnerDialect(kinds).compile(flow("\n".join(lines)))[1]
    except Unprocessable:
        assert len(starts) != 1 or not targets <= {*graph, END}
    else:
        assert [program.start] == starts
        assert {edge.target for node in program.nodes.values() for edge in node.edges} == targets
