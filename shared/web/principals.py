"""From a request's headers to its caller."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from shared.composition import services
from shared.identity.principal import ANONYMOUS, Principal


def current_principal(request: Request) -> Principal:
    """The signed-in caller. Raises Unauthorized, and Forbidden for an org it is no member of."""
    known = request.scope["state"].get("principal")
    if isinstance(known, Principal):
        return known
    headers = request.headers
    found = services().identity.authenticator.authenticate(
        headers.get("authorization"), org=headers.get("x-signalbox-org"), dialect=headers.get("x-flowrunner-dialect")
    )
    request.scope["state"]["principal"] = found
    return found


def optional_principal(request: Request) -> Principal:
    """As :func:`current_principal`, but a request without credentials is anonymous. Wrong ones are still refused."""
    if request.headers.get("authorization") is None:
        return ANONYMOUS
    return current_principal(request)


CurrentPrincipal = Annotated[Principal, Depends(current_principal)]
"""The signed-in caller; the route refuses everybody else."""

OptionalPrincipal = Annotated[Principal, Depends(optional_principal)]
"""The caller, who may be nobody."""
