"""People of a deployment, members of an org among them, and a deployment over another store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.composition import Services
from shared.kit.errors import Unavailable
from shared.store.transaction import Transaction
from tests.support.deployment import Person, deployment_on_dynamodb, sign_up
from tests.support.governance import Governed, govern
from tests.support.orgs import newcomer


@pytest.fixture
def ada(services: Services) -> Person:
    """The first account: an administrator."""
    return sign_up("ada")


@pytest.fixture
def bob(ada: Person) -> Person:
    """A user, in an org of his own."""
    return sign_up("bob@example.com")


@pytest.fixture
def vic(ada: Person) -> Person:
    """A viewer in Ada's org."""
    return newcomer(ada, "vic", "viewer")


@pytest.fixture
def olga(ada: Person) -> Person:
    """An operator in Ada's org."""
    return newcomer(ada, "olga", "operator")


@pytest.fixture
def alan(ada: Person) -> Person:
    """An admin in Ada's org."""
    return newcomer(ada, "alan", "admin")


@pytest.fixture
def bot(services: Services, ada: Person) -> Governed:
    """A workflow of Ada's org with a budget of 50 dollars, and a key of it."""
    return govern(services, org_id=ada.org_id, budget_cents=5000)


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on the store takes no transaction."""

    def refused(_: Transaction) -> None:
        raise Unavailable("The store cannot be reached; try again")

    return lambda: monkeypatch.setattr(Transaction, "commit", refused)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Services]:
    """A deployment over a DynamoDB that is not ours."""
    with deployment_on_dynamodb(tmp_path) as made:
        yield made
