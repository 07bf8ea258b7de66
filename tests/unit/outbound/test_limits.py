import gzip
import threading
import zlib

import pytest

from shared.outbound import OutboundClient, OutboundError, OutboundPolicy, OutboundRefused
from shared.outbound.transport import CONNECTIONS, POOLS
from tests.support.time import HeldClock, clock
from tests.unit.outbound.conftest import Connection, MakeClient, Script, Serve

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def drips(head: bytes, byte: bytes) -> Script:
    """An answer that begins with ``head`` and then trickles."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(head)
        connection.drip(byte)

    return script


@pytest.mark.parametrize(
    ("head", "byte"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"a"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"a"),
        (CHUNKED, b"1\r\na\r\n"),
        (CHUNKED, b"0"),
    ],
)
def test_a_trickle_does_not_outlast_the_time(serve: Serve, client: MakeClient, head: bytes, byte: bytes) -> None:
    """The time-out is for the whole call: bytes that keep coming, in head or body, do not prolong it."""
    server = serve(drips(head, byte))
    with pytest.raises(OutboundError, match="in time"):
        client().request("GET", server.url(), timeout_s=0.2)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_silence_does_not_outlast_the_time(serve: Serve, client: MakeClient, scheme: str) -> None:
    """A server that accepts and says nothing, also before TLS is agreed."""
    server = serve(lambda connection: connection.hang())
    with pytest.raises(OutboundError, match="in time"):
        client().request("GET", server.url(scheme=scheme), timeout_s=0.2)


def test_an_upload_nobody_reads_does_not_outlast_the_time(serve: Serve, client: MakeClient) -> None:
    """Sending counts as well."""
    server = serve(lambda connection: connection.hang())
    with pytest.raises(OutboundError, match="in time"):
        client().request("POST", server.url(), body=bytes(20_000_000), timeout_s=0.2)


def test_redirects_share_the_time(serve: Serve, client: MakeClient) -> None:
    """Each hop being quick does not give the last one a time of its own."""

    def script(connection: Connection) -> None:
        while connection.request():
            if connection.requests[-1][0].startswith("GET /last"):
                connection.hang()
            connection.answer(status="302 Found", headers=["Location: /last"])

    with pytest.raises(OutboundError, match="in time"):
        client().request("GET", serve(script).url(), timeout_s=0.2)


def test_a_look_up_does_not_outlast_the_time() -> None:
    """A dead name server is given up; the thread that waits for it is not."""
    answer = threading.Event()

    def resolve(name: str, port: int) -> list[str]:
        answer.wait()
        return []

    client = OutboundClient(OutboundPolicy(), resolver=resolve)
    with pytest.raises(OutboundError, match=r"slow\.test could not be looked up in time"):
        client.request("GET", "http://slow.test/", timeout_s=0.05)
    with pytest.raises(OutboundError, match=r"slow\.test could not be looked up in time"):
        client.connect("slow.test", 25, timeout_s=0.05)
    answer.set()
    client.close()


def test_a_later_request_has_its_own_time(serve: Serve, client: MakeClient) -> None:
    """A kept connection does not remember the deadline of the call before."""
    server, http, held = serve(), client(), HeldClock()
    with clock.use(held):
        http.request("GET", server.url(), timeout_s=5)
        held.advance(10)
        assert http.request("GET", server.url(), timeout_s=5).body == b"ok"
    assert len(server.connections) == 1


def test_a_connection_is_not_kept_for_long(serve: Serve, client: MakeClient) -> None:
    """After a minute routers on the way may have forgotten it; a new one is made."""
    server, http, held = serve(), client(), HeldClock()
    with clock.use(held):
        http.request("GET", server.url())
        held.advance(61)
        http.request("GET", server.url())
    assert len(server.connections) == 2


def test_only_some_connections_are_kept(serve: Serve, client: MakeClient) -> None:
    """As many as needed work side by side, but what rests stays far below the files a process may open."""
    together, closed = threading.Barrier(CONNECTIONS + 2), threading.Semaphore(0)

    def script(connection: Connection) -> None:
        connection.request()
        together.wait(10)
        connection.answer()
        connection.request()
        closed.release()

    server, http = serve(script), client()
    callers = [threading.Thread(target=http.request, args=("GET", server.url())) for _ in range(CONNECTIONS + 2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert closed.acquire(timeout=10) and closed.acquire(timeout=10)
    assert POOLS * CONNECTIONS <= 512


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\nConnection: close\r\n\r\n"],
)  # fmt: skip
def test_an_answer_may_not_be_larger_than_asked(serve: Serve, client: MakeClient, head: bytes) -> None:
    """Whether or not it says so beforehand; exactly the limit is fine."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(head + bytes(1001))

    with pytest.raises(OutboundRefused, match="larger than 1000 bytes"):
        client().request("GET", serve(script).url(), max_bytes=1000)
    exactly = head.replace(b"1001", b"1000")
    assert len(client().request("GET", serve(_once(exactly + bytes(1000))).url(), max_bytes=1000).body) == 1000


def _once(answer: bytes) -> Script:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(answer)

    return script


def test_a_size_that_is_announced_is_refused_unread(serve: Serve, client: MakeClient) -> None:
    """Nothing of the body needs to come."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n")
        connection.hang()

    with pytest.raises(OutboundRefused, match="larger than"):
        client().request("GET", serve(script).url())


def test_an_endless_answer_is_cut(serve: Serve, client: MakeClient) -> None:
    """A stream without an end costs no more than the limit."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(CHUNKED)
        while True:
            connection.send(b"10000\r\n" + bytes(65536) + b"\r\n")

    with pytest.raises(OutboundRefused, match="larger than"):
        client().request("GET", serve(script).url(), max_bytes=1_000_000)


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
    ],
)
def test_a_decompression_bomb_is_cut(serve: Serve, client: MakeClient, encoding: str, compress: object) -> None:
    """The limit counts what the answer unpacks to; a proper compressed answer is unpacked."""
    assert callable(compress)

    def answers(body: bytes) -> Script:
        def script(connection: Connection) -> None:
            connection.request()
            connection.answer(body, headers=[f"Content-Encoding: {encoding}"])

        return script

    bomb = compress(bytes(5_000_000))
    with pytest.raises(OutboundRefused, match="larger than 100000 bytes"):
        client().request("GET", serve(answers(bomb)).url(), max_bytes=100_000)
    assert client().request("GET", serve(answers(compress(b"hello"))).url()).body == b"hello"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "before the answer was complete"),
        (CHUNKED + b"5\r\nab", "before the answer was complete"),
        (CHUNKED + b"zz\r\nab\r\n", "before the answer was complete"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "not compressed"),
        (b"nonsense\r\n\r\n", "broke off before it answered"),
        (b"SSH-2.0-OpenSSH\r\n", "broke off before it answered"),
        (b"", "broke off before it answered"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n", "broke off before it answered"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "broke off before it answered"),
    ],
)
def test_broken_answers(serve: Serve, client: MakeClient, answer: bytes, message: str) -> None:
    """Half an answer is never taken for a whole one; each break is a message, not a crash."""
    with pytest.raises(OutboundError, match=message):
        client().request("GET", serve(_once(answer)).url())
