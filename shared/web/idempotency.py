"""Idempotency-Key on every POST: the first request is carried out, its repetitions get the same answer.

Source: draft-ietf-httpapi-idempotency-key-header; docs/rulings.md#idempotency-key.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.composition import services
from shared.identity.principal import ANONYMOUS, Principal
from shared.kit.errors import InvalidRequest, SignalboxError
from shared.store.models.idempotency import idempotency_pk
from shared.web.principals import current_principal
from shared.web.stored_answers import LARGEST_ANSWER, StoredAnswer, StoredAnswers

_KEY = re.compile(r'"?([\x21\x23-\x7e][\x20\x21\x23-\x7e]{0,254})"?')
_NOT_REPEATED = {401, 408, 429}
_OWN_HEADERS = {"x-request-id", "idempotency-replayed", "content-length", "date", "server"}


@dataclass
class _Recorded:
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)

    def note(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", [])]
            self.headers = [(name, value) for name, value in pairs if name.lower() not in _OWN_HEADERS]
        elif message["type"] == "http.response.body":
            self.parts.append(message.get("body", b""))

    @property
    def answer(self) -> StoredAnswer:
        return StoredAnswer(self.status, self.headers, b"".join(self.parts))

    @property
    def is_kept(self) -> bool:
        size = sum(map(len, self.parts))
        return 0 < self.status < 500 and self.status not in _NOT_REPEATED and size <= LARGEST_ANSWER


class Idempotency:
    """ASGI middleware. Requests without the header, with an API key, and other methods pass through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises what the caller did wrong with the key; the layer above renders it."""
        request = Request(scope, receive) if scope["type"] == "http" and scope["method"] == "POST" else None
        given = None if request is None or _has_api_key(request) else request.headers.get("idempotency-key")
        if request is None or given is None:
            await self._app(scope, receive, send)
            return
        key = _KEY.fullmatch(given.strip())
        if key is None:
            raise InvalidRequest.field("Idempotency-Key", "Idempotency-Key must be 1 to 255 visible ASCII characters")
        await self._once(request, key[1], send)

    async def _once(self, request: Request, key: str, send: Send) -> None:
        body = await request.body()
        principal = await run_in_threadpool(_caller, request)
        fingerprint = _fingerprint(request, body, principal)
        answers = await run_in_threadpool(_answers)
        pk = idempotency_pk(principal.org_id, principal.account_id)
        # Callers without credentials share a partition, so their keys are told apart by the whole request.
        sk = f"{fingerprint}#{key}" if principal.is_anonymous else key
        begun = await run_in_threadpool(answers.begin, pk, sk, fingerprint)
        if isinstance(begun, StoredAnswer):
            response = Response(begun.body, begun.status, dict(begun.headers))
            response.headers["Idempotency-Replayed"] = "true"
            await response(request.scope, request.receive, send)
            return
        request.scope["state"]["idempotency_id"] = begun.result_id
        recorded = _Recorded()
        pending: list[Message] = []

        async def hold(message: Message) -> None:
            recorded.note(message)
            pending.append(message)

        try:
            await self._app(request.scope, _once_more(body), hold)
            # The answer is kept before it is given, so that whoever got it can get it again.
            if recorded.is_kept:
                await run_in_threadpool(answers.finish, pk, sk, begun.attempt, recorded.answer)
        finally:
            if not recorded.is_kept:
                # What failed for reasons of ours may have done a part; the next attempt must make the same thing.
                end = answers.release if 0 < recorded.status < 500 else answers.lapse
                await run_in_threadpool(end, pk, sk, begun.attempt)
        for message in pending:
            await send(message)


def idempotency_id(request: Request) -> str | None:
    """A UUIDv7 that every attempt of one keyed request shares; None without a key. Usable as the id of what is made."""
    found = request.scope["state"].get("idempotency_id")
    return None if found is None else str(found)


def _has_api_key(request: Request) -> bool:
    """Whether a client calls with its API key. Such calls have ids of their own, and each of them proves that the key
    and its workflow still may: an answer of before proves nothing.
    """
    shown = request.headers.get("authorization", "").strip().partition(" ")[2].strip()
    return "x-api-key" in request.headers and (not shown or shown.startswith("nr_"))


def _answers() -> StoredAnswers:
    parts = services()
    # The first request of a process may be one that needs nothing else of the store.
    _ = parts.store
    return StoredAnswers(parts.root_secret)


def _caller(request: Request) -> Principal:
    """Whose key it is. Wrong credentials are the route's to refuse; some routes need none."""
    if request.headers.get("authorization") is None:
        return ANONYMOUS
    try:
        return current_principal(request)
    except SignalboxError:
        return ANONYMOUS


def _fingerprint(request: Request, body: bytes, principal: Principal) -> str:
    digest = hashlib.sha256()
    path, query = request.scope["path"], request.scope.get("query_string", b"")
    # Without a principal the credentials tried are part of the request.
    tried = request.headers.get("authorization", "") if principal.is_anonymous else principal.dialect
    for part in (path.encode(), query, tried.encode(), request.headers.get("content-type", "").encode(), body):
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()


def _once_more(body: bytes) -> Receive:
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
