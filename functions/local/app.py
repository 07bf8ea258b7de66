"""All endpoint families as one application."""

from __future__ import annotations

from fastapi import FastAPI

from functions.local.websockets import websocket_routes
from shared.adapters.embedded.sockets import Sockets
from shared.web.app import family_app
from shared.web.families import family_routers


def build(sockets: Sockets) -> FastAPI:
    """One router over every family's routes, literals before parameters, and the WebSockets."""
    app = family_app("local", *family_routers().values())
    app.router.routes.extend(websocket_routes(sockets))
    return app
