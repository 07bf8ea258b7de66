"""Finding routes without parameters."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from shared.web.app import family_app, lambda_handler, literals_first
from shared.web.literals import Literals
from tests.support.apigw import call

router = APIRouter()


@router.get("/things/{name}")
async def by_name(request: Request, name: str) -> Response:
    """A route with a parameter."""
    return PlainTextResponse(f"named {name}")


@router.get("/things/all")
async def everything(request: Request) -> Response:
    """A literal one."""
    return PlainTextResponse(f"all of {request.scope['route'].path}")


@router.post("/things/all")
async def more(request: Request) -> Response:
    """The same path with another method."""
    return PlainTextResponse("more")


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/things/all", 200, "all of /things/all"),
        ("POST", "/things/all", 200, "more"),
        ("GET", "/things/other", 200, "named other"),
        ("PUT", "/things/all", 405, None),
        ("GET", "/nothing", 404, None),
    ],
)
def test_requests_reach_their_routes(method: str, path: str, status: int, body: Any) -> None:
    """Whatever is found at once is what looking through the routes would find."""
    answer = call(lambda_handler(family_app("things", router)), method, path)
    assert answer.status == status
    assert body is None or answer.body == body


@pytest.mark.parametrize(("kind", "path"), [("websocket", "/things/all"), ("http", "/things/other")])
def test_others_are_left_to_the_routes_behind(kind: str, path: str) -> None:
    """Only HTTP requests of literal paths are answered here."""
    match, found = Literals(literals_first(router.routes)).matches({"type": kind, "path": path, "method": "GET"})
    assert (match.name, found) == ("NONE", {})
