"""Every route of the OpenAPI document, asked by every kind of caller."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from shared.web.families import every_route
from shared.web.openapi import document
from tests.authorization.decisions import DECISIONS, KINDS, REFUSED, Row
from tests.authorization.world import CANARY, World, world
from tests.support.apigw import Answer, call
from tests.support.deployment import PASSWORD

DOCUMENT = document(every_route(), version="test")
OPERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
BODIES: dict[str, Any] = {
    "login": {"username": f"{CANARY}@example.com", "password": PASSWORD},
    "login_legacy": {"username": f"{CANARY}@example.com", "password": PASSWORD},
    "update_account": {"name": "Changed"},
}
"""What to send where the document's own example would not do for these people."""


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """For callers who are refused: they change nothing, which is checked."""
    with world(tmp_path_factory.mktemp("world")) as made:
        yield made


def _example(schema: dict[str, Any]) -> Any:
    name = schema["$ref"].rpartition("/")[2]
    definition = DOCUMENT["components"]["schemas"][name]
    examples = definition.get("examples") or [definition.get("example")]
    return examples[0]


def _ask(where: World, name: str, kind: str) -> Answer:
    method, path, operation = OPERATIONS[name]
    content = operation.get("requestBody", {}).get("content", {})
    body = BODIES.get(name)
    if body is None and content:
        body = _example(content["application/json"]["schema"])
    return call(where.handler, method, path.format(**where.things), headers=where.headers[kind], json=body)


def _is_documented(name: str, answer: Answer) -> None:
    """The status is one the document lists, and the body fits its schema."""
    responses = OPERATIONS[name][2]["responses"]
    assert str(answer.status) in responses, f"{name} answers {answer.status}, which is not documented"
    schema = responses[str(answer.status)].get("content", {}).get("application/json", {}).get("schema")
    if schema is not None:
        OAS31Validator(schema | {"components": DOCUMENT["components"]}).validate(answer.body)


def _check(name: str, row: Row, kind: str, answer: Answer) -> None:
    assert answer.status == row.statuses[kind], f"{kind} at {name}: {answer.status} {answer.body}"
    _is_documented(name, answer)
    if kind not in row.shown:
        assert CANARY.encode() not in answer.raw, f"{kind} at {name} was shown {answer.body}"
        assert CANARY not in repr(answer.headers)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_cell_is_decided(name: str) -> None:
    """A new route is undecided until somebody says who may use it, and says so for everybody."""
    assert name in DECISIONS, f"{name} ({' '.join(OPERATIONS[name][:2])}) has no row in decisions.py"
    assert set(DECISIONS[name].statuses) == set(KINDS)


def test_no_decision_is_about_nothing() -> None:
    """Rows of routes that went go with them."""
    assert DECISIONS.keys() <= OPERATIONS.keys()


def test_security_in_the_document_is_what_is_decided() -> None:
    """A route that refuses callers without credentials says so, and the others do not."""
    for name, (_, _, operation) in OPERATIONS.items():
        refuses = DECISIONS[name].statuses["none"] == 401
        assert (operation["security"] != []) == refuses, name


REFUSALS = [
    (name, kind)
    for name in sorted(OPERATIONS)
    for kind in KINDS
    if name in DECISIONS and DECISIONS[name].statuses.get(kind, 0) >= 400 and kind not in DECISIONS[name].shown
]


@pytest.mark.parametrize(("name", "kind"), REFUSALS)
def test_the_refused_get_nothing_and_change_nothing(shared_world: World, name: str, kind: str) -> None:
    """The decided status, none of the owner's data in the answer, and a store that is as it was."""
    before = shared_world.stored()
    _check(name, DECISIONS[name], kind, _ask(shared_world, name, kind))
    assert shared_world.stored() == before


ADMITTED = [
    (name, kind)
    for name in sorted(OPERATIONS)
    for kind in KINDS
    if name in DECISIONS and kind in DECISIONS[name].statuses and (name, kind) not in REFUSALS
]


@pytest.mark.parametrize(("name", "kind"), ADMITTED)
def test_the_admitted_get_their_own(tmp_path: Path, name: str, kind: str) -> None:
    """The decided status, and the owner's data only where the decision says so."""
    with world(tmp_path) as where:
        _check(name, DECISIONS[name], kind, _ask(where, name, kind))


def test_refused_credentials_look_alike(shared_world: World) -> None:
    """Expired, logged out, deleted or forged: the same status and code, so nothing can be told from them."""
    codes = {kind: _ask(shared_world, "get_my_account", kind).body["error"]["code"] for kind in REFUSED}
    assert set(codes.values()) == {"unauthorized"}
