"""The FastAPI application of one endpoint family."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from mangum import Mangum
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from shared.adapters.aws.observability import Handler, observed
from shared.kit.errors import InvalidRequest, MethodNotAllowed, NotFound, SignalboxError
from shared.web.edge import Edge
from shared.web.errors import error_response
from shared.web.idempotency import Idempotency
from shared.web.literals import Literals

_TEXTS = ["text/", "application/json", "application/problem+json", "application/yaml", "application/javascript"]


class _Entry(Mangum):
    """Mangum with an event loop for each call, on whatever thread; importing a family makes none."""

    def _setup_event_loop(self) -> None:
        return

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        with asyncio.Runner() as runner:
            asyncio.set_event_loop(runner.get_loop())
            try:
                return super().__call__(event, context)
            finally:
                asyncio.set_event_loop(None)


def family_app(name: str, *routers: APIRouter) -> FastAPI:
    """An application serving the routers' own routes (routers are not nested), literal paths before parameters."""
    routes = literals_first(route for router in routers for route in router.routes)
    app = FastAPI(
        title=name,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        routes=[Literals(routes), *routes],
    )
    app.add_exception_handler(SignalboxError, _render)
    app.add_exception_handler(HTTPException, _render_http)
    app.add_exception_handler(RequestValidationError, _render_validation)
    app.add_middleware(Idempotency)
    app.add_middleware(Edge, family=name)
    return app


def lambda_handler(app: FastAPI) -> Handler:
    """The AWS Lambda entry point of a family."""
    return observed(app.title, _Entry(app, lifespan="off", text_mime_types=_TEXTS))


def literals_first(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """The routes so ordered that a literal segment wins over a parameter, and a segment over a whole rest."""

    def rank(route: BaseRoute) -> list[tuple[int, str]]:
        segments = str(getattr(route, "path", "")).split("/")
        return [(2 if ":path}" in part else 1, "") if part.startswith("{") else (0, part) for part in segments]

    return sorted(routes, key=rank)


def _respond(request: Request, error: SignalboxError) -> Response:
    state = request.scope["state"]
    accept = request.headers.get("accept", "")
    path = request.scope["path"]
    return error_response(path, error, accept=accept, api=state.get("api"), request_id=state["request_id"])


async def _render(request: Request, error: Exception) -> Response:
    if not isinstance(error, SignalboxError):
        raise error
    return _respond(request, error)


async def _render_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 405:
        return _respond(
            request, MethodNotAllowed("The path does not answer this method", allow=allowed_methods(request.scope))
        )
    if error.status_code == 404:
        return _respond(request, NotFound("There is nothing at this path"))
    return _respond(request, InvalidRequest(str(error.detail)))


async def _render_validation(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return _respond(request, InvalidRequest.field(name, f"{name} is not valid"))


def allowed_methods(scope: Scope) -> tuple[str, ...]:
    """Every method some route answers on the request's path."""
    found = {"OPTIONS"}
    for route in scope["app"].routes:
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
            found |= route.methods or set()
    if "GET" in found:
        found.add("HEAD")
    return tuple(sorted(found))
