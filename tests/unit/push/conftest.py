"""A store of its own for every push test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.store.embedded import EmbeddedEngine, installed
from shared.store.models.channels import CHANNEL_MODELS
from shared.store.models.executions import EXECUTION_MODELS


@pytest.fixture
def store() -> Iterator[EmbeddedEngine]:
    """An engine in memory with the tables of channels and executions."""
    with installed(EmbeddedEngine.open()) as engine:
        engine.create_tables(*CHANNEL_MODELS, *EXECUTION_MODELS)
        yield engine
