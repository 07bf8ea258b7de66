"""The open WebSockets of this process, as the relay's sender.

    relay thread ── send ──▶ queue of one socket ── event loop ──▶ client
                 ◀─ room ──  when it has drained

Each socket has its own queue, so a client that reads slowly holds up only itself. A full queue makes the relay stop at
its cursor and go on later; a client that takes nothing for a while is dropped with code 1013 (IANA WebSocket Close Code
Number Registry, Try Again Later).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Protocol

from shared.push.ports import NORMAL, Gone

FULL_BYTES = 512 * 1024
"""Queued bytes above which a socket accepts no more for now."""

ROOM_BYTES = 64 * 1024
"""Queued bytes below which it accepts again."""

STALLED_SECONDS = 20.0
"""How long a client may take no byte before it is dropped."""

GOING_AWAY, TRY_AGAIN_LATER = 1001, 1013


class Wire(Protocol):
    """What a socket writes to (Starlette's WebSocket)."""

    async def send_text(self, data: str) -> None: ...

    async def close(self, code: int = 1000, reason: str | None = None) -> None: ...


class Socket:
    """One connection. Everything but :meth:`write` may be called from any thread."""

    def __init__(self, connection_id: str, wire: Wire, drained: Callable[[str], None], stalled_s: float) -> None:
        self.connection_id = connection_id
        self._wire = wire
        self._drained = drained
        self._stalled_s = stalled_s
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[str | tuple[int, str]] = asyncio.Queue()
        self._lock = threading.Lock()
        self._bytes = 0
        self._refused = False

    def accepts(self) -> bool:
        """Whether the queue has room; after False, ``drained`` is called once it has."""
        with self._lock:
            if self._bytes > FULL_BYTES:
                self._refused = True
                return False
            return True

    def send(self, text: str) -> None:
        """Queue a message."""
        with self._lock:
            self._bytes += len(text)
        self._loop.call_soon_threadsafe(self._queue.put_nowait, text)

    def close(self, code: int, reason: str) -> None:
        """Close after what is queued."""
        self._loop.call_soon_threadsafe(self._queue.put_nowait, (code, reason))

    async def write(self) -> None:
        """Pass the queue on to the client until the connection is closed, by either side."""
        while True:
            item = await self._queue.get()
            if not isinstance(item, str):
                await self._wire.close(*item)
                return
            try:
                async with asyncio.timeout(self._stalled_s):
                    await self._wire.send_text(item)
            except TimeoutError:
                await self._wire.close(TRY_AGAIN_LATER, "the client reads too slowly")
                return
            self._took(len(item))

    def _took(self, size: int) -> None:
        with self._lock:
            self._bytes -= size
            room = self._refused and self._bytes < ROOM_BYTES
            if room:
                self._refused = False
        if room:
            self._drained(self.connection_id)


class Sockets:
    """Every open socket, by connection id. ``drained`` is set by whoever sends."""

    lanes = 1

    def __init__(self, stalled_s: float = STALLED_SECONDS) -> None:
        self.drained: Callable[[str], None] = lambda connection_id: None
        self._stalled_s = stalled_s
        self._open: dict[str, Socket] = {}
        self._lock = threading.Lock()
        self._emptied: asyncio.Event | None = None

    @property
    def in_use(self) -> bool:
        """Whether any socket is open."""
        return bool(self._open)

    def add(self, connection_id: str, wire: Wire) -> Socket:
        """Register an accepted WebSocket; call on the event loop, before anything is stored about it."""
        socket = Socket(connection_id, wire, lambda name: self.drained(name), self._stalled_s)
        with self._lock:
            self._open[connection_id] = socket
        return socket

    def remove(self, connection_id: str) -> None:
        """Forget a socket that was closed; call on the event loop."""
        with self._lock:
            self._open.pop(connection_id, None)
        if self._emptied is not None and not self._open:
            self._emptied.set()

    def accepts(self, connection_id: str) -> bool:
        """Whether more may be sent to it now. Raises Gone."""
        return self._socket(connection_id).accepts()

    def send(self, connection_id: str, text: str) -> None:
        """Queue a message. Raises Gone."""
        self._socket(connection_id).send(text)

    def close(self, connection_id: str, code: int = NORMAL) -> None:
        """Close after what is queued."""
        socket = self._open.get(connection_id)
        if socket is not None:
            socket.close(code, "")

    def close_all(self) -> None:
        """The server stops: tell every client to come back (1001)."""
        with self._lock:
            sockets = list(self._open.values())
        for socket in sockets:
            socket.close(GOING_AWAY, "the server is stopping")

    async def all_closed(self) -> None:
        """Return when no socket is open."""
        self._emptied = asyncio.Event()
        if self._open:
            await self._emptied.wait()

    def _socket(self, connection_id: str) -> Socket:
        socket = self._open.get(connection_id)
        if socket is None:
            raise Gone("The connection is closed")
        return socket
