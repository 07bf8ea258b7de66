"""The short form of ``scripts/chaos``: a real process, killed while its flows run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chaos import crowd, kills
from tests.support.server import Server

pytestmark = pytest.mark.slow


def test_kill_9_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Every acknowledged flow completes; every node finishes once; every attempt of an effect happens at most once."""
    report = kills(tmp_path / "data", flows=12, deaths=2, seed=1)
    assert report.findings == [] and report.figures["calls"] >= 36


def test_flows_started_at_once_all_complete(server: Server) -> None:
    """Each of many flows of ten nodes ends with its own result."""
    assert crowd(server.join("crowd"), flows=40).findings == []
