"""Starts ministack, which ``scripts/deploy --local`` deploys to, and supplies what it ignores.

Its callback tasks know ``TimeoutSeconds`` only (ministack 1.5.33), so a park of the driver, whose time-out is a
``TimeoutSecondsPath``, would never end by itself. Run in the emulator's own environment.
"""

from __future__ import annotations

import sys
from typing import Any

from ministack.app import main
from ministack.services import stepfunctions

_execute_task = stepfunctions._execute_task


def _with_time_out(state: dict[str, Any], given: Any, *rest: Any) -> Any:
    """Run a task with the time-out its path leads to."""
    path = state.get("TimeoutSecondsPath")
    if path is not None:
        state = state | {"TimeoutSeconds": stepfunctions._resolve_path(path, given)}
    return _execute_task(state, given, *rest)


if __name__ == "__main__":
    stepfunctions._execute_task = _with_time_out
    sys.exit(main())
