"""URLs and host names, read strictly: what is not written plainly is refused rather than guessed.

Two programs that read one odd URL differently are how guards are passed (SSRF); so the URL that is sent is put
together again from the parts that were checked. Sources: RFC 3986, RFC 5891, WHATWG URL Standard (ends in a number).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import quote, urljoin

import idna

from shared.outbound.addresses import Address
from shared.outbound.errors import OutboundRefused

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?")
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{0,5}))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Host:
    """A host in its one canonical form: lower-case ASCII ``name``; ``address`` if the name is an address."""

    name: str
    address: Address | None = None

    @property
    def bracketed(self) -> str:
        """As it stands in a URL."""
        return f"[{self.name}]" if isinstance(self.address, IPv6Address) else self.name


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. ``path`` begins with ``/`` and includes the query."""

    scheme: str
    host: Host
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The Host header: the port only if it is not the scheme's own."""
        return self.host.bracketed + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")

    @property
    def url(self) -> str:
        """The whole URL."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def label(self) -> str:
        """The host as messages name it."""
        return f"{self.host.bracketed}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: who is asked."""
        return self.scheme, self.host.name, self.port


def parse_url(text: str) -> Target:
    """The target of an http or https URL. Raises OutboundRefused with what is wrong with it."""
    text = text.strip(" \t\r\n")
    text = _SURROGATE.sub("\ufffd", text)
    if _CONTROL.search(text):
        raise OutboundRefused("the URL contains a line break or another control character")
    match = _URL.match(text)
    if match is None:
        raise OutboundRefused("the URL must begin with http:// or https:// and name a host")
    scheme = match["scheme"].lower()
    if scheme not in _PORTS:
        raise OutboundRefused(f"only http and https URLs can be called, not {scheme}")
    if "@" in match["authority"]:
        raise OutboundRefused("the URL must not contain a user name or password; use the auth parameter")
    authority = _AUTHORITY.fullmatch(match["authority"])
    if authority is None:
        raise OutboundRefused("the URL's host or port is malformed")
    port = check_port(int(authority["port"])) if authority["port"] else _PORTS[scheme]
    path = match["path"] or "/"
    return Target(scheme, parse_host(authority["host"]), port, _escaped(path + (match["query"] or "")))


def _escaped(path: str) -> str:
    """What may not stand in a URL is percent-encoded; a percent sign only where it begins no code."""
    return quote(_LONE_PERCENT.sub("%25", path), safe="%/?:@!$&'()*+,;=-._~")


def follow(target: Target, location: str) -> Target:
    """The target a Location header names, relative to ``target``."""
    try:
        # The head of an answer is read as Latin-1, but servers send UTF-8.
        location = location.encode("latin-1").decode("utf-8", "replace")
        return parse_url(urljoin(target.url, location.strip(" \t")))
    except ValueError:
        raise OutboundRefused(f"{target.label} redirects to a malformed URL") from None


def check_port(port: int) -> int:
    """The port, if it is one."""
    if not 1 <= port <= 65535:
        raise OutboundRefused(f"{port} is not a port; ports are 1 to 65535")
    return port


def parse_host(text: str) -> Host:
    """A host name or address in canonical form. Raises OutboundRefused."""
    if text.startswith("[") or ":" in text:
        return _v6(text)
    name = _ascii(text).removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _v4(name)
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise OutboundRefused("the URL's host is not a valid host name")
    return Host(name)


def _ascii(text: str) -> str:
    if text.isascii():
        return text.lower()
    try:
        return idna.encode(text, uts46=True, transitional=False).decode().lower()
    except (idna.IDNAError, UnicodeError):
        raise OutboundRefused("the URL's host is not a valid international host name") from None


def _v4(name: str) -> Host:
    try:
        address = IPv4Address(name)
    except ValueError:
        raise OutboundRefused("an IPv4 address must be written as four decimal numbers") from None
    return Host(str(address), address)


def _v6(text: str) -> Host:
    body = text.removeprefix("[").removesuffix("]")
    if "%" in body:
        raise OutboundRefused("an address with a zone cannot be called")
    try:
        address = IPv6Address(body)
    except ValueError:
        raise OutboundRefused("the URL's IPv6 address is malformed") from None
    return Host(str(address), address)


def parse_address(text: str) -> Address:
    """An address as a resolver answers it; a zone is cut off. Raises ValueError."""
    return ip_address(text.partition("%")[0])
