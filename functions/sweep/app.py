"""Once a minute: whatever is overdue is taken up again."""

from __future__ import annotations

from typing import Any

from shared.adapters.aws.observability import observed
from shared.composition import services
from shared.kit import clock
from shared.kit.logging import logger

log = logger("sweep")


def handle(event: dict[str, Any], context: object) -> dict[str, int]:
    """One event, behind a ``rate(1 minute)`` rule. Running twice is harmless."""
    done = {
        "executions": services().sweep.run(),
        "governance": services().governance.sweep.run(),
        "deletions": services().identity.resume_deletions(),
    }
    done["connections"] = services().control.keep_alive(clock.now_ms())
    log.info("swept", extra=done)
    return done


handler = observed("sweep", handle)
"""The AWS Lambda entry point."""
