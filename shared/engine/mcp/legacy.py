"""HTTP with SSE, the transport of protocol version 2024-11-05: one stream of events, and an address for messages.

Source: Model Context Protocol Specification 2024-11-05, Transports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Self
from urllib.parse import SplitResult, urljoin, urlsplit

from shared.engine.kinds.base import NodeFailed
from shared.engine.mcp.events import Event, events
from shared.engine.mcp.session import Deadline, Message, response_in
from shared.engine.mcp.wire import Headers, check, is_events, parse
from shared.kit import json
from shared.outbound import OutboundClient

_PORTS = {"http": 80, "https": 443}


class HttpWithSse:
    """Entering opens the stream at ``url`` and learns where messages go, unless the author says so in ``endpoint``."""

    stateless = False

    def __init__(
        self,
        http: OutboundClient,
        url: str,
        headers: Headers,
        deadline: Deadline,
        endpoint: str | None = None,
    ) -> None:
        self._http = http
        self._url = url
        self._headers = headers
        self._deadline = deadline
        self._endpoint = endpoint
        self._stack = ExitStack()
        self._events: Iterator[Event] = iter(())

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            headers = self._headers.of({"Accept": "text/event-stream"})
            opened = self._http.stream("GET", self._url, headers=headers, timeout_s=self._deadline.remaining_s())
            stream = opening.enter_context(opened)
            if not 200 <= stream.status < 300:
                check(stream, stream.read())
            if not is_events(stream):
                raise NodeFailed(
                    "url does not answer with a stream of events; try connectionType http", retryable=False
                )
            self._events = events(stream.lines())
            self._endpoint = self._messages_url()
            self._stack = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def agreed(self, version: str) -> None:
        """This transport does not repeat the version."""

    def notify(self, notification: Message) -> None:
        answer = self._http.request(
            "POST",
            self._endpoint or self._url,
            headers=self._headers.of({"Content-Type": "application/json"}, notification),
            body=json.dumpb(notification),
            timeout_s=self._deadline.remaining_s(),
        )
        check(answer, answer.body)

    def exchange(self, request: Message, headers: Mapping[str, str] | None = None) -> Message:
        self.notify(request)
        for event in self._events:
            if event.name == "message" and event.data:
                response = response_in(parse(event.data), request["id"], self.notify)
                if response is not None:
                    return response
        raise NodeFailed("MCP server closed the stream before its response")

    def _messages_url(self) -> str:
        announced = next((event.data for event in self._events if event.name == "endpoint"), None)
        if announced is None:
            raise NodeFailed("MCP server did not say where messages go")
        url, announced = urlsplit(self._url), urljoin(self._url, announced)
        if self._endpoint:
            # The query usually carries the session, which only the server knows.
            chosen = urlsplit(urljoin(self._url, self._endpoint))
            return (chosen if chosen.query else chosen._replace(query=urlsplit(announced).query)).geturl()
        if _origin(urlsplit(announced)) != _origin(url):
            # The author's headers, credentials among them, are for the host the author named.
            message = "MCP server sends messages to another host; name it in messagesPostEndpoint if that is right"
            raise NodeFailed(message, retryable=False)
        return announced


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)
