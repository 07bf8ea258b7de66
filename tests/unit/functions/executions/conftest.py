from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.composition import Services
from tests.support.deployment import Person, deployment, sign_up


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A deployment nobody has used; executions go on only when a test advances them."""
    with deployment(tmp_path) as made:
        yield made
        for part in ("workers", "heart", "scripts"):
            if part in made.__dict__:
                made.__dict__[part].close()


@pytest.fixture
def ada(services: Services) -> Person:
    """The first account: an administrator."""
    return sign_up("ada")


@pytest.fixture
def bob(ada: Person) -> Person:
    """A user, in an org of his own."""
    return sign_up("bob@example.com")
