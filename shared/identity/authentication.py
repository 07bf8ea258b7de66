"""From credentials to a principal: bearer sessions, HTTP Basic, the acting org and the dialect."""

from __future__ import annotations

import base64
import binascii
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

from shared.identity.principal import Dialect, Principal, Role
from shared.identity.sessions import ISSUER, Sessions
from shared.identity.tokens import SESSION, Tokens
from shared.kit import clock, crypto, ids
from shared.kit.errors import Forbidden, Unauthorized
from shared.store.models.identity import (
    AccountRecord,
    Membership,
    RevokedSession,
    account_pk,
    membership_sk,
    revoked_sk,
)
from shared.store.transaction import read, read_each

BASIC_SECONDS = 60.0
"""How long a password that was right is believed without checking it again."""

_REMEMBERED = 1024
_MAX_ORG_ID = 64


@dataclass(frozen=True, slots=True)
class _Verified:
    account_id: str
    epoch: int
    home_org: str
    until: float


@dataclass
class _Memory:
    """Passwords found right lately, under a digest whose key never leaves this process."""

    entries: OrderedDict[str, _Verified] = field(default_factory=OrderedDict)
    busy: dict[str, threading.Lock] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def key(self) -> bytes:
        return ids.random_bytes(crypto.KEY_BYTES)

    def get(self, digest: str) -> _Verified | None:
        with self.lock:
            found = self.entries.get(digest)
            return found if found is not None and found.until > clock.monotonic() else None

    def put(self, digest: str, verified: _Verified) -> None:
        with self.lock:
            self.entries[digest] = verified
            self.entries.move_to_end(digest)
            while len(self.entries) > _REMEMBERED:
                self.entries.popitem(last=False)

    def forget(self, digest: str) -> None:
        with self.lock:
            self.entries.pop(digest, None)

    @contextmanager
    def alone(self, digest: str) -> Iterator[None]:
        """One caller per credential: those who come with it meanwhile wait for the first one's result."""
        with self.lock:
            lock = self.busy.setdefault(digest, threading.Lock())
        try:
            with lock:
                yield
        finally:
            with self.lock:
                self.busy.pop(digest, None)


class Authenticator:
    """Turns the credentials of a request into a principal."""

    def __init__(self, tokens: Tokens, sessions: Sessions) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._memory = _Memory()

    def authenticate(
        self, authorization: str | None, *, org: str | None = None, dialect: str | None = None
    ) -> Principal:
        """The caller behind an ``Authorization`` header, acting in ``org`` (else at home) and reading ``dialect``.

        Raises Unauthorized for anything but valid credentials, Forbidden for an org the caller is no member of.
        """
        if not authorization:
            raise Unauthorized("Authentication is required")
        scheme, _, credentials = authorization.strip().partition(" ")
        if scheme.lower() == "bearer":
            return self._bearer(credentials.strip(), org, dialect)
        if scheme.lower() == "basic":
            return self._basic(credentials.strip(), org, dialect)
        raise Unauthorized("The authentication scheme must be Bearer or Basic")

    def _bearer(self, token: str, org: str | None, dialect: str | None) -> Principal:
        claims = self._tokens.read(SESSION, token, issuer=ISSUER)
        account_id, token_id, home = (_text(claims, name) for name in ("sub", "jti", "org"))
        acting = _acting(org, home)
        pk = account_pk(account_id)
        account, membership, revoked = read_each(
            (AccountRecord, pk, "account"),
            (Membership, pk, membership_sk(acting)),
            (RevokedSession, pk, revoked_sk(token_id)),
        )
        if not isinstance(account, AccountRecord) or account.deleting or revoked is not None:
            raise Unauthorized("The session has ended")
        if claims.get("ep") != account.epoch and account.kept_session != token_id:
            raise Unauthorized("The session has ended")
        if not (org or "").strip() and home != account.home_org and not isinstance(membership, Membership):
            # The account has another home since the session began.
            acting = account.home_org
            membership = read(Membership, pk, membership_sk(acting))
        return _principal(
            account, membership, acting, _dialect(dialect, claims.get("dlt"), "seed"), "session", token_id
        )

    def _basic(self, credentials: str, org: str | None, dialect: str | None) -> Principal:
        name, password = _decoded(credentials)
        digest = crypto.digest(self._memory.key, name, password)
        verified = self._memory.get(digest)
        if verified is not None:
            found = self._confirmed(verified, org, dialect)
            if found is not None:
                return found
            self._memory.forget(digest)
        with self._memory.alone(digest):
            verified = self._memory.get(digest) or self._verify(name, password)
            self._memory.put(digest, verified)
        found = self._confirmed(verified, org, dialect)
        if found is None:
            raise Unauthorized("The user name or the password is wrong")
        return found

    def _verify(self, name: str, password: str) -> _Verified:
        record = self._sessions.check_password(name, password)
        return _Verified(record.account_id, int(record.epoch), record.home_org, clock.monotonic() + BASIC_SECONDS)

    def _confirmed(self, verified: _Verified, org: str | None, dialect: str | None) -> Principal | None:
        """The principal, unless the account is gone or its password was changed since it was verified."""
        acting = _acting(org, verified.home_org)
        pk = account_pk(verified.account_id)
        account, membership = read_each((AccountRecord, pk, "account"), (Membership, pk, membership_sk(acting)))
        if not isinstance(account, AccountRecord) or account.deleting or account.epoch != verified.epoch:
            return None
        if account.home_org != verified.home_org:
            return None
        return _principal(account, membership, acting, _dialect(dialect, None, "legacy"), "basic", "")


def _principal(
    account: AccountRecord,
    membership: Any,
    org_id: str,
    dialect: Dialect,
    kind: Literal["session", "basic"],
    token_id: str,
) -> Principal:
    if not isinstance(membership, Membership) or membership.role not in get_args(Role):
        raise Forbidden("You are not a member of this organisation")
    return Principal(
        kind=kind,
        org_id=org_id,
        account_id=account.account_id,
        username=account.username,
        role=_role(membership.role),
        deployment_admin=account.administrator,
        dialect=dialect,
        token_id=token_id,
        epoch=int(account.epoch),
    )


def _role(text: str) -> Role:
    return next(role for role in get_args(Role) if role == text)


def _acting(org: str | None, home: str) -> str:
    wanted = (org or "").strip() or home
    if len(wanted) > _MAX_ORG_ID:
        raise Forbidden("You are not a member of this organisation")
    return wanted


def _dialect(header: str | None, claim: Any, default: Dialect) -> Dialect:
    wanted = (header or "").strip().lower()
    for text in (wanted, claim):
        if text == "seed":
            return "seed"
        if text == "legacy":
            return "legacy"
    return default


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise Unauthorized("The token is not valid")
    return value


def _decoded(credentials: str) -> tuple[str, str]:
    try:
        name, colon, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise Unauthorized("The Basic credentials are malformed") from None
    if not colon:
        raise Unauthorized("The Basic credentials are malformed")
    return name, password
