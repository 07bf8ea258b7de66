"""What a node may carry beside its type: retry, batch, hooks. Source: FlowRunner documentation, Flow Creation Guide."""

from __future__ import annotations

from shared.dialects.flowrunner.tree import Mapping, Tree, is_null, refusal, shown
from shared.dialects.flowrunner.values import integer, mapping, milliseconds, text
from shared.engine.program import Batch, Retry

DEFAULT_RETRIES = 3
"""Further attempts of a ``retry`` that does not say how many."""

MAX_RETRIES = 500
MAX_PARALLEL = 1_000
DEFAULT_PARALLEL = 64
STRATEGIES = ("serial", "parallel", "async", "worker_pool")
BACKOFFS = {"": 1.0, "constant": 1.0, "fixed": 1.0, "exponential": 2.0}
HOOKS = ("prep", "exec", "post")

_LONGEST_GAP_MS = 3_600_000
_LONGEST_SCRIPT = 1024 * 1024


def retry_of(tree: Tree | None, where: str) -> Retry | None:
    """``retry: {max_retries | attempts, wait | delay, backoff, max_delay}``. Raises Unprocessable."""
    if tree is None or is_null(tree):
        return None
    given = mapping(tree, f"{where}: retry")
    count, wait, longest = (
        _first(given, "max_retries", "attempts"),
        _first(given, "wait", "delay"),
        _first(given, "max_delay"),
    )
    wait_ms = 0 if wait is None else milliseconds(wait[1], f"{where}: retry.{wait[0]}")
    word = text(given.pairs.get("backoff"), f"{where}: retry.backoff")
    if word not in BACKOFFS:
        raise refusal(f"{where}: retry.backoff must be constant or exponential, not {shown(word)}", given.line)
    return Retry(
        max_retries=DEFAULT_RETRIES
        if count is None
        else integer(count[1], f"{where}: retry.{count[0]}", 0, MAX_RETRIES),
        wait_ms=wait_ms,
        factor=BACKOFFS[word],
        # A pause the author wrote himself is never cut.
        max_wait_ms=max(_LONGEST_GAP_MS, wait_ms)
        if longest is None
        else milliseconds(longest[1], f"{where}: retry.max_delay"),
    )


def _first(given: Mapping, *names: str) -> tuple[str, Tree] | None:
    """The first of these keys that says something, with its value."""
    found = ((name, given.pairs[name]) for name in names if name in given.pairs)
    return next(((name, tree) for name, tree in found if not is_null(tree)), None)


def batch_of(tree: Tree | None, where: str) -> Batch | None:
    """``batch: {strategy, max_parallel}``. Raises Unprocessable."""
    if tree is None or is_null(tree):
        return None
    given = mapping(tree, f"{where}: batch")
    most = _first(given, "max_parallel")
    parallel = DEFAULT_PARALLEL if most is None else integer(most[1], f"{where}: batch.max_parallel", 1, MAX_PARALLEL)
    strategy = text(given.pairs.get("strategy"), f"{where}: batch.strategy") or (
        "serial" if most is None else "parallel"
    )
    if strategy not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise refusal(f"{where}: batch.strategy must be one of {known}, not {shown(strategy)}", given.line)
    return Batch(1 if strategy == "serial" else parallel)


def hooks_of(tree: Tree | None, where: str) -> dict[str, str]:
    """``hooks: {prep, exec, post}``, JavaScript by name. Raises Unprocessable."""
    given = mapping(tree, f"{where}: hooks")
    found = {name: text(given.pairs.get(name), f"{where}: hooks.{name}", longest=_LONGEST_SCRIPT) for name in HOOKS}
    return {name: script for name, script in found.items() if script.strip()}
