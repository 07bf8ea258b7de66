"""People who sign up in NullRun's way, orgs they share, and requests about an org."""

from __future__ import annotations

from typing import Any

from functions.orgs.app import handler as orgs
from functions.signup.app import handler as signup
from shared.identity import Role, add_member, get_org, move_version
from shared.store.transaction import Transaction
from tests.support.apigw import Answer, Handler, call
from tests.support.deployment import PASSWORD, Person, sign_up


def register(email: str, name: str = "") -> Person:
    """Sign up over the API."""
    sent = {"email": email, "password": PASSWORD, "name": name or email.partition("@")[0].capitalize()}
    made = call(signup, "POST", "/api/v1/auth/register", json=sent)
    assert made.status == 201, made
    return Person(made.body["user_id"], email, made.body["session_token"], made.body["organization_id"])


def join(org_id: str, person: Person, role: Role) -> None:
    """Make somebody a member without an invite."""
    org = get_org(org_id)
    assert org is not None
    tx = Transaction()
    move_version(tx, org, "org")
    add_member(tx, org_id, person.id, role)
    tx.commit()


def newcomer(owner: Person, name: str, role: Role) -> Person:
    """Somebody new who belongs to another's org, too."""
    who = sign_up(f"{name}@example.com")
    join(owner.org_id, who, role)
    return who


def org_path(who: Person, rest: str = "") -> str:
    """A path in somebody's home org."""
    return f"/api/v1/orgs/{who.org_id}{rest}"


def send_to(
    handler: Handler, method: str, path: str, who: Person | dict[str, str] | None = None, body: Any = None, **more: Any
) -> Answer:
    """One request to a family. ``who`` is a person, or headers."""
    headers = who.headers if isinstance(who, Person) else dict(who or {})
    return call(handler, method, path, headers=headers, json=body, **more)


def made(answer: Answer, status: int = 201) -> dict[str, Any]:
    """The body of an answer that has this status."""
    assert answer.status == status, answer
    body: dict[str, Any] = answer.body
    return body


def ok(answer: Answer) -> dict[str, Any]:
    """The body of an answer to what made nothing."""
    return made(answer, 200)


def invite(host: Person, email: str, role: str = "operator", org_id: str = "") -> Any:
    """Invite somebody over the API; what was answered."""
    path = f"/api/v1/orgs/{org_id or host.org_id}/invites"
    made = call(orgs, "POST", path, headers=host.headers, json={"email": email, "role": role})
    assert made.status == 201, made
    return made.body
