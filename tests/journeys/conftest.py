"""One server for the journeys that do not stop it, and an HTTP target its flows may call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from functions.local.target import Target
from tests.support.server import Server, serving


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    """Something on loopback for flows to call."""
    made = Target()
    yield made
    made.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, target: Target) -> Iterator[Server]:
    """A server process shared by the tests of this worker; each signs up people of its own."""
    with serving(tmp_path_factory.mktemp("server") / "data", "--allow-host", target.address) as started:
        yield started
