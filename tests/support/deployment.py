"""A whole deployment in memory, and people who use it through the Lambda handlers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from functions.accounts.app import handler as accounts
from functions.auth.app import handler as auth
from shared.composition import Services, use_services
from shared.identity import Identity, Principal
from shared.identity.passwords import Passwords
from shared.kit.settings import Settings, use_settings
from shared.store.embedded import EmbeddedEngine
from tests.support.apigw import bearer, call
from tests.support.store import memory_store, moto_store

PASSWORD = "correct horse 42"
"""Everybody's."""


@contextmanager
def deployment(folder: Path, **values: Any) -> Iterator[Services]:
    """Services over an empty store in memory; ``values`` are settings."""
    with memory_store() as engine, process(engine, Settings(data=folder, **values)) as services:
        yield services


@contextmanager
def process(engine: EmbeddedEngine, settings: Settings) -> Iterator[Services]:
    """The services of a process that has just started over a store of others, which stays open after it."""
    services = Services(settings)
    services.__dict__["store"] = engine
    use_settings(settings)
    use_services(services)
    try:
        # Hashing is tested where it is; everywhere else it should cost nothing.
        services.identity.sessions._passwords._hasher = cheap_passwords()._hasher
        yield services
    finally:
        use_services(None)
        use_settings(None)
        services.__dict__.pop("store", None)
        services.close()


@contextmanager
def deployment_on_dynamodb(folder: Path) -> Iterator[Services]:
    """Services over an empty DynamoDB, as moto plays it."""
    services = Services(Settings(data=folder))
    services.__dict__["store"] = None
    with moto_store():
        use_services(services)
        try:
            yield services
        finally:
            use_services(None)
            services.close()


def cheap_identity(**options: Any) -> Identity:
    """Identity whose password hashes cost next to nothing."""
    from shared.identity import IdentityOptions

    return Identity.build(b"t" * 32, IdentityOptions(**options), cheap_passwords())


def cheap_passwords() -> Passwords:
    """Hashes that cost next to nothing."""
    return Passwords(passes=1, memory_kib=8)


@dataclass(frozen=True)
class Person:
    """Somebody signed in."""

    id: str
    username: str
    token: str
    org_id: str

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the session."""
        return bearer(self.token)


def sign_up(username: str, *, legacy: bool = False) -> Person:
    """Make an account over the API and sign in."""
    made = call(accounts, "POST", "/api/v1/accounts", json={"username": username, "password": PASSWORD})
    assert made.status == 201, made
    return sign_in(username, legacy=legacy)


def sign_in(username: str, password: str = PASSWORD, *, legacy: bool = False) -> Person:
    """Sign in over the API."""
    path = "/api/v1/login" if legacy else "/api/v1/auth/login"
    answer = call(auth, "POST", path, json={"username": username, "password": password})
    assert answer.status == 200, answer
    body = answer.body
    return Person(body["account_id"], body["username"], body["token"], body["organization_id"])


def principal_of(services: Services, person: Person) -> Principal:
    """The principal a request of the person has."""
    return services.identity.authenticator.authenticate(f"Bearer {person.token}")
