"""An org with a governed workflow, and people of each kind around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from functions.approvals.app import handler
from functions.gate.app import handler as gate
from shared.composition import Services
from shared.governance.digests import action_digest
from shared.identity.orgs import add_member, get_org, move_version
from shared.identity.principal import Role
from shared.kit import ids
from shared.kit.errors import Unavailable
from shared.store.transaction import Transaction
from tests.support.apigw import Answer, call
from tests.support.deployment import Person, sign_up
from tests.support.governance import Governed, govern

LARGEST = 4 * 1024 * 1024


def org_path(who: Person, rest: str = "") -> str:
    """A path in somebody's home org."""
    return f"/api/v1/orgs/{who.org_id}{rest}"


def send(method: str, path: str, who: Person | dict[str, str] | None = None, body: Any = None, **more: Any) -> Answer:
    """One request to the family. ``who`` is a person, or headers."""
    headers = who.headers if isinstance(who, Person) else dict(who or {})
    return call(handler, method, path, headers=headers, json=body, **more)


def made(answer: Answer, status: int = 201) -> dict[str, Any]:
    """The body of an answer that has this status."""
    assert answer.status == status, answer
    body: dict[str, Any] = answer.body
    return body


def refund(amount: str = "900") -> dict[str, Any]:
    """A call of the tool refund as the SDK describes it."""
    impact = {
        "kind": "tool_call",
        "tool_name": "refund",
        "params": {"args": [], "kwargs": {"amount": amount}},
        "extractor_id": "nullrun.tool_call.path",
        "extractor_version": "1",
    }
    return {"tools": ["refund"], "business_impact": impact, "action_digest": action_digest(impact)}


def asked(bot: Governed) -> dict[str, Any]:
    """The gate's answer to a call that waits for a person."""
    body = made(bot.gate(gate, operation_id=ids.uuid4(), **refund()), 200)
    assert body["decision"] == "require_approval", body
    return body


@pytest.fixture
def bot(services: Services, ada: Person) -> Governed:
    """A workflow of Ada's org with a key."""
    return govern(services, org_id=ada.org_id)


@pytest.fixture
def rule(ada: Person) -> dict[str, Any]:
    """A rule by which every refund waits for a person."""
    sent = {"name": "Refunds", "tool_patterns": ["refund*"], "action_label": "Refund", "risk_level": "HIGH"}
    return made(send("POST", org_path(ada, "/approval-rules"), ada, sent))


@pytest.fixture
def waiting(bot: Governed, rule: dict[str, Any]) -> dict[str, Any]:
    """The gate's answer to a refund."""
    return asked(bot)


@pytest.fixture
def join(services: Services) -> Callable[[str, Person, Role], Person]:
    """Make somebody who belongs to another's org, too."""

    def joined(name: str, owner: Person, role: Role) -> Person:
        who, org = sign_up(name), get_org(owner.org_id)
        assert org is not None
        tx = Transaction()
        move_version(tx, org, "org")
        add_member(tx, owner.org_id, who.id, role)
        tx.commit()
        return who

    return joined


@pytest.fixture
def vic(ada: Person, join: Callable[[str, Person, Role], Person]) -> Person:
    """A viewer in Ada's org."""
    return join("vic@example.com", ada, "viewer")


@pytest.fixture
def olga(ada: Person, join: Callable[[str, Person, Role], Person]) -> Person:
    """An operator in Ada's org."""
    return join("olga@example.com", ada, "operator")


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on the store takes no transaction."""

    def refused(_: Transaction) -> None:
        raise Unavailable("The store cannot be reached; try again")

    return lambda: monkeypatch.setattr(Transaction, "commit", refused)
