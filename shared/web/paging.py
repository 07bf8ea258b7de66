"""How much of a list a caller gets."""

from __future__ import annotations

from shared.identity.principal import Principal
from shared.web.requests import Paging, Query

LEGACY_LIMIT = 1000
"""The command line client neither pages nor knows that there is more: it gets this many rows unless it asks."""


def list_paging(principal: Principal, query: Query) -> Paging:
    """The caller's ``limit`` and ``offset``. Raises InvalidRequest."""
    paging = query.paging()
    if principal.dialect == "legacy" and query.text("limit") is None:
        return Paging(LEGACY_LIMIT, paging.offset)
    return paging
