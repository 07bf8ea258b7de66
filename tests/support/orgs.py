"""People who sign up in NullRun's way, and orgs they share."""

from __future__ import annotations

from typing import Any

from functions.orgs.app import handler as orgs
from functions.signup.app import handler as signup
from shared.identity import Role, add_member, get_org, move_version
from shared.store.transaction import Transaction
from tests.support.apigw import call
from tests.support.deployment import PASSWORD, Person


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


def invite(host: Person, email: str, role: str = "operator", org_id: str = "") -> Any:
    """Invite somebody over the API; what was answered."""
    path = f"/api/v1/orgs/{org_id or host.org_id}/invites"
    made = call(orgs, "POST", path, headers=host.headers, json={"email": email, "role": role})
    assert made.status == 201, made
    return made.body
