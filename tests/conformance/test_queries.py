"""Query and Scan (Amazon DynamoDB API Reference, Query; Scan)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.conftest import Bench
from tests.conformance.plain import av, item, values

WORDS = ["A", "Z", "a", "aa", "ab", "b", "é", "世", "🚦"]
NUMBERS = [
    Decimal("-1E+100"), -1000, Decimal("-12.5"), -12,
    Decimal("-11.9"), -1, Decimal("-0.5"), Decimal("-1E-100"), 0, Decimal("1E-100"),
    Decimal("0.001"), Decimal("0.01"), Decimal("0.5"), 1, 2, 9, 10, Decimal("10.5"), 11, 100,
    Decimal(12345678901234567890123456789012345677), Decimal(12345678901234567890123456789012345678),
    Decimal("1E+100"),
]  # fmt: skip
BYTES = [b"\x00", b"\x00\x00", b"\x00\x01", b"\x01", b"a", b"\x7f", b"\x80", b"\xff", b"\xff\x00", b"\xff\xff"]


def _sks(answer: dict[str, Any], name: str = "sk") -> list[Any]:
    convert: Any = {"S": str, "N": Decimal, "B": bytes}
    return [convert[kind](value) for found in answer["Items"] for kind, value in found[name].items()]


@pytest.mark.parametrize(("table", "keys"), [("conformance", WORDS), ("numbers", NUMBERS), ("binaries", BYTES)])
@pytest.mark.parametrize("forward", [True, False])
def test_order(bench: Bench, table: str, keys: list[Any], forward: bool) -> None:
    """Range keys are in order: text by UTF-8 bytes, numbers by value, binary by unsigned bytes; both ways."""
    for key in sorted(keys, key=str):
        bench.put(key, table)
    found = _sks(bench.query(table=table, ScanIndexForward=forward))
    assert found == (keys if forward else keys[::-1])


RANGES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("sk = :v", {"v": "aa"}, ["aa"]),
    ("sk = :v", {"v": "none"}, []),
    ("sk < :v", {"v": "aa"}, ["A", "Z", "a"]),
    ("sk <= :v", {"v": "aa"}, ["A", "Z", "a", "aa"]),
    ("sk > :v", {"v": "ab"}, ["b", "é", "世", "🚦"]),
    ("sk >= :v", {"v": "世"}, ["世", "🚦"]),
    ("sk BETWEEN :v AND :w", {"v": "Z", "w": "ab"}, ["Z", "a", "aa", "ab"]),
    ("begins_with(sk, :v)", {"v": "a"}, ["a", "aa", "ab"]),
    ("begins_with (sk, :v)", {"v": "🚦"}, ["🚦"]),
    (":v <= sk", {"v": "世"}, ["世", "🚦"]),
]


@pytest.mark.parametrize(("condition", "given", "expected"), RANGES)
def test_range_condition(bench: Bench, condition: str, given: dict[str, Any], expected: list[str]) -> None:
    """A key condition selects a range of the partition."""
    for word in WORDS:
        bench.put(word)
    assert _sks(bench.query(f"pk = :pk AND {condition}", given=given)) == expected
    assert _sks(bench.query(f"{condition} AND pk = :pk", given=given, ScanIndexForward=False)) == expected[::-1]


@pytest.mark.parametrize(
    ("condition", "given", "expected"),
    [
        ("sk > :v", {"v": 9}, [10, 11]),
        ("sk BETWEEN :v AND :w", {"v": Decimal("-0.5"), "w": Decimal("9.0")}, [0, 9]),
        ("sk < :v", {"v": 0}, [-2]),
    ],
)
def test_number_range(bench: Bench, condition: str, given: dict[str, Any], expected: list[int]) -> None:
    """Number ranges compare by value."""
    for number in (9, 10, 11, 0, -2):
        bench.put(number, "numbers")
    assert _sks(bench.query(f"pk = :pk AND {condition}", "numbers", given=given)) == expected


def test_binary_prefix(bench: Bench) -> None:
    """A prefix of 0xFF bytes has no upper end."""
    for key in BYTES:
        bench.put(key, "binaries")
    found = bench.query("pk = :pk AND begins_with(sk, :v)", "binaries", given={"v": b"\xff"})
    assert _sks(found) == [b"\xff", b"\xff\x00", b"\xff\xff"]


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 3, 9, 10])
@pytest.mark.smoke
def test_pages(bench: Bench, limit: int, forward: bool) -> None:
    """Pages of any size join to the whole partition, in order, nothing twice."""
    for word in WORDS:
        bench.put(word)
    found: list[str] = []
    start: dict[str, Any] = {}
    while True:
        page = bench.query(Limit=limit, ScanIndexForward=forward, **start)
        assert page["Count"] == page["ScannedCount"] == len(page["Items"]) <= limit
        found += _sks(page)
        if "LastEvaluatedKey" not in page:
            break
        assert page["LastEvaluatedKey"] == bench.key(found[-1])
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    assert found == (WORDS if forward else WORDS[::-1])


def test_limit_at_the_end(bench: Bench) -> None:
    """A page that reaches its limit exactly at the end still carries a last key; a page below it does not."""
    for word in ("a", "b"):
        bench.put(word)
    assert bench.query(Limit=2)["LastEvaluatedKey"] == bench.key("b")
    assert "LastEvaluatedKey" not in bench.query(Limit=3)


def test_limit_counts_before_the_filter(bench: Bench) -> None:
    """Limit counts the items examined, not those that pass the filter."""
    for number, word in enumerate("abcd"):
        bench.put(word, v=number)
    page = bench.query(Limit=3, FilterExpression="v >= :v", given={"v": 2})
    assert (page["Count"], page["ScannedCount"]) == (1, 3)
    assert page["LastEvaluatedKey"] == bench.key("c")


def test_start_after_a_key_that_is_gone(bench: Bench) -> None:
    """A page may start after a key that no longer exists, or never did."""
    for word in ("a", "c"):
        bench.put(word)
    assert _sks(bench.query(ExclusiveStartKey=bench.key("b"))) == ["c"]


def test_page_of_one_megabyte(bench: Bench) -> None:
    """A page ends at 1 MB even when more would match, and the rest follows."""
    for word in "abcdef":
        bench.put(word, v="x" * 300_000)
    first = bench.query()
    assert 3 <= first["Count"] <= 4
    rest = bench.query(ExclusiveStartKey=first["LastEvaluatedKey"])
    assert _sks(first) + _sks(rest) == list("abcdef")


def test_count_only(bench: Bench) -> None:
    """Select COUNT answers the number without the items."""
    for word in "abc":
        bench.put(word)
    answer = bench.query(Select="COUNT")
    assert (answer["Count"], answer["ScannedCount"]) == (3, 3)
    assert "Items" not in answer


def test_query_projection(bench: Bench) -> None:
    """A query can bring parts of items only."""
    bench.put("a", v=1, w=2)
    assert bench.query(ProjectionExpression="sk, w")["Items"] == [item(sk="a", w=2)]


def _indexed(bench: Bench, sk: str, **attributes: Any) -> None:
    bench.put(sk, g=bench.pk, **attributes)


@pytest.mark.parametrize(
    ("index", "name", "keys"),
    [("by_number", "n", NUMBERS), ("by_binary", "b", BYTES), ("by_text", "t", WORDS)],
)
@pytest.mark.parametrize("forward", [True, False])
def test_index_order(bench: Bench, index: str, name: str, keys: list[Any], forward: bool) -> None:
    """An index is in the order of its own range key."""
    for number, key in enumerate(sorted(keys, key=str)):
        _indexed(bench, f"{number}", **{name: key})
    found = bench.query("g = :pk", IndexName=index, ScanIndexForward=forward)
    assert _sks(found, name) == (keys if forward else keys[::-1])


@pytest.mark.smoke
def test_index_is_sparse_and_follows(bench: Bench) -> None:
    """An index holds the items that have its keys, as they are now."""
    _indexed(bench, "a", n=3)
    _indexed(bench, "b", n=1)
    bench.put("c", g=bench.pk)
    bench.put("d", n=2)
    assert _sks(bench.query("g = :pk", IndexName="by_number")) == ["b", "a"]
    bench.update("SET n = :v", "b", v=9)
    bench.update("REMOVE n", "a")
    bench.update("SET n = :v", "c", v=5)
    assert _sks(bench.query("g = :pk", IndexName="by_number")) == ["c", "b"]
    bench.call("DeleteItem", Key=bench.key("b"))
    assert _sks(bench.query("g = :pk AND n > :v", IndexName="by_number", given={"v": 0})) == ["c"]


@pytest.mark.parametrize("forward", [True, False])
def test_index_pages_with_equal_keys(bench: Bench, forward: bool) -> None:
    """Items with the same index key are each seen once across pages."""
    for word in WORDS:
        _indexed(bench, word, n=7)
    found: list[str] = []
    start: dict[str, Any] = {}
    while True:
        page = bench.query("g = :pk", IndexName="by_number", Limit=2, ScanIndexForward=forward, **start)
        found += _sks(page)
        if "LastEvaluatedKey" not in page:
            break
        assert set(page["LastEvaluatedKey"]) == {"pk", "sk", "g", "n"}
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    assert sorted(found) == sorted(WORDS)


def test_index_projections(bench: Bench) -> None:
    """An index answers what it projects: everything, keys only, or keys and the named attributes."""
    full = bench.put("a", g=bench.pk, n=1, b=b"1", t="1", x="kept", y="not")
    keys = bench.key("a") | {"g": av(bench.pk)}
    assert bench.query("g = :pk", IndexName="by_number")["Items"] == [full]
    assert bench.query("g = :pk", IndexName="by_binary")["Items"] == [keys | item(b=b"1")]
    assert bench.query("g = :pk", IndexName="by_text")["Items"] == [keys | item(t="1", x="kept")]


REFUSED: list[tuple[str, str, dict[str, Any], dict[str, Any], str]] = [
    ("no partition", "sk = :v", {"v": "a"}, {}, "Query condition missed key schema element: pk"),
    ("partition range", "pk > :v", {"v": "a"}, {}, "Query key condition not supported"),
    ("not equal", "pk = :v AND sk <> :w", {"v": "a", "w": "b"}, {}, "Unsupported operator"),
    ("or", "pk = :v OR sk = :v", {"v": "a"}, {}, "Invalid operator used in KeyConditionExpression: OR"),
    ("other attribute", "pk = :v AND x = :v", {"v": "a"}, {}, "Query condition missed key schema element: sk"),
    ("twice", "pk = :v AND sk > :v AND sk < :w", {"v": "a", "w": "b"}, {}, "only contain one condition per key"),
    ("wrong type", "pk = :v", {"v": 1}, {}, "Condition parameter type does not match schema type"),
    ("empty key", "pk = :v", {"v": ""}, {}, "empty string value"),
    ("unknown index", "pk = :v", {"v": "a"}, {"IndexName": "none"}, "The table does not have the specified index"),
    ("consistent index", "g = :v", {"v": "a"}, {"IndexName": "by_number", "ConsistentRead": True},
     "Consistent reads are not supported on global secondary indexes"),
    ("unprojected", "g = :v", {"v": "a"}, {"IndexName": "by_text", "Select": "ALL_ATTRIBUTES"},
     "ALL_ATTRIBUTES is not supported"),
    ("filter on key", "pk = :v", {"v": "a"}, {"FilterExpression": "sk = :v"},
     "Filter Expression can only contain non-primary key attributes: Primary key attribute: sk"),
    ("limit", "pk = :v", {"v": "a"}, {"Limit": 0}, "greater than or equal to 1"),
    ("bad start", "pk = :v", {"v": "a"}, {"ExclusiveStartKey": item(pk="a")}, "The provided starting key is invalid"),
    ("start elsewhere", "pk = :v", {"v": "a"}, {"ExclusiveStartKey": item(pk="b", sk="1")},
     "outside query boundaries"),
    ("select", "pk = :v", {"v": "a"}, {"Select": "SOME"}, "select"),
    ("unused", "pk = :v", {"v": "a", "w": 1}, {}, "unused in expressions"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "given", "extra", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_bad_query(bench: Bench, condition: str, given: dict[str, Any], extra: dict[str, Any], message: str) -> None:
    """A query that cannot be answered is refused with the reason."""
    request = {"KeyConditionExpression": condition, "ExpressionAttributeValues": values(given), **extra}
    code, text = bench.refused("Query", **request)
    assert code == "ValidationException"
    assert message in text or bench.name not in ("memory", "file")


def _table(bench: Bench) -> str:
    name = f"scan-{abs(hash(bench.pk))}"
    bench.call(
        "CreateTable",
        name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    for number in range(25):
        bench.call("PutItem", name, Item=item(pk=f"k{number}", v=number))
    return name


def _scan(bench: Bench, table: str, **request: Any) -> list[int]:
    found: list[int] = []
    start: dict[str, Any] = {}
    while True:
        page = bench.call("Scan", table, **request, **start)
        found += [int(entry["v"]["N"]) for entry in page["Items"]]
        if "LastEvaluatedKey" not in page:
            return found
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


@pytest.mark.smoke
def test_scan(bench: Bench) -> None:
    """A scan sees every item once: whole, in pages, in segments, filtered."""
    table = _table(bench)
    everything = list(range(25))
    assert sorted(_scan(bench, table)) == everything
    assert sorted(_scan(bench, table, Limit=4)) == everything
    segments = [_scan(bench, table, Segment=number, TotalSegments=3, Limit=4) for number in range(3)]
    assert sorted(number for segment in segments for number in segment) == everything
    filtered = _scan(bench, table, FilterExpression="v < :v", ExpressionAttributeValues=values({"v": 3}))
    assert sorted(filtered) == [0, 1, 2]


def test_bad_segment(bench: Bench) -> None:
    """A segment must be one of the total."""
    assert bench.refused("Scan", Segment=3, TotalSegments=3)[0] == "ValidationException"
    assert bench.refused("Scan", Segment=0)[0] == "ValidationException"


def test_index_scan(bench: Bench) -> None:
    """An index can be scanned; only items with its keys are there."""
    _indexed(bench, "a", n=1)
    bench.put("b", g=bench.pk)
    page = bench.call(
        "Scan",
        IndexName="by_number",
        FilterExpression="x = :x",
        ExpressionAttributeValues=values({"x": "absent"}),
    )
    assert page["Items"] == []
    assert page["ScannedCount"] >= 1
