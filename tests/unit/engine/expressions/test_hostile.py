"""Scripts that mean harm: stopped, and without effect on the parent or on the next call."""

from typing import Any

import pytest

from shared.engine.expressions import pool
from shared.engine.expressions.base import Limits, Scope, ScriptError, ScriptLimit, ScriptTimeout
from shared.engine.expressions.javascript import JavaScript

REFUSALS = (
    "string too long",
    "BigInt is too large",
    "the script threw null, or used up its memory",
    "invalid array buffer length",
)
QUICK = Limits(time_s=0.2)
SCOPE = Scope(input={"a": 1}, shared={"s": 1}, results={"n": 1}, secrets={"K": "v"})


@pytest.fixture(autouse=True)
def next_call_is_unharmed(js: JavaScript) -> Any:
    yield
    assert js.call("return [input.a, JSON.stringify([1]), [3].map(x => x), typeof leaked]", SCOPE).value == [
        1,
        "[1]",
        [3],
        "undefined",
    ]


@pytest.mark.parametrize(
    "source",
    [
        "while (true) {}",
        "for (;;) { try { while (true) {} } catch (e) {} finally { continue } }",
        "return /^(a+)+$/.test('a'.repeat(50) + 'b')",
        "return Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1)",
        "return Array.prototype.join.call({length: 2 ** 32}, '')",
        "return [].concat.call({length: 1e15, [Symbol.isConcatSpreadable]: true})",
        "const a = []; a.length = 2 ** 32 - 1; return a.sort()",
        "return (function f() { return Promise.resolve().then(f) })()",
        "Object.prototype.toJSON = function () { while (true) {} }; return {}",
        "throw {get message() { while (true) {} }}",
        "console.log({toJSON() { while (true) {} }})",
    ],
)
def test_endless_work_is_stopped(js: JavaScript, source: str) -> None:
    """Loops in scripts, regular expressions, natives and getters come to an end, each with one clean error."""
    with pytest.raises((ScriptTimeout, ScriptLimit)):
        js.call(source, SCOPE, limits=QUICK)


@pytest.mark.parametrize(
    "source",
    [
        "const a = []; while (true) a.push(new Array(1e5).fill('x'))",
        "let s = 'x'; while (true) s += s",
        "return new Uint8Array(1e9).length",
        "return 'x'.repeat(2 ** 29)",
        "const m = new Map(); for (let i = 0; ; i++) m.set(i, {i})",
        "const a = []; for (;;) { try { a.push(new ArrayBuffer(1e6)) } catch (e) { throw e } }",
        "return 'x'.repeat(2e6)",
        "shared.x = 'x'.repeat(2e6)",
        "return 2n ** 99999999n % 7n",
        "return Array.from({length: 1e5}, () => 'xxxxxxxxxxxxxxxxxxx')",
    ],
)
def test_memory_bombs_are_refused(js: JavaScript, source: str) -> None:
    """Wanting too much memory, or answering too much, is the author's error."""
    with pytest.raises(ScriptError) as caught:
        js.call(source, SCOPE)
    assert isinstance(caught.value, ScriptLimit) or caught.value.message in REFUSALS


@pytest.mark.parametrize(
    "source",
    [
        "return (function f() { return f() })()",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return JSON.stringify(a)",
        "return JSON.parse('['.repeat(1e5) + ']'.repeat(1e5))",
        "return eval('('.repeat(1e5))",
        "return new RegExp('('.repeat(1e5) + ')'.repeat(1e5))",
        "const p = new Proxy({}, {get(t, k, r) { return r[k] }}); return p.x",
    ],
)
def test_deep_recursion_is_an_error(js: JavaScript, source: str) -> None:
    """No depth of calls or data brings the worker down."""
    with pytest.raises(ScriptError) as caught:
        js.call(source, SCOPE)
    assert "broke its engine" not in caught.value.message


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("JSON.stringify = () => 'forged'; JSON.parse = null; return {a: 1}", {"a": 1}),
        (
            "Object.defineProperty(Array.prototype, 0, {set() {}, get() { return 'forged' }}); return {a: [2]}",
            {"a": [2]},
        ),
        ("Object.prototype.value = 'forged'; Object.prototype.get = () => 1; return {b: 1}", {"b": 1}),
        ("Object.keys = Object.hasOwn = Object.defineProperty = () => { throw 1 }; return 5", 5),
        ("String.prototype.slice = Array.prototype.join = () => 'forged'; console.log('x'); return 'ok'", "ok"),
        ("Function.prototype.call = Function.prototype.apply = null; Reflect.apply = null; return 6", 6),
        ("Promise.prototype.then = () => { throw 1 }; return (async () => 7)()", 7),
        ("globalThis.console = null; delete globalThis.JSON; return 8", 8),
        ("Object.freeze(Object.prototype); Object.freeze(globalThis); return 9", 9),
        ("leaked = 1; Object.prototype.leaked = 1; return 10", 10),
        (
            "Error.prepareStackTrace = (e, frames) => frames; try { null.x } catch (e) { return typeof e.stack }",
            "string",
        ),
    ],
)
def test_the_harness_survives_redefinition(js: JavaScript, source: str, value: Any) -> None:
    """Redefined built-ins change nothing about how a value comes back."""
    assert js.call(source, SCOPE).value == value


def test_prototypes_do_not_reach_other_names(js: JavaScript) -> None:
    """A toJSON on every prototype changes the author's own values, never the frame around them."""
    source = """
        for (const kind of [Object, Array, String, Number, Boolean]) kind.prototype.toJSON = () => 'forged';
        console.log('row'); shared.s = 2; return {a: 1}"""
    found = js.call(source, SCOPE)
    assert found.value == "forged"
    assert found.logs == [("info", "row")]
    assert found.shared is None


def test_other_results_cannot_be_forged(js: JavaScript) -> None:
    """What a script does to results, secrets or the execution is gone with its context."""
    found = js.call(
        "results.n = 2; nodes.n.output = 3; secrets.K = 'x'; execution.id = 'y'; input.a = 9; return 1", SCOPE
    )
    assert (found.value, found.shared, found.extra) == (1, None, {})
    assert SCOPE.results == {"n": 1} and SCOPE.input == {"a": 1}


def test_a_body_cannot_leave_its_function(js: JavaScript) -> None:
    """Closing the bracket of the function early is a syntax error, not a way out."""
    with pytest.raises(ScriptError, match="SyntaxError"):
        js.call("return 1 } ; function g() { return 2", SCOPE)


def test_no_host_is_in_reach(js: JavaScript) -> None:
    """No module loader, timer, process, file, network, nor a way to block without work."""
    names = [
        "std",
        "os",
        "require",
        "process",
        "fetch",
        "setTimeout",
        "XMLHttpRequest",
        "WebAssembly",
        "Atomics",
        "SharedArrayBuffer",
        "print",
        "load",
    ]
    source = f"return {names!r}.filter(name => typeof globalThis[name] !== 'undefined')"
    assert js.call(source, SCOPE).value == []
    with pytest.raises(ScriptError):
        js.call("return import('os').then(m => Object.keys(m))", SCOPE)


def test_templates_are_limited_too(js: JavaScript) -> None:
    """An endless template fails the node instead of staying as raw text."""
    with pytest.raises(ScriptTimeout):
        js.render({"a": "${(() => { for (;;); })()}", "b": "${input.a + 1}"}, SCOPE, limits=QUICK)


@pytest.mark.parametrize("value", ["x" * 40_000_000, "€" * 20_000_000, [[{"a": 1}]] * 400_000])
def test_a_scope_too_large_for_the_limits(js: JavaScript, value: Any) -> None:
    """Data that does not fit into a script's memory is one clean error."""
    with pytest.raises(ScriptLimit):
        js.call("return input.length", Scope(input=value))


def test_what_was_printed_before_the_end_is_kept(js: JavaScript, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows written before the time or memory was over are on the error."""
    # On a busy machine the processor time that ends the script may come much later.
    monkeypatch.setattr(pool, "GRACE_S", 60.0)
    for source in (
        "console.log('before'); for (;;);",
        "console.log('before'); const a = []; for (;;) a.push('x'.repeat(1e6))",
    ):
        with pytest.raises((ScriptTimeout, ScriptLimit)) as caught:
            js.call(source, SCOPE, limits=QUICK)
        assert caught.value.logs == [("info", "before")]
