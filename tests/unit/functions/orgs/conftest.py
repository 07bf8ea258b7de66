"""People with orgs."""

from __future__ import annotations

import pytest

from shared.composition import Services
from tests.support.deployment import Person
from tests.support.orgs import register


@pytest.fixture
def ada(services: Services) -> Person:
    """The first account: owner of the default org."""
    return register("ada@example.com")


@pytest.fixture
def bob(ada: Person) -> Person:
    """The owner of an org of his own."""
    return register("bob@example.com")


@pytest.fixture
def cyd(bob: Person) -> Person:
    """Somebody else, with an org of her own."""
    return register("cyd@example.com")
