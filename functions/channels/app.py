"""API Gateway's WebSocket routes: ``$connect``, ``$default``, ``$disconnect``.

API Gateway's WebSockets have no paths; the distribution in front of them puts the client's path into a query value.
"""

from __future__ import annotations

from typing import Any

from functions.channels.handshake import Handshake
from functions.channels.protocol import admit, begin, disconnect, receive
from shared.adapters.aws.observability import observed
from shared.kit import json
from shared.kit.errors import SignalboxError
from shared.kit.logging import logger
from shared.web.errors import error_response, unexpected

PATH_PARAMETER = "signalbox-path"
"""The query value that carries the path; the distribution overwrites whatever the client sent under this name."""

log = logger("channels")

Event = dict[str, Any]


def handle(event: Event, context: object) -> Event:
    """One event."""
    request = event["requestContext"]
    connection_id = request["connectionId"]
    match request["routeKey"]:
        case "$connect":
            return _connect(event, connection_id)
        case "$disconnect":
            disconnect(connection_id)
        case _:
            receive(connection_id, event.get("body") or "")
    return {"statusCode": 200}


def _connect(event: Event, connection_id: str) -> Event:
    query = event.get("queryStringParameters") or {}
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    path = query.get(PATH_PARAMETER, "")
    try:
        begin(admit(Handshake(connection_id, path, headers, query)))
    except SignalboxError as error:
        return _refusal(path, error)
    except Exception:
        log.exception("handshake failed", extra={"connection_id": connection_id})
        return _refusal(path, unexpected())
    return {"statusCode": 200}


def _refusal(path: str, error: SignalboxError) -> Event:
    response = error_response(path, error)
    body = json.loads(bytes(response.body))
    return {"statusCode": response.status_code, "headers": dict(response.headers), "body": json.dumps(body)}


handler = observed("channels", handle)
"""The AWS Lambda entry point."""
