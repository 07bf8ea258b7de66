"""Kinds of callers, and the rows of answers that decisions are made of. They ask for things of *the owner*, a user
with an org of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

REFUSED = ("none", "malformed", "expired", "revoked", "deleted", "unknown_key", "revoked_key", "expired_key")
"""No, broken, expired, logged-out credentials; the token of an account that is gone; API keys unknown or ended."""

OUTSIDERS = ("intruder", "stranger", "deployment_admin")
MEMBERS = ("viewer", "operator", "admin", "owner")
OTHERS_KEYS = ("intruding_key", "foreign_key")
KEYS = ("sibling_key", "unscoped_key", "key")

KNOWN = OUTSIDERS + MEMBERS + OTHERS_KEYS + KEYS
"""In the order in which they are tried:

intruder          a user of another org who names the owner's org, in the path or in X-Signalbox-Org
stranger          the same user acting at home: where the path has an org it is the user's own
deployment_admin  the deployment's administrator, who is in another org too; names the owner's org in the path
viewer, operator, admin
                  other accounts in the owner's org, acting there
owner             the owner itself
intruding_key     an API key of another org that names the owner's org, in the path, in X-Signalbox-Org, in the body
foreign_key       the same key at home
sibling_key       a key of another workflow of the owner's org
unscoped_key      a key of the owner's workflow that lacks the scope the route asks for
key               a key of the owner's workflow with every scope
"""

KINDS = REFUSED + KNOWN
AT_HOME = ("stranger", "foreign_key")


@dataclass(frozen=True)
class Row:
    """The status each kind of caller gets, and which of them may be shown the owner's data."""

    statuses: dict[str, int]
    shown: frozenset[str] = frozenset()


def _row(*parts: Mapping[str, int], shown: tuple[str, ...] = (), **known: int) -> Row:
    """Later parts win. Whoever is neither a member nor a key of the org is shown nothing unless named."""
    statuses = dict.fromkeys(REFUSED, 401)
    for part in (*parts, known):
        statuses |= part
    insiders = {kind for kind in MEMBERS + KEYS if statuses[kind] < 400}
    return Row(statuses, frozenset(insiders | set(shown)))


def _from(least: str, success: int) -> dict[str, int]:
    """Members of this role and stronger; the others are too weak."""
    weak = MEMBERS[: MEMBERS.index(least)]
    return dict.fromkeys(MEMBERS, success) | dict.fromkeys(weak, 403)


def public(status: int) -> Row:
    """The same answer to everybody, whatever credentials come along."""
    return Row(dict.fromkeys(KINDS, status), frozenset(KINDS))


def unless_signed_in(success: int, refused: int) -> Row:
    """For whoever holds a token of another kind, API keys count for nothing; dead sessions are refused all the same."""
    statuses = dict.fromkeys(KINDS, success) | dict.fromkeys(OUTSIDERS + MEMBERS, refused)
    dead = ("malformed", "expired", "revoked", "deleted")
    return Row(statuses | dict.fromkeys(dead, 401) | {"intruder": 403}, frozenset(set(KINDS) - {*dead, "intruder"}))


# Routes of people, who act at home or in the org that X-Signalbox-Org names. API keys are no credentials there.

_NO_KEYS = dict.fromkeys(OTHERS_KEYS + KEYS, 401)


def own(success: int) -> Row:
    """Things of an account that nobody else may touch, administrators included."""
    return _row(_NO_KEYS, dict.fromkeys(OUTSIDERS + MEMBERS, 403), owner=success)


def managed(success: int) -> Row:
    """An account: itself and administrators."""
    both = ("owner", "deployment_admin")
    return _row(_NO_KEYS, dict.fromkeys(OUTSIDERS + MEMBERS, 403), dict.fromkeys(both, success), shown=both)


def administrators(success: int) -> Row:
    """For the deployment's administrators."""
    shown = ("deployment_admin",)
    return _row(_NO_KEYS, dict.fromkeys(OUTSIDERS + MEMBERS, 403), deployment_admin=success, shown=shown)


def anybody(success: int, *, with_orgs: bool = False) -> Row:
    """Whoever is signed in, about themselves; ``with_orgs`` also about the orgs they belong to."""
    row = _row(_NO_KEYS, dict.fromkeys(OUTSIDERS + MEMBERS, success), intruder=403)
    return Row(row.statuses, frozenset(MEMBERS if with_orgs else ("owner",)))


def listing(success: int = 200) -> Row:
    """A list of the acting org: everybody gets one, each their own org's."""
    return _row(_NO_KEYS, dict.fromkeys(OUTSIDERS + MEMBERS, success), intruder=403)


def reading(success: int = 200) -> Row:
    """A thing of the owner's org, for its members; to everybody else it does not exist."""
    return _row(_NO_KEYS, dict.fromkeys(MEMBERS, success), intruder=403, stranger=404, deployment_admin=404)


def changing(success: int) -> Row:
    """Changing a thing of the acting org: operators and stronger; a role too weak is 403 before existence."""
    return _row(_NO_KEYS, _from("operator", success), intruder=403, stranger=404, deployment_admin=404)


def making(success: int) -> Row:
    """Making a thing in the acting org: operators and stronger, each in their own."""
    return _row(_NO_KEYS, _from("operator", success), intruder=403, stranger=success, deployment_admin=success)


# Routes under /api/v1/orgs/{org_id}: a session acts in the org of the path, an API key only in its own.

_NO_MEMBERS = {"intruder": 403, "deployment_admin": 403}


def org_listing(success: int = 200) -> Row:
    """A page of the org, for its members and, as a viewer reads it, for its keys."""
    everybody = dict.fromkeys((*MEMBERS, *KEYS, *AT_HOME), success)
    return _row(_NO_MEMBERS, everybody, intruding_key=403)


def org_reading(success: int = 200) -> Row:
    """A thing of the org, for its members and its keys; in another org it does not exist."""
    everybody = dict.fromkeys((*MEMBERS, *KEYS), success)
    return _row(_NO_MEMBERS, everybody, dict.fromkeys(AT_HOME, 404), intruding_key=403)


def org_people(success: int, least: str = "viewer", *, elsewhere: int = 404) -> Row:
    """For members of this role and stronger, and for no key.

    ``elsewhere`` is what somebody gets who asks for the owner's thing in an org of their own.
    """
    no_keys = dict.fromkeys(OTHERS_KEYS + KEYS, 403)
    return _row(_NO_MEMBERS, no_keys, _from(least, success), stranger=elsewhere)


def owners_to_find(success: int, *, elsewhere: int) -> Row:
    """For owners; to other members it does not exist."""
    row = org_people(success, "owner", elsewhere=elsewhere)
    return Row(row.statuses | dict.fromkeys(MEMBERS[:-1], 404), row.shown)


# Routes of agents: an API key is what counts, and the workflow it belongs to.

_NO_PEOPLE = dict.fromkeys(OUTSIDERS + MEMBERS, 401)


def agents(success: int = 200, *, unscoped: int = 403, sibling: int = 200, foreign: int, intruding: int) -> Row:
    """For keys: of the workflow, of it without the scope, of another workflow, of another org at home, and abroad."""
    others = {"sibling_key": sibling, "foreign_key": foreign, "intruding_key": intruding}
    return _row(_NO_PEOPLE, others, key=success, unscoped_key=unscoped)


def both(people: Row, keys: Row) -> Row:
    """A route of people that API keys may use as well."""
    used = {kind: keys.statuses[kind] for kind in OTHERS_KEYS + KEYS}
    return _row(people.statuses, used)
