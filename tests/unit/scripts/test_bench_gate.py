"""The client and the requests of the gate's benchmark."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections import deque
from typing import Any

import pytest

from scripts.benching.gate import gate_calls, request
from scripts.benching.load import Connection, Refused, carry_out

KEY, SECRET = "nr_test_" + "a" * 32, "5" * 64


def parsed(text: str) -> tuple[dict[str, str], str]:
    """Headers and body of a request."""
    head, _, body = text.partition("\r\n\r\n")
    return dict(line.split(": ", 1) for line in head.split("\r\n")[1:]), body


def test_gate_calls_are_signed_and_differ() -> None:
    """Each has an id of its own and a signature as the docs say."""
    make = gate_calls("org", KEY, SECRET)
    first, second = parsed(make()), parsed(make())
    assert json.loads(first[1])["operation_id"] != json.loads(second[1])["operation_id"]
    for headers, body in (first, second):
        message = f"{headers['x-signature-timestamp']}:{KEY}:{hashlib.sha256(body.encode()).hexdigest()}"
        assert headers["x-signature"] == hmac.new(SECRET.encode(), message.encode(), hashlib.sha256).hexdigest()
        assert headers["content-length"] == str(len(body))


async def _served(answers: list[bytes], connections: int, requests: int) -> dict[str, Any]:
    """What an order takes of a server that gives these answers, each in two pieces, to every request in turn."""

    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        for answer in answers:
            try:
                await reader.readuntil(b"{}")
            except asyncio.IncompleteReadError:
                break
            for piece in (answer[:20], answer[20:]):
                writer.write(piece)
                await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        texts = [request("/x", {}, {}) for _ in range(requests)]
        try:
            return await carry_out({"port": port, "connections": connections, "requests": texts})
        finally:
            await asyncio.gather(*(task for task in serving if task is not None))


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"


@pytest.mark.parametrize("connections", [1, 3])
def test_every_request_is_sent_and_timed_once(connections: int) -> None:
    """However many connections share them, and in whatever pieces the answers come."""
    took = asyncio.run(_served([OK] * 9, connections, 9))
    assert len(took["times"]) == 9
    assert all(0 < seconds <= took["seconds"] for seconds in took["times"])


@pytest.mark.parametrize("answers", [[OK, b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"], [OK]])
def test_a_refusal_is_no_measurement(answers: list[bytes]) -> None:
    """An answer other than 200, or none, ends it."""
    with pytest.raises((Refused, ConnectionError)):
        asyncio.run(_served(answers, 1, 3))


def test_a_connection_without_work_is_done() -> None:
    """More connections than requests are no reason to wait."""

    async def done() -> bool:
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        Connection(deque(), [], end).send()
        return end.done()

    assert asyncio.run(done())
