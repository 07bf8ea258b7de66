"""What callers see of identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.identity.principal import Role
from shared.store.models.identity import AccountRecord


@dataclass(frozen=True, slots=True)
class Account:
    """A person, without anything secret. Times are epoch milliseconds."""

    id: str
    user_id: int
    username: str
    name: str
    email: str
    administrator: bool
    home_org: str
    created_ms: int
    updated_ms: int

    @property
    def role(self) -> str:
        """FlowRunner's word for whether the account manages the deployment's accounts."""
        return "admin" if self.administrator else "user"

    @classmethod
    def of(cls, record: AccountRecord) -> Account:
        """The view of a stored account."""
        return cls(
            id=record.account_id,
            user_id=int(record.user_id),
            username=record.username,
            name=record.name,
            email=record.email,
            administrator=record.administrator,
            home_org=record.home_org,
            created_ms=int(record.created_ms),
            updated_ms=int(record.updated_ms),
        )


@dataclass(frozen=True, slots=True)
class AccountPage:
    """A part of the list of accounts; ``total`` counts all that were asked for."""

    items: Sequence[Account]
    total: int
    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class OrgRole:
    """An org, as one of its members sees it: what it is called and what the member may do."""

    id: str
    name: str
    role: Role
    created_ms: int


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in session. ``role`` is the account's in its home org; ``expires_ms`` is the token's ``exp``.

    ``orgs`` are those the account is a member of.
    """

    token: str
    expires_ms: int
    account: Account
    role: str
    orgs: Sequence[OrgRole]
