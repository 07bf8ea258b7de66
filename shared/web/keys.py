"""Callers of the NullRun API: API keys with their signatures, and people in the org of the path."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from shared.composition import services
from shared.governance.authentication import KeyRefused, KnownKey, Signature, principal_of
from shared.identity.principal import Principal
from shared.kit.errors import Forbidden, Unauthorized
from shared.kit.logging import logger
from shared.kit.settings import settings
from shared.web.principals import current_principal

log = logger("keys")

_BEARER_KEY = "nr_"


def api_key_of(request: Request) -> str | None:
    """The API key a request brings: ``X-API-Key``, or on GETs a Bearer value that is one."""
    given = request.headers.get("x-api-key")
    if given is None and request.scope["method"] == "GET":
        scheme, _, value = request.headers.get("authorization", "").strip().partition(" ")
        if scheme.lower() == "bearer" and value.strip().startswith(_BEARER_KEY):
            return value.strip()
    return given


def has_session(request: Request) -> bool:
    """Whether the request brings a person's credentials rather than a key in their place."""
    authorization = request.headers.get("authorization", "").strip()
    return bool(authorization) and not authorization.partition(" ")[2].strip().startswith(_BEARER_KEY)


def key_of(request: Request, raw: bytes, *, scope: str | None, must_sign: bool = True, fresh: bool = False) -> KnownKey:
    """The API key behind a request, with its signature checked over ``raw``, the bytes of the body as they came.

    An unsigned request is refused where the deployment demands signatures, else logged. Raises KeyRefused and
    MissingScope. It may read the store: call it on a thread that may wait.
    """
    headers, signature = request.headers, None
    if "x-signature" in headers:
        signature = Signature(headers["x-signature"], headers.get("x-signature-timestamp", ""), raw)
    key = services().governance.authenticator.check(api_key_of(request), signature, scope=scope, fresh=fresh)
    request.scope["state"]["principal"] = principal_of(key)
    if signature is None and must_sign:
        if settings().hmac_required:
            raise KeyRefused("HMAC_MISMATCH", "Sign the request: X-Signature and X-Signature-Timestamp are missing")
        log.warning("unsigned request", extra={"path": request.scope["path"], "key_id": key.key_id})
    return key


async def known_key(request: Request, *, scope: str | None, must_sign: bool = True, fresh: bool = False) -> KnownKey:
    """As :func:`key_of`, on a thread of its own."""
    raw = await request.body()
    return await run_in_threadpool(key_of, request, raw, scope=scope, must_sign=must_sign, fresh=fresh)


async def org_principal(request: Request, org_id: str) -> Principal:
    """A caller acting in the org of the path: a member's session, or a key of that org.

    Raises Unauthorized; Forbidden for a session that is no member and for a key of another org.
    """
    known = request.scope["state"].get("principal")
    # Whoever asked before may have asked for the caller's home organisation.
    if isinstance(known, Principal) and known.org_id == org_id:
        return known
    if has_session(request) or api_key_of(request) is None:
        return await _session(request, org_id)
    key = await known_key(request, scope=None, must_sign=False, fresh=True)
    if key.org_id != org_id:
        raise Forbidden("The API key belongs to another organisation")
    return principal_of(key)


async def _session(request: Request, org_id: str) -> Principal:
    if not has_session(request):
        raise Unauthorized("Authentication is required")
    found: Any = await run_in_threadpool(
        services().identity.authenticator.authenticate, request.headers.get("authorization"), org=org_id
    )
    request.scope["state"]["principal"] = found
    if found.org_id != org_id:
        # A name of nothing but spaces stands for the home organisation.
        raise Forbidden("You are not a member of this organisation")
    return current_principal(request)


OrgPrincipal = Annotated[Principal, Depends(org_principal)]
"""The caller in the org that the path's ``org_id`` names."""
