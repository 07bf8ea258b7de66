"""Calls a Lambda handler the way API Gateway does (HTTP API, payload format 2.0)."""

from __future__ import annotations

import base64
import json as _json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


@dataclass
class LambdaContext:
    """What the Lambda runtime hands to a handler."""

    function_name: str = "signalbox"
    memory_limit_in_mb: int = 1024
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:signalbox"
    aws_request_id: str = "5f8b1c3e-0000-4000-8000-000000000000"


def event(
    method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> dict[str, Any]:
    """The event of one request; ``target`` is a path, with its query if it has one."""
    path, _, query = target.partition("?")
    sent = {"host": "api.example.com", "x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https"}
    sent |= {name.lower(): value for name, value in (headers or {}).items()}
    http = {
        "method": method,
        "path": unquote(path),
        "protocol": "HTTP/1.1",
        "sourceIp": "192.0.2.1",
        "userAgent": "test",
    }
    made: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": unquote(path),
        "rawQueryString": query,
        "headers": sent,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "api.example.com",
            "domainPrefix": "api",
            "http": http,
            "requestId": "id",
            "routeKey": "$default",
            "stage": "$default",
            "time": "01/Jan/2026:12:00:00 +0000",
            "timeEpoch": 1767268800000,
        },
        "isBase64Encoded": body is not None,
    }
    if body is not None:
        made["body"] = base64.b64encode(body).decode()
        sent.setdefault("content-length", str(len(body)))
    return made


@dataclass
class Answer:
    """What came back. ``body`` is the parsed JSON, the text of anything else, None when empty."""

    status: int
    headers: dict[str, str]
    body: Any
    raw: bytes

    def __iter__(self) -> Any:
        return iter((self.status, self.headers, self.body))


def call(
    handler: Handler,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    raw: bytes | None = None,
) -> Answer:
    """Send one request; ``json`` or ``raw`` is its body. Unpacks into status, headers (lower case), body."""
    sent = dict(headers or {})
    body = raw
    if json is not None:
        body = _json.dumps(json).encode()
        sent.setdefault("content-type", "application/json")
    result = handler(event(method, path, sent, body), LambdaContext())
    content = result.get("body") or ""
    data = base64.b64decode(content) if result.get("isBase64Encoded") else content.encode()
    got = {name.lower(): value for name, value in result["headers"].items()}
    got |= {name.lower(): ",".join(values) for name, values in (result.get("multiValueHeaders") or {}).items()}
    is_json = got.get("content-type", "").split(";")[0] in ("application/json", "application/problem+json")
    text = data.decode(errors="replace") or None
    return Answer(int(result["statusCode"]), got, _json.loads(data) if is_json and data else text, data)


def bearer(token: str, **more: str) -> dict[str, str]:
    """Headers of a session."""
    return {"authorization": f"Bearer {token}"} | more


def basic(name: str, password: str, **more: str) -> dict[str, str]:
    """Headers of HTTP Basic."""
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()} | more
