"""A program that uses NullRun's SDK, told step by step what to do; started by ``tests/support/agents.py``.

Each line it reads is ``{"run": SCRIPT}``, which runs as Python in one lasting namespace. The value of its last
expression (awaited, where it is a coroutine) is answered as ``{"value": …}``, an exception as ``{"raised": {…}}``.
Scripts may ``tell`` a value at once, and wait ``until`` something is so.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import nullrun

T = TypeVar("T")

PATIENCE_S = 60.0
ATTRIBUTES = ("error_code", "agent_message", "denial_note", "reason", "retry_after", "workflow_id")

out, sys.stdout = sys.stdout, sys.stderr
printing = threading.Lock()


def emit(message: dict[str, Any]) -> None:
    """Print a line for the parent."""
    with printing:
        out.write(json.dumps(message, default=repr) + "\n")
        out.flush()


def tell(value: Any) -> None:
    """Say something in the middle of a script."""
    emit({"told": value})


def until(condition: Callable[[], T]) -> T:
    """Wait for a condition; what it came to. There is nothing in the SDK that could wake us."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come true")
        time.sleep(0.002)
    return found


def run(script: str, namespace: dict[str, Any]) -> Any:
    """Execute a script; the value of its last expression."""
    tree = ast.parse(script)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr):
        exec(compile(tree, "script", "exec"), namespace)
        return None
    tree.body.pop()
    exec(compile(tree, "script", "exec"), namespace)
    value = eval(compile(ast.Expression(last.value), "script", "eval"), namespace)
    return asyncio.run(value) if inspect.iscoroutine(value) else value


def raised(error: BaseException) -> dict[str, Any]:
    """What there is to know of an exception."""
    shown = {name: getattr(error, name, None) for name in ATTRIBUTES}
    return {"kind": type(error).__name__, "text": str(error), **shown}


def main() -> None:
    """Follow the parent until it closes the pipe."""
    namespace: dict[str, Any] = {"nullrun": nullrun, "asyncio": asyncio, "tell": tell, "until": until}
    for line in sys.stdin:
        try:
            emit({"value": run(json.loads(line)["run"], namespace)})
        except BaseException as error:  # noqa: BLE001 - the parent is told of everything a script can raise
            emit({"raised": raised(error)})
    nullrun.shutdown()


main()
