"""Who is calling: accounts, organisations, passwords, sessions, and the principal made of them.

Each name is loaded when it is first asked for: whoever only needs a principal loads no password hashing and no JWT.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.identity.accounts import ACCOUNT_ROLES, Accounts, Changes
    from shared.identity.authentication import Authenticator
    from shared.identity.deletion import CleanupHook, Departure
    from shared.identity.names import checked_email
    from shared.identity.options import IdentityOptions
    from shared.identity.orgs import DEFAULT_ORG_ID, mail_addresses, memberships, role_in
    from shared.identity.principal import ANONYMOUS, Dialect, Principal, Role, system_principal
    from shared.identity.service import Identity
    from shared.identity.sessions import Sessions
    from shared.identity.views import Account, AccountPage, Session

__all__ = [
    "ACCOUNT_ROLES",
    "ANONYMOUS",
    "DEFAULT_ORG_ID",
    "Account",
    "AccountPage",
    "Accounts",
    "Authenticator",
    "Changes",
    "CleanupHook",
    "Departure",
    "Dialect",
    "Identity",
    "IdentityOptions",
    "Principal",
    "Role",
    "Session",
    "Sessions",
    "checked_email",
    "mail_addresses",
    "memberships",
    "role_in",
    "system_principal",
]

_HOMES = {
    "ACCOUNT_ROLES": "accounts",
    "ANONYMOUS": "principal",
    "Account": "views",
    "AccountPage": "views",
    "Accounts": "accounts",
    "Authenticator": "authentication",
    "Changes": "accounts",
    "CleanupHook": "deletion",
    "DEFAULT_ORG_ID": "orgs",
    "Departure": "deletion",
    "Dialect": "principal",
    "Identity": "service",
    "IdentityOptions": "options",
    "Principal": "principal",
    "Role": "principal",
    "Session": "views",
    "Sessions": "sessions",
    "checked_email": "names",
    "mail_addresses": "orgs",
    "memberships": "orgs",
    "role_in": "orgs",
    "system_principal": "principal",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
