"""Who may do what: one decision for every route and every kind of caller.

The caller asks for things of *the owner*, a user with an org of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

REFUSED = ("none", "malformed", "expired", "revoked", "deleted")
"""No, broken, expired, logged-out credentials; the token of an account that is gone."""

KNOWN = ("intruder", "stranger", "admin", "member", "viewer", "owner")
"""In the order in which they are tried:

intruder   a user of another org who names the owner's org in X-Signalbox-Org
stranger   the same user acting at home
admin      the deployment's administrator, who is in another org too
member     another account in the owner's org, operator, acting there
viewer     another account in the owner's org, viewer, acting there
owner      the owner itself
"""

KINDS = REFUSED + KNOWN


@dataclass(frozen=True)
class Row:
    """The status each kind of caller gets, and which of them may be shown the owner's data."""

    statuses: dict[str, int]
    shown: frozenset[str] = frozenset()


def _row(shown: tuple[str, ...], **known: int) -> Row:
    return Row(dict.fromkeys(REFUSED, 401) | {"intruder": 403} | known, frozenset(shown))


def own(success: int) -> Row:
    """Things of an account that nobody else may touch, administrators included."""
    return _row(("owner",), stranger=403, admin=403, member=403, viewer=403, owner=success)


def managed(success: int) -> Row:
    """An account: itself and administrators."""
    return _row(("owner", "admin"), stranger=403, admin=success, member=403, viewer=403, owner=success)


def administrators(success: int) -> Row:
    """For the deployment's administrators."""
    return _row(("admin",), stranger=403, admin=success, member=403, viewer=403, owner=403)


def anybody(success: int) -> Row:
    """Whoever is signed in, about themselves."""
    return _row(("owner",), stranger=success, admin=success, member=success, viewer=success, owner=success)


def listing(success: int = 200) -> Row:
    """A list of the acting org: everybody gets one, each their own org's."""
    shown = ("owner", "member", "viewer")
    return _row(shown, stranger=success, admin=success, member=success, viewer=success, owner=success)


def reading(success: int = 200) -> Row:
    """A thing of the owner's org, for its members; to everybody else it does not exist."""
    shown = ("owner", "member", "viewer")
    return _row(shown, stranger=404, admin=404, member=success, viewer=success, owner=success)


def changing(success: int) -> Row:
    """Changing a thing of the owner's org: operators and stronger; a role too weak is 403 before existence."""
    return _row(("owner", "member"), stranger=404, admin=404, member=success, viewer=403, owner=success)


def making(success: int) -> Row:
    """Making a thing in the acting org: operators and stronger, each in their own."""
    shown = ("owner", "member")
    return _row(shown, stranger=success, admin=success, member=success, viewer=403, owner=success)


def public(status: int) -> Row:
    """The same answer to everybody, whatever credentials come along."""
    return Row(dict.fromkeys(KINDS, status), frozenset(KINDS))


DECISIONS: dict[str, Row] = {
    # auth: credentials are in the body, not in a header
    "login": public(200),
    "login_legacy": public(200),
    "refresh": anybody(200),
    "logout": anybody(200),
    # accounts
    "list_accounts": administrators(200),
    "create_account": administrators(201),
    "get_my_account": anybody(200),
    "refresh_token": anybody(200),
    "get_account": managed(200),
    "update_account": managed(200),
    # The owner's org has other members and no other owner, so not even those who may can delete the account.
    "delete_account": managed(409),
    # secrets
    "list_secrets": own(200),
    "create_secret": own(201),
    "list_secret_keys": own(200),
    "get_secret": own(200),
    "put_secret": own(201),
    "update_secret": own(200),
    "delete_secret": own(200),
    # flows
    "list_flows": listing(),
    "create_flow": making(201),
    "get_flow": reading(),
    "update_flow": changing(200),
    "delete_flow": changing(200),
    "list_versions": reading(),
    "patch_metadata": changing(204),
    "search_flows": listing(),
    "run_flow": changing(201),
    # executions
    "list_executions": listing(),
    "get_execution": reading(),
    "cancel_execution": changing(200),
    "get_logs": reading(),
    "signal_execution": changing(404),
    "pause_execution": changing(200),
    "resume_execution": changing(200),
    # system
    "root": public(200),
    "health": public(200),
    "healthz": public(200),
    "live": public(200),
    "api_health": public(200),
    "ready": public(200),
    "startup": public(200),
    "list_plugins_at_root": public(200),
    "list_plugins": public(200),
    "get_plugin_at_root": public(200),
    "get_plugin": public(200),
}
