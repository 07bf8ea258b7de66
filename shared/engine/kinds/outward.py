"""Errors of the outbound client as a node's failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.engine.kinds.base import NodeFailed


@contextmanager
def reaching(what: str = "") -> Iterator[None]:
    """OutboundError inside is NodeFailed, its message behind ``what``; what was refused stays refused."""
    # Loaded when a node reaches out: compiling a flow needs no HTTP client.
    from shared.outbound import OutboundError, OutboundRefused

    try:
        yield
    except OutboundError as error:
        raise NodeFailed(what + error.message, retryable=not isinstance(error, OutboundRefused)) from None
