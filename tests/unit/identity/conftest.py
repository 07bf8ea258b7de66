from __future__ import annotations

import pytest

from shared.identity import Identity
from shared.store.embedded import EmbeddedEngine
from tests.support.deployment import cheap_identity


@pytest.fixture
def identity(store: EmbeddedEngine) -> Identity:
    """Identity over the empty store."""
    return cheap_identity()
