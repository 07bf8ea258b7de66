"""Errors on the wire: one form per API, and RFC 9457 for whoever asks for it.

A new API adds one entry to ``_FORMS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from shared.kit import json
from shared.kit.errors import Internal, MethodNotAllowed, SignalboxError
from shared.web.apis import Api, api_of

PROBLEM = "application/problem+json"

_FLOWRUNNER_CODES = {405: "invalid_request", 413: "invalid_request", 429: "invalid_request", 503: "internal_error"}
"""FlowRunner documents seven codes and no others; statuses beyond its list borrow the nearest."""

_NULLRUN_SLUGS = {
    "invalid_request": "bad_request",
    "too_many_requests": "rate_limit_exceeded",
    "unavailable": "internal_error",
}

_NULLRUN_CODES = {"validation_error": "INVALID_FIELD"}
"""Codes that are not their slug in capitals."""


def _flowrunner(error: SignalboxError, request_id: str) -> dict[str, Any]:
    body: dict[str, Any] = {"code": _FLOWRUNNER_CODES.get(error.status, error.code), "message": error.message}
    if error.details:
        body["details"] = error.details
    return {"error": body, "error_code": error.code.upper(), "message": error.message}


def _noetl(error: SignalboxError, request_id: str) -> dict[str, Any]:
    return {"error": error.message, "detail": error.message, "status": error.status}


def _hub(error: SignalboxError, request_id: str) -> dict[str, Any]:
    message = "Internal error" if error.status == 500 else error.message
    return {"type": "error", "message": message, "error": error.code, "request_id": request_id}


def _nullrun(error: SignalboxError, request_id: str) -> dict[str, Any]:
    if error.body is not None:
        return error.body
    slug = _NULLRUN_SLUGS.get(error.code, error.code)
    code = _NULLRUN_CODES.get(slug, slug.upper())
    details, retry = error.details or {}, error.retry_after
    if "field" in details and "reason" in details:
        details = details | {"fields": {details["field"]: details["reason"]}}
    body: dict[str, Any] = {"error": slug, "code": code, "error_code": code}
    body |= {"message": error.message, "error_message": error.message, "details": details}
    body["retry_after_ms"] = None if retry is None else retry * 1000
    return body if retry is None else body | {"retry_after": retry}


_FORMS: Mapping[Api, Callable[[SignalboxError, str], dict[str, Any]]] = {
    Api.FLOWRUNNER: _flowrunner,
    Api.NOETL: _noetl,
    Api.HUB: _hub,
    Api.NULLRUN: _nullrun,
}


def render_error(path: str, error: SignalboxError, *, api: Api | None = None, request_id: str = "") -> dict[str, Any]:
    """The JSON body of ``error`` in the form of the path's API, or of ``api`` where the caller is known better."""
    return _FORMS[api or api_of(path)](error, request_id)


def render_problem(path: str, error: SignalboxError, request_id: str) -> dict[str, Any]:
    """The body of ``error`` as RFC 9457 has it."""
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(error.status).phrase, "status": error.status}
    body |= {"detail": error.message, "instance": path, "code": error.code, "request_id": request_id}
    return body | {"details": error.details} if error.details else body


def error_headers(error: SignalboxError) -> dict[str, str]:
    """Headers an error brings along: who may sign in, what is allowed, when to come back."""
    headers: dict[str, str] = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="signalbox"'
    if isinstance(error, MethodNotAllowed) and error.allow:
        headers["Allow"] = ", ".join(error.allow)
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return headers


def error_response(
    path: str, error: SignalboxError, *, accept: str = "", api: Api | None = None, request_id: str = ""
) -> Response:
    """The whole answer for ``error``. Raised domain errors keep their message; an unknown fault shows none."""
    if PROBLEM in accept.lower():
        body, media_type = render_problem(path, error, request_id), PROBLEM
    else:
        body, media_type = render_error(path, error, api=api, request_id=request_id), "application/json"
    return Response(json.dumpb(body), error.status, error_headers(error), media_type)


def unexpected() -> Internal:
    """What a caller learns of a fault of ours."""
    return Internal("An internal error occurred")
