import pytest

from shared.outbound import OutboundError, OutboundRefused
from tests.unit.outbound.conftest import Connection, MakeClient, Serve

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def test_lines_come_as_they_are_sent(serve: Serve, client: MakeClient) -> None:
    """The first line is there before the server has sent the second."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(CHUNKED + chunk(b"data: 1\n"))
        connection.request()
        connection.send(b"")

    server = serve(script)
    with client().stream("POST", server.url(), body=b"{}", timeout_s=10) as stream:
        assert (stream.status, stream.header("content-type")) == (200, "text/event-stream")
        assert next(stream.lines()) == "data: 1"


@pytest.mark.parametrize(
    "pieces",
    [
        [b"a\nb\r\nc\rd"], [b"a", b"\nb\r", b"\nc\r", b"d"], [b"a\nb\r\nc\rd\n"],
        [bytes([one]) for one in b"a\r\nb\nc\nd\r"],
    ],
)  # fmt: skip
def test_lines_end_at_every_kind_of_line_end(serve: Serve, client: MakeClient, pieces: list[bytes]) -> None:
    """LF, CRLF and CR, also when a chunk ends between CR and LF."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(CHUNKED + b"".join(map(chunk, pieces)) + b"0\r\n\r\n")

    with client().stream("GET", serve(script).url()) as stream:
        assert list(stream.lines()) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("content_type", "body", "lines"),
    [
        ("text/plain", "ü\n\nz".encode(), ["ü", "", "z"]),
        ("text/plain; charset=iso-8859-1", "ü".encode("latin-1"), ["ü"]),
        ("text/plain; charset=utf-16", "a\nü".encode("utf-16"), ["a", "ü"]),
        ("text/plain; charset=unheard-of", "ü".encode(), ["ü"]),
        ("text/plain; charset=zip", "ü".encode(), ["ü"]),
        ("text/plain; charset=punycode", "ü".encode(), ["ü"]),
        ("text/plain", b"\xef\xbb\xbfa", ["a"]),
        ("text/plain", b"\xff", ["\ufffd"]),
        ("text/plain", b"", []),
    ],
)
def test_lines_are_decoded(serve: Serve, client: MakeClient, content_type: str, body: bytes, lines: list[str]) -> None:
    """In the charset the answer names, if it is one of the web's; else UTF-8."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.answer(body, headers=[f"Content-Type: {content_type}"])

    with client().stream("GET", serve(script).url()) as stream:
        assert list(stream.lines()) == lines


def test_reading_whole_keeps_the_connection(serve: Serve, client: MakeClient) -> None:
    """What was read to its end leaves a usable connection; what was left is closed."""
    server, http = serve(), client()
    for _ in range(2):
        with http.stream("GET", server.url()) as stream:
            assert stream.read() == b"ok"
    assert len(server.connections) == 1
    with http.stream("GET", server.url()) as stream:
        assert stream.status == 200
    with http.stream("GET", server.url()) as stream:
        assert stream.read() == b"ok"
    assert len(server.connections) == 2


def test_limits_of_streams(serve: Serve, client: MakeClient) -> None:
    """Time and size are those of the whole stream."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(CHUNKED)
        connection.drip(chunk(b"a\n"))

    with (
        pytest.raises(OutboundError, match="in time"),
        client().stream("GET", serve(script).url(), timeout_s=0.2) as stream,
    ):
        list(stream.lines())
    with (
        pytest.raises(OutboundRefused, match="larger than 5 bytes"),
        client().stream("GET", serve(script).url(), max_bytes=5) as stream,
    ):
        list(stream.lines())


def test_streams_are_guarded(client: MakeClient) -> None:
    """The same rules as for requests."""
    with pytest.raises(OutboundRefused), client().stream("GET", "http://10.0.0.1/"):
        raise AssertionError("not reached")
