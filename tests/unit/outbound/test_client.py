import socket
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from shared.outbound import OutboundError, OutboundRefused
from tests.unit.outbound.conftest import Connection, MakeClient, Serve


def test_an_answer_is_given_as_it_came(serve: Serve, client: MakeClient) -> None:
    """Status, header names as received with their values in order, body, final URL."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.answer(b"\x00\xff", status="418 Teapot", headers=["X-One: a", "x-two: b", "X-One: c"])

    server = serve(script)
    answer = client().request("get", server.url("/a?b=1#c"))
    assert (answer.status, answer.body, answer.url) == (418, b"\x00\xff", server.url("/a?b=1"))
    assert answer.headers == {"X-One": ["a", "c"], "x-two": ["b"], "Content-Length": ["2"]}
    assert (answer.header("x-one"), answer.header("X-TWO"), answer.header("none")) == ("a", "b", None)


def test_a_request_is_sent_as_given(serve: Serve, client: MakeClient) -> None:
    """Method, target, headers with text beyond ASCII in UTF-8, body with its length."""
    server = serve()
    headers = {"X-Name": "ünï", "user-agent": "mine", "Empty": ""}
    client().request("PATCH", server.url("/p q?x"), headers=headers, body="ü".encode())
    line, fields, body = server.requests[0]
    assert (line, body) == ("PATCH /p%20q?x HTTP/1.1", "ü".encode())
    assert fields["x-name"].encode("latin-1").decode() == "ünï"
    assert (fields["user-agent"], fields["empty"], fields["content-length"]) == ("mine", "", "2")
    assert fields["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PROPFIND"])
def test_methods_without_a_body(serve: Serve, client: MakeClient, method: str) -> None:
    """They are sent without one; an answer to HEAD has none either."""
    server = serve()
    expected = b"" if method == "HEAD" else b"ok"
    assert client().request(method, server.url()).body == expected
    assert server.requests[0][2] == b""


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "", "GE T", "GET / HTTP/1.1\r\nX: y"])
def test_methods_that_cannot_be_called(client: MakeClient, method: str) -> None:
    """Tunnels, echoes and what is no word."""
    with pytest.raises(OutboundRefused, match="method"):
        client().request(method, "http://127.0.0.1:9/")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "b\r\nX-Evil: c"},
        {"X-A": "b\nc"},
        {"X-A": "\0"},
        {"X-A": "\x0bb"},
        {"X A": "b"},
        {"": "b"},
        {"X:": "b"},
        {"Ü": "b"},
    ],
)
def test_headers_cannot_carry_other_headers(client: MakeClient, headers: dict[str, str]) -> None:
    """A line break in a value, or a name that is none, is refused."""
    with pytest.raises(OutboundRefused, match="header"):
        client().request("GET", "http://127.0.0.1:9/", headers=headers)


def test_headers_of_the_connection_are_our_own(serve: Serve, client: MakeClient) -> None:
    """Host, framing and proxy fields of authors are ignored: connections are shared."""
    server = serve()
    given = {"Host": "inner", "content-length": "1", "Transfer-Encoding": "chunked", "Connection": "close", "TE": "x",
             "Proxy-Authorization": "x", "Upgrade": "h2c", "Expect": "100-continue"}  # fmt: skip
    client().request("POST", server.url(), headers=given, body=b"abc")
    _, fields, body = server.requests[0]
    assert body == b"abc"
    assert (fields["host"], fields["content-length"]) == (f"127.0.0.1:{server.port}", "3")
    assert not fields.keys() & {"transfer-encoding", "connection", "te", "proxy-authorization", "upgrade", "expect"}


def test_a_connection_is_used_again(serve: Serve, client: MakeClient) -> None:
    """Ten requests of a flow need one connection."""
    server, http = serve(), client()
    for _ in range(10):
        http.request("GET", server.url())
    assert (len(server.connections), len(server.requests)) == (1, 10)


def test_threads_share_a_client(serve: Serve, client: MakeClient) -> None:
    """Each gets its own answer."""

    def echo(connection: Connection) -> None:
        mine = Connection(connection.wire, connection.stop, [])
        while mine.request():
            mine.answer(mine.requests[-1][0].split()[1].encode())

    server, http = serve(echo), client()
    answers: dict[int, bytes] = {}

    def work(number: int) -> None:
        for _ in range(5):
            answers[number] = http.request("GET", server.url(f"/{number}")).body

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: f"/{number}".encode() for number in range(8)}


@pytest.mark.parametrize(
    ("method", "headers", "repeated"),
    [("GET", {}, True), ("PUT", {}, True), ("POST", {}, False), ("POST", {"idempotency-key": "k"}, True)],
)
def test_a_kept_connection_that_died(
    serve: Serve, client: MakeClient, method: str, headers: dict[str, str], repeated: bool
) -> None:
    """The request goes over a new one, if it may be sent twice; nothing else is ever sent twice."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.answer()
        # The next request is read but not answered, as by a server that closes an idle connection just then.
        if len(server.connections) > 1:
            connection.request()
            connection.answer()
        else:
            connection.request()

    server, http = serve(script), client()
    http.request("GET", server.url())
    if repeated:
        assert http.request(method, server.url(), headers=headers).body == b"ok"
    else:
        with pytest.raises(OutboundError, match="broke off"):
            http.request(method, server.url(), headers=headers)
    assert len(server.connections) == (2 if repeated else 1)


def test_a_new_connection_that_dies_is_not_tried_again(serve: Serve, client: MakeClient) -> None:
    """Only a kept connection may be dead without the server having seen the request."""
    server = serve(lambda connection: connection.request())
    with pytest.raises(OutboundError, match="broke off before it answered"):
        client().request("GET", server.url())
    assert len(server.requests) == 1


def test_no_cookies_are_kept(serve: Serve, client: MakeClient) -> None:
    """What a server sets for one flow is not sent for another."""

    def script(connection: Connection) -> None:
        while connection.request():
            connection.answer(headers=["Set-Cookie: session=secret; Path=/"])

    server, http = serve(script), client()
    http.request("GET", server.url())
    http.request("GET", server.url())
    assert "cookie" not in server.requests[1][1]


def test_the_environment_is_ignored(
    serve: Serve, client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither proxies nor a netrc file decide where a flow's request goes or what it carries."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\ndefault login c password d\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server = serve()
    assert client().request("GET", server.url()).body == b"ok"
    assert "authorization" not in server.requests[0][1]


def test_no_url_is_logged(serve: Serve, client: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    """Not by the libraries below either, whatever the other side sends and whatever the level."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nnot a field\r\nX-A: b\r\n\r\n")

    with caplog.at_level("DEBUG"):
        client().request("GET", serve(script).url("/?key=hunter2"))
    assert "hunter2" not in caplog.text


# Names and addresses


def test_a_name_is_looked_up_once_and_pinned(serve: Serve, client: MakeClient) -> None:
    """The connection goes to the address that was checked; a second answer (DNS rebinding) is never asked for."""
    server = serve()
    asked: list[str] = []
    http = client({"api.test": ["127.0.0.1"]}, asked=asked)
    assert http.request("GET", server.url(host="api.test")).url == server.url(host="api.test")
    assert asked == ["api.test"]
    assert server.requests[0][1]["host"] == f"api.test:{server.port}"


def test_a_name_of_a_private_address_is_refused(serve: Serve, client: MakeClient) -> None:
    """Before anything is sent."""
    server = serve()
    http = client({"evil.test": ["127.0.0.1"]}, allow=())
    with pytest.raises(OutboundRefused, match=r"evil\.test:\d+ cannot be called: it is a loopback address"):
        http.request("GET", server.url(host="evil.test"))
    assert server.connections == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost"])
def test_localhost_is_this_machine_without_asking(serve: Serve, client: MakeClient, host: str) -> None:
    """No name server decides what localhost is."""
    server = serve()
    asked: list[str] = []
    assert client(asked=asked).request("GET", server.url(host=host)).body == b"ok"
    assert asked == []
    with pytest.raises(OutboundRefused, match="loopback"):
        client(allow=()).request("GET", server.url(host=host))


def test_the_next_address_is_tried(serve: Serve, client: MakeClient) -> None:
    """A host with several addresses is reachable if one is."""
    server = serve()
    http = client({"api.test": ["::1", "127.0.0.2", "127.0.0.1"]})
    assert http.request("GET", server.url(host="api.test")).body == b"ok"
    with http.connect("api.test", server.port, timeout_s=5) as connection:
        assert connection.getpeername() == ("127.0.0.1", server.port)
        assert connection.gettimeout() == 5


def test_a_silent_address_leaves_time_for_the_next(
    serve: Serve, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that swallows packets does not use up the whole time-out."""
    monkeypatch.setattr("shared.outbound.client.NEXT_ADDRESS_S", 0.1)
    server = serve()
    with ExitStack() as opened:
        # Nobody accepts here; once the queue is full, further connections get no answer.
        silent = opened.enter_context(socket.create_server(("127.0.0.2", server.port), backlog=0))
        for _ in range(4):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(silent.getsockname())
        http = client({"api.test": ["127.0.0.2", "127.0.0.1"]})
        assert http.request("GET", server.url(host="api.test"), timeout_s=60).body == b"ok"
        http.connect("api.test", server.port, timeout_s=60).close()
        with pytest.raises(OutboundError, match=r"127\.0\.0\.2:\d+ did not accept a connection in time"):
            http.request("GET", server.url(host="127.0.0.2"), timeout_s=0.1)


def test_unknown_names(client: MakeClient) -> None:
    """A name that does not resolve is an error that another attempt may not meet."""
    with pytest.raises(OutboundError, match=r"the host name nowhere\.test cannot be resolved") as error:
        client().request("GET", "http://nowhere.test/secret-path?secret=query")
    assert not isinstance(error.value, OutboundRefused)
    assert "secret" not in error.value.message


def test_nobody_listens(serve: Serve, client: MakeClient) -> None:
    """The message names host and reason."""
    server = serve()
    server.close()
    with pytest.raises(OutboundError, match=rf"cannot connect to 127\.0\.0\.1:{server.port}: Connection refused"):
        client().request("GET", server.url("/secret"))
    with pytest.raises(OutboundError, match=rf"cannot connect to 127\.0\.0\.1:{server.port}: Connection refused"):
        client().connect("127.0.0.1", server.port, timeout_s=5)


@pytest.mark.parametrize(
    ("host", "port"), [("10.0.0.1", 25), ("169.254.169.254", 25), ("metadata", 80), ("a b", 25), ("127.0.0.1", 0)]
)
def test_other_protocols_are_guarded_too(client: MakeClient, host: str, port: int) -> None:
    """connect applies the same rules as requests."""
    with pytest.raises(OutboundRefused):
        client({"metadata": ["127.0.0.1"]}).connect(host, port, timeout_s=5)


def test_own_ports_are_refused(serve: Serve, client: MakeClient) -> None:
    """The server's own port cannot be called from a flow, although loopback is allowed."""
    server = serve()
    with pytest.raises(OutboundRefused, match="this server itself"):
        client(refused_ports=(server.port,)).request("GET", server.url(host="localhost"))
    assert server.connections == []
