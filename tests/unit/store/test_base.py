"""Records and their tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pynamodb.attributes import Attribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from shared.store.base import STREAM_IMAGES, Record, TableMeta, table_definitions
from shared.store.embedded import EmbeddedEngine, installed
from tests.unit.store.conftest import Thing, Versioned


def test_table_names_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prefix, region and endpoint are those of the environment at the time of use."""
    monkeypatch.delenv("SIGNALBOX_TABLE_PREFIX", raising=False)
    assert Thing.Meta.table_name == "signalbox-things"
    monkeypatch.setenv("SIGNALBOX_TABLE_PREFIX", "stage")
    assert Thing.Meta.table_name == "stage-things"
    assert Thing._get_connection().table_name == "stage-things"
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert Thing.Meta.region == "eu-north-1"
    monkeypatch.delenv("AWS_ENDPOINT_URL_DYNAMODB", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    assert Thing.Meta.host is None


def test_models_of_one_table_share_its_definition() -> None:
    """One CreateTable request per table, with every model's indexes and the stream if any model wants it."""
    ((definition, ttl),) = table_definitions(Versioned, Thing)
    assert definition["TableName"] == "signalbox-things"
    assert [index["IndexName"] for index in definition["GlobalSecondaryIndexes"]] == ["by_rank"]
    assert definition["StreamSpecification"]["StreamViewType"] == "NEW_AND_OLD_IMAGES"
    assert sorted(entry["AttributeName"] for entry in definition["AttributeDefinitions"]) == [
        "group", "pk", "rank", "sk",
    ]  # fmt: skip
    assert ttl == "ttl"


def test_creating_tables_again_changes_nothing(tmp_path: Path) -> None:
    """Opening a file again finds its tables and items; creating them again is no error."""
    for amount in (1, 2):
        engine = EmbeddedEngine.open(tmp_path / "store.db")
        engine.create_tables(Thing)
        engine.create_tables(Thing, Versioned)
        with installed(engine):
            Thing("o", f"{amount}").save()
            assert len(list(Thing.query("o"))) == amount
            assert Thing.describe_table()["ItemCount"] == amount
        engine.close()


def _listing(name: str, fills: Attribute[Any], sorts: Attribute[Any]) -> Any:
    class Listing(GlobalSecondaryIndex[Any]):
        class Meta:
            index_name = name
            projection = AllProjection()

        group = fills
        rank = sorts

    return Listing()


def test_an_older_file_is_brought_up_to_date(tmp_path: Path) -> None:
    """A new version's indexes, stream and expiry work on the items an older version wrote."""

    class Older(Record):
        class Meta(TableMeta):
            table = "evolving"
            ttl_attribute = None

        group = UnicodeAttribute(null=True)
        rank = NumberAttribute(null=True)
        by_first = _listing("z_first", UnicodeAttribute(hash_key=True), NumberAttribute(range_key=True))

    class Newer(Record):
        class Meta(TableMeta):
            table = "evolving"
            stream_view_type = STREAM_IMAGES

        group = UnicodeAttribute(null=True)
        rank = NumberAttribute(null=True)
        by_first = _listing("z_first", UnicodeAttribute(hash_key=True), NumberAttribute(range_key=True))
        by_second = _listing("a_second", UnicodeAttribute(hash_key=True), NumberAttribute(range_key=True))

    engine = EmbeddedEngine.open(tmp_path / "store.db")
    engine.create_tables(Older)
    with installed(engine):
        for rank in range(3):
            Older("o", f"{rank}", group="g", rank=rank, ttl=1).save()
        Older("o", "odd", group="g").save()
    engine.close()

    engine = EmbeddedEngine.open(tmp_path / "store.db")
    engine.create_tables(Newer)
    with installed(engine):
        Newer("o", "3", group="g", rank=3).save()
        for index in (Newer.by_first, Newer.by_second):
            assert [found.rank for found in index.query("g")] == [0, 1, 2, 3]
        assert [record.keys["sk"]["S"] for record in engine.stream.read(0)] == ["3"]
        assert engine.purge_expired(10_000) == 3
        assert [found.rank for found in Newer.by_second.query("g")] == [3]
    engine.close()


def test_keys_of_a_table_cannot_change(tmp_path: Path) -> None:
    """A model whose keys differ from the stored table's is refused at start, before anything is written."""
    engine = EmbeddedEngine.open(tmp_path / "store.db")
    engine._make_api_call(
        "CreateTable",
        {
            "TableName": "signalbox-things",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        },
    )
    with pytest.raises(ClientError, match="keys of table signalbox-things cannot change"):
        engine.create_tables(Thing)
    engine.close()


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Nobody else may read the database or its log."""
    engine = EmbeddedEngine.open(tmp_path / "store.db")
    engine.create_tables(Thing)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(modes) >= {"store.db", "store.db-wal"}
    assert set(modes.values()) == {0o600}
    engine.close()


def test_table_requests(engine: EmbeddedEngine) -> None:
    """Tables can be described, listed and deleted; a deleted one takes its items with it."""
    Thing("o", "1").save()
    description = Thing.describe_table()
    assert description["TableStatus"] == "ACTIVE"
    assert description["GlobalSecondaryIndexes"][0]["IndexStatus"] == "ACTIVE"
    answer = engine._make_api_call("DescribeTimeToLive", {"TableName": "signalbox-things"})
    assert answer["TimeToLiveDescription"] == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    Thing.delete_table()
    assert not Thing.exists()
    engine.create_tables(Thing)
    assert list(Thing.scan()) == []
