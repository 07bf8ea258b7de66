"""Traces and metrics of Lambda functions, through Powertools. Quiet everywhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.adapters.aws.preload import preload
from shared.kit.logging import logger
from shared.kit.settings import UNSIGNED, settings

Handler = Callable[[dict[str, Any], Any], Any]

NAMESPACE = "Signalbox"
TRACED = ("botocore",)
"""The libraries whose calls are traced: those to AWS."""

KEYED = ("approvals", "gate", "tracking")
"""The families whose requests agents sign."""

_FAULT = 500


def observed(family: str, handler: Handler) -> Handler:
    """The handler, ready to run, with an X-Ray segment and its cold starts, requests and faults counted.

    Answers and errors are kept out of the trace: they may hold secrets. Off AWS it is the handler itself.
    """
    if settings().adapter != "aws":
        return handler
    preload(family)
    if family in KEYED and not settings().hmac_required:
        logger(family).warning(UNSIGNED)
    from aws_lambda_powertools import Metrics, Tracer
    from aws_lambda_powertools.metrics import MetricUnit

    metrics = Metrics(namespace=NAMESPACE, service=family)

    def handle(event: dict[str, Any], context: Any) -> Any:
        answer = handler(event, context)
        metrics.add_metric(name="Requests", unit=MetricUnit.Count, value=1)
        status = answer.get("statusCode", 0) if isinstance(answer, dict) else 0
        metrics.add_metric(name="Faults", unit=MetricUnit.Count, value=int(status >= _FAULT))
        return answer

    # Without a list it loads all it could trace, database drivers included, and records what flows ask of others.
    tracer = Tracer(service=family, patch_modules=TRACED)
    traced = tracer.capture_lambda_handler(handle, capture_response=False, capture_error=False)
    counted: Handler = metrics.log_metrics(traced, capture_cold_start_metric=True)
    return counted
