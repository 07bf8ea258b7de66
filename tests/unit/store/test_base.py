"""Records and their tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.store.base import table_definitions
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
