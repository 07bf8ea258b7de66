"""Streamable HTTP: every message is a POST to one address, answered by JSON or by a stream of events.

Source: Model Context Protocol Specification 2025-11-25, Transports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from shared.engine.kinds.base import NodeFailed
from shared.engine.mcp.events import events
from shared.engine.mcp.session import Deadline, Message, response_in
from shared.engine.mcp.wire import Headers, check, is_events, parse
from shared.kit import clock, json
from shared.outbound import HttpStream, OutboundClient, OutboundError

POST_HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
RECONNECT_MS = 1_000
"""The wait before a broken stream is taken up again, when the server names none."""


class StreamableHttp:
    """One session with the server at ``url``; leaving ends the session if the server keeps one."""

    stateless = True

    def __init__(self, http: OutboundClient, url: str, headers: Headers, deadline: Deadline) -> None:
        self._http = http
        self._url = url
        self._headers = headers
        self._deadline = deadline
        self._own: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if "Mcp-Session-Id" in self._own:
            try:
                self._http.request(
                    "DELETE", self._url, headers=self._headers.of(self._own), timeout_s=self._deadline.remaining_s()
                )
            except (OutboundError, NodeFailed):
                # The server forgets the session by itself; the operation is over either way.
                return

    def agreed(self, version: str) -> None:
        self._own["MCP-Protocol-Version"] = version

    def notify(self, notification: Message) -> None:
        answer = self._http.request(
            "POST",
            self._url,
            headers=self._headers.of(self._own | POST_HEADERS, notification),
            body=json.dumpb(notification),
            timeout_s=self._deadline.remaining_s(),
        )
        check(answer, answer.body)

    def exchange(self, request: Message, headers: Mapping[str, str] | None = None) -> Message:
        head = self._headers.of({**self._own, **POST_HEADERS, **(headers or {})}, request)
        limit = self._deadline.remaining_s()
        with self._http.stream("POST", self._url, headers=head, body=json.dumpb(request), timeout_s=limit) as answer:
            self._accept(answer, request)
            if not is_events(answer):
                return self._response(parse(answer.read()), request)
            response, cursor = self._read(answer, request)
        while response is None:
            response, cursor = self._resume(cursor, request)
        return response

    def _accept(self, answer: HttpStream, request: Message) -> None:
        if not 200 <= answer.status < 300:
            check(answer, answer.read())
        session = answer.header("Mcp-Session-Id")
        if request["method"] == "initialize" and session:
            self._own["Mcp-Session-Id"] = session

    def _response(self, received: object, request: Message) -> Message:
        response = response_in(received, request["id"], self.notify)
        if response is None:
            raise NodeFailed("MCP server answered something else than the request")
        return response

    def _read(self, answer: HttpStream, request: Message, cursor: str | None = None) -> tuple[Message | None, _Cursor]:
        retry_ms = RECONNECT_MS
        for event in events(answer.lines()):
            cursor = event.id or cursor
            retry_ms = retry_ms if event.retry_ms is None else event.retry_ms
            if event.data and event.name == "message":
                response = response_in(parse(event.data), request["id"], self.notify)
                if response is not None:
                    return response, (None, 0)
        return None, (cursor, retry_ms)

    def _resume(self, cursor: _Cursor, request: Message) -> tuple[Message | None, _Cursor]:
        """The server may close a stream before the response comes and let the client ask for the rest."""
        last_id, retry_ms = cursor
        if last_id is None:
            raise NodeFailed("MCP server closed the stream before its response")
        clock.sleep(min(retry_ms / 1000, self._deadline.remaining_s()))
        headers = self._headers.of(self._own | {"Accept": "text/event-stream", "Last-Event-ID": last_id})
        with self._http.stream("GET", self._url, headers=headers, timeout_s=self._deadline.remaining_s()) as answer:
            self._accept(answer, request)
            return self._read(answer, request, last_id)


_Cursor = tuple[str | None, int]
"""The last event's id and the milliseconds to wait before the stream is taken up again."""
