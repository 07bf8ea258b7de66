import pytest

from shared.outbound import OutboundRefused
from shared.outbound.urls import follow, parse_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://example.com", "http://example.com/"),
        ("HTTPS://EXAMPLE.com:443/A?b=C#frag", "https://example.com/A?b=C"),
        ("https://example.com:8443?x", "https://example.com:8443/?x"),
        (" https://example.com./a \n", "https://example.com/a"),
        ("http://example.com:/", "http://example.com/"),
        ("http://example.com/a b?c=ü&d=%41%zz", "http://example.com/a%20b?c=%C3%BC&d=%41%25zz"),
        ("http://example.com/\\evil", "http://example.com/%5Cevil"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("http://8.8.8.8:80", "http://8.8.8.8/"),
        ("http://[2606:4700:0:0::1]:8080/", "http://[2606:4700::1]:8080/"),
        ("http://my_host.example/", "http://my_host.example/"),
        ("http://example.com?@127.0.0.1", "http://example.com/?@127.0.0.1"),
    ],
)
def test_urls_have_one_form(text: str, url: str) -> None:
    """What is sent is put together from the parts that were checked."""
    assert parse_url(text).url == url


@pytest.mark.parametrize(
    "text",
    [
        "", "example.com", "//example.com/", "/path", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/",
        "javascript:alert(1)", "http:example.com", "http:/example.com", "http:\\\\example.com", "http://", "http:///a",
        "http://user@example.com/", "http://user:secret@example.com/", "http://example.com@127.0.0.1/",
        "http://127.0.0.1\\@example.com/", "http://example.com\\.evil/", "http://exa mple.com/", "http://example.com:0/",
        "http://example.com:65536/", "http://example.com:8o/", "http://example.com:80:80/", "http://example.com:-1/",
        "http://2130706433/", "http://0/", "http://127.1/", "http://127.0.1/", "http://0177.0.0.1/", "http://0x7f.0.0.1/",
        "http://0x7f000001/", "http://017700000001/", "http://127.0.0.0x1/", "http://127.0.0.01/", "http://127.0.0.256/",
        "http://1.2.3.4.5/", "http://example.0x/", "http://127.0.0.1../", "http://.example.com/", "http://a..b/",
        "http://[::1/", "http://::1/", "http://[::1%25lo]/", "http://[fe80::1%eth0]/", "http://[v1.x]/", "http://[]/",
        "http://[127.0.0.1]/", "http://[::1]a/", "http://%31%32%37.0.0.1/", "http://localhost%00.example.com/",
        "http://exam\tple.com/", "http://example.com/\r\nX-Evil: 1", "http://example.com/\x00", "http://-a.example/",
        "http://" + "a" * 64 + ".example/", "http://" + "a." * 127 + "example/", "http://☃☃☃.\u200bexample\ud800/",
        "http://example.com;x/", "http://ex*mple.com/",
    ],
)  # fmt: skip
def test_odd_urls_are_refused(text: str) -> None:
    """What two programs could read differently is not guessed at."""
    with pytest.raises(OutboundRefused):
        parse_url(text)


@pytest.mark.parametrize(
    "text", ["http://\uff11\uff12\uff17.0.0.1/", "http://127。0。0。1/", "http://①②⑦.⓪.⓪.①/", "http://127.0.0.1./"]
)
def test_addresses_in_other_scripts_are_addresses(text: str) -> None:
    """Full-width digits, ideographic stops and a trailing dot spell an address, which is then judged as one."""
    assert parse_url(text).host.name == "127.0.0.1"


@pytest.mark.parametrize(
    "text",
    ["http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "http://LOCALHOST./", "http://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54/"],
)
def test_names_in_other_scripts_are_names(text: str) -> None:
    """localhost is localhost in every script."""
    assert parse_url(text).host.name == "localhost"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b?c", "http://example.com:8080/b?c"),
        ("b", "http://example.com:8080/a/b"),
        ("//other.example/x", "http://other.example/x"),
        ("https://other.example", "https://other.example/"),
        ("?q=1", "http://example.com:8080/a/?q=1"),
        ("/\\evil.example", "http://example.com:8080/%5Cevil.example"),
        ("/ü".encode().decode("latin-1"), "http://example.com:8080/%C3%BC"),
    ],
)
def test_redirects_are_relative_to_where_they_come_from(location: str, url: str) -> None:
    """Location may be relative or absolute; its bytes are UTF-8."""
    assert follow(parse_url("http://example.com:8080/a/"), location).url == url


@pytest.mark.parametrize(
    "location", ["http://[", "ftp://example.com/", "http://u:p@example.com/", "file:///etc/passwd"]
)
def test_redirects_to_odd_urls_are_refused(location: str) -> None:
    """A Location is read as strictly as an author's URL."""
    with pytest.raises(OutboundRefused):
        follow(parse_url("http://example.com/"), location)


def test_refusals_tell_no_secret() -> None:
    """Neither the credentials nor the query of a refused URL are in the message."""
    for text in ("http://user:hunter2@example.com/", "ftp://example.com/?key=hunter2", "http://a b/?k=hunter2"):
        with pytest.raises(OutboundRefused) as refused:
            parse_url(text)
        assert "hunter2" not in refused.value.message
