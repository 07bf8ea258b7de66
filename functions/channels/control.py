"""NullRun's control plane, ``/ws/control/{org_id}``: who may connect, and what clients say.

An API key of the org connects an agent, a member's session a dashboard. Frames are sent by the relay and the outbox;
only answers to messages are sent from here.
Source: NullRun docs, Control plane; docs/rulings.md#control-plane.
"""

from __future__ import annotations

from typing import Any

from functions.channels.handshake import Admission, Handshake
from shared.composition import services
from shared.governance.authentication import KeyRefused, KnownKey, Signature
from shared.governance.control import CONTROL, PONG
from shared.governance.signatures import verifies
from shared.kit import clock, json
from shared.kit.errors import Forbidden, SignalboxError
from shared.kit.logging import logger
from shared.push import Connection, Gone
from shared.push.connections import BEATS
from shared.store.models.channels import connection_pk

log = logger("channels")

_KEY = "nr_"
_KEY_NAMES = ("api_key", "apikey", "api-key", "x-api-key", "key")
_LONGEST_ID = 128


def admit(handshake: Handshake, org_id: str) -> Admission:
    """Judge a handshake; stores nothing.

    Raises Unauthorized (KeyRefused for keys), and Forbidden for the key or member of another org.
    """
    _refuse_keys_in_query(handshake)
    api_key = _api_key(handshake)
    now = clock.now_ms()
    connection = Connection(
        connection_pk(handshake.connection_id), "connection", connection_id=handshake.connection_id, org_id=org_id,
        account_id="", protocol=CONTROL, connected_ms=now, beat=now // 1000 % BEATS,
    )  # fmt: skip
    if api_key is None:
        connection.account_id = handshake.person(org_id).account_id
        return Admission(connection, CONTROL, lambda: handshake.person(org_id), stays=True)
    signature, authenticator = _signature(handshake), services().governance.authenticator
    known = authenticator.check(api_key, signature, fresh=True)
    if known.org_id != org_id:
        raise Forbidden("The API key belongs to another organisation")
    connection.key_id, connection.workflow_id = known.key_id, known.workflow_id
    secret = _secret(known, api_key, signature)
    connection.sealed = services().control.seal(handshake.connection_id, api_key, secret)
    return Admission(connection, CONTROL, lambda: authenticator.check(api_key, fresh=True), stays=True)


def _refuse_keys_in_query(handshake: Handshake) -> None:
    for name, value in handshake.query.items():
        if name.lower() in _KEY_NAMES or value.startswith(_KEY):
            message = "Send the API key in the header X-API-Key, never in the address, which ends up in logs"
            raise KeyRefused("API_KEY_MISSING", message)


def _api_key(handshake: Handshake) -> str | None:
    """The key a client brings in ``X-API-Key`` or as a Bearer value, None for a session."""
    given = handshake.headers.get("x-api-key")
    scheme, _, value = handshake.headers.get("authorization", "").strip().partition(" ")
    if given is None and scheme.lower() == "bearer" and value.strip().startswith(_KEY):
        return value.strip()
    if given is None and handshake.authorization is None:
        raise KeyRefused("API_KEY_MISSING", "Send the API key in X-API-Key")
    return given


def _signature(handshake: Handshake) -> Signature | None:
    value = handshake.headers.get("x-signature")
    return None if value is None else Signature(value, handshake.headers.get("x-signature-timestamp", ""), b"")


def _secret(known: KnownKey, api_key: str, signature: Signature | None) -> str:
    """The secret the client has: the one it signed with, else the current one."""
    for secret in known.live_secrets(clock.now_ms()) if signature is not None else ():
        if signature is not None and verifies(signature.value, secret, signature.timestamp, api_key, b""):
            return secret
    return known.secret


def receive(connection: Connection, message: dict[str, Any] | None) -> None:
    """Act on a client's message, None if it was no JSON object. What is wrong with it is answered on the socket."""
    if message is None:
        _error(connection, "invalid_json", "The message must be a JSON object of at most 16 KB")
        return
    kind = message.get("type", "subscribed" if "organization_id" in message else None)
    match kind.lower() if isinstance(kind, str) else None:
        case "ack":
            _acknowledge(connection, message.get("message_id"))
        case "subscribed":
            reply(connection, json.dumps({"type": "subscribed", "organization_id": connection.org_id}))
        case "ping":
            reply(connection, PONG)
        case _:
            _error(connection, "unknown_type", "The message must be ack, subscribed or ping")


def _acknowledge(connection: Connection, message_id: Any) -> None:
    if not isinstance(message_id, str) or not 0 < len(message_id) <= _LONGEST_ID or not json.is_unicode(message_id):
        _error(connection, "invalid_message_id", "An ack names the message_id of a frame")
        return
    try:
        services().connections.acknowledge(connection, message_id)
    except SignalboxError as error:
        # Nobody waits for it, and the client would never connect again if it were disconnected for this.
        log.warning("ack not recorded", extra={"connection_id": connection.connection_id, "reason": str(error)})


def _error(connection: Connection, code: str, message: str) -> None:
    reply(connection, json.dumps({"type": "error", "code": code, "message": message}))


def reply(connection: Connection, text: str) -> None:
    """Send something to a client that has just been heard."""
    try:
        services().sender.send(connection.connection_id, text)
    except Gone:
        services().connections.close(connection.connection_id)
