"""The OpenAPI document and its two viewers, Swagger UI and ReDoc, all from this machine: no page loads anything else.

The viewers' files come with the package fastapi-offline.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from shared.kit import json
from shared.kit.errors import NotFound
from shared.kit.settings import settings
from shared.kit.version import VERSION
from shared.web.families import every_route
from shared.web.openapi import document

_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
    "favicon.png": "image/png",
}
_REDOC_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
_FAVICON = b"/docs/assets/favicon.png"
_START = 'SwaggerUIBundle({url: "/openapi.json", dom_id: "#viewer", deepLinking: true, persistAuthorization: true});\n'
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " font-src 'self' data:; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_STYLE = "<style>body { margin: 0 }</style>"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Signalbox API</title>
<link rel="icon" href="/docs/assets/favicon.png">
{head}
</head>
<body>
{body}
</body>
</html>
"""


@cache
def openapi_text() -> bytes:
    """The document of all families as JSON; built at the first request."""
    return json.dumpb(document(every_route(), version=VERSION, server=settings().public_url))


def docs_router() -> APIRouter:
    """Routes of the document and its viewers, for the family that serves the host's own pages."""
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    def openapi() -> Response:
        return Response(openapi_text(), media_type="application/json")

    @router.get("/docs")
    def swagger() -> Response:
        head = f'<link rel="stylesheet" href="/docs/assets/swagger-ui.css">\n{_STYLE}'
        scripts = ("swagger-ui-bundle.js", "start.js")
        return _page(head, '<div id="viewer"></div>', scripts)

    @router.get("/redoc")
    def redoc() -> Response:
        return _page(_STYLE, '<redoc spec-url="/openapi.json"></redoc>', ("redoc.standalone.js",))

    @router.get("/docs/assets/{name}")
    def asset(name: str) -> Response:
        if name == "start.js":
            return Response(_START, media_type="text/javascript")
        if name not in _ASSETS:
            raise NotFound("There is nothing at this path")
        return Response(_asset(name), media_type=_ASSETS[name])

    return router


def _page(head: str, body: str, scripts: tuple[str, ...]) -> Response:
    tags = "".join(f'\n<script src="/docs/assets/{script}"></script>' for script in scripts)
    return HTMLResponse(_PAGE.format(head=head, body=body + tags), headers={"Content-Security-Policy": _POLICY})


@cache
def _asset(name: str) -> bytes:
    # ReDoc's bundle asks its maker's server for a logo; the policy of the page forbids it, and browsers would complain.
    return files("fastapi_offline").joinpath("static", name).read_bytes().replace(_REDOC_LOGO, _FAVICON)
