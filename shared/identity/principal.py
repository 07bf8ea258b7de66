"""The caller of a request, as every service takes it first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from shared.kit.errors import Forbidden, Unauthorized

Role: TypeAlias = Literal["owner", "admin", "operator", "viewer"]
"""What a member may do in an org, strongest first."""

Kind: TypeAlias = Literal["session", "basic", "key", "anonymous", "system"]
"""How the caller proved who it is; ``key`` is an API key, ``system`` the deployment itself (schedules, sweep)."""

Dialect: TypeAlias = Literal["seed", "legacy"]
"""Which of FlowRunner's two answer styles the caller reads."""

ROLES: tuple[Role, ...] = ("viewer", "operator", "admin", "owner")
"""Every role, weakest first."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller acting in exactly one org.

    ``deployment_admin`` manages accounts; it opens no other org's data. ``token_id`` is the session's ``jti``, empty
    for a password. A key acts for no account: ``key_id``, ``workflow_id`` (the one it is bound to) and ``scopes`` say
    what it is, and it reads its org as a viewer does. ``epoch`` is that of the account when a person was judged.
    """

    kind: Kind
    org_id: str
    account_id: str
    username: str
    role: Role
    deployment_admin: bool = False
    dialect: Dialect = "seed"
    token_id: str = ""
    key_id: str = ""
    key_version: int = 0
    workflow_id: str = ""
    scopes: frozenset[str] = frozenset()
    epoch: int | None = field(default=None, compare=False)

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody signed in."""
        return self.kind == "anonymous"

    def require_account(self) -> None:
        """Raise Unauthorized unless a person signed in."""
        if self.is_anonymous:
            raise Unauthorized("Authentication is required")
        if self.kind == "key":
            raise Forbidden("This needs a session; an API key is not enough")

    def require_role(self, least: Role) -> None:
        """Raise Forbidden unless the caller's role in the acting org is ``least`` or stronger."""
        if self.kind == "key" and least != "viewer":
            raise Forbidden("This needs a session; an API key is not enough")
        if ROLES.index(self.role) < ROLES.index(least):
            raise Forbidden(f"This needs the role {least} in the organisation")

    def require_deployment_admin(self) -> None:
        """Raise Forbidden unless the caller manages the deployment's accounts."""
        if not self.deployment_admin:
            raise Forbidden("This needs an administrator")


ANONYMOUS = Principal(kind="anonymous", org_id="", account_id="", username="", role="viewer")
"""Nobody. Holds no org, so no key built from it names a record."""


def system_principal(org_id: str, account_id: str) -> Principal:
    """The deployment acting for an account, as a due schedule does."""
    return Principal(kind="system", org_id=org_id, account_id=account_id, username="", role="operator")
