"""Items: values, keys, sizes, projections (Amazon DynamoDB Developer Guide, Supported data types; Quotas)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.conftest import Bench
from tests.conformance.plain import av, item, same

KB = 1024

STORED: list[tuple[str, Any]] = [
    ("text", "Grüße, 世界 🚦"),
    ("empty text", ""),
    ("integer", 2**70),
    ("negative", -5),
    ("fraction", Decimal("0.000000000000000000000000000000000001")),
    ("38 digits", Decimal("1.2345678901234567890123456789012345678")),
    ("largest", Decimal("9.9999999999999999999999999999999999999E+125")),
    ("smallest", Decimal("1E-130")),
    ("binary", b"\x00\x01\xff"),
    ("empty binary", b""),
    ("true", True),
    ("null", None),
    ("text set", {"b", "a"}),
    ("number set", {3, 1, 2}),
    ("binary set", {b"\x01", b"\x02"}),
    ("empty list", []),
    ("empty map", {}),
    ("document", {"list": [1, "x", None, {"set": {"y"}, "bin": b"\x07"}], "": "empty name"}),
]


@pytest.mark.parametrize("value", [case[1] for case in STORED], ids=[case[0] for case in STORED])
@pytest.mark.smoke
def test_round_trip(bench: Bench, value: Any) -> None:
    """What is stored is what is read."""
    stored = bench.put(v=value)
    assert same(bench.get(), stored)


SPELLINGS = [
    ("007", "7"),
    ("1.50", "1.5"),
    ("1e3", "1000"),
    ("-0", "0"),
    ("0.0", "0"),
    ("+5", "5"),
    ("1E-3", "0.001"),
    ("100", "100"),
]


@pytest.mark.parametrize(("given", "stored"), SPELLINGS)
def test_number_spelling(bench: Bench, given: str, stored: str) -> None:
    """Numbers come back in plain notation without leading or trailing zeros."""
    bench.call("PutItem", Item=bench.key() | {"v": {"N": given}})
    assert bench.get() == bench.key() | {"v": {"N": stored}}


INVALID: list[tuple[str, Any, str]] = [
    ("not a number", {"N": "abc"}, "cannot be converted to a numeric value"),
    ("empty number", {"N": ""}, "cannot be converted to a numeric value"),
    ("NaN", {"N": "NaN"}, "cannot be converted to a numeric value"),
    ("39 digits", {"N": "1" * 39}, "Attempting to store more than 38 significant digits in a Number"),
    ("too large", {"N": "1E+126"}, "Number overflow"),
    ("too small", {"N": "1E-131"}, "Number underflow"),
    ("empty set", {"SS": []}, "set  may not be empty"),
    ("duplicates", {"SS": ["a", "a"]}, "contains duplicates"),
    ("equal numbers", {"NS": ["1", "1.0"]}, "contains duplicates"),
    ("no type", {}, "Supplied AttributeValue is empty"),
    ("two types", {"S": "a", "N": "1"}, "more than one datatypes set"),
    ("no such type", {"X": "a"}, "Supplied AttributeValue is empty"),
    ("text that is none", {"S": 5}, "Type mismatch"),
    ("false null", {"NULL": False}, "Null attribute value types must have the value of true"),
]


@pytest.mark.parametrize(("value", "message"), [c[1:] for c in INVALID], ids=[c[0] for c in INVALID])
def test_invalid_value(bench: Bench, value: Any, message: str) -> None:
    """A value that is none is refused, and nothing is stored."""
    code, text = bench.refused("PutItem", Item=bench.key() | {"v": value})
    assert code in ("ValidationException", "SerializationException")
    assert message in text or bench.name not in ("memory", "file")
    assert bench.get() is None


def test_nesting(bench: Bench) -> None:
    """Documents nest 32 levels deep and no deeper."""
    value: Any = 1
    for _ in range(31):
        value = [value]
    bench.put(v=value)
    assert bench.refused("PutItem", Item=bench.key() | {"v": av([[[value]]])})[0] == "ValidationException"


KEYS: list[tuple[str, str, dict[str, Any], str]] = [
    ("missing range key", "conformance", {"pk": av("x")}, "Missing the key sk in the item"),
    ("missing hash key", "conformance", {"sk": av("x")}, "Missing the key pk in the item"),
    ("wrong type", "conformance", item(pk="x", sk=1), "Type mismatch for key sk expected: S actual: N"),
    ("wrong number", "numbers", item(pk="x", sk="1"), "Type mismatch for key sk expected: N actual: S"),
    ("empty hash key", "conformance", item(pk="", sk="1"), "empty string value. Key: pk"),
    ("empty range key", "conformance", item(pk="x", sk=""), "empty string value. Key: sk"),
    ("empty binary key", "binaries", item(pk="x", sk=b""), "empty binary value. Key: sk"),
    ("long hash key", "conformance", item(pk="x" * 2049, sk="1"), "Size of hashkey has exceeded"),
    ("long range key", "conformance", item(pk="x", sk="é" * 513), "Aggregated size of all range keys has exceeded"),
    ("index key of wrong type", "conformance", item(pk="x", sk="1", n="1"), "Type mismatch for Index Key n"),
    ("empty index key", "conformance", item(pk="x", sk="1", g=""), "IndexKey: g"),
]


@pytest.mark.parametrize(("table", "given", "message"), [c[1:] for c in KEYS], ids=[c[0] for c in KEYS])
def test_bad_key(bench: Bench, table: str, given: dict[str, Any], message: str) -> None:
    """An item whose keys do not fit the table or its indexes is refused."""
    code, text = bench.refused("PutItem", table, Item=given)
    assert code == "ValidationException"
    assert message in text or bench.name not in ("memory", "file")


@pytest.mark.parametrize("operation", ["GetItem", "DeleteItem", "UpdateItem"])
def test_bad_lookup_key(bench: Bench, operation: str) -> None:
    """A key with missing, extra or mistyped attributes is refused."""
    for key in ({"pk": av("x")}, bench.key() | {"v": av(1)}, item(pk="x", sk=1), item(pk="x", other="1")):
        code, text = bench.refused(operation, Key=key)
        assert code == "ValidationException"
        assert "does not match the schema" in text or bench.name not in ("memory", "file")


@pytest.mark.smoke
def test_longest_keys(bench: Bench) -> None:
    """Keys of 2048 and 1024 bytes are the longest."""
    longest = item(pk="k" * 2048, sk="s" * 1024)
    bench.call("PutItem", Item=longest)
    assert bench.call("GetItem", Key=longest)["Item"] == longest


def test_item_limit(bench: Bench) -> None:
    """An item of 400 KB is stored; one byte more is refused, by put and by update."""
    names = sum(len(word) for word in ("pk", "sk", "v", "1")) + len(bench.pk.encode())
    room = 400 * KB - names
    bench.put(v="x" * room)
    message = "Item size has exceeded the maximum allowed size"
    assert message in bench.refused("PutItem", Item=bench.key() | {"v": av("x" * (room + 1))})[1]
    code, text = bench.refused(
        "UpdateItem", Key=bench.key(), UpdateExpression="SET w = :w", ExpressionAttributeValues={":w": av("x")}
    )
    assert code == "ValidationException"
    assert "exceeded the maximum allowed size" in text
    assert bench.get() == bench.key() | {"v": av("x" * room)}


def test_unknown_table(bench: Bench) -> None:
    """Every operation on a table that does not exist says so."""
    for operation, request in (
        ("GetItem", {"Key": bench.key()}),
        ("PutItem", {"Item": bench.key()}),
        ("DescribeTable", {}),
        ("Scan", {}),
    ):
        assert bench.refused(operation, "nowhere", **request)[0] == "ResourceNotFoundException"


PROJECTIONS: list[tuple[str, dict[str, Any]]] = [
    ("a", {"a": 1}),
    ("a, absent", {"a": 1}),
    ("absent", {}),
    ("m.x", {"m": {"x": 1}}),
    ("m.x, m.l[1]", {"m": {"x": 1, "l": [20]}}),
    ("l[2], l[0]", {"l": [1, {"k": "v", "j": 2}]}),
    ("l[2].k", {"l": [{"k": "v"}]}),
    ("l[9], a.b", {}),
]


@pytest.mark.parametrize(("expression", "expected"), PROJECTIONS)
def test_projection(bench: Bench, expression: str, expected: dict[str, Any]) -> None:
    """A projection cuts the item down to the named parts, and list elements close ranks."""
    bench.put(a=1, m={"x": 1, "y": 2, "l": [10, 20, 30]}, l=[1, 2, {"k": "v", "j": 2}])
    assert same(bench.get(ProjectionExpression=expression), item(**expected))


def test_overlapping_projection(bench: Bench) -> None:
    """A projection may not name a part twice."""
    assert bench.refused("GetItem", Key=bench.key(), ProjectionExpression="m, m.x")[0] == "ValidationException"


@pytest.mark.smoke
def test_delete_is_idempotent(bench: Bench) -> None:
    """Deleting what is not there is no error."""
    bench.put()
    bench.call("DeleteItem", Key=bench.key())
    bench.call("DeleteItem", Key=bench.key())
    assert bench.get() is None


def test_hash_only_table(bench: Bench) -> None:
    """A table without a range key keeps one item per hash key."""
    key = {"pk": av(bench.pk)}
    bench.call("PutItem", "singles", Item=key | {"v": av(1)})
    bench.call("PutItem", "singles", Item=key | {"v": av(2)})
    assert bench.call("GetItem", "singles", Key=key)["Item"] == key | {"v": av(2)}
    answer = bench.query("pk = :pk", "singles")
    assert answer["Count"] == 1
