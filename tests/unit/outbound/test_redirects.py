import threading

import pytest

from shared.outbound import OutboundRefused
from tests.unit.outbound.conftest import Connection, MakeClient, Script, Serve


def redirect(location: str, status: int = 302) -> Script:
    """Every request whose path is not /end is sent there."""

    def script(connection: Connection) -> None:
        while connection.request():
            if connection.requests[-1][0].split()[1].startswith("/end"):
                connection.answer(b"end")
            else:
                connection.answer(b"moved", status=f"{status} Moved", headers=[f"Location: {location}"])

    return script


@pytest.mark.parametrize(
    ("status", "method", "becomes", "body"),
    [
        (301, "GET", "GET", b""), (301, "POST", "GET", b""), (301, "PUT", "PUT", b"x"), (302, "POST", "GET", b""),
        (302, "PUT", "GET", b""), (302, "HEAD", "HEAD", b""), (303, "POST", "GET", b""), (303, "DELETE", "GET", b""),
        (303, "HEAD", "HEAD", b""), (307, "POST", "POST", b"x"), (308, "POST", "POST", b"x"),
        (308, "DELETE", "DELETE", b"x"),
    ],
)  # fmt: skip
def test_the_method_after_a_redirect(
    serve: Serve, client: MakeClient, status: int, method: str, becomes: str, body: bytes
) -> None:
    """As browsers and requests do it: 303 and 302 ask for a GET, 307 and 308 repeat the request."""
    server = serve(redirect("/end", status))
    given = None if method in ("GET", "HEAD") else b"x"
    answer = client().request(method, server.url("/a"), headers={"Content-Type": "text/x"}, body=given)
    assert (answer.status, answer.url) == (200, server.url("/end"))
    line, fields, sent = server.requests[1]
    assert (line, sent) == (f"{becomes} /end HTTP/1.1", body)
    assert ("content-type" in fields) is (becomes == method)


def test_redirects_may_be_left_to_the_caller(serve: Serve, client: MakeClient) -> None:
    """Then the answer is the redirect itself."""
    server = serve(redirect("/end"))
    answer = client().request("GET", server.url("/a"), follow_redirects=False)
    assert (answer.status, answer.body, answer.header("location")) == (302, b"moved", "/end")


@pytest.mark.parametrize("head", ["HTTP/1.1 302 Found", "HTTP/1.1 304 Not Modified", "HTTP/1.1 300 Choices"])
def test_what_names_no_other_place_is_an_answer(serve: Serve, client: MakeClient, head: str) -> None:
    """A redirect without a location, and the other 3xx."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(f"{head}\r\nContent-Length: 0\r\n\r\n".encode())

    assert client().request("GET", serve(script).url()).status == int(head.split()[1])


@pytest.mark.parametrize(
    "location",
    ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[::ffff:10.0.0.1]/", "//metadata/",
     "http://evil.test/", "http://2130706433/", "ftp://127.0.0.1/", "file:///etc/passwd", "http://u:p@127.0.0.1/"],
)  # fmt: skip
def test_every_target_is_checked(serve: Serve, client: MakeClient, location: str) -> None:
    """A redirect leads nowhere the author could not go himself."""
    server = serve(redirect(location))
    with pytest.raises(OutboundRefused):
        client({"evil.test": ["10.0.0.1"]}).request("GET", server.url())
    assert len(server.requests) == 1


def test_redirects_end(serve: Serve, client: MakeClient) -> None:
    """After ten of them."""
    server = serve(redirect("/again"))
    with pytest.raises(OutboundRefused, match="redirects more than 10 times"):
        client().request("GET", server.url())
    assert len(server.requests) == 11


SECRETS = {"Authorization": "Bearer s", "Cookie": "s", "X-API-Key": "s", "PRIVATE-TOKEN": "s", "X-Whatever": "s"}
HARMLESS = {"Accept": "a/b", "User-Agent": "me", "Idempotency-Key": "k", "X-Signalbox-Attempt": "1"}


@pytest.mark.parametrize(
    ("host", "same_port", "kept"), [("127.0.0.1", True, True), ("127.0.0.1", False, False), ("other.test", True, False)]
)
def test_credentials_stay_with_their_origin(
    serve: Serve, client: MakeClient, host: str, same_port: bool, kept: bool
) -> None:
    """Another host or port gets no header that may hold a secret, under whatever name; harmless ones go on."""
    end = serve()
    first = serve(redirect("/end"))
    target = first if same_port else end
    first.script = redirect(target.url("/end", host))
    client({"other.test": ["127.0.0.1"]}).request("GET", first.url(), headers=SECRETS | HARMLESS)
    _, fields, _ = target.requests[-1]
    assert target.requests[-1][0] == "GET /end HTTP/1.1"
    assert {name for name in SECRETS if name.lower() in fields} == (set(SECRETS) if kept else set())
    assert all(fields[name.lower()] == value for name, value in HARMLESS.items())


def test_a_refused_redirect_leaves_no_connection(serve: Serve, client: MakeClient) -> None:
    """It is closed at once, however long the error is kept."""
    closed = threading.Event()

    def script(connection: Connection) -> None:
        connection.request()
        connection.answer(b"moved", status="302 Found", headers=["Location: ftp://files.test/"])
        connection.request()
        closed.set()

    http = client()
    with pytest.raises(OutboundRefused, match="only http and https") as caught:
        http.request("GET", serve(script).url())
    assert caught.value.__traceback__ is not None
    assert closed.wait(10)
