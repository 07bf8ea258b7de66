from ipaddress import ip_address

import pytest

from shared.outbound.addresses import is_metadata, is_own, special


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1",
        "169.254.0.1", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.1",
        "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250",
        "240.0.0.1", "255.255.255.255",
        "::", "::1", "::2", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "::8.8.8.8", "::ffff:0:127.0.0.1",
        "::ffff:0:8.8.8.8", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8", "100::1", "2001::1",
        "2001:0:53aa:64c::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1",
        "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1", "4000::1", "2606:4700::5efe:10.0.0.1",
        "2606:4700::200:5efe:127.0.0.1",
    ],
)  # fmt: skip
def test_what_is_not_global_unicast_is_special(text: str) -> None:
    """Private, local, tunnelled, reserved and documentation addresses all have a reason to be refused."""
    assert special(ip_address(text)) is not None


@pytest.mark.parametrize(
    "text",
    ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.167.0.1", "223.255.255.1",
     "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001::1"],
)  # fmt: skip
def test_public_addresses_are_not_special(text: str) -> None:
    """Global unicast is callable, also as an IPv4-mapped address and behind the well-known NAT64 prefix."""
    assert special(ip_address(text)) is None


@pytest.mark.parametrize(
    ("text", "metadata"),
    [
        ("169.254.169.254", True), ("169.254.170.2", True), ("169.254.1.1", True), ("::ffff:169.254.169.254", True),
        ("::169.254.169.254", True), ("64:ff9b::169.254.169.254", True), ("2002:a9fe:a9fe::", True), ("fe80::1", True),
        ("fd00:ec2::254", True), ("fd20:ce::254", True), ("fd00:42::42", True), ("100.100.100.200", True),
        ("168.63.129.16", True), ("192.0.0.192", True), ("10.0.0.1", False), ("127.0.0.1", False), ("8.8.8.8", False),
        ("fd00::1", False), ("::1", False),
    ],
)  # fmt: skip
def test_metadata_services_in_every_spelling(text: str, metadata: bool) -> None:
    """Where a cloud's metadata or the machine's host answers is known, also translated and tunnelled."""
    assert is_metadata(ip_address(text)) is metadata


@pytest.mark.parametrize(
    ("text", "own"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("0.0.0.0", True), ("::", True), ("::1", True),
     ("::ffff:127.0.0.1", True), ("::127.0.0.1", True), ("192.0.2.1", False), ("8.8.8.8", False),
     ("2001:db8::1", False)],
)  # fmt: skip
def test_addresses_of_this_machine(text: str, own: bool) -> None:
    """Loopback, unspecified and an interface's own addresses are this machine; others are not."""
    assert is_own(ip_address(text)) is own
