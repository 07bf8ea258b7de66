"""WebSocket routes of the one-process host: the same protocol as on API Gateway, over this process's sockets."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.concurrency import run_in_threadpool
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from functions.channels.handshake import Handshake
from functions.channels.protocol import admit, begin, disconnect, receive
from shared.adapters.embedded.sockets import TRY_AGAIN_LATER, Socket, Sockets
from shared.kit import ids
from shared.kit.errors import Forbidden, SignalboxError, Unauthorized
from shared.kit.logging import logger
from shared.push import POLICY_VIOLATION
from shared.web.errors import error_response, unexpected

log = logger("channels")


def websocket_routes(sockets: Sockets) -> list[WebSocketRoute]:
    """One route for every path: the protocol itself knows which paths there are."""

    async def endpoint(websocket: WebSocket) -> None:
        await _serve(websocket, sockets)

    return [WebSocketRoute("/{path:path}", endpoint)]


async def _serve(websocket: WebSocket, sockets: Sockets) -> None:
    handshake = Handshake(ids.uuid4(), websocket.scope["path"], websocket.headers, websocket.query_params)
    try:
        admission = await run_in_threadpool(admit, handshake)
    except SignalboxError as error:
        await _refuse(websocket, error)
        return
    except Exception:
        log.exception("handshake failed")
        await _refuse(websocket, unexpected())
        return
    await websocket.accept()
    socket = sockets.add(handshake.connection_id, websocket)
    try:
        await run_in_threadpool(begin, admission)
        await _until_closed(websocket, socket, stays=admission.stays)
    except SignalboxError as error:
        log.warning("connection ended by the server", extra={"reason": str(error)})
        code = POLICY_VIOLATION if isinstance(error, Unauthorized | Forbidden) else TRY_AGAIN_LATER
        # The client may be gone as well.
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await websocket.close(code, error.message)
    finally:
        sockets.remove(handshake.connection_id)
        await run_in_threadpool(_forget, handshake.connection_id)


def _forget(connection_id: str) -> None:
    try:
        disconnect(connection_id)
    except SignalboxError as error:
        # What listens for a connection that is gone is found out by whoever sends to it, and lapses anyway.
        log.warning("connection not forgotten yet", extra={"reason": str(error)})


async def _refuse(websocket: WebSocket, error: SignalboxError) -> None:
    """Answer the handshake with the error itself (ASGI extension ``websocket.http.response``)."""
    await websocket.send_denial_response(error_response(websocket.scope["path"], error))


async def _until_closed(websocket: WebSocket, socket: Socket, *, stays: bool) -> None:
    writer = asyncio.create_task(socket.write())
    reader = asyncio.create_task(_read(websocket, socket.connection_id, stays=stays))
    try:
        await asyncio.wait((writer, reader), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (writer, reader):
            task.cancel()
            # A client that went away in the middle of a message ends either task; both are over then.
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await task


async def _read(websocket: WebSocket, connection_id: str, *, stays: bool) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        try:
            await run_in_threadpool(receive, connection_id, message.get("text") or "")
        except SignalboxError as error:
            if not stays:
                raise
            log.warning("message lost", extra={"connection_id": connection_id, "reason": str(error)})
