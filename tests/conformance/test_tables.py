"""Tables themselves (Amazon DynamoDB API Reference, CreateTable and its companions)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.conftest import Bench

DEFINED = [{"AttributeName": "pk", "AttributeType": "S"}]
KEYED = [{"AttributeName": "pk", "KeyType": "HASH"}]


def _name(bench: Bench) -> str:
    return f"table-{abs(hash(bench.pk))}"


def _create(bench: Bench, **request: Any) -> dict[str, Any]:
    whole = {"BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": DEFINED, "KeySchema": KEYED, **request}
    return bench.call("CreateTable", _name(bench), **whole)


@pytest.mark.smoke
def test_life_of_a_table(bench: Bench) -> None:
    """A table is created, described, listed and deleted, and then unknown."""
    _create(bench)
    table = bench.call("DescribeTable", _name(bench))["Table"]
    assert table["TableStatus"] == "ACTIVE"
    assert table["KeySchema"] == KEYED
    assert _name(bench) in bench.store._make_api_call("ListTables", {})["TableNames"]
    bench.call("DeleteTable", _name(bench))
    assert bench.refused("DescribeTable", _name(bench))[0] == "ResourceNotFoundException"
    assert bench.refused("DeleteTable", _name(bench))[0] == "ResourceNotFoundException"


def test_create_twice(bench: Bench) -> None:
    """A table that exists cannot be created again."""
    _create(bench)
    whole = {"BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": DEFINED, "KeySchema": KEYED}
    assert bench.refused("CreateTable", _name(bench), **whole)[0] == "ResourceInUseException"


@pytest.mark.parametrize(
    "request_",
    [
        {"AttributeDefinitions": [{"AttributeName": "other", "AttributeType": "S"}]},
        {"AttributeDefinitions": [*DEFINED, {"AttributeName": "unused", "AttributeType": "S"}]},
        {"KeySchema": [{"AttributeName": "pk", "KeyType": "RANGE"}]},
        {
            "GlobalSecondaryIndexes": [
                {
                    "IndexName": "by_unknown",
                    "KeySchema": [{"AttributeName": "unknown", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ]
        },
    ],
    ids=["undefined key", "unused definition", "no hash key", "undefined index key"],
)
def test_bad_table(bench: Bench, request_: dict[str, Any]) -> None:
    """Keys and attribute definitions must match."""
    whole = {"BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": DEFINED, "KeySchema": KEYED, **request_}
    assert bench.refused("CreateTable", _name(bench), **whole)[0] == "ValidationException"
    assert bench.refused("DescribeTable", _name(bench))[0] == "ResourceNotFoundException"


def test_list_in_pages(bench: Bench) -> None:
    """Tables are listed by name, in pages of the wanted size."""
    names: list[str] = []
    start: dict[str, Any] = {}
    while True:
        page = bench.store._make_api_call("ListTables", {"Limit": 2, **start})
        assert len(page["TableNames"]) <= 2
        names += page["TableNames"]
        if "LastEvaluatedTableName" not in page:
            break
        start = {"ExclusiveStartTableName": page["LastEvaluatedTableName"]}
    assert names == sorted(names)
    assert {"conformance", "numbers", "binaries", "singles"} <= set(names)


def test_time_to_live(bench: Bench) -> None:
    """Time to live is switched on for one attribute."""
    _create(bench)
    bench.call("UpdateTimeToLive", _name(bench), TimeToLiveSpecification={"AttributeName": "ttl", "Enabled": True})
    answer = bench.call("DescribeTimeToLive", _name(bench))["TimeToLiveDescription"]
    assert answer["AttributeName"] == "ttl"
    assert answer["TimeToLiveStatus"] in ("ENABLED", "ENABLING")


def test_update_table(bench: Bench) -> None:
    """A table's stream can be switched on later."""
    _create(bench)
    stream = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    bench.call("UpdateTable", _name(bench), StreamSpecification=stream)
    assert bench.call("DescribeTable", _name(bench))["Table"]["StreamSpecification"] == stream


def test_a_local_index(bench: Bench) -> None:
    """A local secondary index orders a partition otherwise, and can be read consistently."""
    name = _name(bench)
    bench.call(
        "CreateTable",
        name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[*DEFINED, *({"AttributeName": key, "AttributeType": "S"} for key in ("sk", "x"))],
        KeySchema=[*KEYED, {"AttributeName": "sk", "KeyType": "RANGE"}],
        LocalSecondaryIndexes=[
            {
                "IndexName": "by_x",
                "KeySchema": [*KEYED, {"AttributeName": "x", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    for sk, x in (("a", "2"), ("b", "1"), ("c", None)):
        bench.put(sk, name, **({} if x is None else {"x": x}))
    found = bench.query("pk = :pk", name, IndexName="by_x", ConsistentRead=True)
    assert [entry["sk"]["S"] for entry in found["Items"]] == ["b", "a"]
