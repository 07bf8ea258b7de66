"""Accounts: who may see, make, change and remove them. Source: FlowRunner API Reference, Account Management."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from shared.identity.deletion import Deletion
from shared.identity.deployment import count_administrators, current_deployment, take_number
from shared.identity.names import LOCAL_DOMAIN, checked_email, checked_name, checked_password, checked_username, fold
from shared.identity.options import IdentityOptions
from shared.identity.orgs import DEFAULT_ORG_ID, add_member, ensure_default_org, get_org, move_version, new_org
from shared.identity.passwords import Passwords
from shared.identity.principal import Principal
from shared.identity.rosters import people
from shared.identity.views import Account, AccountPage
from shared.kit import clock, ids
from shared.kit.errors import Conflict, Forbidden, NotFound, Unauthorized, Unavailable, Unprocessable
from shared.store.models.identity import (
    ACCOUNTS_PK,
    AccountListing,
    AccountRecord,
    Deployment,
    LoginName,
    account_pk,
    login_pk,
)
from shared.store.transaction import ConditionFailed, Transaction, read

_ATTEMPTS = 64
_PAUSE_S = 0.005
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ACCOUNT_ROLES = ("admin", "user")


@dataclass(frozen=True, slots=True)
class Changes:
    """What to change of an account; None leaves it."""

    name: str | None = None
    email: str | None = None
    role: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class _Draft:
    """An account to be. Every attempt of one repeated request has the same ``account_id``.

    ``home_org`` is an org it joins by ``steps``; without one it gets an org of its own, called ``org_name``.
    """

    account_id: str
    username: str
    email: str
    name: str
    password_hash: str | None
    administrator: bool = False
    home_org: str = ""
    org_name: str = ""
    email_verified: bool = False


Steps = Callable[[Transaction, AccountRecord], None]
"""Adds writes to the transaction that makes an account; called anew for every attempt, and may refuse by raising."""


class Accounts:
    """The account service."""

    def __init__(self, passwords: Passwords, deletion: Deletion, options: IdentityOptions) -> None:
        self._passwords = passwords
        self._deletion = deletion
        self._options = options

    # Looking

    def list(self, principal: Principal, *, role: str | None = None, limit: int, offset: int) -> AccountPage:
        """Accounts of the deployment, oldest first; ``role`` keeps admins or users. Raises Forbidden."""
        principal.require_deployment_admin()
        keep = None if role is None else AccountListing.administrator == (role == "admin")
        rows = [row.sk for row in AccountListing.query(ACCOUNTS_PK, filter_condition=keep, consistent_read=True)]
        if role is not None and role not in ACCOUNT_ROLES:
            rows = []
        return AccountPage(self._load(rows[offset : offset + limit]), len(rows), limit, offset)

    def _load(self, account_ids: Sequence[str]) -> Sequence[Account]:
        found = people(account_ids)
        return [found[account_id] for account_id in account_ids if account_id in found]

    def get(self, principal: Principal, account_id: str) -> Account:
        """One account, asked by itself or an administrator. Raises Forbidden, NotFound."""
        return Account.of(self._visible(principal, account_id))

    def _visible(self, principal: Principal, account_id: str) -> AccountRecord:
        principal.require_account()
        if principal.account_id != account_id and not principal.deployment_admin:
            raise Forbidden("This account is not yours")
        record = read(AccountRecord, account_pk(account_id), "account") if _ID.fullmatch(account_id) else None
        if record is None or record.deleting:
            raise NotFound("There is no such account")
        return record

    # Making

    def create(
        self, principal: Principal, *, name: str, email: str, password: str, role: str = "user",
        account_id: str | None = None,
    ) -> Account:  # fmt: skip
        """An account made by an administrator, with an org of its own. Raises Forbidden, Conflict, Unprocessable.

        A given ``account_id`` that exists already is answered as it is.
        """
        principal.require_deployment_admin()
        name, address = checked_name(name), checked_email(email)
        checked_password(password)
        administrator = _checked_role(role)
        password_hash = self._passwords.hash(password)
        draft = _Draft(account_id or ids.uuid7(), address, address, name, password_hash, administrator)
        return self._register(draft, taken="email")

    def sign_up(
        self, *, username: str, password: str, bootstrap_token: str | None = None, account_id: str | None = None
    ) -> Account:
        """An account somebody makes for themselves; the deployment's first becomes its administrator.

        Raises Unauthorized where sign-up is closed, Conflict when the name is taken. A given ``account_id`` that exists
        already is answered as it is.
        """
        needs_token = self.require_sign_up(bootstrap_token)
        username = checked_username(username)
        checked_password(password)
        email = username if "@" in username else f"{username}@{LOCAL_DOMAIN}"
        draft = _Draft(account_id or ids.uuid7(), username, email, username, self._passwords.hash(password))
        return self._register(draft, taken="username", only_first=needs_token)

    def register(
        self, *, email: str, name: str, password: str | None, org_name: str, email_verified: bool = False,
        bootstrap_token: str | None = None, account_id: str | None = None, steps: Steps | None = None,
    ) -> Account:  # fmt: skip
        """As :meth:`sign_up`, with an e-mail address, a name and a name for the org. Without a password none signs in.

        ``email_verified`` is whether another provider vouches for the address.
        Raises Unauthorized where sign-up is closed, Conflict when the address is taken, InvalidRequest.
        """
        needs_token = self.require_sign_up(bootstrap_token)
        draft = self._draft(email, name, password, account_id)
        draft = replace(draft, org_name=org_name, email_verified=email_verified)
        return self._register(draft, taken="email", only_first=needs_token, steps=steps)

    def join(
        self, *, email: str, name: str, password: str, org_id: str, steps: Steps, account_id: str | None = None
    ) -> Account:
        """An account of somebody whom an org has invited, which is its home; ``steps`` make the membership.

        It needs no open sign-up. Raises Conflict when the address is taken, InvalidRequest, and what ``steps`` raise.
        """
        draft = replace(self._draft(email, name, password, account_id), home_org=org_id)
        return self._register(draft, taken="email", steps=steps)

    def _draft(self, email: str, name: str, password: str | None, account_id: str | None) -> _Draft:
        address, name = checked_email(email), checked_name(name)
        password_hash = None if password is None else self._passwords.hash(checked_password(password))
        return _Draft(account_id or ids.uuid7(), address, address, name, password_hash)

    def require_sign_up(self, token: str | None) -> bool:
        """Raise Unauthorized unless sign-up is open; whether it is so only for the first account."""
        expected = self._options.bootstrap_token()
        if not expected:
            if not self._options.open_signup:
                raise Unauthorized("Sign-up is closed; ask an administrator for an account")
            return False
        if self._options.open_signup and current_deployment() is not None:
            return False
        if not hmac.compare_digest((token or "").encode(), expected.encode()):
            raise Unauthorized("The first account needs the deployment's bootstrap token")
        return True

    def _register(self, draft: _Draft, *, taken: str, only_first: bool = False, steps: Steps | None = None) -> Account:
        """Store a new account with its org, login names and number. Raises Conflict, Unauthorized."""
        for attempt in range(_ATTEMPTS):
            if attempt:
                clock.sleep(_PAUSE_S * (1 + ids.uniform() * attempt))
            deployment = current_deployment()
            if deployment is not None and only_first:
                raise Unauthorized("The bootstrap token has been used")
            record = _new_record(draft, deployment)
            tx = Transaction()
            take_number(tx, deployment, record)
            tx.put(record, AccountRecord.pk.does_not_exist())
            tx.put(AccountListing(ACCOUNTS_PK, record.account_id, administrator=record.administrator))
            for name in {fold(draft.username), fold(draft.email)}:
                tx.put(
                    LoginName(login_pk(name), "login", account_id=record.account_id),
                    LoginName.pk.does_not_exist(),
                    f"name {name}",
                )
            if not draft.home_org:
                _home(tx, record, draft.org_name, deployment is None)
            if steps is not None:
                steps(tx, record)
            try:
                tx.commit()
            except ConditionFailed as failed:
                earlier = read(AccountRecord, record.pk, "account")
                if earlier is not None:
                    return Account.of(earlier)
                if any(label.startswith("name ") for label in failed.failures):
                    raise Conflict.field(taken, f"{taken.capitalize()} is already used") from None
                continue
            return Account.of(record)
        raise Unavailable("Too many accounts are being made at once; try again")

    # Changing

    def update(self, principal: Principal, account_id: str, changes: Changes) -> Account:
        """Change an account. A role only by an administrator. Raises Forbidden, NotFound, Conflict, Unprocessable.

        A new password ends the account's other sessions.
        """
        self._visible(principal, account_id)
        if changes.role is not None:
            principal.require_deployment_admin()
        password_hash = None if changes.password is None else self._passwords.hash(checked_password(changes.password))
        for _ in range(_ATTEMPTS):
            record = self._visible(principal, account_id)
            wanted = self._changed(principal, record, changes, password_hash)
            try:
                _change(record, wanted).commit()
            except ConditionFailed as failed:
                if any(label.startswith("name ") for label in failed.failures):
                    raise Conflict.field("email", "Email is already used") from None
                if "administrators" in failed.failures:
                    raise Conflict("The last administrator must stay one") from None
                continue
            return Account.of(wanted)
        raise Unavailable("The account is being changed by others; try again")

    def _changed(
        self, principal: Principal, record: AccountRecord, changes: Changes, password_hash: str | None
    ) -> AccountRecord:
        wanted = AccountRecord(**record.attribute_values)
        if changes.name is not None:
            wanted.name = checked_name(changes.name)
        if changes.email is not None:
            wanted.email = checked_email(changes.email)
            wanted.email_verified = bool(record.email_verified) and wanted.email == record.email
            if fold(record.username) == fold(record.email):
                wanted.username = wanted.email
        if changes.role is not None:
            wanted.administrator = _checked_role(changes.role)
        if password_hash is not None:
            wanted.password_hash, wanted.epoch = password_hash, record.epoch + 1
            wanted.kept_session = principal.token_id if principal.account_id == record.account_id else None
        wanted.version = record.version + 1
        wanted.updated_ms = max(clock.now_ms(), int(record.updated_ms) + 1)
        return wanted

    def delete(self, principal: Principal, account_id: str) -> None:
        """Remove an account and everything that is only its own. Raises Forbidden, NotFound, Conflict."""
        self._deletion.begin(self._visible(principal, account_id), principal)
        self._deletion.finish(account_id)


def _new_record(draft: _Draft, deployment: Deployment | None) -> AccountRecord:
    account_id, now = draft.account_id, clock.now_ms()
    first = deployment is None
    return AccountRecord(
        account_pk(account_id),
        "account",
        account_id=account_id,
        user_id=1 if deployment is None else int(deployment.last_user_id) + 1,
        username=draft.username,
        name=draft.name,
        email=draft.email,
        email_verified=draft.email_verified,
        password_hash=draft.password_hash,
        home_org=draft.home_org or (DEFAULT_ORG_ID if first else ids.uuid4()),
        administrator=draft.administrator or first,
        deleting=False,
        version=1,
        epoch=1,
        created_ms=now,
        updated_ms=now,
    )


def _checked_role(role: str) -> bool:
    if role not in ACCOUNT_ROLES:
        raise Unprocessable.field("role", f"Role must be one of {', '.join(ACCOUNT_ROLES)}")
    return role == "admin"


def _home(tx: Transaction, record: AccountRecord, org_name: str, first: bool) -> None:
    """Give the account its home: the default org to the first, an org of its own to everybody else."""
    if first:
        ensure_default_org()
        org = get_org(DEFAULT_ORG_ID)
        if org is None:
            raise Unavailable("The default organisation is not there yet; try again")
        move_version(tx, org, "org")
    else:
        org = new_org(record.home_org, org_name or record.name, personal=True)
        tx.put(org, type(org).pk.does_not_exist(), "org")
    add_member(tx, record.home_org, record.account_id, "owner")


def _change(record: AccountRecord, wanted: AccountRecord) -> Transaction:
    """The transaction that makes ``record`` into ``wanted``, on condition that nobody else changed it."""
    tx = Transaction()
    tx.put(wanted, (AccountRecord.version == record.version) & (AccountRecord.deleting == False), "account")  # noqa: E712
    before = {fold(record.username), fold(record.email)}
    after = {fold(wanted.username), fold(wanted.email)}
    for name in before - after:
        tx.delete(LoginName(login_pk(name), "login"))
    for name in after - before:
        tx.put(
            LoginName(login_pk(name), "login", account_id=record.account_id),
            LoginName.pk.does_not_exist(),
            f"name {name}",
        )
    if wanted.administrator != record.administrator:
        tx.put(AccountListing(ACCOUNTS_PK, record.account_id, administrator=wanted.administrator))
        count_administrators(tx, 1 if wanted.administrator else -1)
    return tx
