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
    from shared.identity.external import External, link, linked_account
    from shared.identity.names import checked_email, checked_name, checked_password, fold
    from shared.identity.options import IdentityOptions
    from shared.identity.orgs import (
        DEFAULT_ORG_ID,
        add_member,
        get_org,
        mail_addresses,
        members,
        memberships,
        move_version,
        role_in,
    )
    from shared.identity.principal import ANONYMOUS, ROLES, Dialect, Principal, Role, system_principal
    from shared.identity.rosters import (
        account_of_name,
        account_record,
        as_of_now,
        member_of,
        org_roles,
        people,
        remove_member,
        rename_org,
        role_of,
        set_role,
    )
    from shared.identity.service import Identity
    from shared.identity.sessions import Sessions
    from shared.identity.views import Account, AccountPage, OrgRole, Session

__all__ = [
    "ACCOUNT_ROLES",
    "ANONYMOUS",
    "DEFAULT_ORG_ID",
    "ROLES",
    "Account",
    "AccountPage",
    "Accounts",
    "Authenticator",
    "Changes",
    "CleanupHook",
    "Departure",
    "Dialect",
    "External",
    "Identity",
    "IdentityOptions",
    "OrgRole",
    "Principal",
    "Role",
    "Session",
    "Sessions",
    "account_of_name",
    "account_record",
    "add_member",
    "as_of_now",
    "checked_email",
    "checked_name",
    "checked_password",
    "fold",
    "get_org",
    "link",
    "linked_account",
    "mail_addresses",
    "member_of",
    "members",
    "memberships",
    "move_version",
    "org_roles",
    "people",
    "remove_member",
    "rename_org",
    "role_in",
    "role_of",
    "set_role",
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
    "External": "external",
    "Identity": "service",
    "IdentityOptions": "options",
    "OrgRole": "views",
    "Principal": "principal",
    "ROLES": "principal",
    "Role": "principal",
    "Session": "views",
    "Sessions": "sessions",
    "account_of_name": "rosters",
    "account_record": "rosters",
    "add_member": "orgs",
    "as_of_now": "rosters",
    "checked_email": "names",
    "checked_name": "names",
    "checked_password": "names",
    "fold": "names",
    "get_org": "orgs",
    "link": "external",
    "linked_account": "external",
    "mail_addresses": "orgs",
    "member_of": "rosters",
    "members": "orgs",
    "memberships": "orgs",
    "move_version": "orgs",
    "org_roles": "rosters",
    "people": "rosters",
    "remove_member": "rosters",
    "rename_org": "rosters",
    "role_in": "orgs",
    "role_of": "rosters",
    "set_role": "rosters",
    "system_principal": "principal",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
