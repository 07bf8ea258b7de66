"""A deployment with one owner of things and everybody who might want them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.composition import Services
from shared.identity.orgs import add_member, get_org, move_version
from shared.identity.principal import Role
from shared.kit import clock
from shared.store.embedded import EmbeddedEngine
from shared.store.transaction import Transaction
from shared.web.app import family_app, lambda_handler
from shared.web.families import family_routers
from tests.support.apigw import Handler, bearer, call
from tests.support.deployment import Person, deployment, sign_in, sign_up
from tests.support.time import HeldClock

CANARY = "canary-7f3a"
SECRET = "CANARY_KEY"
FLOW = f"""metadata:
  name: {CANARY}
nodes:
  start:
    type: transform
    params: {{script: "return '{CANARY}'"}}
"""
_DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True)
class World:
    """Callers by kind, and the ids of the owner's things by the name of the path parameter."""

    handler: Handler
    headers: dict[str, dict[str, str]]
    things: dict[str, str]
    services: Services

    def stored(self) -> str:
        """Everything in the store, to tell whether a request changed something."""
        engine = self.services.store
        assert isinstance(engine, EmbeddedEngine)
        tables = engine._make_api_call("ListTables", {})["TableNames"]
        return repr([engine._make_api_call("Scan", {"TableName": table})["Items"] for table in tables])


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """A new one."""
    with deployment(folder, token_hours=24) as services:
        handler = lambda_handler(family_app("everything", *family_routers().values()))
        admin, owner = sign_up("root"), sign_up(f"{CANARY}@example.com")
        member, viewer, stranger = sign_up("member"), sign_up("viewer"), sign_up("stranger")
        _join(owner, member, "operator")
        _join(owner, viewer, "viewer")
        headers = {"none": {}, "malformed": bearer("not.a.token")} | _dead_sessions(services, owner, admin)
        at_owners = {"x-signalbox-org": owner.org_id}
        headers |= {"owner": owner.headers, "admin": admin.headers, "stranger": stranger.headers}
        headers |= {"member": member.headers | at_owners, "viewer": viewer.headers | at_owners}
        headers |= {"intruder": stranger.headers | at_owners}
        yield World(handler, headers, _things(handler, owner), services)


def _join(owner: Person, who: Person, role: Role) -> None:
    org = get_org(owner.org_id)
    assert org is not None
    tx = Transaction()
    move_version(tx, org, "org")
    add_member(tx, owner.org_id, who.id, role)
    tx.commit()


def _dead_sessions(services: Services, owner: Person, admin: Person) -> dict[str, dict[str, str]]:
    identity = services.identity
    with clock.use(HeldClock(clock.now_ms() - _DAY_MS - 1000)):
        expired = sign_in(owner.username)
    revoked = sign_in(owner.username)
    identity.sessions.logout(identity.authenticator.authenticate(f"Bearer {revoked.token}"))
    deleted = sign_up("deleted")
    identity.accounts.delete(identity.authenticator.authenticate(f"Bearer {admin.token}"), deleted.id)
    return {"expired": expired.headers, "revoked": revoked.headers, "deleted": deleted.headers}


def _things(handler: Handler, owner: Person) -> dict[str, str]:
    things = {"account_id": owner.id, "key": SECRET, "name": "transform"}
    _make(handler, owner, f"/api/v1/accounts/{owner.id}/secrets", {"key": SECRET, "value": f"{CANARY}-value"})
    flow = _make(handler, owner, "/api/v1/flows", {"name": CANARY, "description": CANARY, "definition": FLOW})
    things["flow_id"] = flow["id"]
    run = _make(handler, owner, f"/api/v1/flows/{flow['id']}/run", {"input": {"value": CANARY}})
    return things | {"execution_id": run["execution_id"]}


def _make(handler: Handler, owner: Person, path: str, body: dict[str, Any]) -> dict[str, Any]:
    made = call(handler, "POST", path, headers=owner.headers, json=body)
    assert made.status == 201, made
    found: dict[str, Any] = made.body
    return found
