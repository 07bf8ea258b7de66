"""What is true of an item (Amazon DynamoDB Developer Guide, Condition and filter expressions)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.conftest import Bench
from tests.conformance.plain import values

ITEM: dict[str, Any] = {
    "num": 7,
    "neg": -3,
    "big": Decimal(12345678901234567890123456789012345678),
    "txt": "signal",
    "blank": "",
    "bits": b"\x00\xff\x10",
    "yes": True,
    "nothing": None,
    "ss": {"red", "green"},
    "ns": {1, 2, 3},
    "bs": {b"a", b"bc"},
    "l": [1, "two", {"deepest": [10, 20]}],
    "m": {"a": 1, "list": [1, 2], "deep": {"x": "y"}},
    "twin": 7,
}

CASES: list[tuple[str, dict[str, Any], bool]] = [
    ("num = :v", {"v": 7}, True),
    ("num = :v", {"v": Decimal("7.0")}, True),
    ("num = :v", {"v": "7"}, False),
    ("num <> :v", {"v": 8}, True),
    ("num <> :v", {"v": "7"}, True),
    ("absent <> :v", {"v": 1}, True),
    ("absent = :v", {"v": 1}, False),
    ("absent < :v", {"v": 1}, False),
    ("num < :v", {"v": 10}, True),
    ("num < :v", {"v": "zzz"}, False),
    ("neg < :v", {"v": -2}, True),
    ("neg > :v", {"v": -20}, True),
    ("num >= :v", {"v": 7}, True),
    ("num > :v", {"v": 7}, False),
    ("num <= :v", {"v": 6}, False),
    ("big > :v", {"v": Decimal(12345678901234567890123456789012345677)}, True),
    ("big = :v", {"v": Decimal(12345678901234567890123456789012345677)}, False),
    ("txt < :v", {"v": "signalbox"}, True),
    ("txt > :v", {"v": "Z"}, True),
    ("bits < :v", {"v": b"\x01"}, True),
    ("bits > :v", {"v": b"\x00\xff"}, True),
    ("num = twin", {}, True),
    ("num = neg", {}, False),
    ("yes = :v", {"v": True}, True),
    ("yes = :v", {"v": False}, False),
    ("nothing = :v", {"v": None}, True),
    ("ss = :v", {"v": {"green", "red"}}, True),
    ("ss = :v", {"v": {"green"}}, False),
    ("ns = :v", {"v": {3, 2, 1}}, True),
    ("l = :v", {"v": [1, "two", {"deepest": [10, 20]}]}, True),
    ("m = :v", {"v": {"deep": {"x": "y"}, "list": [1, 2], "a": 1}}, True),
    ("m.a = :v", {"v": 1}, True),
    ("m.deep.x = :v", {"v": "y"}, True),
    ("m.#l[1] = :v", {"v": 2}, True),
    ("l[2].deepest[0] = :v", {"v": 10}, True),
    ("l[9] = :v", {"v": 1}, False),
    ("num.a = :v", {"v": 1}, False),
    ("num BETWEEN :lo AND :hi", {"lo": 7, "hi": 9}, True),
    ("num BETWEEN :lo AND :hi", {"lo": 8, "hi": 9}, False),
    ("txt BETWEEN :lo AND :hi", {"lo": "s", "hi": "t"}, True),
    ("txt between :lo and :hi", {"lo": "s", "hi": "t"}, True),
    ("absent BETWEEN :lo AND :hi", {"lo": 1, "hi": 2}, False),
    ("num IN (:a, :b)", {"a": 1, "b": 7}, True),
    ("num IN (:a, :b)", {"a": "7", "b": 8}, False),
    ("absent IN (:a)", {"a": 1}, False),
    ("attribute_exists(num)", {}, True),
    ("attribute_exists (m.deep.x)", {}, True),
    ("attribute_exists(m.deep.z)", {}, False),
    ("attribute_exists(l[1])", {}, True),
    ("attribute_exists(l[3])", {}, False),
    ("attribute_not_exists(absent)", {}, True),
    ("attribute_not_exists(blank)", {}, False),
    ("attribute_not_exists(nothing)", {}, False),
    ("attribute_type(num, :v)", {"v": "N"}, True),
    ("attribute_type(num, :v)", {"v": "S"}, False),
    ("attribute_type(ss, :v)", {"v": "SS"}, True),
    ("attribute_type(nothing, :v)", {"v": "NULL"}, True),
    ("attribute_type(absent, :v)", {"v": "S"}, False),
    ("begins_with(txt, :v)", {"v": "sig"}, True),
    ("begins_with(txt, :v)", {"v": "Sig"}, False),
    ("begins_with(bits, :v)", {"v": b"\x00\xff"}, True),
    ("begins_with(num, :v)", {"v": "7"}, False),
    ("begins_with(absent, :v)", {"v": "7"}, False),
    ("contains(txt, :v)", {"v": "gna"}, True),
    ("contains(bits, :v)", {"v": b"\xff\x10"}, True),
    ("contains(ss, :v)", {"v": "red"}, True),
    ("contains(ss, :v)", {"v": "re"}, False),
    ("contains(ns, :v)", {"v": Decimal("2.0")}, True),
    ("contains(bs, :v)", {"v": b"bc"}, True),
    ("contains(l, :v)", {"v": "two"}, True),
    ("contains(l, :v)", {"v": "tw"}, False),
    ("contains(l, :v)", {"v": {"deepest": [10, 20]}}, True),
    ("contains(num, :v)", {"v": "7"}, False),
    ("size(txt) = :v", {"v": 6}, True),
    ("size(bits) = :v", {"v": 3}, True),
    ("size(ss) = :v", {"v": 2}, True),
    ("size(l) > :v", {"v": 2}, True),
    ("size(m) = :v", {"v": 3}, True),
    ("size(blank) = :v", {"v": 0}, True),
    ("size(num) = :v", {"v": 1}, False),
    ("size(absent) < :v", {"v": 1}, False),
    ("size(m.#l) < size(l)", {}, True),
    ("NOT num = :v", {"v": 8}, True),
    ("NOT attribute_exists(num) OR num = :v", {"v": 7}, True),
    ("num = :x OR num = :y AND txt = :z", {"x": 7, "y": 1, "z": "no"}, True),
    ("(num = :x OR num = :y) AND txt = :z", {"x": 7, "y": 1, "z": "no"}, False),
    ("not (num = :x and txt = :z)", {"x": 7, "z": "no"}, True),
    ("NOT NOT num = :v", {"v": 7}, True),
    (":v = num", {"v": 7}, True),
    (":v IN (num, neg)", {"v": -3}, True),
    (":v BETWEEN neg AND num", {"v": 0}, True),
]
MANY = [f":v{number}" for number in range(101)]


def _names(expression: str) -> dict[str, Any]:
    # LIST is a reserved word and needs a placeholder.
    return {"ExpressionAttributeNames": {"#l": "list"}} if "#l" in expression else {}


def _values(given: dict[str, Any]) -> dict[str, Any]:
    return {"ExpressionAttributeValues": values(given)} if given else {}


@pytest.mark.parametrize(("expression", "given", "expected"), CASES)
def test_condition(bench: Bench, expression: str, given: dict[str, Any], expected: bool) -> None:
    """A conditional write happens exactly when its condition is true."""
    bench.put(**ITEM)
    request = {"ConditionExpression": expression, **_names(expression), **_values(given)}
    if expected:
        bench.call("DeleteItem", Key=bench.key(), **request)
    else:
        assert bench.refused("DeleteItem", Key=bench.key(), **request)[0] == "ConditionalCheckFailedException"
    assert (bench.get() is None) is expected


@pytest.mark.parametrize(("expression", "given", "expected"), CASES[::2])
def test_filter(bench: Bench, expression: str, given: dict[str, Any], expected: bool) -> None:
    """A filter keeps exactly the items its expression is true of; all are counted as scanned."""
    bench.put(**ITEM)
    answer = bench.query(FilterExpression=expression, given=given, **_names(expression))
    assert answer["Count"] == expected
    assert answer["ScannedCount"] == 1


@pytest.mark.parametrize(
    ("expression", "given", "expected"),
    [
        ("attribute_not_exists(pk)", {}, True),
        ("attribute_exists(pk)", {}, False),
        ("v = :v", {"v": 1}, False),
        ("v <> :v", {"v": 1}, True),
        ("NOT attribute_exists(v)", {}, True),
        ("size(v) > :v", {"v": 0}, False),
    ],
)
@pytest.mark.smoke
def test_condition_on_nothing(bench: Bench, expression: str, given: dict[str, Any], expected: bool) -> None:
    """A condition on an item that does not exist sees no attributes."""
    request = {"Item": bench.key(), "ConditionExpression": expression, **_values(given)}
    if expected:
        bench.call("PutItem", **request)
    else:
        assert bench.refused("PutItem", **request)[0] == "ConditionalCheckFailedException"
    assert (bench.get() is not None) is expected


@pytest.mark.parametrize(
    ("expression", "given", "message"),
    [
        ("", {}, "The expression can not be empty"),
        ("n", {}, "Syntax error"),
        ("n = ", {}, "Syntax error"),
        ("n == :v", {"v": 1}, "Syntax error"),
        ("n = :v AND", {"v": 1}, "Syntax error"),
        ("(n = :v", {"v": 1}, "Syntax error"),
        ("n = :v extra", {"v": 1}, "Syntax error"),
        ("n = :other", {"v": 1}, "attribute value used in expression is not defined; attribute value: :other"),
        ("#x = :v", {"v": 1}, "attribute name used in the document path is not defined; attribute name: #x"),
        ("name = :v", {"v": 1}, "Attribute name is a reserved keyword; reserved keyword: name"),
        ("n = :v", {"v": 1, "w": 2}, "unused in expressions: keys: {:w}"),
        ("unknown(n)", {}, "Invalid function name; function: unknown"),
        ("attribute_exists(n, g)", {}, "Incorrect number of operands"),
        ("begins_with(n)", {}, "Incorrect number of operands"),
        ("begins_with(n, :v)", {"v": 1}, "Incorrect operand type"),
        ("n < :v", {"v": True}, "Incorrect operand type"),
        ("n BETWEEN :lo AND :hi", {"lo": 2, "hi": 1}, "upper bound to be greater than or equal to lower bound"),
        ("n BETWEEN :lo AND :hi", {"lo": 2, "hi": "x"}, "same data type"),
        ("attribute_type(n, :v)", {"v": "X"}, "Invalid attribute type name"),
        ("n = n", {}, "The first operand must be distinct"),
        ("attribute_exists(:v)", {"v": 1}, "requires a document path"),
        ("size(m)", {}, "Syntax error"),
        ("n IN :v", {"v": 1}, "Syntax error"),
        ("n BETWEEN :lo OR :hi", {"lo": 1, "hi": 2}, "Syntax error"),
        ("n = $v", {"v": 1}, "Syntax error"),
        ("l[x] = :v", {"v": 1}, "Syntax error"),
        ("m.[0] = :v", {"v": 1}, "Syntax error"),
        ("contains(n, n)", {}, "The first operand must be distinct"),
        ("size(:v) = :v", {"v": "x"}, "requires a document path"),
        ("size(size(m)) = :v", {"v": 1}, "Syntax error"),
        ("begins_with(contains(n, :v), :v)", {"v": "x"}, "not allowed to be used this way"),
        pytest.param(
            f"n IN ({', '.join(MANY)})", {name[1:]: 1 for name in MANY}, "too many operands", id="101 candidates"
        ),
        ("a = " + "b" * 4096, {}, "Expression size has exceeded the maximum allowed size"),
        ("((n = :v))", {"v": 1}, "The expression has redundant parentheses"),
    ],
)
def test_bad_condition(bench: Bench, expression: str, given: dict[str, Any], message: str) -> None:
    """A condition that makes no sense is refused with the reason, and nothing is written."""
    code, text = bench.refused("PutItem", Item=bench.key(), ConditionExpression=expression, **_values(given))
    assert code == "ValidationException"
    assert message in text or bench.name not in ("memory", "file")
    assert bench.get() is None


def test_unused_and_empty_placeholders(bench: Bench) -> None:
    """Placeholders without an expression, empty maps of them and unused names are refused."""
    key = bench.key()
    for request in (
        {"ExpressionAttributeValues": {":v": {"N": "1"}}},
        {"ExpressionAttributeNames": {"#v": "v"}},
        {"ConditionExpression": "attribute_not_exists(pk)", "ExpressionAttributeNames": {}},
        {"ConditionExpression": "attribute_not_exists(pk)", "ExpressionAttributeNames": {"#v": "v"}},
    ):
        assert bench.refused("PutItem", Item=key, **request)[0] == "ValidationException"
