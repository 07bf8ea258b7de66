"""Connections of the one-process host: uvicorn's, with bounds and with refusals in the API's form.

On AWS the gateway sees to both (Amazon API Gateway quotas: 10,240 bytes of headers, 30 seconds for a request).
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.frames import CloseCode
from websockets.http11 import Response as HandshakeResponse

from shared.kit.errors import Internal, InvalidRequest, PayloadTooLarge, SignalboxError
from shared.web.errors import error_response

HEAD_BYTES = 64 * 1024
"""Bytes of request line and headers that are waited for."""

REQUEST_SECONDS = 60.0
"""How long a request may take to arrive, and a new connection to begin one."""

_NO_HTTP = "The request is not valid HTTP/1.1"


class BoundedHttp(HttpToolsProtocol):
    """HTTP/1.1 that waits neither for endless headers nor for ever."""

    request_seconds = REQUEST_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._head_bytes = 0
        self._deadline: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        waited = self._in_head
        super().data_received(data)
        # The parser keeps what it has of a header, and puts it together anew with every piece.
        if waited and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self._refuse(PayloadTooLarge(f"The head of the request is larger than {HEAD_BYTES} bytes"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._expect()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._should_upgrade():
            self._arrived()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._arrived()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(InvalidRequest(_NO_HTTP))

    def _should_upgrade(self) -> bool:
        # A handshake with another method would never be answered.
        return super()._should_upgrade() and self.parser.get_method() == b"GET"

    def _expect(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.request_seconds, self._too_late)

    def _arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self._refuse(InvalidRequest(f"The request did not arrive within {self.request_seconds:g} seconds"))

    def _refuse(self, error: SignalboxError) -> None:
        """The last answer on this connection; nothing when another one is under way."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            lines = [STATUS_LINE[error.status]]
            lines += [b"%b: %b\r\n" % pair for pair in _headers(error)]
            self.transport.write(b"".join([*lines, b"connection: close\r\n\r\n", _body(error)]))
        self.transport.close()


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """WebSockets that answer pings no faster than the client takes the pongs, and take a refusal for an answer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn.reject = _handshake_refused  # type: ignore[method-assign]

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not _is_utf8(b"".join(self.frames)):
            # Uvicorn would close as well, but write a trace of the client's mistake to the log.
            self.frames = []
            self.conn.send_close(CloseCode.INVALID_DATA)
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            # The handshake is over. Uvicorn would report every refused client as an error of the application.
            self.handshake_complete = True

    def handle_ping(self) -> None:
        super().handle_ping()
        if not self.writable.is_set():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _handshake_refused(status: HTTPStatus | int, text: str) -> HandshakeResponse:
    """What is answered to a handshake that is none; ``text`` says why."""
    error = Internal("An internal error occurred") if status >= 500 else InvalidRequest(text.strip())
    headers = Headers([(name.decode(), value.decode()) for name, value in _headers(error)])
    headers["Connection"] = "close"
    return HandshakeResponse(int(status), HTTPStatus(status).phrase, headers, _body(error))


def _headers(error: SignalboxError) -> Sequence[tuple[bytes, bytes]]:
    return [*error_response("/", error).raw_headers, (b"cache-control", b"no-store")]


def _body(error: SignalboxError) -> bytes:
    return bytes(error_response("/", error).body)
