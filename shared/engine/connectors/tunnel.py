"""A library's end of a connection that was checked before: no longer open and no more bytes than allowed.

smtplib, imaplib and libpq read as much and wait as long as the other side makes them. So they get one end of a local
pipe, and two threads copy between its other end and the checked connection until time or bytes are used up::

    library ── local pipe ── Tunnel ── checked connection ── server
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.kit import clock
from shared.kit.errors import SignalboxError

CHUNK = 64 * 1024
GRACE_S = 1.0
"""How long the other side may take to say goodbye after the library has."""


class Tunnel:
    """Copies both ways between ``inner`` (the library's pipe) and ``outer`` (the checked connection); closes both."""

    def __init__(self, inner: socket.socket, outer: socket.socket, *, seconds: float, most_bytes: int) -> None:
        self.cut: str | None = None
        self._until = clock.monotonic() + seconds
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._received = 0
        self._inner, self._outer = inner, outer
        self._threads = [
            threading.Thread(target=self._copy, args=ends, name="tunnel", daemon=True)
            for ends in ((inner, outer), (outer, inner))
        ]
        for thread in self._threads:
            thread.start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := self._receive(source):
                if source is self._outer and not self._counted(len(data)):
                    return
                target.sendall(data)
        except TimeoutError:
            self._stop(f"no end within {self._seconds:g} s")
        except OSError:
            self._stop(None)
        else:
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)

    def _receive(self, source: socket.socket) -> bytes:
        source.settimeout(max(self._until - clock.monotonic(), 0.001))
        return source.recv(CHUNK)

    def _counted(self, size: int) -> bool:
        self._received += size
        if self._received <= self._most_bytes:
            return True
        self._stop(f"the server sent more than {self._most_bytes // 2**20} MB")
        return False

    def _stop(self, reason: str | None) -> None:
        self.cut = self.cut or reason
        for end in (self._inner, self._outer):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End both connections; what the library wrote before it closed its end still arrives."""
        for thread in self._threads:
            thread.join(GRACE_S)
        self._stop(None)
        for thread in self._threads:
            thread.join()
        self._inner.close()
        self._outer.close()


@contextmanager
def tunnelled(outer: socket.socket, *, seconds: float, most_bytes: int) -> Iterator[tuple[socket.socket, Tunnel]]:
    """The library's end of a tunnel to ``outer``, for libraries that take a socket. Both are closed at the end."""
    library, inner = socket.socketpair()
    tunnel = Tunnel(inner, outer, seconds=seconds, most_bytes=most_bytes)
    try:
        yield library, tunnel
    finally:
        with contextlib.suppress(OSError):
            library.shutdown(socket.SHUT_RDWR)
        library.close()
        tunnel.close()


class TunnelPort:
    """A loopback port in front of checked connections, for libraries that connect themselves.

    ``dial`` makes a checked connection; libpq may ask for a second one after the first. Nobody else can use the port to
    any end: it leads to one server, which asks for a password.
    """

    def __init__(self, dial: Callable[[], socket.socket], *, seconds: float, most_bytes: int) -> None:
        self._dial = dial
        first = dial()
        try:
            self.is_public = is_public(first)
            self._listener = socket.create_server(("127.0.0.1", 0))
        except OSError:
            # The other side may have hung up already.
            first.close()
            raise
        self._first: socket.socket | None = first
        self._seconds, self._most_bytes = seconds, most_bytes
        self._tunnels: list[Tunnel] = []
        self._closing = False
        self._listener.settimeout(seconds)
        self.number: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="tunnel-port", daemon=True)
        self._thread.start()

    @property
    def cut(self) -> str | None:
        """Why a connection was cut, if one was."""
        return next((tunnel.cut for tunnel in self._tunnels if tunnel.cut), None)

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            if self._closing:
                inner.close()
                return
            try:
                outer, self._first = self._first or self._dial(), None
            except (SignalboxError, OSError):
                inner.close()
                return
            self._tunnels.append(Tunnel(inner, outer, seconds=self._seconds, most_bytes=self._most_bytes))

    def close(self) -> None:
        """Close the port and every connection."""
        self._closing = True
        # A connection of our own ends the wait for one; closing a listener does not everywhere.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.number), timeout=GRACE_S).close()
        self._thread.join()
        self._listener.close()
        if self._first is not None:
            self._first.close()
        for tunnel in self._tunnels:
            tunnel.close()


def is_public(connection: socket.socket) -> bool:
    """Whether the other side has a public address; others are reached only where the settings name them."""
    return peer(connection).is_global


def peer(connection: socket.socket) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The other side's address; an IPv4 address that is written as IPv6 counts as IPv4."""
    address = ipaddress.ip_address(str(connection.getpeername()[0]).partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address
