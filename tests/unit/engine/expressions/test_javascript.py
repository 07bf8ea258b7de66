"""JavaScript as the language of flows: data in, data out (FlowRunner language, data, templates and scripts)."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.engine.expressions.base import Evaluated, Limits, Scope, ScriptError, ScriptLimit
from shared.engine.expressions.javascript import JavaScript

SCOPE = Scope(
    input={"a": 1, "list": [1, 2], "nested": {"deep": {"x": "y"}}},
    previous_input={"earlier": True},
    shared={"question": "why", "a": "shared", "counter": {"n": 1}},
    results={"first": {"v": 7}, "second": [1]},
    secrets={"API_KEY": "s3cret"},
    execution={"id": "e-1", "flow_id": "f-1", "account_id": "acc-1"},
)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("return input.a", 1),
        ("return input.question", "why"),
        ("return input.input.earlier", True),
        ("return [input.missing, typeof input.missing]", [None, "undefined"]),
        ("return 'question' in input && !input.hasOwnProperty('question') && 'input' in input", True),
        ("return Object.keys(input)", ["a", "list", "nested"]),
        ("const seen = []; for (const k in input) seen.push(k); return seen", ["a", "list", "nested"]),
        ("return JSON.stringify({...input}) === JSON.stringify(input)", True),
        ("return input", SCOPE.input),
        ("shared.late = 5; return input.late", 5),
        ("input.question = 'own'; return [input.question, shared.question]", ["own", "why"]),
        ("return input instanceof Object && String(input)", "[object Object]"),
        ("return result.a + output.a", 2),
        ("return results.first.v + nodes.first.output.v", 14),
        ("return Object.keys(results)", ["first", "second"]),
        ("return secrets.API_KEY + secrets.MISSING", "s3cretundefined"),
        ("return execution.id + execution.flow_id + accountID", "e-1f-1acc-1"),
        ("return [typeof item, typeof index, typeof error, typeof context]", ["undefined"] * 4),
        ("const input = {mine: 1}; let shared = 2; return input.mine + shared", 3),
        ("return this.input.a", 1),
        ("return eval('inp' + 'ut').a", 1),
    ],
)
def test_names_in_scope(js: JavaScript, source: str, value: Any) -> None:
    """Every name of the language means what the contract says; what stands behind input is never enumerated."""
    assert js.call(source, SCOPE).value == value


@pytest.mark.parametrize("value", [[1, 2], "text", 5, True, None])
def test_input_that_is_no_object_is_itself(js: JavaScript, value: Any) -> None:
    """A list or scalar is that value, with nothing behind it."""
    found = js.call(
        "return [input, Array.isArray(input), input == null || input.question === undefined]",
        Scope(input=value, shared={"question": 1}),
    )
    assert found.value == [value, isinstance(value, list), True]


def test_item_index_and_error(js: JavaScript) -> None:
    """Elements of a batch and the error of an error edge are in scope when there are any, falsy ones too."""
    scope = replace(SCOPE, item=None, index=0, has_item=True, error={"message": "m", "node_id": "n", "node_type": "t"})
    assert js.call("return [item, index, error.message]", scope).value == [None, 0, "m"]
    assert js.render({"i": "${index}", "t": "#${index} ${item} ${error.node_id}"}, scope).value == {
        "i": 0,
        "t": "#0  n",
    }


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("", None),
        ("return undefined", None),
        ("return () => 1", None),
        ("return {f() {}, d: new Date(0), u: undefined, n: null}", {"d": "1970-01-01T00:00:00.000Z", "n": None}),
        ("return [undefined, () => 1, NaN, Infinity]", [None] * 4),
        ("return 1.0", 1),
        ("return 500 * 2", 1000),
        ("return -0.5", -0.5),
        ("return 2 ** 53 - 1", 2**53 - 1),
        ("return 12345678901234567890n", 12345678901234567890),
        ("return {toJSON() { return 'mine' }}", "mine"),
        ("return new Map([[1, 2]])", {}),
        ("return 'caf\\u00e9 \\u{1F600} \\u0000'", "café 😀 \0"),
        ("return '\\ud800'", "\ud800"),
        ("return (async () => { await null; return input.a })()", 1),
        ("const {a, ...rest} = input; return rest?.list?.[1] ?? 0", 2),
        ("return Object.fromEntries(Object.entries({x: 1}).map(([k, v]) => [`${k}!`, v]))", {"x!": 1}),
        ("return 1 // trailing comment", 1),
    ],
)
def test_values_come_back_by_the_rules_of_json(js: JavaScript, source: str, value: Any) -> None:
    """undefined is null, dates are ISO text, functions are dropped, integers stay integers; ES2020 and later works."""
    found = js.call(source, SCOPE).value
    assert found == value
    assert type(found) is type(value)


BIG = 9007199254740993


@pytest.mark.parametrize("source", ["return input.id", "return input", "return {...input}", "return [input.id][0]"])
def test_long_integers_that_pass_through_keep_every_digit(js: JavaScript, source: str) -> None:
    """An id beyond 2**53 comes out as it went in."""
    value = js.call(source, Scope(input={"id": BIG})).value
    assert value in (BIG, {"id": BIG})


def test_long_integers_that_cannot_be_told_apart_are_left_as_doubles(js: JavaScript) -> None:
    """Two integers with the same double never take each other's place."""
    assert js.call("return input[1]", Scope(input=[BIG, BIG - 1])).value == BIG - 1


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(JSON_VALUES)
def test_any_json_passes_through(js: JavaScript, value: Any) -> None:
    """Whatever JSON goes in comes out equal: surrogates, ``__proto__``, long numbers and empty keys included."""
    found = js.call("return [item]", Scope(item=value, has_item=True)).value
    assert as_doubles(found[0]) == as_doubles(value)


def as_doubles(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: as_doubles(child) for key, child in value.items()}
    if isinstance(value, list):
        return [as_doubles(child) for child in value]
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("throw new Error('boom')", "boom", 1),
        ("\n\nthrow new TypeError('bad')", "bad", 3),
        ("throw 'text'", "text", None),
        ("throw {message: 'in an object'}", "in an object", None),
        ("throw {code: 1}", '{"code":1}', None),
        ("throw null", "the script threw null, or used up its memory", None),
        ("\nfoo()", "foo is not defined", 2),
        ("function f() {\n  null.x\n}\nf()", "cannot read property 'x' of null", 2),
        ("return Promise.reject(new Error('late'))", "late", 1),
        ("return new Promise(() => {})", "the promise it returned never settles", None),
        ("const a = {}; a.a = a; return a", "the value cannot be written as JSON: circular reference", 1),
        ("return {get x() { throw new Error('getter') }}", "the value cannot be written as JSON: getter", 1),
        ("throw {get message() { throw 1 }}", "the script threw something that cannot be shown", None),
    ],
)
def test_errors_say_what_the_author_needs(js: JavaScript, source: str, message: str, line: int | None) -> None:
    """The message is the author's, the line is the line of the author's text."""
    with pytest.raises(ScriptError) as caught:
        js.call(source, SCOPE)
    assert (caught.value.message, caught.value.line) == (message, line)


@pytest.mark.parametrize(
    ("source", "line"), [("return 1 +", 1), ("let a = 1\nlet b = = 2\nreturn a", 2), ("\n\n}{", 3)]
)
def test_syntax_errors_name_their_line(js: JavaScript, source: str, line: int) -> None:
    """A syntax error says so, with the line in the author's text."""
    with pytest.raises(ScriptError, match=rf"^SyntaxError: .+ \(line {line}\)$") as caught:
        js.call(source, SCOPE)
    assert caught.value.line == line


def test_console(js: JavaScript) -> None:
    """Each level becomes a row of that level, with its values as text; rows before a throw are not lost."""
    source = """
        console.log('a', 1, {b: [true]}, null, undefined); console.warn(new Error('w')); console.error();
        console.debug(() => 1); console.info(Symbol('s'));"""
    rows = [
        ("info", 'a 1 {"b":[true]} null undefined'),
        ("warn", "Error: w"),
        ("error", ""),
        ("debug", "[function]"),
        ("info", "Symbol(s)"),
    ]
    assert js.call(source, SCOPE).logs == rows
    with pytest.raises(ScriptError) as caught:
        js.call(source + "; throw 1", SCOPE)
    assert caught.value.logs == rows


def test_console_is_bounded(js: JavaScript) -> None:
    """Neither many rows nor a huge row reach the journal."""
    found = js.call("console.log('x'.repeat(1e6)); for (let i = 0; i < 5000; i++) console.log(i)", SCOPE)
    assert len(found.logs) == 1000
    assert len(found.logs[0][1]) < 11_000
    assert found.logs[-1] == ("warn", "further console output is dropped")


@pytest.mark.parametrize(
    ("source", "shared"),
    [
        ("return shared.question", None),
        ("shared.question = 'why'", None),
        ("shared.a = 2", {"question": "why", "a": 2, "counter": {"n": 1}}),
        ("shared.counter.n += 1", {"question": "why", "a": "shared", "counter": {"n": 2}}),
        ("input.counter.n += 1", {"question": "why", "a": "shared", "counter": {"n": 2}}),
        ("delete shared.question", {"a": "shared", "counter": {"n": 1}}),
        ("shared['new'] = [1]", {"question": "why", "a": "shared", "counter": {"n": 1}, "new": [1]}),
        ("shared.f = () => 1", None),
        ("Object.assign(shared, {a: null})", {"question": "why", "a": None, "counter": {"n": 1}}),
        ("shared = {only: true}", {"only": True}),
        ("shared = 5", None),
        ("shared.flag = true", {"question": "why", "a": "shared", "counter": {"n": 1}, "flag": True}),
    ],
)
def test_shared_is_answered_whole_when_changed(js: JavaScript, source: str, shared: dict[str, Any] | None) -> None:
    """What a script writes to shared stays, through any name; None says that nothing changed."""
    before = json.dumps(SCOPE.shared)
    assert js.call(source, SCOPE).shared == shared
    assert json.dumps(SCOPE.shared) == before


def test_true_is_not_one(js: JavaScript) -> None:
    """A change that Python's equality cannot see is a change."""
    found = js.call("shared.flag = 1", Scope(shared={"flag": True})).shared
    assert found is not None and found["flag"] is not True


def test_extra_names(js: JavaScript) -> None:
    """Hooks see further names, and their changes to those come back; they win over the scope's own."""
    found = js.call("context.url += '!'; context.n = 1", SCOPE, extra={"context": {"url": "u"}})
    assert found.extra == {"context": {"url": "u!", "n": 1}}
    assert js.call("result = [result]; return 5", SCOPE, extra={"result": {"x": 1}}).extra == {"result": [{"x": 1}]}
    assert js.call("return 1", SCOPE, extra={"result": 1}) == Evaluated(1, extra={"result": 1})


def test_expression_mode(js: JavaScript) -> None:
    """One expression gives its value; an object literal is an object, statements are refused."""
    assert js.call("{x: input.a}", SCOPE, expression=True).value == {"x": 1}
    with pytest.raises(ScriptError, match="SyntaxError"):
        js.call("return 1", SCOPE, expression=True)


def test_several_expressions_at_once(js: JavaScript) -> None:
    """Answers come in order, each with its own error; shared is left alone."""
    first, second, third = js.evaluate(["input.a + 1", "nope.x", "(console.log('hi'), shared.a = 1, 'z')"], SCOPE)
    assert isinstance(first, Evaluated) and first.value == 2
    assert isinstance(second, ScriptError) and second.message == "nope is not defined"
    assert isinstance(third, Evaluated) and (third.value, third.logs, third.shared) == ("z", [("info", "hi")], None)
    assert js.evaluate([], SCOPE) == []


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${input.list}", [1, 2]),
        ("${input.nested}", {"deep": {"x": "y"}}),
        ("${input.a}", 1),
        ("${ input.a }", 1),
        ("${input.a + 1}", 2),
        ("${null}", None),
        ("${input.missing}", None),
        ("${input.missing?.x}", None),
        ("${input.question}", "why"),
        ("${input.input}", {"earlier": True}),
        ("${secrets.API_KEY}", "s3cret"),
        ("${secrets.MISSING}", None),
        ("${input.list.length}", 2),
        ("Bearer ${secrets.API_KEY}", "Bearer s3cret"),
        ("<${secrets.MISSING}${null}>", "<>"),
        ("${input.list}!", "[1,2]!"),
        ("x${input.nested}", 'x{"deep":{"x":"y"}}'),
        ("${true} ${1.5} ${1e21} ${'s'}", "true 1.5 1e+21 s"),
        ("${0.00001} ${1e-7} ${-2.5e-7} ${1 / 3}", "0.00001 1e-7 -2.5e-7 0.3333333333333333"),
        ("at ${new Date(0)}", "at 1970-01-01T00:00:00.000Z"),
        ("${() => 1}.", "."),
        ("${NaN} ${10n}", "NaN 10"),
        ("${input.list.map(x => `${x}!`).join('}')}", "1!}2!"),
        ("${results.first.v}/${nodes.first.output.v}", "7/7"),
        ("$5 {x} $x {{.name}} ${", "$5 {x} $x {{.name}} ${"),
        ("${accountID}", "acc-1"),
    ],
)
def test_templates(js: JavaScript, template: str, value: Any) -> None:
    """A whole expression keeps its type; inside a text it becomes text."""
    rendered = js.render({"p": [template]}, SCOPE)
    assert rendered.value == {"p": [value]}
    assert rendered.warnings == []


@pytest.mark.parametrize(
    "value",
    [0, 1, -5, 1.5, 0.0001, 1e-7, 1e15, 1e21, 1e22, 2.0, -0.25, True, False, None, "", "é", [1.0], {"x": 2.0}, BIG],
)
def test_the_short_way_shows_values_as_the_engine_does(js: JavaScript, value: Any) -> None:
    """A plain path is read without the engine and means exactly what the engine would have made of it."""
    scope = Scope(input={"v": value})
    short, long = js.render(["${input.v}", "<${input.v}>"], scope), js.render(["${(input.v)}", "<${(input.v)}>"], scope)
    assert short == long


def test_a_bad_template_stays_as_it_is(js: JavaScript) -> None:
    """One throwing expression leaves its own text, with a warning; the others are unaffected."""
    rendered = js.render(
        {"bad": "x ${nope.y} ${input.a}", "syntax": "${1 +}", "empty": "${}", "good": "${input.a + 1}"}, SCOPE
    )
    assert rendered.value == {"bad": "x ${nope.y} ${input.a}", "syntax": "${1 +}", "empty": "${}", "good": 2}
    assert len(rendered.warnings) == 3
    assert "nope is not defined" in rendered.warnings[0]
    assert "s3cret" not in "".join(rendered.warnings)


def test_keys_of_mappings(js: JavaScript) -> None:
    """A key is expanded only when it is one whole expression, and becomes text."""
    rendered = js.render({"${input.a}": 1, "${'k' + input.a}": "${input.a}", "x${input.a}": 2}, SCOPE)
    assert rendered.value == {"1": 1, "k1": 1, "x${input.a}": 2}


def test_params_without_templates_need_no_worker() -> None:
    """Plain parameters and plain paths never reach the pool."""
    language = JavaScript(None)  # type: ignore[arg-type]
    assert language.render({"a": "b", "script": "${x}"}, SCOPE).value == {"a": "b", "script": "${x}"}
    assert language.render("x ${input.nested.deep.x} ${secrets.API_KEY}", SCOPE).value == "x y s3cret"


def test_large_values_pass_by_path(js: JavaScript) -> None:
    """A big body can be handed on by a plain template though no script may return as much."""
    scope = Scope(input={"body": "x" * 3_000_000})
    assert js.render("${input.body}", scope).value == scope.input["body"]
    with pytest.raises(ScriptLimit, match="the value is larger than 1048576 bytes"):
        js.call("return input.body", scope)


def test_shared_is_bounded_by_what_was_written(js: JavaScript) -> None:
    """A large shared scope does not stop a script from writing a small key; writing a large one is refused."""
    scope = Scope(shared={"body": "x" * 3_000_000})
    found = js.call("shared['n'] = 1; return Object.keys(shared)", scope)
    assert found.shared is not None and found.shared["n"] == 1
    with pytest.raises(ScriptLimit, match="what the script wrote to shared is larger"):
        js.call("shared.copy = 'y'.repeat(2e6)", scope)


def test_depth(js: JavaScript) -> None:
    """Values nested deeper than the limit are refused in both directions, never a crash."""
    build = "let a = 1; for (let i = 0; i < {}; i++) a = [a]; return a"
    assert js.call(build.replace("{}", "10"), SCOPE, limits=Limits(depth=10)).value
    for levels in ("11", "5000", "100000"):
        with pytest.raises(ScriptLimit, match="nested more than 10 levels"):
            js.call(build.replace("{}", levels), SCOPE, limits=Limits(depth=10))
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ScriptLimit, match="nested"):
        js.call("return input", Scope(input=deep))
