"""Health, documentation, node types, and every path that belongs to no other family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from functions.system import invite
from functions.system.landing import landing
from functions.system.schemas import Health, Plugin
from shared.assembly import checks_of
from shared.composition import services
from shared.kit import clock
from shared.kit.errors import NotFound, SignalboxError
from shared.kit.settings import settings
from shared.kit.version import VERSION
from shared.web.answers import answer
from shared.web.app import family_app, lambda_handler
from shared.web.docs import docs_router
from shared.web.operation import array_of, operation

router = APIRouter(tags=["system"])

_HEALTH = operation("Whether the server answers", answers={200: Health}, security="none")
_READY = operation("Whether the server can do its work", answers={200: Health, 503: Health}, security="none")
_CACHED = {"Cache-Control": "public, max-age=86400"}


def _health(status: str = "ok", dependencies: dict[str, Any] | None = None) -> dict[str, Any]:
    now = clock.rfc3339(clock.now_ms())
    return {"status": status, "time": now, "version": VERSION, "dependencies": dependencies or {}}


@router.get("/", **_HEALTH)
def root(request: Request) -> Response:
    """The health answer; a landing page for browsers."""
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(landing(settings().public_url), headers={"Vary": "Accept"})
    return answer(_health(), headers={"Vary": "Accept"})


@router.get("/invite", include_in_schema=False)
def invitation() -> Response:
    """The page that the mail of an invite leads to."""
    return HTMLResponse(invite.PAGE, headers=invite.HEADERS)


@router.get("/health", **_HEALTH)
def health() -> Response:
    """Answers as soon as the server serves; checks nothing."""
    return answer(_health())


@router.get("/healthz", **_HEALTH)
def healthz() -> Response:
    """As /health."""
    return answer(_health())


@router.get("/health/live", **_HEALTH)
def live() -> Response:
    """As /health."""
    return answer(_health())


@router.get("/api/v1/health", **_HEALTH)
def api_health() -> Response:
    """As /health."""
    return answer(_health())


@router.get("/health/ready", **_READY)
def ready() -> Response:
    """Whether requests can be served now: the store answers, and what happens in it is passed on."""
    return _checked()


@router.get("/health/startup", **_READY)
def startup() -> Response:
    """Whether the server has started: the same checks as of readiness."""
    return _checked()


def _checked() -> Response:
    found = {name: _checked_one(check) for name, check in checks_of(services()).items()}
    if all(row["status"] == "ok" for row in found.values()):
        return answer(_health("ok", found))
    return answer(_health("unavailable", found), 503, {"Retry-After": "1"})


def _checked_one(check: Callable[[], None]) -> dict[str, Any]:
    began, status = clock.monotonic(), "ok"
    try:
        check()
    except SignalboxError:
        status = "unavailable"
    return {"status": status, "latency_ms": round((clock.monotonic() - began) * 1000, 1)}


# Node types


def _plugins() -> list[dict[str, Any]]:
    named = sorted((name, kind) for kind in services().kinds.all() for name in (kind.name, *kind.aliases))
    return [
        {
            "name": name,
            "description": kind.description,
            "version": VERSION,
            "author": "Signalbox",
            "parameters": kind.parameters,
        }
        for name, kind in named
    ]


_LIST = operation("List node types", answers={200: array_of(Plugin)}, security="none")
_GET = operation("Get a node type", answers={200: Plugin}, errors=(404,), security="none")


@router.get("/plugins", name="list_plugins_at_root", **_LIST)
@router.get("/api/v1/plugins", **_LIST)
def list_plugins() -> Response:
    """Every node type a flow may use."""
    return answer(_plugins())


@router.get("/plugins/{name}", name="get_plugin_at_root", **_GET)
@router.get("/api/v1/plugins/{name}", **_GET)
def get_plugin(name: str) -> Response:
    """One node type with the JSON Schema of its parameters."""
    found = next((row for row in _plugins() if row["name"] == name), None)
    if found is None:
        raise NotFound("There is no such node type")
    return answer(found)


# Documentation


@router.get("/schemas/flow.json", include_in_schema=False)
def flow_schema() -> Response:
    """The JSON Schema of flow files."""
    from shared.dialects.flowrunner.schema import flow_schema as schema

    return answer(schema(services().kinds), headers=_CACHED)


router.routes.extend(docs_router().routes)

app = family_app("system", router)
handler = lambda_handler(app)
