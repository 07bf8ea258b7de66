from __future__ import annotations

import json

import pytest

from shared.kit.errors import (
    Conflict,
    Internal,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    SignalboxError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Unprocessable,
)
from shared.web.apis import Api
from shared.web.errors import error_response, render_error


def test_flowrunners_envelope() -> None:
    """Code, message and details in the envelope; code and message beside it for clients of the other API."""
    error = InvalidRequest.field("name", "Name is required")
    assert render_error("/api/v1/flows", error) == {
        "error": {
            "code": "invalid_request",
            "message": "Name is required",
            "details": {"field": "name", "reason": "Name is required"},
        },
        "error_code": "INVALID_REQUEST",
        "message": "Name is required",
    }
    assert "details" not in render_error("/x", NotFound("no"))["error"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequest("x"), "invalid_request"),
        (Unauthorized("x"), "unauthorized"),
        (NotFound("x"), "not_found"),
        (MethodNotAllowed("x"), "invalid_request"),
        (Conflict("x"), "conflict"),
        (PayloadTooLarge("x"), "invalid_request"),
        (Unprocessable("x"), "validation_error"),
        (TooManyRequests("x"), "invalid_request"),
        (Internal("x"), "internal_error"),
        (Unavailable("x"), "internal_error"),
    ],
)
def test_flowrunners_codes_are_the_documented_ones(error: SignalboxError, code: str) -> None:
    """No status invents a code its page does not list."""
    assert render_error("/api/v1/flows", error)["error"]["code"] == code


def test_the_other_forms() -> None:
    """NoETL, Hub and NullRun each read their own fields."""
    error = NotFound("No such thing")
    assert render_error("/api/run", error) == {"error": "No such thing", "detail": "No such thing", "status": 404}
    assert render_error("/api/gateway/x", error, request_id="r") == {
        "type": "error",
        "message": "No such thing",
        "error": "not_found",
        "request_id": "r",
    }
    assert render_error("/api/v1/gate", error) == {
        "error": "not_found",
        "code": "NOT_FOUND",
        "error_code": "NOT_FOUND",
        "message": "No such thing",
        "error_message": "No such thing",
        "details": {},
        "retry_after_ms": None,
    }


def test_nullrun_is_told_when_to_come_back() -> None:
    """A limit carries the pause in seconds, milliseconds and the header."""
    response = error_response("/api/v1/gate", TooManyRequests("slow down", retry_after=7))
    body = json.loads(bytes(response.body))
    assert (body["error"], body["retry_after"], body["retry_after_ms"]) == ("rate_limit_exceeded", 7, 7000)
    assert response.headers["retry-after"] == "7"


def test_a_known_caller_overrules_the_path() -> None:
    """Where two APIs share a path the caller's own form is used."""
    assert render_error("/api/v1/auth/login", Unauthorized("x"), api=Api.NULLRUN)["error"] == "unauthorized"


def test_problem_details_on_request() -> None:
    """RFC 9457 for whoever accepts it, on every API."""
    for path in ("/api/v1/flows", "/api/run", "/api/gateway", "/api/v1/gate"):
        response = error_response(
            path, InvalidRequest.field("name", "is bad"), accept="application/problem+json", request_id="r"
        )
        assert response.media_type == "application/problem+json"
        body = json.loads(bytes(response.body))
        assert (body["status"], body["title"], body["detail"], body["instance"]) == (400, "Bad Request", "is bad", path)
        assert (body["code"], body["details"]["field"], body["request_id"]) == ("invalid_request", "name", "r")


def test_headers_of_errors() -> None:
    """401 says how to sign in, 405 what is allowed."""
    assert error_response("/", Unauthorized("x")).headers["www-authenticate"].startswith("Bearer")
    assert error_response("/", MethodNotAllowed("x", allow=("GET", "PUT"))).headers["allow"] == "GET, PUT"
