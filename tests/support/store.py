"""Empty stores: ours in memory, and a DynamoDB that is not ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import boto3
import pytest
from moto import mock_aws

from shared.store.base import Record, table_definitions
from shared.store.embedded import EmbeddedEngine, Faults, installed
from shared.store.models import every_model

REGION = "eu-north-1"


@contextmanager
def memory_store(*models: type[Record], faults: Faults | None = None) -> Iterator[EmbeddedEngine]:
    """The embedded engine in memory, installed, with the tables of these models; of all when none is named."""
    engine = EmbeddedEngine.open(faults=faults)
    try:
        engine.create_tables(*(models or every_model()))
        with installed(engine):
            yield engine
    finally:
        engine.close()


class Snapshot:
    """A store in memory as it was at one moment, to which it can return as often as one likes."""

    def __init__(self, engine: EmbeddedEngine, kept: sqlite3.Connection) -> None:
        self._storage = engine._storage
        self._kept = kept
        self._storage.read(lambda sql: sql.backup(self._kept))

    def restore(self) -> None:
        """Make the store what it was."""
        self._storage.read(self._kept.backup)


@contextmanager
def snapshot(engine: EmbeddedEngine) -> Iterator[Snapshot]:
    """The store as it is now."""
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as kept:
        yield Snapshot(engine, kept)


Stored = tuple[int, bytes, bytes, bytes]
"""An item as it lies in the store: number of its table, partition key, sort key, body."""


def stored(engine: EmbeddedEngine) -> list[Stored]:
    """Every item, to tell whether something was changed."""
    query = "SELECT tbl, pk, sk, body FROM items ORDER BY tbl, pk, sk"
    return engine._storage.read(lambda sql: sql.execute(query).fetchall())


@contextmanager
def moto_store(*models: type[Record]) -> Iterator[None]:
    """DynamoDB as moto plays it, reached through PynamoDB's own client, with the same choice of tables."""
    with pytest.MonkeyPatch.context() as patched:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patched.setenv(name, "test")
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            patched.setenv(name, REGION)
        for model in every_model():
            # A model keeps the connection of its first request, and with it the region of that time.
            patched.setattr(model, "_connection", None)
        with mock_aws():
            client = boto3.client("dynamodb", region_name=REGION)
            for definition, _ in table_definitions(*(models or every_model())):
                client.create_table(**definition)
            yield
