from __future__ import annotations

import io
import logging

import pytest

from shared.kit import json
from shared.kit.logging import logger


def test_an_unknown_level_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loggers are made at import; the settings say later, in one line, that the level is none."""
    monkeypatch.setenv("SIGNALBOX_LOG_LEVEL", "loud")
    assert logger("of an unknown level").log_level == logging.INFO


def test_every_part_logs_under_its_own_name() -> None:
    """A row is one JSON object that says which part of the system wrote it, and carries what it was given."""
    written = io.StringIO()
    for name in ("first", "second"):
        log = logger(name)
        formatter = log.handlers[0].formatter
        handler = logging.StreamHandler(written)
        handler.setFormatter(formatter)
        log.addHandler(handler)
        try:
            log.warning("something", extra={"execution_id": "e1"})
        finally:
            logging.getLogger(log.name).removeHandler(handler)
    rows = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [(row["service"], row["execution_id"]) for row in rows] == [
        ("signalbox.first", "e1"), ("signalbox.second", "e1"),
    ]  # fmt: skip
