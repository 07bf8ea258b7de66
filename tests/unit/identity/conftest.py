from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.identity import Identity
from shared.kit import clock
from shared.store.embedded import EmbeddedEngine, installed
from shared.store.models.identity import IDENTITY_MODELS
from tests.support.deployment import cheap_identity
from tests.support.time import HeldClock


@pytest.fixture
def held() -> Iterator[HeldClock]:
    """Time that moves when told to."""
    source = HeldClock()
    with clock.use(source):
        yield source


@pytest.fixture
def store() -> Iterator[EmbeddedEngine]:
    """An empty store."""
    engine = EmbeddedEngine.open()
    engine.create_tables(*IDENTITY_MODELS)
    with installed(engine):
        yield engine
    engine.close()


@pytest.fixture
def identity(store: EmbeddedEngine) -> Identity:
    """Identity over the empty store."""
    return cheap_identity()
