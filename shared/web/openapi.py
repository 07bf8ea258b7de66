"""One OpenAPI 3.1 document of every family, made from what ``operation`` says about each route. Built once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from shared.kit import errors, json
from shared.web.apis import Api
from shared.web.app import literals_first
from shared.web.errors import PROBLEM, error_headers, render_error, render_problem
from shared.web.operation import ACTING_ORG, IDEMPOTENCY_KEY, MODELS, SIGNATURE, SIGNED_AT

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_SCHEMA = re.compile(r"#/components/schemas/(\w+)")
_EXAMPLE_PATHS = {
    Api.FLOWRUNNER: "/api/v1/flows",
    Api.NOETL: "/api/run",
    Api.HUB: "/api/gateway",
    Api.NULLRUN: "/api/v1/gate",
}
_RETRY_AFTER_S = 300

_ABOUT = """Write flows in YAML, run them durably, watch them live: FlowRunner's API. Govern agents with budgets,
policies, approvals and a kill switch: NullRun's API.

Sign up with `POST /api/v1/accounts` (`username`, `password`) or `POST /api/v1/auth/register` (`email`, `password`,
`name`), sign in with `POST /api/v1/auth/login`, and send the token as `Authorization: Bearer …`. Agents send the API
key of their workflow as `X-API-Key`. The WebSocket `/ws/executions/{execution_id}` shows an execution live,
`/ws/control/{org_id}` tells agents of pauses, kills and decisions. `/plugins` has the parameters of node types,
`/schemas/flow.json` the JSON Schema of flow files."""

_TAGS = {
    "auth": "Sign in and out.",
    "accounts": "Who may sign in.",
    "secrets": "Values only flows of their account can read, as `${secrets.KEY}`.",
    "flows": "Definitions: registered once, run as often as you like.",
    "executions": "Runs of flows: watch, answer, pause, cancel.",
    "gate": "What agents ask before they act: may this happen, and is there money for it.",
    "tracking": "What agents report: the cost of model calls, and what happened.",
    "workflows": "Governed units: their budgets, their states, the definitions they govern.",
    "api-keys": "What clients show; each belongs to one workflow.",
    "policies": "What the gate judges calls by: budgets, limits of calls, blocked tools; and templates of them.",
    "approvals": "Actions that wait for a person, and the rules by which they do.",
    "alerts": "What people should know of, where it is sent, and how an organisation stands.",
    "audit": "What ran under governance, who did what, and proof that none of it was changed.",
    "organizations": "Organisations, who belongs to them, and the plans.",
    "system": "Health and node types; no credentials.",
}
"""In the order in which the viewers show them."""

_GROUPS = {
    "Both APIs": ("auth", "system"),
    "FlowRunner": ("accounts", "secrets", "flows", "executions"),
    "NullRun": (
        "gate", "tracking", "workflows", "api-keys", "policies", "approvals", "alerts", "audit", "organizations",
    ),
}  # fmt: skip
"""Which tags ReDoc shows together; it leaves out a tag that is in no group."""

_PATH_PARAMETERS = {
    "alert_id": "The alert's id.",
    "approval_id": "The approval's id.",
    "rule_id": "The approval rule's id.",
    "channel_id": "The alert channel's id.",
    "job_id": "The export's id.",
    "workflow_id": "The workflow's id.",
    "key_id": "The API key's id.",
    "policy_id": "The policy's id.",
    "template_id": "The policy template's id.",
    "member_id": "The member's id, as the list of members has it.",
    "invite_id": "The invite's id.",
    "token": "The invite's token.",
    "provider": "`github` or `google`.",
    "definition_id": "The flow's id.",
    "org_id": "The organisation's id.",
    "account_id": "The account's id, as a sign-in answers it.",
    "flow_id": "The flow's id.",
    "execution_id": "The execution's id.",
    "key": "The secret's name, or the key of a wait.",
    "name": "The node type, for example `http.request`.",
}


def document(routes: Iterable[BaseRoute], *, version: str, server: str = "") -> dict[str, Any]:
    """The document of all routes that are not hidden. Raises ValueError for a route that does not describe itself."""
    paths: dict[str, dict[str, Any]] = {}
    used: set[str] = set()
    for route in literals_first(routes):
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        path = _PARAMETER.sub(r"{\1}", route.path)
        for method in sorted(route.methods or ()):
            operation = _operation(route, method)
            if operation["operationId"] in used:
                raise ValueError(f"two operations are called {operation['operationId']}")
            used.add(operation["operationId"])
            paths.setdefault(path, {})[method.lower()] = operation
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Signalbox", "version": version, "description": _ABOUT, "license": _LICENSE},
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "x-tagGroups": [{"name": name, "tags": list(tags)} for name, tags in _GROUPS.items()],
        "paths": paths,
        "components": {"schemas": _schemas(paths), "responses": _error_responses(paths), "securitySchemes": _SECURITY},
    }
    return made | {"servers": [{"url": server}]} if server else made


_LICENSE = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The token of a sign-in."},
    "basic": {"type": "http", "scheme": "basic", "description": "User name or e-mail address, and password."},
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key, `nr_live_…`; sign POSTs with `X-Signature` and `X-Signature-Timestamp`.",
    },
}


def _operation(route: APIRoute, method: str) -> dict[str, Any]:
    extra = dict(route.openapi_extra or {})
    if "x-signalbox-api" not in extra:
        raise ValueError(f"{method} {route.path} does not describe itself with operation()")
    path = route.path
    parameters = [_path_parameter(name) for name in _PARAMETER.findall(path)]
    parameters += extra.pop("parameters", [])
    security = extra["x-signalbox-security"]
    if security == "key":
        # Calls with API keys have ids of their own, and the key's organisation is the one they act in.
        parameters += [SIGNATURE, SIGNED_AT]
    elif method == "POST":
        parameters.append(IDEMPOTENCY_KEY)
    if security not in ("none", "key") and "{org_id}" not in path:
        parameters.append(ACTING_ORG)
    about = inspect.cleandoc(route.endpoint.__doc__ or "")
    made: dict[str, Any] = {"operationId": route.name, "summary": route.summary, "tags": list(route.tags or [])}
    made |= {"description": about} if about else {}
    return made | ({"parameters": parameters} if parameters else {}) | extra


def _path_parameter(name: str) -> dict[str, Any]:
    described = {"description": _PATH_PARAMETERS[name]} if name in _PATH_PARAMETERS else {}
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} | described


def _schemas(paths: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The definitions of every model these routes name, and of the models inside them."""
    named = set(_SCHEMA.findall(json.dumps(paths)))
    found: dict[str, Any] = {}
    for name, model in sorted(MODELS.items()):
        if name not in named:
            continue
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        for inner, definition in schema.pop("$defs", {}).items():
            if found.setdefault(inner, definition) != definition:
                raise ValueError(f"two models inside others are called {inner}")
        if found.setdefault(name, schema) != schema:
            raise ValueError(f"two models are called {name}")
    return found


def _error_responses(paths: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The error answers routes refer to, each with an example in its API's form."""
    named: set[str] = set()
    for operations in paths.values():
        for operation in operations.values():
            references = (response.get("$ref", "") for response in operation["responses"].values())
            named |= {reference.rpartition("/")[2] for reference in references if reference}
    return {name: _error_response(name) for name in sorted(named)}


def _error_response(name: str) -> dict[str, Any]:
    api, _, status = name.rpartition("-")
    error = _example_error(int(status))
    path, request_id = _EXAMPLE_PATHS[Api(api)], "0198c0de-0000-7000-8000-000000000000"
    described = {
        header: {"schema": {"type": "string"}, "example": value} for header, value in error_headers(error).items()
    }
    content = {
        "application/json": {
            "schema": {"type": "object"},
            "example": render_error(path, error, api=Api(api), request_id=request_id),
        },
        PROBLEM: {"schema": {"type": "object"}, "example": render_problem(path, error, request_id)},
    }
    made: dict[str, Any] = {"description": HTTPStatus(int(status)).phrase, "content": content}
    return made | {"headers": described} if described else made


def _example_error(status: int) -> errors.SignalboxError:
    if status == 429:
        return errors.TooManyRequests("Too many failed sign-ins; try again later", retry_after=_RETRY_AFTER_S)
    if status == 400:
        return errors.InvalidRequest.field("name", "Name is required")
    if status == 422:
        return errors.Unprocessable.field("role", "Role must be one of admin, user")
    kinds: dict[int, type[errors.SignalboxError]] = {
        401: errors.Unauthorized,
        402: errors.PaymentRequired,
        403: errors.Forbidden,
        404: errors.NotFound,
        405: errors.MethodNotAllowed,
        409: errors.Conflict,
        410: errors.Gone,
        413: errors.PayloadTooLarge,
        501: errors.NotOffered,
        503: errors.Unavailable,
    }
    return kinds.get(status, errors.Internal)(HTTPStatus(status).phrase)
