"""A deployment that may send messages, and a receiver of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from functions.alerts.app import handler
from shared.composition import Services
from tests.support.deployment import deployment
from tests.support.governance import Governed
from tests.support.orgs import send_to
from tests.support.standin import Received, Reply, StandIn

send = partial(send_to, handler)
"""One request to the family: method, path, who, body."""


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A deployment that may call this machine."""
    with deployment(tmp_path, allow_hosts=["127.0.0.1"]) as made:
        yield made


@pytest.fixture
def key(bot: Governed) -> dict[str, str]:
    """Headers of its key."""
    return {"x-api-key": bot.key}


@pytest.fixture
def receiver() -> Iterator[StandIn]:
    """Takes every message."""

    def taken(received: Received) -> Reply:
        return Reply(status=500 if received.path == "/broken" else 204)

    with StandIn(taken).serving() as server:
        yield server
