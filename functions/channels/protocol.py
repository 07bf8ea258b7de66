"""WebSockets, whatever carries them: who may connect, and what their messages mean.

FlowRunner's ``/ws/executions/{id}`` only sends; ``/api/v1/ws`` takes subscribe, unsubscribe and ping; NullRun's
``/ws/control/{org_id}`` has a module of its own. Only answers to messages are sent from here: a connection or a
subscription stores a row, and the relay sends from there on.
Source: FlowRunner API Reference, WebSocket API; docs/rulings.md#websockets.
"""

from __future__ import annotations

import re
from typing import Any

from functions.channels import control
from functions.channels.handshake import Admission, Handshake
from shared.composition import services
from shared.dialects.flowrunner.readers import PAGE, SUBSCRIPTION
from shared.governance.control import CONTROL
from shared.identity.principal import system_principal
from shared.kit import clock, json
from shared.kit.errors import Forbidden, NotFound, SignalboxError, Unauthorized
from shared.push import Connection, execution_channel
from shared.store.models.channels import connection_pk

_PAGE_PATH = re.compile(r"/ws/executions/([^/]{1,128})")
_SUBSCRIPTION_PATH = "/api/v1/ws"
_CONTROL_PATH = re.compile(r"/ws/control/([A-Za-z0-9_-]{1,128})")
LARGEST_MESSAGE = 16 * 1024
"""Bytes of a client's message; the largest meaningful one is far smaller."""


def admit(handshake: Handshake) -> Admission:
    """Judge a handshake; stores nothing.

    Raises NotFound (path, execution, another tenant's), Unauthorized, Forbidden.
    """
    governed = _CONTROL_PATH.fullmatch(handshake.path)
    if governed is not None:
        return control.admit(handshake, governed[1])
    page = _PAGE_PATH.fullmatch(handshake.path)
    if page is None and handshake.path != _SUBSCRIPTION_PATH:
        raise NotFound("There is nothing at this path")
    principal = handshake.person(handshake.headers.get("x-signalbox-org"))
    execution_id = services().engine.get(principal, page[1]).id if page is not None else None
    connection = Connection(
        connection_pk(handshake.connection_id), "connection", connection_id=handshake.connection_id,
        org_id=principal.org_id, account_id=principal.account_id, protocol=PAGE if page is not None else SUBSCRIPTION,
        connected_ms=clock.now_ms(),
    )  # fmt: skip
    return Admission(connection, None if execution_id is None else execution_channel(execution_id))


def begin(admission: Admission) -> None:
    """Store an admitted connection; from here on the relay sends to it.

    Raises Unauthorized or Forbidden, with nothing stored, when its key was revoked, or its member removed, since it was
    admitted: that closes only sockets that can be found.
    """
    connections, connection = services().connections, admission.connection
    connections.open(connection, admission.channel)
    if admission.confirm is not None:
        try:
            admission.confirm()
        except (Unauthorized, Forbidden):
            connections.close(connection.connection_id)
            raise


def receive(connection_id: str, text: str) -> None:
    """Act on a client's message. What is wrong with it is answered on the socket."""
    connection = services().connections.get(connection_id)
    if connection is None:
        return
    if connection.protocol == CONTROL:
        control.receive(connection, _message(text))
        return
    if connection.protocol != SUBSCRIPTION:
        return
    try:
        _act(connection, _message(text) or {})
    except SignalboxError as error:
        _reply(connection, {"type": "error", "message": error.message})


def disconnect(connection_id: str) -> None:
    """Forget a connection that was closed."""
    services().connections.close(connection_id)


def _message(text: str) -> dict[str, Any] | None:
    try:
        message = json.loads(text) if len(text) <= LARGEST_MESSAGE else None
    except (ValueError, RecursionError):
        message = None
    return message if isinstance(message, dict) else None


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
    control.reply(connection, json.dumps({**message, "timestamp": clock.rfc3339(clock.now_ms())}))
