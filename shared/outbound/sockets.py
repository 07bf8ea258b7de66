"""Sockets that know their deadline: however slowly the other side drips, no call on them ends after it."""

from __future__ import annotations

import socket
import ssl
import sys
from typing import TYPE_CHECKING, Any

import certifi

from shared.kit import clock

if TYPE_CHECKING:
    # The mixin stands before both kinds of socket; for the type checker it is one.
    _Base = socket.socket
else:
    _Base = object


class _Deadline(_Base):
    """Before each read and write the time-out becomes what is left until ``deadline`` (monotonic seconds)."""

    deadline: float = 0.0
    used_at: float = 0.0

    def until(self, deadline: float) -> None:
        """Set the deadline, also for what reads without asking here: the TLS handshake. Raises TimeoutError."""
        self.deadline = deadline
        self._arm()

    def _arm(self) -> None:
        self.used_at = clock.monotonic()
        self.settimeout(remaining(self.deadline))

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self._arm()
        if sys.platform == "linux":
            # A server that writes head and body apart waits for our acknowledgement, which Linux delays by 40 ms.
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return super().recv_into(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> int:
        self._arm()
        return super().send(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self._arm()
        super().sendall(*args, **kwargs)


class DeadlineSocket(_Deadline, socket.socket):
    """A TCP socket with a deadline."""


class DeadlineTlsSocket(_Deadline, ssl.SSLSocket):
    """A TLS socket with a deadline."""


def remaining(deadline: float) -> float:
    """Seconds left; raises TimeoutError when there are none."""
    left = deadline - clock.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def open_socket(address: str, port: int, deadline: float) -> DeadlineSocket:
    """A connection to a checked address; nothing is looked up. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = DeadlineSocket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.until(deadline)
        opened.connect((address, port))
    except BaseException:
        opened.close()
        raise
    return opened


def tls_context() -> ssl.SSLContext:
    """Verifies certificate and host name against the public authorities and those the machine's operator installed."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
