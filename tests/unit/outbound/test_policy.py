import pytest

from shared.outbound import OutboundError, OutboundPolicy, OutboundRefused
from shared.outbound.policy import Guard
from shared.outbound.urls import parse_host


def admitted(guard: Guard, host: str, port: int, *answers: str) -> list[str]:
    return guard.admit(parse_host(host), port, answers or [host])


@pytest.mark.parametrize(
    ("entry", "host", "port", "answer"),
    [
        ("db.internal", "db.internal", 5432, "10.0.0.1"),
        ("DB.internal.", "db.INTERNAL", 1, "10.0.0.1"),
        ("db.internal:5432", "db.internal", 5432, "10.0.0.1"),
        ("*.internal", "a.b.internal", 80, "fd00::1"),
        ("*.internal:80", "a.internal", 80, "10.0.0.1"),
        ("bücher.internal", "xn--bcher-kva.internal", 80, "10.0.0.1"),
        ("localhost", "localhost", 80, "127.0.0.1"),
        ("127.0.0.1", "localhost", 80, "127.0.0.1"),
        ("127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1"),
        ("10.0.0.0/8", "any.example", 80, "10.9.8.7"),
        ("10.0.0.0/8:443", "any.example", 443, "10.9.8.7"),
        ("10.0.0.0/8", "any.example", 80, "::ffff:10.9.8.7"),
        ("::ffff:10.9.8.7", "any.example", 80, "10.9.8.7"),
        ("::1", "::1", 80, "::1"),
        ("[::1]", "::1", 80, "::1"),
        ("[::1]:80", "::1", 80, "::1"),
        ("fd00::/8", "any.example", 80, "fd12::1"),
        ("[fd00::/8]:80", "any.example", 80, "fd12::1"),
    ],
)
def test_allowed_hosts_may_be_private(entry: str, host: str, port: int, answer: str) -> None:
    """Names, suffixes, addresses and networks, each with or without a port, open exactly what they say."""
    assert len(admitted(Guard(OutboundPolicy([entry])), host, port, answer)) == 1


@pytest.mark.parametrize(
    ("entry", "host", "port", "answer"),
    [
        ("db.internal", "x.db.internal", 80, "10.0.0.1"),
        ("db.internal", "notdb.internal", 80, "10.0.0.1"),
        ("db.internal:5432", "db.internal", 80, "10.0.0.1"),
        ("*.internal", "internal", 80, "10.0.0.1"),
        ("*.internal", "xinternal", 80, "10.0.0.1"),
        ("127.0.0.1:8080", "127.0.0.1", 8081, "127.0.0.1"),
        ("10.0.0.0/8", "any.example", 80, "192.168.0.1"),
        ("[::1]:80", "::1", 81, "::1"),
        ("example.com", "other.example", 80, "127.0.0.1"),
        ("0.0.0.0/0", "any.example", 80, "fd00::1"),
    ],
)
def test_allowed_hosts_open_nothing_else(entry: str, host: str, port: int, answer: str) -> None:
    """Another name, port or network stays refused."""
    with pytest.raises(OutboundRefused, match="allow_hosts"):
        admitted(Guard(OutboundPolicy([entry])), host, port, answer)


@pytest.mark.parametrize(
    "entry", ["", "*", "http://a", "a:b", "a:0", "a:99999", "10.0.0.0/33", "a/b", "*.*.a", "[::1", "user@host", "127.1"]
)
def test_entries_that_mean_nothing_are_told_at_the_start(entry: str) -> None:
    """A typing error in the setting does not silently open or close anything."""
    with pytest.raises(ValueError, match="allow_hosts"):
        Guard(OutboundPolicy([entry]))


EVERYTHING = ("0.0.0.0/0", "::/0", "metadata.google.internal", "*.internal", "evil.example")


@pytest.mark.parametrize(
    "answer",
    ["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "::ffff:169.254.169.254",
     "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "fe80::a9fe:a9fe", "fe80::1%eth0"],
)  # fmt: skip
def test_metadata_is_refused_whatever_is_allowed(answer: str) -> None:
    """No setting opens a cloud's metadata service, whichever name leads there."""
    with pytest.raises(OutboundRefused, match="metadata"):
        admitted(Guard(OutboundPolicy(EVERYTHING)), "evil.example", 80, answer)


@pytest.mark.parametrize("name", ["metadata.google.internal", "METADATA.google.internal.", "metadata", "instance-data"])
def test_names_of_metadata_services_are_not_even_looked_up(name: str) -> None:
    """The name alone is refused."""
    with pytest.raises(OutboundRefused, match="metadata"):
        Guard(OutboundPolicy(EVERYTHING)).check_name(parse_host(name))


@pytest.mark.parametrize(
    "answer", ["127.0.0.1", "127.5.5.5", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::127.0.0.1"]
)
def test_own_ports_are_refused_whatever_is_allowed(answer: str) -> None:
    """Flows do not call the server they run on past its authentication; its other ports may be opened."""
    guard = Guard(OutboundPolicy(EVERYTHING, refused_ports=(8080,)))
    with pytest.raises(OutboundRefused, match="this server itself"):
        admitted(guard, "evil.example", 8080, answer)
    assert admitted(guard, "evil.example", 8081, answer)


def test_own_ports_on_other_machines_are_not_ours() -> None:
    """The refused ports concern this machine only."""
    assert admitted(Guard(OutboundPolicy((), (443,))), "example.com", 443, "8.8.8.8") == ["8.8.8.8"]


def test_every_answer_is_looked_at() -> None:
    """Of mixed answers only the public ones are left, once each and in their order."""
    answers = ["10.0.0.1", "8.8.4.4", "169.254.169.254", "::ffff:8.8.8.8", "8.8.8.8", "::1"]
    assert admitted(Guard(OutboundPolicy()), "mixed.example", 80, *answers) == ["8.8.4.4", "8.8.8.8"]


def test_a_name_without_addresses_is_no_refusal() -> None:
    """It may have some later; another attempt makes sense."""
    with pytest.raises(OutboundError, match="no address") as error:
        Guard(OutboundPolicy()).admit(parse_host("empty.example"), 80, [])
    assert not isinstance(error.value, OutboundRefused)


def test_a_refusal_does_not_tell_the_address() -> None:
    """Whoever asks for names learns the reason, not the inner network's addresses."""
    with pytest.raises(OutboundRefused) as refused:
        admitted(Guard(OutboundPolicy()), "db.internal", 80, "10.11.12.13")
    assert "10.11.12.13" not in refused.value.message
    assert "private" in refused.value.message
