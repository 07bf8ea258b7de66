"""Structured logs: one JSON object a line, with request, execution and trace id."""

from __future__ import annotations

from functools import cache

from aws_lambda_powertools import Logger


@cache
def logger(name: str) -> Logger:
    """The logger of one part of the system, ``signalbox.<name>``; level by ``SIGNALBOX_LOG_LEVEL`` (default INFO)."""
    import logging
    import os

    level = os.environ.get("SIGNALBOX_LOG_LEVEL", "INFO")
    # Loggers are made before anything else. What is wrong with a setting is said where settings are read.
    known = level.upper() in logging.getLevelNamesMapping()
    # Powertools tells its loggers apart by their service alone.
    return Logger(service=f"signalbox.{name}", level=level if known else "INFO")
