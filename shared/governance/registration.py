"""Sign-up in NullRun's way: an account, its org, a first workflow and a first API key, at one request.

The account and its org are one transaction; workflow and key follow. A request that is cut short between them leaves a
whole account: the same request with the same Idempotency-Key goes on, and so does whoever signs in and mints a key.
Source: NullRun docs, HTTP API, Auth; docs/rulings.md#sign-up.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.governance.events import Actor, Fact, add_event
from shared.governance.forms import email_of, name_of, password_of
from shared.governance.invites import Invites, OpenInvite
from shared.governance.key_forms import NewKey
from shared.governance.keys import ApiKeys, MintedKey
from shared.governance.workflows import Workflows
from shared.identity import (
    Account,
    External,
    Identity,
    Principal,
    Session,
    account_of_name,
    account_record,
    get_org,
    link,
    linked_account,
)
from shared.kit.errors import Conflict, Forbidden, Unauthorized
from shared.store.models.identity import AccountRecord
from shared.store.transaction import Transaction

FIRST_KEY = "default"
"""What the first API key is called."""

_MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class Registered:
    """A new account, signed in, with what it begins with."""

    session: Session
    org_name: str
    workflow_id: str
    minted: MintedKey


@dataclass(frozen=True, slots=True)
class Joined:
    """Somebody who has accepted an invite, signed in."""

    session: Session
    org_id: str
    role: str


class _Known(Exception):
    """The person has an account by now."""

    def __init__(self, account_id: str) -> None:
        super().__init__(account_id)
        self.account_id = account_id


class Registration:
    """Makes accounts together with what governs their agents."""

    def __init__(self, identity: Identity, workflows: Workflows, keys: ApiKeys, invites: Invites) -> None:
        self._identity = identity
        self._workflows = workflows
        self._keys = keys
        self._invites = invites

    def register(
        self, *, email: str, password: str, name: str, bootstrap_token: str | None = None, account_id: str | None = None
    ) -> Registered:
        """Sign up with an e-mail address and a password.

        Raises Unauthorized where sign-up is closed, Unprocessable for a bad field, Conflict for a taken address.
        """
        accounts = self._identity.accounts
        accounts.require_sign_up(bootstrap_token)
        account = accounts.register(
            email=email_of(email), name=name_of(name), password=password_of(password), org_name=_org_name(name),
            bootstrap_token=bootstrap_token, account_id=account_id, steps=_add_joined,
        )  # fmt: skip
        return self._begin(account)

    def register_external(
        self, external: External, *, bootstrap_token: str | None = None, account_id: str | None = None
    ) -> Registered | Session:
        """Sign up, or in, whom another provider vouches for; a session alone when the person has an account.

        Raises Unauthorized where sign-up is closed, Forbidden without a verified address, Conflict for a taken one.
        """
        sessions, accounts = self._identity.sessions, self._identity.accounts
        known = linked_account(external)
        if known is not None:
            return sessions.begin(known)
        accounts.require_sign_up(bootstrap_token)
        if not external.email:
            raise Forbidden("The provider knows no verified e-mail address of yours; verify one there and try again")

        def steps(tx: Transaction, record: AccountRecord) -> None:
            found = linked_account(external)
            if found is not None:
                raise _Known(found)
            link(tx, external, record)
            _add_joined(tx, record)

        plain = "".join(character for character in external.name if character.isprintable())
        name = plain.strip()[:_MAX_NAME] or external.email.partition("@")[0]
        try:
            account = accounts.register(
                email=email_of(external.email), name=name_of(name), password=None, org_name=_org_name(name),
                email_verified=True, bootstrap_token=bootstrap_token, account_id=account_id, steps=steps,
            )  # fmt: skip
        except _Known as known_now:
            return sessions.begin(known_now.account_id)
        except Conflict:
            # The same person, at the same moment: whoever was faster has taken the address and the identity.
            known = linked_account(external)
            if known is None:
                raise
            return sessions.begin(known)
        return self._begin(account)

    def _begin(self, account: Account) -> Registered:
        """The session, the first workflow and the first key of a new account."""
        org = get_org(account.home_org)
        if org is None:
            raise Unauthorized("The account does not exist any more")
        session = self._identity.sessions.begin(account.id)
        principal = self._identity.authenticator.authenticate(f"Bearer {session.token}", org=org.org_id)
        workflow_id = self._workflows.ensure_first(org.org_id).id
        return Registered(session, org.name, workflow_id, self._keys.mint(principal, NewKey(FIRST_KEY, workflow_id)))

    # Invites

    def accept(self, principal: Principal, token: str) -> Joined:
        """Have the caller join an org. Raises NotFound, Gone, and Conflict for an invite to somebody else."""
        principal.require_account()
        record = account_record(principal.account_id)
        if record is None:
            raise Unauthorized("The account does not exist any more")
        found = self._invites.accept(token, record)
        return _joined(self._identity.sessions.begin(record.account_id, principal.epoch), found)

    def accept_new(self, token: str, *, name: str, password: str, account_id: str | None = None) -> Joined:
        """Make an account with the invited address and have it join the org.

        Raises NotFound, Gone, Unprocessable, and Conflict when the address has an account.
        """
        found = self._invites.find(token)
        email = found.record.email
        if account_of_name(email) is not None:
            raise Conflict(f"The address {email} has an account; sign in, and accept the invite with the session")

        def steps(tx: Transaction, record: AccountRecord) -> None:
            nonlocal found
            found = self._invites.find(token)
            self._invites.add_joining(tx, found, record)

        account = self._identity.accounts.join(
            email=email, name=name_of(name), password=password_of(password), org_id=found.org.org_id, steps=steps,
            account_id=account_id,
        )  # fmt: skip
        return _joined(self._identity.sessions.begin(account.id), found)


def _joined(session: Session, found: OpenInvite) -> Joined:
    return Joined(session, found.org.org_id, found.record.role)


def _org_name(name: str) -> str:
    return f"{name.strip()[:_MAX_NAME]}'s workspace"


def _add_joined(tx: Transaction, record: AccountRecord) -> None:
    """Tell of the account in the org that is its home."""
    actor = Actor("user", record.account_id, record.username)
    details = {"email": record.email, "role": "owner"}
    add_event(tx, record.home_org, actor, Fact("member.joined", ("member", record.account_id), details=details))
