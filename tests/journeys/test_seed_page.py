"""The FlowRunner API Reference, walked with curl against a real server process."""

from __future__ import annotations

from pathlib import Path

import pytest

from functions.local.target import Target
from tests.journeys.seed_page import Walk
from tests.support.server import serving


@pytest.mark.slow
def test_the_whole_page_holds(tmp_path: Path) -> None:
    """Every endpoint, field and status code of the page, in its order, on a fresh server."""
    target = Target()
    try:
        with serving(tmp_path / "data", "--allow-host", target.address) as server:
            Walk(server.url, target.url).everything()
    finally:
        target.close()
