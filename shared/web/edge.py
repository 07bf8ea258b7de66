"""The outermost layer of every family: ids, limits, headers, the access log, and the last word on faults."""

from __future__ import annotations

import asyncio
import re
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.kit import clock, ids
from shared.kit.errors import PayloadTooLarge, SignalboxError, Unavailable
from shared.kit.logging import logger
from shared.kit.settings import settings
from shared.web.apis import api_of
from shared.web.cors import cors_headers
from shared.web.errors import error_response, unexpected

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_SECRETS = re.compile(r"\b(inv|nr_live|nr_test)_[A-Za-z0-9_-]+")
"""Invites' tokens, which are parts of paths, and API keys that somebody puts there by mistake."""


class Edge:
    """ASGI middleware. ``scope["state"]`` carries ``request_id`` and, once known, ``principal`` and ``api``."""

    def __init__(self, app: ASGIApp, family: str) -> None:
        self._app = app
        self._family = family

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other ASGI events pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Exchange(self._app, self._family, scope, receive, send).run()


class _Exchange:
    """One request and its answer."""

    def __init__(self, app: ASGIApp, family: str, scope: Scope, receive: Receive, send: Send) -> None:
        self._app, self._family, self._receive, self._send = app, family, receive, send
        self._headers = Headers(scope=scope)
        given = self._headers.get("x-request-id", "")
        self._request_id = given if _REQUEST_ID.fullmatch(given) else ids.uuid7()
        self._method = str(scope["method"])
        state: MutableMapping[str, Any] = {**scope.get("state", {}), "request_id": self._request_id}
        # A HEAD is a GET whose answer has no body; no route needs to know.
        self._scope: Scope = {**scope, "method": "GET" if self._method == "HEAD" else self._method, "state": state}
        self._state = state
        self._status = 0
        self._began = clock.monotonic()

    async def run(self) -> None:
        try:
            if self._method == "OPTIONS":
                await self._answer(Response(status_code=200))
            else:
                body = await self._read_body()
                if body is not None:
                    await self._app(self._scope, _replay(body, self._receive), self._forward)
        except SignalboxError as error:
            await self._refuse(error)
        except asyncio.CancelledError:
            # The server stops and waits no longer. Nothing around this layer needs to know of the cancellation.
            await self._refuse(Unavailable("The server is stopping; try again"))
        except Exception:  # noqa: BLE001 - nothing may leave this layer but an answer in the API's form.
            logger(self._family).exception("request failed", extra=self._facts())
            await self._refuse(unexpected())
        finally:
            logger(self._family).info("request", extra=self._facts() | self._outcome())

    async def _read_body(self) -> bytes | None:
        """The whole body; None when the client went away before the end of it."""
        limit = settings().max_body_bytes
        declared = self._headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise _too_large(limit)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def _refuse(self, error: SignalboxError) -> None:
        if self._status:
            # The answer has begun; closing the connection is all that can still be said.
            return
        path, accept = self._scope["path"], self._headers.get("accept", "")
        await self._answer(
            error_response(path, error, accept=accept, api=self._state.get("api"), request_id=self._request_id)
        )

    async def _answer(self, response: Response) -> None:
        await response(self._scope, self._receive, self._forward)

    async def _forward(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            headers.setdefault("Cache-Control", "no-store")
            headers.setdefault("X-Content-Type-Options", "nosniff")
            for name, value in cors_headers(api_of(self._scope["path"])).items():
                headers.setdefault(name, value)
        elif message["type"] == "http.response.body" and self._method == "HEAD":
            message = {**message, "body": b""}
        await self._send(message)

    def _facts(self) -> dict[str, Any]:
        # Queries may hold tokens and stay out, and so do the tokens that paths hold.
        return {
            "family": self._family,
            "request_id": self._request_id,
            "method": self._method,
            "path": _SECRETS.sub(r"\1_***", self._scope["path"]),
        }

    def _outcome(self) -> dict[str, Any]:
        milliseconds = round((clock.monotonic() - self._began) * 1000, 1)
        outcome: dict[str, Any] = {"status": self._status, "duration_ms": milliseconds}
        principal = self._state.get("principal")
        if principal is not None:
            outcome |= {"account_id": principal.account_id, "org_id": principal.org_id}
        # Named by the path, or begun by the request.
        execution_id = self._scope.get("path_params", {}).get("execution_id") or self._state.get("execution_id")
        if execution_id is not None:
            outcome["execution_id"] = execution_id
        return outcome


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than {limit} bytes", details={"limit": limit})


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body first and then whatever comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
