"""The world everybody asks in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.authorization.world import World, world


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all: the refused change nothing, which is checked, and what the admitted change is undone."""
    with world(tmp_path_factory.mktemp("world")) as made:
        yield made
