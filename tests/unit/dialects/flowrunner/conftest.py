from __future__ import annotations

import pytest

from shared.engine.kinds import registry
from shared.engine.kinds.base import Registry


@pytest.fixture(scope="session")
def kinds() -> Registry:
    """Every node kind there is."""
    return registry()
