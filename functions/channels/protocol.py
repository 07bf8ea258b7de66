"""FlowRunner's two WebSockets, whatever carries them: who may connect, and what their messages mean.

``/ws/executions/{id}`` only sends; ``/api/v1/ws`` takes subscribe, unsubscribe and ping. Only ``pong`` and errors
are sent from here: a subscription stores a row, and the relay sends from there on.
Source: FlowRunner API Reference, WebSocket API; docs/rulings.md#websockets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from shared.composition import services
from shared.dialects.flowrunner.readers import PAGE, SUBSCRIPTION
from shared.identity.principal import Principal, system_principal
from shared.kit import clock, json
from shared.kit.errors import NotFound, SignalboxError
from shared.push import Connection, Gone, execution_channel
from shared.store.models.channels import connection_pk

_PAGE_PATH = re.compile(r"/ws/executions/([^/]{1,128})")
_SUBSCRIPTION_PATH = "/api/v1/ws"
LARGEST_MESSAGE = 16 * 1024
"""Bytes of a client's message; the largest meaningful one is far smaller."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a client asks for. ``token`` is the query's, for browsers, which cannot set the header."""

    connection_id: str
    path: str
    authorization: str | None
    token: str | None
    org: str | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """A handshake that was granted; ``execution_id`` is what the connection hears from the start."""

    connection: Connection
    execution_id: str | None


def admit(handshake: Handshake) -> Admission:
    """Judge a handshake; stores nothing.

    Raises NotFound (path, execution, another tenant's), Unauthorized, Forbidden.
    """
    page = _PAGE_PATH.fullmatch(handshake.path)
    if page is None and handshake.path != _SUBSCRIPTION_PATH:
        raise NotFound("There is nothing at this path")
    principal = _caller(handshake)
    execution_id = services().engine.get(principal, page[1]).id if page is not None else None
    connection = Connection(
        connection_pk(handshake.connection_id), "connection", connection_id=handshake.connection_id,
        org_id=principal.org_id, account_id=principal.account_id, protocol=PAGE if page is not None else SUBSCRIPTION,
        connected_ms=clock.now_ms(),
    )  # fmt: skip
    return Admission(connection, execution_id)


def _caller(handshake: Handshake) -> Principal:
    authorization = handshake.authorization
    if not authorization and handshake.token:
        authorization = f"Bearer {handshake.token}"
    return services().identity.authenticator.authenticate(authorization, org=handshake.org)


def begin(admission: Admission) -> None:
    """Store an admitted connection; from here on the relay sends to it."""
    connections = services().connections
    connections.open(admission.connection)
    if admission.execution_id is not None:
        connections.listen(admission.connection, execution_channel(admission.execution_id), PAGE)


def receive(connection_id: str, text: str) -> None:
    """Act on a client's message. What is wrong with it is answered on the socket."""
    connection = services().connections.get(connection_id)
    if connection is None or connection.protocol != SUBSCRIPTION:
        return
    try:
        _act(connection, _message(text))
    except SignalboxError as error:
        _reply(connection, {"type": "error", "message": error.message})


def disconnect(connection_id: str) -> None:
    """Forget a connection that was closed."""
    services().connections.close(connection_id)


def _message(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text) if len(text) <= LARGEST_MESSAGE else None
    except (ValueError, RecursionError):
        message = None
    return message if isinstance(message, dict) else {}


def _act(connection: Connection, message: dict[str, Any]) -> None:
    kind, execution_id = message.get("type"), message.get("execution_id")
    if kind == "ping":
        _reply(connection, {"type": "pong"})
    elif kind not in ("subscribe", "unsubscribe"):
        _reply(connection, {"type": "error", "message": "The message must be subscribe, unsubscribe or ping"})
    elif not isinstance(execution_id, str):
        _reply(connection, {"type": "error", "message": "execution_id is required"})
    else:
        _subscribe(connection, execution_id, wanted=kind == "subscribe")


def _subscribe(connection: Connection, execution_id: str, *, wanted: bool) -> None:
    principal = system_principal(connection.org_id, connection.account_id)
    try:
        channel = execution_channel(services().engine.get(principal, execution_id).id)
    except NotFound:
        refusal = {"type": "error", "execution_id": execution_id, "message": "Execution not found or access denied"}
        _reply(connection, refusal)
        return
    # A repeated subscription is answered like the first one: with the status as it is now.
    services().connections.leave(connection.org_id, connection.connection_id, channel)
    if wanted:
        services().connections.listen(connection, channel, SUBSCRIPTION)


def _reply(connection: Connection, message: dict[str, Any]) -> None:
    stamped = {**message, "timestamp": clock.rfc3339(clock.now_ms())}
    try:
        services().sender.send(connection.connection_id, json.dumps(stamped))
    except Gone:
        services().connections.close(connection.connection_id)
