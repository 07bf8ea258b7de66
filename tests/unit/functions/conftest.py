"""People of a deployment, and a deployment over another store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.composition import Services
from tests.support.deployment import Person, deployment_on_dynamodb, sign_up


@pytest.fixture
def ada(services: Services) -> Person:
    """The first account: an administrator."""
    return sign_up("ada")


@pytest.fixture
def bob(ada: Person) -> Person:
    """A user, in an org of his own."""
    return sign_up("bob@example.com")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Services]:
    """A deployment over a DynamoDB that is not ours."""
    with deployment_on_dynamodb(tmp_path) as made:
        yield made
