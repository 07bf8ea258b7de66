from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.web.app import family_app, lambda_handler
from shared.web.docs import docs_router
from tests.support.apigw import Handler, call
from tests.support.deployment import deployment


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[Handler]:
    with deployment(tmp_path):
        yield lambda_handler(family_app("docs", docs_router()))


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_pages_load_nothing_from_elsewhere(handler: Handler, path: str) -> None:
    """Every script and style is this host's, is there, and the policy forbids anything else."""
    page = call(handler, "GET", path)
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "://" not in page.body
    assert "default-src 'none'" in page.headers["content-security-policy"]
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.body)
    assert len(linked) >= 2
    for link in linked:
        assert link.startswith("/docs/assets/")
        found = call(handler, "GET", link)
        assert found.status == 200, link
        assert len(found.raw) > 50


def test_no_script_asks_another_host_for_pictures(handler: Handler) -> None:
    """ReDoc's own logo is the one thing its bundle would fetch from elsewhere."""
    for name in ("redoc.standalone.js", "swagger-ui-bundle.js"):
        assert b"cdn." not in call(handler, "GET", f"/docs/assets/{name}").raw


def test_assets_have_their_types(handler: Handler) -> None:
    """Scripts and styles are what browsers demand them to be; nothing else of the package is served."""
    assert (
        call(handler, "GET", "/docs/assets/swagger-ui-bundle.js").headers["content-type"].startswith("text/javascript")
    )
    assert call(handler, "GET", "/docs/assets/swagger-ui.css").headers["content-type"].startswith("text/css")
    for name in ("nothing.js", "..%2Fcore.py", "core.py"):
        assert call(handler, "GET", f"/docs/assets/{name}").status == 404
