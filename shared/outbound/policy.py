"""Who may be called: the operator's policy, and the guard that applies it to names and addresses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from shared.outbound.addresses import METADATA_NAMES, Address, Network, is_metadata, is_own, plain, special
from shared.outbound.errors import OutboundError, OutboundRefused
from shared.outbound.urls import Host, check_port, parse_address, parse_host

_WITH_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<other>[^\[\]:]+))(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class OutboundPolicy:
    """What the operator allows and refuses.

    ``allow_hosts`` may be called although private: host names (exact, or ``*.suffix``), addresses or CIDR networks,
    each optionally with a port (``db.internal:5432``, ``10.0.0.0/8:443``, ``[fd00::1]:80``). ``refused_ports`` are our
    own ports: on this machine's addresses they are refused whatever is allowed, and so are metadata services.
    Raises ValueError for an entry that is none of these.
    """

    allow_hosts: Sequence[str] = ()
    refused_ports: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for entry in self.allow_hosts:
            _rule(entry)


@dataclass(frozen=True, slots=True)
class _Rule:
    """One entry of ``allow_hosts``: a name, a suffix with its dot, or a network; any port without one."""

    name: str = ""
    suffix: str = ""
    network: Network | None = None
    port: int | None = None

    def matches(self, host: Host, address: Address, port: int) -> bool:
        if self.network is not None:
            return self.port in (None, port) and address in self.network
        return self.names(host, port)

    def names(self, host: Host, port: int) -> bool:
        if self.port not in (None, port):
            return False
        if self.network is not None:
            return host.address is not None and host.address in self.network
        return host.name == self.name or (bool(self.suffix) and host.name.endswith(self.suffix))


class Guard:
    """Decides which of a host's addresses may be called."""

    def __init__(self, policy: OutboundPolicy) -> None:
        self._rules = tuple(_rule(entry) for entry in policy.allow_hosts)
        self._refused_ports = frozenset(policy.refused_ports)

    def names(self, host: Host, port: int) -> bool:
        """Whether ``allow_hosts`` names this host itself, by its name or its address."""
        return any(rule.names(host, port) for rule in self._rules)

    def check_name(self, host: Host) -> None:
        """Refuse what must not even be looked up."""
        if host.name in METADATA_NAMES:
            raise OutboundRefused(f"{host.name} is a metadata service, which cannot be called")

    def admit(self, host: Host, port: int, answers: Sequence[str]) -> list[str]:
        """Those of a resolver's ``answers`` that may be called, in their order. Raises OutboundRefused if none may."""
        admitted: list[str] = []
        refusals: list[str] = []
        for answer in answers:
            address = plain(parse_address(answer))
            refusal = self._refusal(host, address, port)
            if refusal is not None:
                refusals.append(refusal)
            elif str(address) not in admitted:
                admitted.append(str(address))
        if admitted:
            return admitted
        if not refusals:
            raise OutboundError(f"the host name {host.name} has no address")
        raise OutboundRefused(f"{host.bracketed}:{port} cannot be called: {refusals[0]}")

    def _refusal(self, host: Host, address: Address, port: int) -> str | None:
        if is_metadata(address):
            return "it is a link-local address or a metadata service"
        if port in self._refused_ports and is_own(address):
            return "it is a port of this server itself"
        reason = special(address)
        if reason is None or any(rule.matches(host, address, port) for rule in self._rules):
            return None
        return f"it is {reason}, and the server's allow_hosts setting does not list it"


def _rule(entry: str) -> _Rule:
    """Raises ValueError for what is neither a name, an address nor a network."""
    text = entry.strip().lower()
    whole = _network(text)
    if whole is not None:
        return _Rule(network=whole)
    match = _WITH_PORT.fullmatch(text)
    if match is None:
        raise ValueError(f"allow_hosts: {entry!r} is not a host, an address or a network, with or without :port")
    try:
        port = check_port(int(match["port"])) if match["port"] else None
        network = _network(match["v6"] or match["other"])
        if network is not None:
            return _Rule(network=network, port=port)
        name = parse_host((match["other"] or "").removeprefix("*.")).name
    except OutboundRefused as refused:
        raise ValueError(f"allow_hosts: {entry!r}: {refused.message}") from None
    return _Rule(suffix=f".{name}", port=port) if text.startswith("*.") else _Rule(name=name, port=port)


def _network(text: str) -> Network | None:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    mapped = plain(network.network_address)
    return ip_network(mapped) if mapped != network.network_address and network.num_addresses == 1 else network
