"""Sends requests as fast as they are answered and times each: reads lines of JSON, answers each with what it took.

{"port": 8080, "connections": 16, "requests": ["POST /hello HTTP/1.1…", …]} ─▶ {"seconds": 1.2, "times": [0.0123, …]}

A connection sends its next request when it has the whole answer to the last. All subjects of a benchmark are asked by
this one client, in a process of its own, so that what it takes itself is the same for all.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from typing import Any

import uvloop

_LENGTH = b"content-length: "


class Refused(Exception):
    """An answer other than 200."""


class Connection(asyncio.Protocol):
    """One connection, kept alive."""

    def __init__(self, waiting: deque[bytes], times: list[float], done: asyncio.Future[None]) -> None:
        self._waiting, self._times, self._done = waiting, times, done
        self._buffer, self._sent = b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready; waits for :meth:`send`."""
        self._transport: Any = transport

    def send(self) -> None:
        """Send the next request; without one the connection's work is done."""
        if not self._waiting:
            if not self._done.done():
                self._done.set_result(None)
            return
        request = self._waiting.popleft()
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Note the time once the answer is whole."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lowered = head.lower()
        if not lowered.startswith(b"http/1.1 200"):
            self._fail(Refused(self._buffer[:2000].decode(errors="replace")))
        elif len(body) >= int(lowered.partition(_LENGTH)[2].partition(b"\r\n")[0]):
            self._times.append(time.perf_counter() - self._sent)
            self._buffer = b""
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        """The server hung up; all is well if the work was done."""
        self._fail(error or Refused("the server closed the connection"))

    def _fail(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)


async def carry_out(order: dict[str, Any]) -> dict[str, Any]:
    """What an order took."""
    loop = asyncio.get_running_loop()
    waiting, times = deque(request.encode() for request in order["requests"]), list[float]()
    ends = [loop.create_future() for _ in range(order["connections"])]
    connections: list[tuple[asyncio.Transport, Connection]] = [
        await loop.create_connection(lambda end=end: Connection(waiting, times, end), "127.0.0.1", order["port"])  # type: ignore[misc]
        for end in ends
    ]
    try:
        begun = time.perf_counter()
        for _, connection in connections:
            connection.send()
        await asyncio.gather(*ends)
        return {"seconds": time.perf_counter() - begun, "times": times}
    finally:
        for transport, _ in connections:
            transport.close()


def main() -> None:
    """Carry out orders until standard input ends."""
    for line in sys.stdin:
        print(json.dumps(uvloop.run(carry_out(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
