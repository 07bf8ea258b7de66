"""Ada's org with people of each role, a workflow with a key, and a receiver of messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.alerts.app import handler
from shared.composition import Services
from shared.identity.orgs import add_member, get_org, move_version
from shared.identity.principal import Role
from shared.kit.errors import Unavailable
from shared.store.transaction import Transaction
from tests.support.apigw import Answer, call
from tests.support.deployment import Person, deployment, sign_up
from tests.support.governance import Governed, govern
from tests.support.standin import Received, Reply, StandIn


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A deployment that may call this machine."""
    with deployment(tmp_path, allow_hosts=["127.0.0.1"]) as made:
        yield made


def org_path(who: Person, rest: str = "") -> str:
    """A path in somebody's home org."""
    return f"/api/v1/orgs/{who.org_id}{rest}"


def send(method: str, path: str, who: Person | dict[str, str] | None = None, body: Any = None, **more: Any) -> Answer:
    """One request to the family. ``who`` is a person, or headers."""
    headers = who.headers if isinstance(who, Person) else dict(who or {})
    return call(handler, method, path, headers=headers, json=body, **more)


def made(answer: Answer, status: int = 200) -> dict[str, Any]:
    """The body of an answer that has this status."""
    assert answer.status == status, answer
    body: dict[str, Any] = answer.body
    return body


@pytest.fixture
def bot(services: Services, ada: Person) -> Governed:
    """A workflow of Ada's org."""
    return govern(services, org_id=ada.org_id, budget_cents=5000)


@pytest.fixture
def key(bot: Governed) -> dict[str, str]:
    """Headers of its key."""
    return {"x-api-key": bot.key}


@pytest.fixture
def join(ada: Person) -> Callable[[str, Role], Person]:
    """Make somebody who belongs to Ada's org, too."""

    def joined(name: str, role: Role) -> Person:
        who, org = sign_up(f"{name}@example.com"), get_org(ada.org_id)
        assert org is not None
        tx = Transaction()
        move_version(tx, org, "org")
        add_member(tx, ada.org_id, who.id, role)
        tx.commit()
        return who

    return joined


@pytest.fixture
def vic(join: Callable[[str, Role], Person]) -> Person:
    """A viewer."""
    return join("vic", "viewer")


@pytest.fixture
def olga(join: Callable[[str, Role], Person]) -> Person:
    """An operator."""
    return join("olga", "operator")


@pytest.fixture
def alan(join: Callable[[str, Role], Person]) -> Person:
    """An admin."""
    return join("alan", "admin")


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on the store takes no transaction."""

    def refused(_: Transaction) -> None:
        raise Unavailable("The store cannot be reached; try again")

    return lambda: monkeypatch.setattr(Transaction, "commit", refused)


@pytest.fixture
def receiver() -> Iterator[StandIn]:
    """Takes every message."""

    def taken(received: Received) -> Reply:
        return Reply(status=500 if received.path == "/broken" else 204)

    with StandIn(taken).serving() as server:
        yield server
