from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import engine


@pytest.fixture
def world() -> Iterator[engine.World]:
    """An engine in memory; time stands still until told to move."""
    with engine.world() as made:
        yield made
