"""The limit of requests that one address may make on routes that need no credentials."""

from __future__ import annotations

from fastapi import Depends, Request

from shared.composition import services
from shared.kit.settings import settings


def address_of(request: Request) -> str:
    """The caller's address. On AWS the distribution stands in between and puts it last but one into the header."""
    if settings().adapter == "aws":
        hops = [hop.strip() for hop in request.headers.get("x-forwarded-for", "").split(",") if hop.strip()]
        if hops:
            return hops[-2] if len(hops) > 1 else hops[-1]
    return "" if request.client is None else request.client.host


def _admit(request: Request) -> None:
    if settings().address_requests_per_minute:
        services().identity.addresses.admit(address_of(request))


LIMITED_BY_ADDRESS = [Depends(_admit)]
"""Dependencies of a public route; it may answer 429."""
