"""What sending and receiving mail share: the server an author names, how its connection is secured, what failures say.

A password leaves in the clear only to addresses the deployment's settings name (docs/rulings.md#email).
"""

from __future__ import annotations

import base64
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from shared.engine.connectors.tunnel import Tunnel, is_public, peer, tunnelled
from shared.engine.kinds.base import Call, NodeFailed
from shared.engine.kinds.outward import reaching
from shared.engine.kinds.records import whole
from shared.engine.kinds.scripting import seconds, text_of

TLS = {
    "enum": ["auto", "implicit", "starttls", "none"],
    "default": "auto",
    "description": "implicit: TLS from the first byte; none: only for servers the deployment's settings name.",
}
DEFAULT_TIMEOUT_S = 30.0
LONGEST_REPLY = 300

# Also what only some programs take for a line break (Unicode, mandatory breaks).
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in or fetched. ``tls`` is auto, implicit, starttls or none."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    tls: str
    implicit: bool
    seconds: float

    @classmethod
    def of(cls, call: Call, protocol: str, *, port: int, implicit_port: int) -> MailServer:
        """The server of a node's parameters, ``{protocol}_host`` and so on."""
        host = one_line(call.require(f"{protocol}_host"), f"{protocol}_host")
        username, password = text_of(call.require("username")), text_of(call.require("password"))
        chosen = whole(call.params.get(f"{protocol}_port") or port, f"{protocol}_port", least=1, most=65535)
        tls = call.params.get("tls") or "auto"
        if tls not in TLS["enum"]:
            raise NodeFailed(f"tls must be one of {', '.join(TLS['enum'])}", retryable=False)
        # A line break in them would end the command they stand in, and begin another.
        if _CONTROL.search(username) or _CONTROL.search(password):
            raise NodeFailed("username and password must be one line without control characters", retryable=False)
        wanted = seconds(call.params.get("timeout") or DEFAULT_TIMEOUT_S, "timeout")
        implicit = tls == "implicit" or (tls == "auto" and chosen == implicit_port)
        return cls(host, chosen, username, password, tls, implicit, min(wanted, call.services.wall_clock_limit_s))

    @property
    def name(self) -> str:
        """Host and port, as messages show them."""
        return f"{self.host}:{self.port}"

    @property
    def plain(self) -> str:
        """The initial response of the SASL mechanism PLAIN (RFC 4616), in Base64."""
        return base64.b64encode(f"\0{self.username}\0{self.password}".encode()).decode()

    @contextmanager
    def connection(self, call: Call, most_bytes: int) -> Iterator[Link]:
        """A checked connection, in TLS already where it is implicit. What fails inside is NodeFailed."""
        with reaching():
            outer = call.services.http.connect(self.host, self.port, timeout_s=self.seconds)
        tunnel = tunnelled(outer, seconds=self.seconds, most_bytes=most_bytes)
        with tunnel as (library, running), self.explained(running):
            own, other, public = outer.getsockname()[0], peer(outer), is_public(outer)
            connection = tls().wrap_socket(library, server_hostname=self.host) if self.implicit else library
            try:
                yield Link(self, connection, own, public=public, loopback=other.is_loopback)
            finally:
                connection.close()

    @contextmanager
    def explained(self, tunnel: Tunnel) -> Iterator[None]:
        """Connection errors as authors read them."""
        try:
            yield
        except NodeFailed:
            if tunnel.cut is None:
                raise
            # Half a reply, which the library took for a whole one.
            raise NodeFailed(f"connection to {self.name}: {tunnel.cut}") from None
        except ssl.SSLCertVerificationError as error:
            message = f"the certificate of {self.host} is not valid: {error.verify_message}"
            raise NodeFailed(message, retryable=False) from None
        except ssl.SSLError as error:
            reason = tunnel.cut or error.reason or "the connection was closed"
            raise NodeFailed(f"TLS with {self.name} failed: {reason}") from None
        except OSError as error:
            reason = tunnel.cut or error.strerror or str(error)
            raise NodeFailed(f"connection to {self.name}: {reason}") from None

    def said(self, reply: Any) -> str:
        """A server's reply for a message: one line, shortened, without the password."""
        text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
        for secret in (self.password, self.plain, base64.b64encode(self.password.encode()).decode()):
            text = text.replace(secret, "[redacted]")
        return _CONTROL.sub(" ", text).strip()[:LONGEST_REPLY]


@dataclass(frozen=True, slots=True)
class Link:
    """An open connection to ``server``. ``own`` is our address on it."""

    server: MailServer
    socket: socket.socket
    own: str
    public: bool
    loopback: bool

    def wants_starttls(self, offered: bool) -> bool:
        """Whether to switch to TLS now. Raises NodeFailed where going on would show the password to others."""
        if self.server.implicit:
            return False
        if self.server.tls == "none":
            if self.public:
                raise NodeFailed("tls: none is only for servers the deployment's settings name", retryable=False)
            return False
        if not offered and (self.server.tls == "starttls" or not self.loopback):
            raise NodeFailed(
                f"{self.server.name} does not offer STARTTLS, and the password is not sent without TLS;"
                " if the port expects TLS from the first byte, set tls to implicit",
                retryable=False,
            )
        return offered


def tls() -> ssl.SSLContext:
    """Trusts whom HTTPS trusts."""
    # Loaded when a message is sent or read: compiling a flow needs no HTTP client.
    from shared.outbound import tls_context

    return tls_context()


def one_line(value: Any, name: str) -> str:
    """A parameter as one line of text; line breaks and other control characters are refused."""
    text = text_of(value)
    if _CONTROL.search(text):
        raise NodeFailed(f"{name} must be one line of text without control characters", retryable=False)
    # Half a surrogate pair has no encoding; it is shown as a question mark.
    return text.encode("utf-8", "replace").decode()
