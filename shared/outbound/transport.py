"""requests' transport, with connections that go to the checked address and end at the deadline.

The adapter is used without a Session on purpose: no cookies are kept, and no proxy or netrc of the environment is read.
"""

from __future__ import annotations

import logging
import ssl
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from requests import ConnectionError as RequestConnectionError
from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import BaseHTTPResponse

from shared.kit import clock
from shared.outbound.sockets import DeadlineSocket, DeadlineTlsSocket, open_socket, remaining, tls_context
from shared.outbound.urls import Target

POOLS = 64
CONNECTIONS = 8
"""How many connections rest for one server, and for how many servers: together half of what a process may usually open.
More may be in use."""

IDLE_S = 60.0
"""A connection idle for longer is not used again: routers forget it without a word."""


@dataclass(slots=True)
class Exchange:
    """One request and its answer on one connection: over by ``deadline``, a new connection made by ``connect_by``.

    Both are monotonic seconds. ``connected`` (newly) and ``reused`` tell afterwards how far it came.
    """

    target: Target
    address: str
    deadline: float
    connect_by: float
    connected: bool = False
    reused: bool = False


# Its warnings and debug rows quote whole URLs, and their queries hold credentials.
logging.getLogger("urllib3").setLevel(logging.ERROR)

_current: ContextVar[Exchange] = ContextVar("exchange")


class _Pinned(HTTPConnection):
    """A connection whose host is a checked address; urllib3 opens and reuses it, we say until when."""

    def _new_conn(self) -> DeadlineSocket:
        exchange = _current.get()
        opened = open_socket(exchange.address, exchange.target.port, exchange.connect_by)
        exchange.connected = True
        opened.until(exchange.deadline)
        return opened

    @property
    def is_connected(self) -> bool:
        idle = clock.monotonic() - getattr(self.sock, "used_at", 0.0)
        return idle < IDLE_S and super().is_connected

    def request(self, *args: Any, **kwargs: Any) -> None:
        exchange = _current.get()
        exchange.reused = self.sock is not None and not exchange.connected
        if isinstance(self.sock, (DeadlineSocket, DeadlineTlsSocket)):
            self.sock.until(exchange.deadline)
        super().request(*args, **kwargs)


class _PinnedTls(_Pinned, HTTPSConnection):
    """The same with TLS; the certificate must be of the host the URL named."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Pinned


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _PinnedTls


class PinnedAdapter(HTTPAdapter):
    """Keeps connections alive per (scheme, host, port, address); safe for threads."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._given_tls = tls
        super().__init__(pool_connections=POOLS, pool_maxsize=CONNECTIONS)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = self._given_tls or tls_context()
        context.sslsocket_class = DeadlineTlsSocket
        return context

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **pool_kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> HTTPConnectionPool:
        exchange = _current.get()
        scheme, host, port = exchange.target.origin
        extra = {"ssl_context": self._tls, "server_hostname": host} if scheme == "https" else {}
        manager: PoolManager = self.poolmanager
        return manager.connection_from_host(exchange.address, port, scheme, pool_kwargs=extra)

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to set: the context verifies, and loading the authorities for every connection would be slow."""

    def exchange(self, request: PreparedRequest, exchange: Exchange, *, repeat: bool) -> BaseHTTPResponse:
        """Send and wait for the head of the answer. Raises requests' exceptions and OSError.

        A kept connection may have been closed by the other side just now; then, if ``repeat``, the next one is used.
        """
        token = _current.set(exchange)
        try:
            while True:
                exchange.connected = exchange.reused = False
                try:
                    raw: BaseHTTPResponse = self.send(request, stream=True, timeout=remaining(exchange.deadline)).raw
                    return raw
                except RequestConnectionError as error:
                    if not (repeat and exchange.reused and _closed(error)):
                        raise
        finally:
            _current.reset(token)


def _closed(error: BaseException | None) -> bool:
    """Whether the other side had closed the connection before it answered anything."""
    while error is not None:
        if isinstance(error, (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return True
        error = error.__cause__ or error.__context__
    return False
