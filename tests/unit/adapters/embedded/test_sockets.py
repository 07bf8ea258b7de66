"""The process's WebSockets as a sender: thread-safe, each with a queue of its own."""

from __future__ import annotations

import asyncio
import threading

import pytest

from shared.adapters.embedded import sockets as module
from shared.adapters.embedded.sockets import Sockets
from shared.push import Gone


class Wire:
    """Keeps what was written; ``stuck`` never takes anything."""

    def __init__(self, *, stuck: bool = False) -> None:
        self.texts: list[str] = []
        self.closed: tuple[int, str | None] | None = None
        self.may_go = asyncio.Event()
        if not stuck:
            self.may_go.set()

    async def send_text(self, data: str) -> None:
        await self.may_go.wait()
        self.texts.append(data)

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        self.closed = code, reason


@pytest.mark.parametrize("code", [1000, 1008])
def test_messages_of_another_thread_arrive_in_order_then_the_close(code: int) -> None:
    """The relay's thread sends; the loop writes; the close comes after everything queued."""

    async def scenario() -> Wire:
        sockets, wire = Sockets(), Wire()
        socket = sockets.add("c", wire)

        def relay() -> None:
            for number in range(100):
                sockets.send("c", str(number))
            sockets.close("c", code)

        thread = threading.Thread(target=relay)
        thread.start()
        await socket.write()
        thread.join()
        return wire

    wire = asyncio.run(scenario())
    assert wire.texts == [str(number) for number in range(100)] and wire.closed == (code, "")


def test_a_removed_socket_is_gone() -> None:
    """Sending to a closed connection says so; closing it again is harmless."""

    async def scenario() -> None:
        sockets = Sockets()
        sockets.add("c", Wire())
        assert sockets.in_use
        sockets.remove("c")
        assert not sockets.in_use
        sockets.close("c")
        for call in (lambda: sockets.send("c", "x"), lambda: sockets.accepts("c")):
            with pytest.raises(Gone):
                call()

    asyncio.run(scenario())


def test_a_slow_client_is_full_and_then_asks_for_more() -> None:
    """Above the mark a socket accepts nothing; once drained it reports room, and others were never held up."""

    async def scenario() -> None:
        sockets, slow, quick = Sockets(), Wire(stuck=True), Wire()
        room = asyncio.Event()
        sockets.drained = lambda connection_id: room.set() if connection_id == "slow" else None
        writers = [
            asyncio.create_task(sockets.add(name, wire).write()) for name, wire in (("slow", slow), ("quick", quick))
        ]
        text = "x" * (module.FULL_BYTES // 2 + 1)
        for _ in range(2):
            assert sockets.accepts("slow")
            sockets.send("slow", text)
        assert not sockets.accepts("slow")
        sockets.send("quick", "hello")
        sockets.close("quick")
        await writers[1]
        assert quick.texts == ["hello"] and not room.is_set()
        slow.may_go.set()
        await room.wait()
        assert sockets.accepts("slow")
        sockets.close("slow")
        await writers[0]

    asyncio.run(scenario())


def test_a_client_that_takes_nothing_is_dropped_with_a_reason() -> None:
    """A stalled client is closed with 1013 and told why."""

    async def scenario() -> Wire:
        sockets, wire = Sockets(stalled_s=0.01), Wire(stuck=True)
        socket = sockets.add("c", wire)
        sockets.send("c", "x")
        await socket.write()
        return wire

    wire = asyncio.run(scenario())
    assert wire.closed == (1013, "the client reads too slowly") and wire.texts == []


def test_a_stopping_server_tells_every_client() -> None:
    """All sockets close with 1001, and the server can wait for the last one."""

    async def scenario() -> list[Wire]:
        sockets, wires = Sockets(), [Wire(), Wire()]
        opened = [sockets.add(str(number), wire) for number, wire in enumerate(wires)]
        sockets.close_all()
        await asyncio.gather(*[socket.write() for socket in opened])
        waiting = asyncio.create_task(sockets.all_closed())
        for socket in opened:
            assert not waiting.done()
            sockets.remove(socket.connection_id)
        await waiting
        return wires

    assert [wire.closed and wire.closed[0] for wire in asyncio.run(scenario())] == [1001, 1001]
