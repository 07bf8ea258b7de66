from __future__ import annotations

import pytest

from shared.outbound import OutboundClient, OutboundPolicy, OutboundRefused

ALLOWED = ["hooks.internal", "10.0.0.0/8:8080", "localhost"]


def checked(url: str, *, secure: bool = True) -> str:
    client = OutboundClient(OutboundPolicy(ALLOWED))
    try:
        return client.checked_url(url, secure=secure)
    finally:
        client.close()


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://hooks.example.com/x", True),
        ("http://hooks.example.com/x", False),
        ("http://hooks.internal/x", True),
        ("http://10.1.2.3:8080/x", True),
        ("http://localhost:1/x", True),
        ("https://93.184.215.14/x", True),
    ],
)
def test_what_may_be_called(url: str, secure: bool) -> None:
    """https, and plain http where it is not forbidden or the host is named; names are not looked up."""
    assert checked(url, secure=secure) == url


def test_the_form_is_canonical() -> None:
    """Blanks are gone, the host is ASCII in small letters, and what may not stand in a URL is escaped."""
    assert checked(" HTTPS://Bücher.example:443/a b?q=ü ") == "https://xn--bcher-kva.example/a%20b?q=%C3%BC"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://hooks.example.com/x", "https://"),
        ("http://10.1.2.3:8081/x", "allow_hosts"),
        ("https://192.168.1.1/x", "allow_hosts"),
        ("https://127.0.0.1/x", "allow_hosts"),
        ("https://169.254.169.254/x", "metadata"),
        ("https://metadata.google.internal/x", "metadata"),
        ("ftp://hooks.example.com/x", "only http"),
        ("https://user:word@hooks.example.com/x", "user name"),
        ("hooks", "must begin with"),
    ],
)
def test_what_may_not(url: str, reason: str) -> None:
    """Malformed URLs, other schemes, plain http, metadata services and private addresses are refused with a reason."""
    with pytest.raises(OutboundRefused, match=reason):
        checked(url)
