"""One attempt: templates, hooks, the kind's work, and what is kept of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.engine.attempt import Attempts, Failure, Job, Result
from shared.engine.expressions.base import Scope
from shared.engine.kinds.base import Answer, Call, Done, ExecutionFacts, KindServices, NodeFailed, Registry, Wait
from shared.kit.errors import Unavailable
from tests.support.engine import MadeUpKind, PythonLanguage, node


class Bench:
    """Attempts of one kind called ``k``."""

    def __init__(self, run: Any, resume: Any = None, *, effectful: bool = False) -> None:
        registry = Registry()
        registry.register(MadeUpKind("k", run, resume, effectful))
        services = cast(KindServices, SimpleNamespace(language=PythonLanguage(), wall_clock_limit_s=600.0))
        self.attempts = Attempts(registry, services)

    def job(self, *, answer: Answer | None = None, is_item: bool = False, params: Any = None, **more: Any) -> Job:
        shared = more.pop("shared", {})
        redact = more.pop("redact", lambda value: value)
        return Job(
            node=node("n", "k", **more), input="in", scope=Scope(input="in", shared=shared), attempt=2,
            execution=ExecutionFacts("e", "o", "a", "d"), idempotency_key="key", answer=answer, is_item=is_item,
            redact=redact, params=params,
        )  # fmt: skip

    def run(self, **more: Any) -> Result:
        return self.attempts.run(self.job(**more))


def test_what_a_kind_is_given() -> None:
    """Rendered parameters, input, key and attempt."""
    calls: list[Call] = []

    def run(call: Call) -> Done:
        calls.append(call)
        return Done(1)

    result = Bench(run).run(params=None, shared={"x": 5})
    assert result.outcome == Done(1)
    assert (calls[0].input, calls[0].idempotency_key, calls[0].attempt, calls[0].params) == ("in", "key", 2, {})


def test_hooks_in_their_order() -> None:
    """Templates, prep, the work, post; the actions stay the node's own."""

    def run(call: Call) -> Done:
        return Done({"ran": call.params}, ("mine",), shared={**call.scope.shared, "kind": 1})

    hooks = {"prep": "context['p'] = shared['x']; shared['prep'] = 1", "post": "value = [result, sorted(shared)]"}
    job = Bench(run).job(hooks=hooks, shared={"x": 5})
    result = Bench(run).attempts.run(job)
    assert result.outcome == Done([{"ran": {"p": 5}}, ["kind", "prep", "x"]], ("mine",))
    assert (result.shared, result.removed) == ({"prep": 1, "kind": 1}, [])


@pytest.mark.parametrize(
    ("prep", "params"),
    [
        ("value = {'b': 2}", {"b": 2}),
        ("context['b'] = 2", {"a": 1, "b": 2}),
        ("value = 5", {"a": 1}),
        ("context = 5", {"a": 1}),
    ],
)
def test_what_prep_makes_of_the_parameters(prep: str, params: dict[str, int]) -> None:
    """The object it returns, else the context as it left it."""
    bench = Bench(lambda call: Done(call.params))
    job = bench.job(hooks={"prep": prep})
    object.__setattr__(job.node, "params", {"a": 1})
    assert bench.attempts.run(job).outcome == Done(params)


def test_exec_replaces_the_work_and_its_effect() -> None:
    """The kind is not called, so the start needs no record beforehand."""
    bench = Bench(lambda call: Done(1 / 0), effectful=True)
    hooks = {"exec": "value = context"}
    assert bench.run(hooks=hooks).outcome == Done({})
    assert bench.attempts.effectful(node("n", "k")) and not bench.attempts.effectful(node("n", "k", hooks=hooks))
    assert not bench.attempts.effectful(node("n", "unknown"))


def test_post_sees_an_element_only_with_its_list() -> None:
    """Elements skip it; the owner runs it over the list."""
    bench = Bench(lambda call: Done(1))
    hooks = {"post": "value = sum(result); shared['s'] = 1; log('sum')"}
    assert bench.run(hooks=hooks, is_item=True).outcome == Done(1)
    result = bench.attempts.post(bench.job(hooks=hooks), [1, 2])
    assert (result.outcome, result.shared, len(result.logs)) == (Done(3), {"s": 1}, 1)
    failed = bench.attempts.post(bench.job(hooks={"post": "1 / 0"}), [1, 2])
    assert failed.outcome == Failure("division by zero")


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (NodeFailed("m", retryable=False, actions=("x",), output={"o": 1}), Failure("m", False, ("x",), {"o": 1})),
        (NodeFailed("m", output=object()), Failure("m")),
        (Unavailable("away"), Failure("away")),
        (RuntimeError("detail"), Failure("internal error in node type k")),
    ],
)
def test_failures(error: Exception, failure: Failure) -> None:
    """What the author can read, and only that; rows written before it stay."""

    def run(call: Call) -> Done:
        call.log("info", "before")
        raise error

    result = Bench(run).run()
    assert result.outcome == failure
    assert [row["message"] for row in result.logs] == ["before"]


def test_a_wait_keeps_its_prepared_parameters() -> None:
    """With a prep hook; on going on they are used as they were, nothing is prepared again."""
    bench = Bench(lambda call: Wait(None, "q", {"s": 1}), lambda call, answer: Done([call.params, answer.state]))
    hooks = {"prep": "context['n'] = 1; shared['n'] = 1; log('prep')"}
    waiting = bench.run(hooks=hooks)
    assert (waiting.outcome, waiting.params, waiting.shared) == (Wait(None, "q", {"s": 1}), {"n": 1}, {"n": 1})
    assert bench.run().params is None
    resumed = bench.run(hooks=hooks, params={"n": 7}, answer=Answer(False, None, {"s": 1}))
    assert (resumed.outcome, resumed.shared, resumed.logs) == (Done([{"n": 7}, {"s": 1}]), {}, [])


def test_kinds_that_do_not_wait_are_not_resumed() -> None:
    """A clear failure."""
    result = Bench(lambda call: Done(1)).run(answer=Answer(True))
    assert result.outcome == Failure("k does not wait", retryable=False)


@pytest.mark.parametrize(
    ("before", "after", "changed", "removed"),
    [
        ({"a": 1}, {"a": 1}, {}, []),
        ({"a": 1}, {"a": True}, {"a": True}, []),
        ({"a": 1}, {"a": 1.0}, {"a": 1.0}, []),
        ({"a": [1]}, {"a": [True]}, {"a": [True]}, []),
        ({"a": 1, "b": 2}, {"b": 2, "c": 3}, {"c": 3}, ["a"]),
    ],
)
def test_what_counts_as_a_change(before: Any, after: Any, changed: Any, removed: Any) -> None:
    """What JSON would show, key by key."""
    result = Bench(lambda call: Done(1, shared=after)).run(shared=before)
    assert (result.removed, str(result.shared)) == (removed, str(changed))


def test_everything_that_leaves_is_redacted() -> None:
    """Output, actions, changes, rows."""

    def run(call: Call) -> Done:
        call.log("info", "secret", {"d": "secret"})
        return Done("secret", ("secret",), shared={"k": "secret"})

    def redact(value: Any) -> Any:
        import json

        return json.loads(json.dumps(value).replace("secret", "***"))

    result = Bench(run).run(redact=redact)
    assert "secret" not in str(result)
    assert result.outcome == Done("***", ("***",))


def test_what_cannot_be_redacted_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """The node fails; nothing raises, because nobody would hear it on a worker."""

    def run(call: Call) -> Done:
        call.log("info", "secret")
        return Done("secret")

    def redact(value: Any) -> Any:
        raise RecursionError

    assert Bench(run).run(redact=redact) == Result(Failure("internal error in node type k"))
    assert "a failure cannot be told" in caplog.text
