"""How each route is asked: the ids in its path, and its body where the document's own example would not do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Template
from typing import Any

from shared.kit import json
from shared.web.families import every_route
from shared.web.openapi import document
from tests.authorization.things import CANARY
from tests.authorization.world import World
from tests.support.apigw import Answer, call
from tests.support.deployment import PASSWORD

DOCUMENT = document(every_route(), version="test")
OPERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}

_CALL = {"organization_id": "$org_id", "tools": ["search"], "estimated_tokens": 1}
_BODIES: dict[str, Any] = {
    "login": {"username": f"{CANARY}@example.com", "password": PASSWORD},
    "login_legacy": {"username": f"{CANARY}@example.com", "password": PASSWORD},
    "update_account": {"name": "Changed"},
    "verify": {},
    "gate": _CALL,
    "check": _CALL,
    "execute": {"organization_id": "$org_id", "execution_id": "$governed_id", "tool": "search", "tools": ["search"]},
    "cancel": {"execution_id": "$governed_id"},
    "heartbeat": {"chain_id": "$chain_id"},
    "consume": {"organization_id": "$org_id"},
    "track": {"reservation_id": "$governed_id", "tokens": 15, "model": "gpt-4o-mini", "workflow_id": "$workflow_id"},
    "mint_api_key": {"name": "new", "workflow_id": "$workflow_id"},
    "mint_workflow_api_key": {"name": "new"},
    "toggle_policy": {"policy_id": "$policy_id"},
    "enable_template": {},
    "accept_invite": {"name": "Bo", "password": PASSWORD},
}
"""Ids of the owner's things stand in them by name."""

_OTHER_THINGS = {"consume": {"approval_id": "approved_id"}, "get_governed_execution": {"execution_id": "governed_id"}}
"""Where a path parameter means another thing than its name says elsewhere."""


@dataclass(frozen=True)
class Asked:
    """A request's answer, and whatever the request itself said."""

    answer: Answer
    sent: str


def ask(
    where: World, name: str, kind: str, *, headers: Mapping[str, str] | None = None, body: Any = None,
    query: str = "", ids: Mapping[str, str] | None = None,
) -> Asked:  # fmt: skip
    """Send one request; ``headers`` and ``ids`` are further ones, ``body`` is another one, and may name things."""
    method, path, operation = OPERATIONS[name]
    things = where.named_by(kind)
    named = things | {parameter: things[other] for parameter, other in _OTHER_THINGS.get(name, {}).items()}
    target = path.format(**named | dict(ids or {})) + Template(query).substitute(things)
    who = where.headers[_key_without_scope(name) if kind == "unscoped_key" else kind]
    sent = _body(name, operation) if body is None else body
    sent = json.loads(Template(json.dumps(sent)).substitute(things))
    headers = {**who, **(headers or {})}
    answer = call(where.handler, method, target, headers=headers, json=sent)
    return Asked(answer, f"{target} {headers} {json.dumps(sent)}")


def shows_nothing(where: World, asked: Asked) -> None:
    """No name and no id of the owner's that the request did not have already."""
    told = f"{asked.answer.headers} {asked.answer.raw.decode()}"
    assert [secret for secret in where.secrets_from(asked.sent) if secret in told] == [], told


def _key_without_scope(name: str) -> str:
    """No one key lacks every scope."""
    return "unverifying_key" if name == "verify" else "unscoped_key"


def _body(name: str, operation: dict[str, Any]) -> Any:
    content = operation.get("requestBody", {}).get("content", {})
    if name in _BODIES or not content:
        return _BODIES.get(name)
    return _example(content["application/json"]["schema"])


def _example(schema: dict[str, Any]) -> Any:
    return DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["examples"][0]
