"""Cross-origin answers, per API. Source: docs/rulings.md#cors-per-api."""

from __future__ import annotations

from collections.abc import Mapping

from shared.web.apis import Api

_REQUEST_HEADERS = (
    "Content-Type",
    "Authorization",
    "Idempotency-Key",
    "X-FlowRunner-Dialect",
    "X-Request-Id",
    "X-Signalbox-Org",
)

_FLOWRUNNER = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, PATCH, OPTIONS",
    "Access-Control-Allow-Headers": ", ".join(_REQUEST_HEADERS),
    "Access-Control-Expose-Headers": "Idempotency-Replayed, Location, Retry-After, X-Request-Id",
    "Access-Control-Max-Age": "600",
}

_POLICIES: Mapping[Api, Mapping[str, str]] = {Api.FLOWRUNNER: _FLOWRUNNER}
"""An API without an entry shares nothing with other origins."""


def cors_headers(api: Api) -> Mapping[str, str]:
    """What every answer of the API says to browsers of other origins."""
    return _POLICIES.get(api, {})
