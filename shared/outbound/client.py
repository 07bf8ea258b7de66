"""The client that nodes call other hosts with."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from requests import RequestException
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from shared.kit import clock
from shared.outbound.errors import OutboundError, OutboundRefused
from shared.outbound.messages import HttpResponse, HttpStream, timed_out
from shared.outbound.outgoing import Outgoing, outgoing
from shared.outbound.policy import Guard, OutboundPolicy
from shared.outbound.resolver import BoundedResolver, Resolver, system_resolver
from shared.outbound.sockets import open_socket
from shared.outbound.transport import Exchange, PinnedAdapter
from shared.outbound.urls import Host, check_port, parse_host, parse_url

MAX_REDIRECTS = 10
MAX_BYTES = 5 * 1024 * 1024
NEXT_ADDRESS_S = 3.0
"""After so long without a connection the host's next address is tried; a lost first packet is repeated before that."""

_LOOPBACK = ("127.0.0.1", "::1")


class OutboundClient:
    """HTTP and TCP to checked addresses. One for the process; threads may share it.

    Every name is looked up once and every answer checked; connections go to a checked address and TLS verifies the
    name. ``timeout_s`` bounds all of a call: look-up, connection, redirects, head and body. ``resolver`` and ``tls``
    replace the operating system's look-up and the default trust.
    """

    def __init__(
        self, policy: OutboundPolicy, *, resolver: Resolver = system_resolver, tls: ssl.SSLContext | None = None
    ) -> None:
        self._guard = Guard(policy)
        self._resolver = BoundedResolver(resolver)
        self._adapter = PinnedAdapter(tls)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._adapter.close()

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None,
        timeout_s: float = 30.0, follow_redirects: bool = True, max_bytes: int = MAX_BYTES,
    ) -> HttpResponse:  # fmt: skip
        """Send a request and read the whole answer, whatever its status. Raises OutboundError."""
        began = clock.monotonic()
        with self.stream(
            method, url, headers=headers, body=body, timeout_s=timeout_s, follow_redirects=follow_redirects,
            max_bytes=max_bytes,
        ) as stream:  # fmt: skip
            content = stream.read()
        elapsed_ms = round((clock.monotonic() - began) * 1000)
        return HttpResponse(stream.status, stream.headers, content, stream.url, elapsed_ms)

    @contextmanager
    def stream(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None,
        timeout_s: float = 30.0, follow_redirects: bool = True, max_bytes: int = MAX_BYTES,
    ) -> Iterator[HttpStream]:  # fmt: skip
        """As :meth:`request`, with the body read as it arrives inside the block. Raises OutboundError."""
        deadline = clock.monotonic() + timeout_s
        request = outgoing(method, parse_url(url), headers, body)
        for _ in range(MAX_REDIRECTS + 1):
            raw = self._send(request, deadline)
            try:
                following = request.redirected(raw.status, raw.headers.get("location")) if follow_redirects else None
            except OutboundError:
                raw.close()
                raise
            if following is None:
                break
            raw.close()
            request = following
        else:
            raise OutboundRefused(f"{request.target.label} redirects more than {MAX_REDIRECTS} times")
        stream = HttpStream(raw, request.target.url, request.target.label, max_bytes)
        try:
            yield stream
        finally:
            stream.close()

    def checked_url(self, url: str, *, secure: bool = False) -> str:
        """The URL in its canonical form, if it may be called as far as that shows without a look-up.

        ``secure`` refuses plain http, but for a host that ``allow_hosts`` names. Raises OutboundRefused.
        """
        target = parse_url(url)
        self._guard.check_name(target.host)
        known = _known_addresses(target.host)
        if known is not None:
            self._guard.admit(target.host, target.port, known)
        if secure and target.scheme != "https" and not self._guard.names(target.host, target.port):
            raise OutboundRefused("the URL must begin with https://")
        return target.url

    def connect(self, host: str, port: int, *, timeout_s: float) -> socket.socket:
        """A TCP connection to a checked address of ``host``; its time-out stays ``timeout_s``. Raises OutboundError."""
        deadline = clock.monotonic() + timeout_s
        parsed = parse_host(host)
        failure: OSError | None = None
        addresses = self._addresses(parsed, port, deadline)
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                opened = open_socket(address, port, _share(deadline, left))
            except OSError as error:
                failure = error
                continue
            plain = socket.socket(fileno=opened.detach())
            plain.settimeout(timeout_s)
            return plain
        raise _cannot_connect(f"{parsed.bracketed}:{port}", failure)

    def _addresses(self, host: Host, port: int, deadline: float) -> list[str]:
        check_port(port)
        self._guard.check_name(host)
        answers = _known_addresses(host)
        if answers is None:
            answers = self._resolver.addresses(host.name, port, deadline - clock.monotonic())
        return self._guard.admit(host, port, answers)

    def _send(self, request: Outgoing, deadline: float) -> BaseHTTPResponse:
        target = request.target
        failure: Exception | None = None
        addresses = self._addresses(target.host, target.port, deadline)
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            exchange = Exchange(target, address, deadline, _share(deadline, left))
            try:
                return self._adapter.exchange(request.prepared(), exchange, repeat=request.repeatable)
            except (RequestException, HTTPError, OSError, ValueError) as error:
                failure = error
                if exchange.connected or exchange.reused:
                    raise _broken(target.label, error) from None
        raise _cannot_connect(target.label, failure)


def _known_addresses(host: Host) -> Sequence[str] | None:
    """The addresses of a host that needs no look-up."""
    if host.address is not None:
        return [host.name]
    # RFC 6761: these names are this machine, whatever a name server says.
    if host.name == "localhost" or host.name.endswith(".localhost"):
        return _LOOPBACK
    return None


def _share(deadline: float, left: int) -> float:
    """Until when to try one of ``left`` addresses: a silent one must leave time for the others."""
    if left == 1:
        return deadline
    now = clock.monotonic()
    return now + min((deadline - now) / left, NEXT_ADDRESS_S)


def _cannot_connect(label: str, error: BaseException | None) -> OutboundError:
    if timed_out(error):
        return OutboundError(f"{label} did not accept a connection in time")
    reason = next((found.strerror for found in _causes(error) if isinstance(found, OSError) and found.strerror), None)
    return OutboundError(f"cannot connect to {label}" + (f": {reason}" if reason else ""))


def _broken(label: str, error: BaseException) -> OutboundError:
    for found in _causes(error):
        if isinstance(found, ssl.SSLCertVerificationError):
            return OutboundError(f"the certificate of {label} is not valid: {found.verify_message}")
    if timed_out(error):
        return OutboundError(f"{label} did not answer in time")
    if any(isinstance(found, ssl.SSLError) for found in _causes(error)):
        return OutboundError(f"no secure (TLS) connection to {label} could be made")
    return OutboundError(f"the connection to {label} broke off before it answered")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
