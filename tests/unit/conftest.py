"""What unit tests of many parts need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.composition import Services
from shared.kit import clock, ids
from shared.store.embedded import EmbeddedEngine
from tests.support.deployment import deployment
from tests.support.store import memory_store
from tests.support.time import HeldClock


@pytest.fixture
def held() -> Iterator[HeldClock]:
    """Time that moves when told to, and ids that are not ahead of it because of what ran before."""
    source = HeldClock()
    with clock.use(source), ids.use(ids.SystemSource()):
        yield source


@pytest.fixture
def store() -> Iterator[EmbeddedEngine]:
    """An empty store with every table."""
    with memory_store() as engine:
        yield engine


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A deployment nobody has used; executions go on only when a test advances them."""
    with deployment(tmp_path) as made:
        yield made
