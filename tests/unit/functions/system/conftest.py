from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.composition import Services
from tests.support.deployment import deployment


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A deployment nobody has used."""
    with deployment(tmp_path) as made:
        yield made
