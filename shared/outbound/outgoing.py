"""What is sent: the header fields authors may set, and how a redirect changes a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from requests import PreparedRequest

from shared.outbound.errors import OutboundRefused
from shared.outbound.urls import Target, follow

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN_METHODS = frozenset({"CONNECT", "TRACE", "TRACK"})

# The client's own: whoever sets them could mix up the messages on a connection that others use after him, or name
# another host than the one that was checked. Browsers ignore the same names (Fetch Standard, forbidden request-header).
_OWN_HEADERS = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection", "te",
     "trailer", "transfer-encoding", "upgrade"}
)  # fmt: skip
# What may go on to another origin. Any other header may hold a credential: authors name their API keys as they like.
_HARMLESS_HEADERS = frozenset(
    {"accept", "accept-encoding", "accept-language", "cache-control", "content-encoding", "content-language",
     "content-type", "idempotency-key", "if-match", "if-modified-since", "if-none-match", "if-unmodified-since",
     "range", "user-agent", "x-signalbox-attempt"}
)  # fmt: skip
_DEFAULT_HEADERS = {"User-Agent": "Signalbox", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request that is ready but for its connection."""

    method: str
    target: Target
    headers: Mapping[str, str]
    body: bytes | None

    def prepared(self) -> PreparedRequest:
        """As requests sends it."""
        request = PreparedRequest()
        request.prepare(method=self.method, url=self.target.url, headers=dict(self.headers), data=self.body)
        request.headers["Host"] = self.target.authority
        return request

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again when a kept connection turns out dead (RFC 9110, idempotent methods)."""
        return self.method in _IDEMPOTENT or any(name.lower() == "idempotency-key" for name in self.headers)

    def redirected(self, status: int, location: str | None) -> Outgoing | None:
        """The request a redirect asks for; None when the answer is no redirect."""
        if status not in _REDIRECTS or not location:
            return None
        target = follow(self.target, location)
        headers = dict(self.headers)
        if not _same_origin(self.target, target):
            headers = {name: value for name, value in headers.items() if name.lower() in _HARMLESS_HEADERS}
        becomes_get = (status in (302, 303) and self.method != "HEAD") or (status == 301 and self.method == "POST")
        if not becomes_get:
            return replace(self, target=target, headers=headers)
        headers = {name: value for name, value in headers.items() if not name.lower().startswith("content-")}
        return Outgoing("GET", target, headers, None)


def outgoing(method: str, target: Target, headers: Mapping[str, str] | None, body: bytes | None) -> Outgoing:
    """Check and complete what the caller gave. Raises OutboundRefused."""
    method = method.upper()
    if not _TOKEN.fullmatch(method) or method in _FORBIDDEN_METHODS:
        raise OutboundRefused("the method must be a word such as GET, POST, PUT, PATCH or DELETE")
    complete = dict(_DEFAULT_HEADERS)
    for name, value in (headers or {}).items():
        if not _TOKEN.fullmatch(name):
            raise OutboundRefused("a header name may contain only letters, digits and hyphens")
        if _CONTROL.search(value):
            raise OutboundRefused(f"the header {name} contains a line break or another control character")
        if name.lower() in _OWN_HEADERS:
            continue
        for default in [known for known in complete if known.lower() == name.lower()]:
            del complete[default]
        complete[name] = _wire(value.strip(" \t"))
    return Outgoing(method, target, complete, body)


def _wire(value: str) -> str:
    """Text outside ASCII goes as UTF-8; the transport writes each character as one byte."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode("latin-1")


def _same_origin(before: Target, after: Target) -> bool:
    """Also the step from http to https on the same host and the standard ports, as requests sees it."""
    if before.origin == after.origin:
        return True
    standard = (before.scheme, before.port, after.scheme, after.port) == ("http", 80, "https", 443)
    return standard and before.host == after.host
