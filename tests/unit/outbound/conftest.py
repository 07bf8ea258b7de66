"""Servers on loopback whose every byte a test decides, and clients that may call them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from shared.outbound import OutboundClient, OutboundPolicy

LONGEST_DRIP = 500


@dataclass(slots=True)
class Connection:
    """One connection a client made. ``requests`` are the heads it sent, each with its body."""

    wire: socket.socket
    stop: threading.Event
    requests: list[tuple[str, dict[str, str], bytes]]
    buffer: bytes = b""

    def request(self) -> bool:
        """Read one request; False when the client closed instead."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                return False
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in fields)}
        length = int(headers.get("content-length", "0"))
        while len(self.buffer) < length:
            if not self._more():
                return False
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        self.requests.append((line, headers, body))
        return True

    def _more(self) -> bool:
        received = self.wire.recv(65536)
        self.buffer += received
        return bool(received)

    def send(self, text: bytes) -> None:
        """Send bytes as they are."""
        self.wire.sendall(text)

    def answer(self, body: bytes = b"ok", *, status: str = "200 OK", headers: Sequence[str] = ()) -> None:
        """Send a whole answer; the connection may be used again."""
        fields = "".join(f"{one}\r\n" for one in (*headers, f"Content-Length: {len(body)}"))
        self.send(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode("latin-1") + body)

    def drip(self, byte: bytes) -> None:
        """Send a byte now and then: each in time for any time-out of one read, all of them much too late."""
        for _ in range(LONGEST_DRIP):
            self.send(byte)
            if self.stop.wait(0.02):
                return

    def hang(self) -> None:
        """Say nothing until the test ends."""
        self.stop.wait()


Script = Callable[[Connection], None]


@dataclass(slots=True)
class Server:
    """Runs a script per connection."""

    script: Script
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    tls: ssl.SSLContext | None = None
    connections: list[Connection] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self.port = self.listener.getsockname()[1]

    def url(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        self.threads.append(thread)
        thread.start()

    def accept(self) -> None:
        while True:
            try:
                wire, _ = self.listener.accept()
            except OSError:
                return
            connection = Connection(wire, self.stop, self.requests)
            self.connections.append(connection)
            self.start(self.talk, connection)

    def talk(self, connection: Connection) -> None:
        with contextlib.suppress(OSError):
            if self.tls is not None:
                connection.wire = self.tls.wrap_socket(connection.wire, server_side=True)
            self.script(connection)
        connection.wire.close()

    def close(self) -> None:
        self.stop.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.wire.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()


Serve = Callable[..., Server]
MakeClient = Callable[..., OutboundClient]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """``serve(script)``: a server; the script talks to each connection. Without one every request gets ``ok``."""
    servers: list[Server] = []

    def make(script: Script | None = None, *, tls: ssl.SSLContext | None = None) -> Server:
        server = Server(script or always_ok, tls=tls)
        servers.append(server)
        server.start(server.accept)
        return server

    yield make
    for server in servers:
        server.close()


def always_ok(connection: Connection) -> None:
    while connection.request():
        connection.answer()


@pytest.fixture
def client() -> Iterator[MakeClient]:
    """``client(names={"api.test": ["127.0.0.1"]}, allow=…, refused_ports=…)``; unknown names do not resolve."""
    clients: list[OutboundClient] = []

    def make(
        names: dict[str, list[str]] | None = None, *, allow: Sequence[str] = ("127.0.0.0/8", "::1"),
        refused_ports: tuple[int, ...] = (), tls: ssl.SSLContext | None = None, asked: list[str] | None = None,
    ) -> OutboundClient:  # fmt: skip
        def resolve(name: str, port: int) -> list[str]:
            if asked is not None:
                asked.append(name)
            if name not in (names or {}):
                raise socket.gaierror(socket.EAI_NONAME, "unknown")
            return (names or {})[name]

        made = OutboundClient(OutboundPolicy(allow, refused_ports), resolver=resolve, tls=tls)
        clients.append(made)
        return made

    yield make
    for one in clients:
        one.close()
