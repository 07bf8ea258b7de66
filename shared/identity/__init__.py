"""Who is calling: accounts, organisations, passwords, sessions, and the principal made of them."""

from shared.identity.accounts import ACCOUNT_ROLES, Accounts, Changes
from shared.identity.authentication import Authenticator
from shared.identity.deletion import CleanupHook, Departure
from shared.identity.options import IdentityOptions
from shared.identity.orgs import DEFAULT_ORG_ID, memberships, role_in
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
    "memberships",
    "role_in",
    "system_principal",
]
