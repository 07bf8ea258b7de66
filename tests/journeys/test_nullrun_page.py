"""NullRun's HTTP API page, walked with curl against a real server process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.nullrun_page import Walk
from tests.support.providers import CLIENT, CODE, SECRET, providers
from tests.support.server import serving


@pytest.mark.slow
def test_every_row_holds(tmp_path: Path) -> None:
    """Every method and path of every table, called by the least role that may, answers as documented."""
    with providers() as github:
        knowing = {
            "SIGNALBOX_GITHUB_URL": github.url,
            "SIGNALBOX_GITHUB_API_URL": f"{github.url}/api",
            "SIGNALBOX_GITHUB_CLIENT_ID": CLIENT,
            "SIGNALBOX_GITHUB_CLIENT_SECRET": SECRET,
        }
        with serving(tmp_path / "data", environment=knowing) as server:
            Walk(server.url, CODE).everything()
