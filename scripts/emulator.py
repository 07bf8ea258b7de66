"""Starts ministack, which ``scripts/deploy --local`` deploys to, and supplies what it ignores.

ministack 1.5.33 knows ``TimeoutSeconds`` of callback tasks only, so a park of the driver, whose time-out is a
``TimeoutSecondsPath``, would never end by itself; and it takes a batch of a change stream of which the function reports
failures for done, so that the relay would get no record again. Run in the emulator's own environment.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from ministack.app import main
from ministack.services import lambda_svc, stepfunctions

_execute_task = stepfunctions._execute_task
_execute_function = lambda_svc._execute_function


def _with_time_out(state: dict[str, Any], given: Any, *rest: Any) -> Any:
    """Run a task with the time-out its path leads to."""
    path = state.get("TimeoutSecondsPath")
    if path is not None:
        state = state | {"TimeoutSeconds": stepfunctions._resolve_path(path, given)}
    return _execute_task(state, given, *rest)


def _with_failures(function: Any, event: Any, *rest: Any, **more: Any) -> Any:
    """Run a function; a batch that it has not finished fails as a whole, and so comes again."""
    result = _execute_function(function, event, *rest, **more)
    records = event.get("Records") if isinstance(event, dict) else None
    if records and records[0].get("eventSource") == "aws:dynamodb":
        body = result.get("body")
        told = json.loads(body) if isinstance(body, str | bytes) and body else body
        if isinstance(told, dict) and told.get("batchItemFailures"):
            result = result | {"error": True}
    return result


if __name__ == "__main__":
    stepfunctions._execute_task = _with_time_out
    lambda_svc._execute_function = _with_failures
    sys.exit(main())
