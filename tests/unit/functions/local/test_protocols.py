"""Connections of the one-process host: what is no request is refused in the API's form, and nothing is endless."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from functions.local.protocols import HEAD_BYTES, BoundedHttp, BoundedWebSocket

HANDSHAKE = (
    b"GET /api/v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Hasty(BoundedHttp):
    """Waits hardly at all."""

    request_seconds = 0.05


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers how many bytes came."""
    if scope["type"] == "websocket":
        await receive()
        if scope["path"] == "/refused":
            await send({"type": "websocket.http.response.start", "status": 404, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"no", "more_body": False})
            return
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            continue
        return
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
    await send({"type": "http.response.body", "body": b"%08d" % size})


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """A server of these connections in a thread."""
    yield from served(BoundedHttp)


def served(http: type[BoundedHttp]) -> Iterator[tuple[str, int]]:
    config = uvicorn.Config(application, http=http, ws=BoundedWebSocket, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join()
    listener.close()


def exchange(address: tuple[str, int], sent: bytes) -> tuple[int, bytes]:
    """Status and body of what is answered until the server closes the connection."""
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(sent)
        return answer(client)


def answer(client: socket.socket) -> tuple[int, bytes]:
    received = b""
    while part := client.recv(65536):
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return int(head.split()[1]), body


def send_for_ever(client: socket.socket, data: bytes, most: int = 100_000) -> None:
    for _ in range(most):
        client.sendall(data)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\r\n\r\n",
        b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        HANDSHAKE.replace(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""),
        HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"a"),
    ],
)
def test_what_is_no_request_is_refused_in_the_api_s_form(address: tuple[str, int], sent: bytes) -> None:
    """400 with the envelope, and the connection ends: what follows could be read in two ways."""
    status, body = exchange(address, sent)
    assert status == 400 and json.loads(body)["error"]["code"] == "invalid_request"


def test_a_handshake_of_another_method_is_a_request(address: tuple[str, int]) -> None:
    """It is answered rather than left hanging."""
    sent = HANDSHAKE.replace(b"GET", b"PUT").replace(b"Connection: Upgrade", b"Connection: Upgrade, close")
    assert exchange(address, sent) == (200, b"00000000")


def test_endless_headers_are_cut(address: tuple[str, int]) -> None:
    """413 long before they fill the memory; large ones that end, and long bodies, are no matter."""
    fill = b"a" * HEAD_BYTES
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: ")
        with pytest.raises(OSError):
            send_for_ever(client, fill)
    half = b"X: " + fill[: HEAD_BYTES // 2]
    body = b"POST / HTTP/1.1\r\n" + half + b"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (8 * HEAD_BYTES)
    assert exchange(address, body + 8 * fill) == (200, b"%08d" % (8 * HEAD_BYTES))


def test_a_request_must_arrive() -> None:
    """A connection that begins none, stops in its head or in its body is answered and closed."""
    for address in served(Hasty):
        for sent in (
            b"",
            b"GET / HTT",
            b"GET / HTTP/1.1\r\nX: y\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab",
        ):
            status, body = exchange(address, sent)
            assert status == 400 and "did not arrive" in json.loads(body)["message"]


def test_pings_of_a_client_that_reads_nothing_do_not_pile_up(address: tuple[str, int]) -> None:
    """The server stops reading them until their pongs are taken."""
    ping = b"\x89\xfd\0\0\0\0" + b"p" * 125
    with socket.create_connection(address, timeout=30) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(HANDSHAKE)
        assert client.recv(4096).startswith(b"HTTP/1.1 101")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            send_for_ever(client, ping * 1000, most=1000)


def test_text_that_is_no_utf_8_closes_the_connection(
    address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    """With 1007, and without a trace in the log: it is the client's mistake."""
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(HANDSHAKE)
        assert client.recv(4096).startswith(b"HTTP/1.1 101")
        client.sendall(b"\x81\x82\0\0\0\0\xff\xff")
        assert client.recv(4096) == b"\x88\x02\x03\xef"
        assert client.recv(4096) == b""
    assert not caplog.records


def test_a_refused_handshake_is_no_fault_of_the_server(
    address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    """The application's own answer is given once and nothing is written to the server's log."""
    assert exchange(address, HANDSHAKE.replace(b"/api/v1/ws", b"/refused")) == (404, b"no")
    assert exchange(address, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[0] == 200
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
