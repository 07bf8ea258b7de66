"""A model and an engine of its own for every store test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pynamodb.attributes import NumberAttribute, UnicodeAttribute, VersionAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from shared.store.base import STREAM_IMAGES, Record, TableMeta
from shared.store.embedded import EmbeddedEngine, installed


class ByRank(GlobalSecondaryIndex["Thing"]):
    """Things of a group by rank."""

    class Meta:
        index_name = "by_rank"
        projection = AllProjection()

    group = UnicodeAttribute(hash_key=True)
    rank = NumberAttribute(range_key=True)


class Thing(Record):
    """A record with an index, on a table with a change stream."""

    class Meta(TableMeta):
        table = "things"
        stream_view_type = STREAM_IMAGES

    amount = NumberAttribute(null=True)
    note = UnicodeAttribute(null=True)
    group = UnicodeAttribute(null=True)
    rank = NumberAttribute(null=True)
    by_rank = ByRank()


class Versioned(Record):
    """A record with optimistic locking, in the same table."""

    class Meta(TableMeta):
        table = "things"

    amount = NumberAttribute(null=True)
    version = VersionAttribute()


@pytest.fixture(params=["memory", "file"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedEngine]:
    """An installed engine with the tables; once in memory, once on a file."""
    opened = EmbeddedEngine.open(":memory:" if request.param == "memory" else tmp_path / "store.db")
    opened.create_tables(Thing, Versioned)
    with installed(opened):
        yield opened
    opened.close()
