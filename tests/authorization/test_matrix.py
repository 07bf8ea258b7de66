"""Every route of the OpenAPI document, asked by every kind of caller."""

from __future__ import annotations

from functools import cache

import pytest
from openapi_schema_validator import OAS31Validator

from tests.authorization.asking import DOCUMENT, OPERATIONS, Asked, ask, shows_nothing
from tests.authorization.decisions import DECISIONS
from tests.authorization.rows import KINDS, REFUSED
from tests.authorization.things import CANARY
from tests.authorization.world import World
from tests.support.apigw import bearer


@cache
def _validator(name: str, status: int) -> OAS31Validator | None:
    """What the document says of the body; None where it says nothing."""
    responses = OPERATIONS[name][2]["responses"]
    assert str(status) in responses, f"{name} answers {status}, which is not documented"
    schema = responses[str(status)].get("content", {}).get("application/json", {}).get("schema")
    return None if schema is None else OAS31Validator(schema | {"components": DOCUMENT["components"]})


def _check(where: World, name: str, kind: str, asked: Asked) -> None:
    """The decided status, documented, with a body that fits, and the owner's data only for those it is shown to."""
    row, answer = DECISIONS[name], asked.answer
    assert answer.status == row.statuses[kind], f"{kind} at {name}: {answer.status} {answer.body}"
    validator = _validator(name, answer.status)
    if validator is not None:
        validator.validate(answer.body)
    if kind not in row.shown:
        shows_nothing(where, asked)


def test_every_cell_is_decided() -> None:
    """A new route is undecided until somebody says who may use it, and says so for everybody."""
    undecided = {name: OPERATIONS[name][:2] for name in OPERATIONS.keys() - DECISIONS.keys()}
    assert not undecided, "decisions.py has no row for them"
    assert all(set(row.statuses) == set(KINDS) for row in DECISIONS.values())


def test_no_decision_is_about_nothing() -> None:
    """Rows of routes that went go with them."""
    assert DECISIONS.keys() <= OPERATIONS.keys()


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_security_in_the_document_is_what_is_decided(name: str) -> None:
    """A route says which credentials it takes: of people, of agents, none."""
    security, statuses = OPERATIONS[name][2]["security"], DECISIONS[name].statuses
    if {} in security:
        assert {"bearer": []} in security
    else:
        assert (security != []) == (statuses["none"] == 401)
        assert ({"bearer": []} in security) == (statuses["none"] == 401 and statuses["owner"] != 401)
        assert ({"apiKey": []} in security) == (statuses["none"] == 401 and statuses["key"] not in (401, 403))


def _cells(*, refused: bool) -> list[tuple[str, str]]:
    """Routes and callers whose status is an error, or is none."""
    decided = [name for name in sorted(OPERATIONS) if name in DECISIONS]
    return [(name, kind) for name in decided for kind in KINDS if (DECISIONS[name].statuses[kind] >= 400) == refused]


@pytest.mark.parametrize(("name", "kind"), _cells(refused=True))
def test_the_refused_get_nothing_and_change_nothing(where: World, name: str, kind: str) -> None:
    """The decided status, none of the owner's data in the answer, and a store that is as it was."""
    before = where.stored()
    _check(where, name, kind, ask(where, name, kind))
    assert where.stored() == before


@pytest.mark.parametrize(("name", "kind"), _cells(refused=False))
def test_the_admitted_get_their_own(where: World, name: str, kind: str) -> None:
    """The decided status, and the owner's data only where the decision says so: nobody else sees or changes it."""
    with where.afresh():
        before = where.owned()
        _check(where, name, kind, ask(where, name, kind))
        assert where.owned() == before or kind in DECISIONS[name].shown


NAMELESS = {
    "approximate", "get_export", "get_governed_definition", "get_logs", "get_notification_settings", "get_org_status",
    "list_alert_deliveries", "list_executions", "list_exports", "list_governed_definitions", "list_secret_keys",
    "list_secrets", "list_templates", "list_versions", "status", "verify_audit_log",
}  # fmt: skip
"""Pages without a word of the owner's; most of them have ids."""


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, row in sorted(DECISIONS.items())
        if OPERATIONS[name][0] == "GET" and row.statuses["none"] == 401 and "owner" in row.shown
    ],
)
def test_the_owner_would_be_recognised(where: World, name: str) -> None:
    """What is looked for in answers to others is there in the owner's own: its absence means something."""
    with where.afresh():
        assert (CANARY in ask(where, name, "owner").answer.raw.decode()) == (name not in NAMELESS)


def test_refused_credentials_look_alike(where: World) -> None:
    """Expired, logged out, deleted or forged: the same status and code, so nothing can be told from them."""
    codes = {kind: ask(where, "get_my_account", kind).answer.body["error"]["code"] for kind in REFUSED}
    assert set(codes.values()) == {"unauthorized"}


TWO_IDENTITIES = [
    ("create_policy", "viewer", "key", 403),
    ("create_policy", "operator", "foreign_key", 201),
    ("list_members", "viewer", "key", 200),
    ("get_workflow", "owner", "foreign_key", 200),
    ("get_workflow", "intruder", "key", 403),
    ("get_workflow", "malformed", "key", 401),
    ("list_policies", "revoked", "key", 401),
    ("status", "stranger", "key", 404),
    ("approximate", "expired", "key", 401),
    # Agents are known by their key, whoever's session they send along.
    ("gate", "viewer", "key", 200),
    ("gate", "owner", "intruding_key", 403),
    ("track", "owner", "revoked_key", 401),
]


@pytest.mark.parametrize(("name", "person", "key", "status"), TWO_IDENTITIES)
def test_of_two_identities_the_session_counts(where: World, name: str, person: str, key: str, status: int) -> None:
    """Whoever sends a session and an API key acts as the person, and a dead session is no way to be the key."""
    with where.afresh():
        assert ask(where, name, person, headers=where.headers[key]).answer.status == status


@pytest.mark.parametrize(
    ("name", "key", "status"),
    [
        ("get_workflow", "key", 200),
        ("get_workflow", "intruding_key", 403),
        ("get_workflow", "revoked_key", 401),
        ("status", "key", 200),
        ("approximate", "expired_key", 401),
        ("list_flows", "key", 401),
        ("create_policy", "key", 401),
        ("create_export", "key", 401),
        ("gate", "key", 401),
        ("track", "key", 401),
    ],
)
def test_a_key_in_place_of_a_session_only_reads(where: World, name: str, key: str, status: int) -> None:
    """An API key as Bearer token is one where governance is read, and nothing anywhere else."""
    sent = bearer(where.headers[key]["x-api-key"])
    with where.afresh():
        assert ask(where, name, "none", headers=sent).answer.status == status
