"""Which IP addresses are public. Everything that is not plain global unicast is named, so that a refusal can say why.

Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries; RFC 4291 (IPv6), RFC 6052 (NAT64), RFC 3056 (6to4),
RFC 4380 (Teredo), RFC 5214 (ISATAP); the instance metadata pages of the cloud providers.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_SPECIAL_V4 = {
    IPv4Network(network): name
    for network, name in {
        "0.0.0.0/8": "an unspecified address",
        "10.0.0.0/8": "a private address",
        "100.64.0.0/10": "a shared (carrier-grade NAT) address",
        "127.0.0.0/8": "a loopback address",
        "169.254.0.0/16": "a link-local address",
        "172.16.0.0/12": "a private address",
        "192.0.0.0/24": "a reserved address",
        "192.0.2.0/24": "a documentation address",
        "192.31.196.0/24": "a reserved address",
        "192.52.193.0/24": "a reserved address",
        "192.88.99.0/24": "a reserved address",
        "192.168.0.0/16": "a private address",
        "192.175.48.0/24": "a reserved address",
        "198.18.0.0/15": "a benchmarking address",
        "198.51.100.0/24": "a documentation address",
        "203.0.113.0/24": "a documentation address",
        "224.0.0.0/4": "a multicast address",
        "240.0.0.0/4": "a reserved address",
    }.items()
}
_SPECIAL_V6 = {
    IPv6Network(network): name
    for network, name in {
        "::/128": "an unspecified address",
        "::1/128": "a loopback address",
        "fc00::/7": "a private (unique local) address",
        "fe80::/10": "a link-local address",
        "fec0::/10": "a private (site-local) address",
        "ff00::/8": "a multicast address",
        "2001::/23": "a reserved address",
        "2001:db8::/32": "a documentation address",
        "2002::/16": "a tunnelled (6to4) address",
        "2620:4f:8000::/48": "a reserved address",
        "3fff::/20": "a documentation address",
    }.items()
}
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")

# The whole of link-local is listed: every cloud keeps services of the machine there, and no flow has business with it.
_METADATA = tuple(
    IPv6Network(network) if ":" in network else IPv4Network(network)
    for network in (
        "169.254.0.0/16",  # AWS, Azure, Google, OpenStack, Oracle, DigitalOcean; ECS and EKS credentials
        "fe80::/10",
        "fd00:ec2::/32",  # AWS over IPv6
        "fd20:ce::/64",  # Google over IPv6
        "fd00:42::42/128",  # Scaleway
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's host
        "192.0.0.192/32",  # Oracle, classic
    )
)
METADATA_NAMES = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.platformequinix.com",
        "metadata.tencentyun.com",
    }
)


def plain(address: Address) -> Address:
    """An IPv4-mapped IPv6 address as the IPv4 address it is another spelling of; any other one as it is."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def carried(address: Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses inside a translated or tunnelled IPv6 address: where the packets may end."""
    if not isinstance(address, IPv6Address):
        return
    number = int(address)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    # IPv4-compatible, -mapped and -translated, NAT64 (well-known and local prefix) and ISATAP all end in the address.
    upper, interface = number >> 32, (number >> 32) & 0xFFFFFFFF
    if upper in (0, 0xFFFF, 0xFFFF0000) or address in _NAT64 or number >> 80 == 0x0064FF9B0001 or _isatap(interface):
        yield IPv4Address(number & 0xFFFFFFFF)


def _isatap(interface: int) -> bool:
    return interface & 0xFCFFFFFF == 0x00005EFE


def special(address: Address) -> str | None:
    """Why the address is not public ("a private address"); None for global unicast."""
    address = plain(address)
    if isinstance(address, IPv4Address):
        return _named(address, _SPECIAL_V4) or (None if address.is_global else "a reserved address")
    if address in _NAT64:
        return special(IPv4Address(int(address) & 0xFFFFFFFF))
    name = _named(address, _SPECIAL_V6)
    if name is None and any(carried(address)):
        name = "a tunnelled address"
    if name is None and (address not in _GLOBAL_UNICAST or not address.is_global):
        name = "a reserved address"
    return name


def _named(address: Address, networks: dict[IPv4Network, str] | dict[IPv6Network, str]) -> str | None:
    return next((name for network, name in networks.items() if address in network), None)


def is_metadata(address: Address) -> bool:
    """Whether a cloud's metadata or another service of the machine's host answers there, in any spelling."""
    return any(one in network for one in (plain(address), *carried(address)) for network in _METADATA)


def is_own(address: Address) -> bool:
    """Whether this machine itself answers there: loopback, unspecified, or an address of one of its interfaces."""
    return any(_is_own(one) for one in (plain(address), *carried(address)))


def _is_own(address: Address) -> bool:
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError as error:
        # Only "not an address of this machine" and "no such family here" are a no.
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL, errno.EACCES)
    return True
