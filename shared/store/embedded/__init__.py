"""The embedded engine and its place beneath PynamoDB.

PynamoDB reaches its store through ``Connection.client`` alone. :func:`install` puts an engine there; models,
conditions, transactions and PynamoDB's own error mapping then work as on AWS.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pynamodb.connection.base import Connection

from shared.store.embedded.engine import EmbeddedEngine
from shared.store.embedded.faults import Fault, Faults
from shared.store.embedded.metering import StoreRequest

__all__ = ["EmbeddedEngine", "Fault", "Faults", "StoreRequest", "install", "installed", "uninstall"]

_botocore_client: Any = Connection.__dict__["client"]


def install(engine: EmbeddedEngine) -> None:
    """Send every PynamoDB request of this process to ``engine``."""
    Connection.client = property(lambda connection: engine)  # type: ignore[assignment,method-assign]


def uninstall() -> None:
    """Send requests to AWS again."""
    Connection.client = _botocore_client  # type: ignore[method-assign]


@contextmanager
def installed(engine: EmbeddedEngine) -> Iterator[EmbeddedEngine]:
    """Use ``engine`` inside the block, and what was there before after it."""
    before = Connection.__dict__["client"]
    install(engine)
    try:
        yield engine
    finally:
        Connection.client = before  # type: ignore[method-assign]
