"""From DynamoDB's change streams to WebSockets and wake-ups."""

from __future__ import annotations

from typing import Any

from shared.adapters.aws.observability import observed
from shared.composition import services


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One event of the stream mappings, with ReportBatchItemFailures."""
    from shared.adapters.aws.streams import handle_batch

    return handle_batch(services().relay, event)


handler = observed("relay", handle)
"""The AWS Lambda entry point."""
