from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.composition import Services
from tests.support.deployment import Person, deployment, sign_up


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A deployment nobody has used."""
    with deployment(tmp_path) as made:
        yield made


@pytest.fixture
def ada(services: Services) -> Person:
    """The first account: an administrator."""
    return sign_up("ada")


@pytest.fixture
def bob(ada: Person) -> Person:
    """A user, in an org of his own."""
    return sign_up("bob@example.com")
