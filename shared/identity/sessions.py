"""Signing in with a password, refreshing and ending sessions. One sign-in is one session, whichever API reads it.

Source: FlowRunner API Reference, Authentication.
"""

from __future__ import annotations

from typing import Any

from shared.identity.lockout import Lockout
from shared.identity.names import fold, is_login_name
from shared.identity.options import IdentityOptions
from shared.identity.passwords import Passwords
from shared.identity.principal import Dialect, Principal
from shared.identity.rosters import account_record, org_roles
from shared.identity.tokens import SESSION, Tokens
from shared.identity.views import Account, Session
from shared.kit import clock, ids
from shared.kit.errors import Unauthorized
from shared.store.models.identity import (
    AccountRecord,
    LoginName,
    RevokedSession,
    account_pk,
    login_pk,
    revoked_sk,
)
from shared.store.transaction import put_if_absent, read, update_if

ISSUER = "flowrunner"
_NOBODY = "nobody"


class Sessions:
    """Sessions of people."""

    def __init__(self, tokens: Tokens, passwords: Passwords, lockout: Lockout, options: IdentityOptions) -> None:
        self._tokens = tokens
        self._passwords = passwords
        self._lockout = lockout
        self._life_s = max(1, int(options.token_hours * 3600))

    def login(self, name: str, password: str, *, dialect: Dialect = "seed") -> Session:
        """Sign in with a user name or e-mail address. Raises Unauthorized, and TooManyRequests while locked."""
        return self._open(self.check_password(name, password), dialect)

    def check_password(self, name: str, password: str) -> AccountRecord:
        """The account of a name and its password. Wrong name and wrong password look and cost the same."""
        self._lockout.refuse_locked(name)
        record = self._find(name)
        right = self._passwords.verify(None if record is None else record.password_hash, password)
        if record is None or not right:
            self._lockout.failed(name)
            raise Unauthorized("The user name or the password is wrong")
        if self._lockout.refuse_locked(name):
            self._lockout.succeeded(name)
        self._renew_hash(record, password)
        return record

    def _find(self, name: str) -> AccountRecord | None:
        login = read(LoginName, login_pk(fold(name) if is_login_name(name) else ""), "login")
        # An unknown name costs the same two reads as a known one.
        record = read(AccountRecord, account_pk(_NOBODY if login is None else login.account_id), "account")
        return None if record is None or record.deleting else record

    def _renew_hash(self, record: AccountRecord, password: str) -> None:
        if record.password_hash is None or not self._passwords.is_outdated(record.password_hash):
            return
        unchanged = AccountRecord.password_hash == record.password_hash
        update_if(record, [AccountRecord.password_hash.set(self._passwords.hash(password))], unchanged)

    def _open(self, record: AccountRecord, dialect: Dialect, epoch: int | None = None) -> Session:
        """A session. Whoever was judged some reads ago says at which ``epoch``: if it has moved, it is over at once."""
        now = clock.now_ms() // 1000
        expires = now + self._life_s
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "sub": record.account_id,
            "account_id": record.account_id,
            "username": record.username,
            "iat": now,
            "nbf": now,
            "exp": expires,
            "jti": ids.uuid4(),
            "dlt": dialect,
            "org": record.home_org,
            "ep": int(record.epoch) if epoch is None else epoch,
        }
        orgs = org_roles(record.account_id)
        role = next((org.role for org in orgs if org.id == record.home_org), "viewer")
        return Session(self._tokens.sign(SESSION, claims), expires * 1000, Account.of(record), role, orgs)

    def begin(self, account_id: str, epoch: int | None = None) -> Session:
        """A session of an account that has proved otherwise who it is, at an ``epoch`` if by another session.

        Raises Unauthorized when it is gone.
        """
        record = account_record(account_id)
        if record is None:
            raise Unauthorized("The account does not exist any more")
        return self._open(record, "seed", epoch)

    def refresh(self, principal: Principal, *, dialect: Dialect | None = None) -> Session:
        """Another session of the same account; the one at hand goes on until it expires or is logged out.

        It has the dialect of the one at hand unless another is given.
        """
        record = account_record(principal.account_id)
        if record is None:
            raise Unauthorized("The account does not exist any more")
        return self._open(record, dialect or principal.dialect, principal.epoch)

    def logout(self, principal: Principal) -> None:
        """End this session and no other; a caller with a password has none and nothing happens."""
        if principal.token_id:
            # No token lives longer than this, and after that the revocation has nothing left to say.
            ttl = clock.now_ms() // 1000 + self._life_s + 60
            put_if_absent(RevokedSession(account_pk(principal.account_id), revoked_sk(principal.token_id), ttl=ttl))
