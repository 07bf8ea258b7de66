"""A deployment with one owner of things and everybody who might want them; prepared once, and copied for each use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.composition import Services, use_services
from shared.identity import Role
from shared.kit import clock
from shared.kit.settings import Settings, use_settings
from shared.store.embedded import EmbeddedEngine
from shared.web.app import family_app, lambda_handler
from shared.web.families import family_routers
from tests.authorization.rows import AT_HOME
from tests.authorization.things import CANARY, Hand, ended_key, keys_by_kind, owners_things
from tests.support.apigw import Handler, bearer
from tests.support.deployment import Person, process, sign_in, sign_up
from tests.support.orgs import join
from tests.support.store import Snapshot, Stored, memory_store, snapshot, stored
from tests.support.time import HeldClock

_ROLES: dict[str, Role] = {"viewer": "viewer", "operator": "operator", "admin": "admin", "member": "viewer"}
_ID = 32
"""Ids, keys and tokens have so many characters or more; other words of requests are shorter."""

_DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True)
class World:
    """Callers by kind, and the ids of the owner's things by the name of the path parameter.

    ``home`` is the stranger's org, ``accounts`` are those of the living people by their kind.
    """

    handler: Handler
    headers: Mapping[str, Mapping[str, str]]
    things: Mapping[str, str]
    home: str
    accounts: Mapping[str, str]
    engine: EmbeddedEngine
    services: Services
    begun: Snapshot

    def named_by(self, kind: str) -> dict[str, str]:
        """What a caller asks for: the owner's things, and those at home as if they were in an org of their own."""
        return dict(self.things) | ({"org_id": self.home} if kind in AT_HOME else {})

    def stored(self) -> list[Stored]:
        """Everything in the store, to tell whether a request changed something."""
        return stored(self.engine)

    def owned(self) -> list[Stored]:
        """What is stored of the owner and its org."""
        whose = [self.things[name].encode() for name in ("org_id", "account_id")]
        return [row for row in self.stored() if any(name in row[1] for name in whose)]

    def secrets_from(self, sent: str) -> list[str]:
        """What an answer to this request must not have if it is not for the owner's people."""
        ids = [value for value in self.things.values() if len(value) >= _ID and value not in sent]
        return [CANARY, *ids]

    @contextmanager
    def afresh(self) -> Iterator[None]:
        """A process that has just started over the store; whatever it writes there is undone at the end."""
        try:
            with process(self.engine, self.services.settings):
                yield
        finally:
            use_services(self.services)
            use_settings(self.services.settings)
            self.begun.restore()


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """A new one. Its time stands still: nothing in it ends by itself, however slow the machine is."""
    with ExitStack() as stack:
        stack.enter_context(clock.use(HeldClock(clock.now_ms())))
        engine = stack.enter_context(memory_store())
        services = stack.enter_context(process(engine, Settings(data=folder, token_hours=24)))
        handler = lambda_handler(family_app("everything", *family_routers().values()))
        people = {"deployment_admin": sign_up("root"), "owner": sign_up(f"{CANARY}@example.com")}
        people |= {name: sign_up(name) for name in (*_ROLES, "stranger")}
        owner, stranger = people["owner"], people["stranger"]
        for name, role in _ROLES.items():
            join(owner.org_id, people[name], role)
        root = people["deployment_admin"]
        Hand(handler, root.headers, root.org_id).workflow("root's")
        things = owners_things(handler, owner, services) | {"member_id": people["member"].id}
        headers = _headers(handler, people, things) | _dead_sessions(services, people)
        begun = stack.enter_context(snapshot(engine))
        accounts = {name: person.id for name, person in people.items()}
        yield World(handler, headers, things, stranger.org_id, accounts, engine, services, begun)


def _headers(handler: Handler, people: Mapping[str, Person], things: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    owner, stranger = people["owner"], people["stranger"]
    there = {"x-signalbox-org": owner.org_id}
    made: dict[str, Mapping[str, str]] = {"none": {}, "malformed": bearer("not.a.token")}
    made |= {name: people[name].headers for name in ("owner", "deployment_admin", "stranger")}
    made |= {name: people[name].headers | there for name in ("viewer", "operator", "admin")}
    made["intruder"] = stranger.headers | there
    keys = keys_by_kind(handler, owner, stranger, things)
    with clock.use(HeldClock(clock.now_ms() - _DAY_MS)):
        keys["expired_key"] = ended_key(handler, sign_in(owner.username), things["workflow_id"])
    made |= {kind: {"x-api-key": key} for kind, key in keys.items()}
    made["intruding_key"] = {"x-api-key": keys["intruding_key"]} | there
    return made


def _dead_sessions(services: Services, people: Mapping[str, Person]) -> dict[str, Mapping[str, str]]:
    identity, owner = services.identity, people["owner"]
    with clock.use(HeldClock(clock.now_ms() - _DAY_MS - 1000)):
        expired = sign_in(owner.username)
    revoked = sign_in(owner.username)
    identity.sessions.logout(identity.authenticator.authenticate(f"Bearer {revoked.token}"))
    deleted = sign_up("deleted")
    administrator = identity.authenticator.authenticate(f"Bearer {people['deployment_admin'].token}")
    identity.accounts.delete(administrator, deleted.id)
    return {"expired": expired.headers, "revoked": revoked.headers, "deleted": deleted.headers}
