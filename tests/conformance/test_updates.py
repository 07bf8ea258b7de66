"""Update expressions (Amazon DynamoDB Developer Guide, Using update expressions)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import Bench
from tests.conformance.plain import av, item, same, values

CASES: list[tuple[str, dict[str, Any], str, dict[str, Any], dict[str, Any]]] = [
    ("set", {}, "SET a = :v", {"v": 1}, {"a": 1}),
    ("set replaces", {"a": "x"}, "SET a = :v", {"v": 1}, {"a": 1}),
    ("set several", {"a": 1}, "SET a = :v, c = :w", {"v": 2, "w": [1]}, {"a": 2, "c": [1]}),
    ("lower case", {"a": 1}, "set a = :v remove c", {"v": 2}, {"a": 2}),
    ("copy", {"a": 1}, "SET c = a", {}, {"a": 1, "c": 1}),
    ("swap", {"a": 1, "c": 2}, "SET a = c, c = a", {}, {"a": 2, "c": 1}),
    ("plus", {"a": 1}, "SET a = a + :v", {"v": 2}, {"a": 3}),
    ("minus", {"a": 1}, "SET a = a - :v", {"v": Decimal("2.5")}, {"a": Decimal("-1.5")}),
    ("plus of two values", {}, "SET a = :v + :w", {"v": 1, "w": 2}, {"a": 3}),
    ("decimal sum", {"a": Decimal("0.1")}, "SET a = a + :v", {"v": Decimal("0.2")}, {"a": Decimal("0.3")}),
    (
        "38 digits",
        {"a": Decimal(99999999999999999999999999999999999998)},
        "SET a = a + :v",
        {"v": 1},
        {"a": Decimal(99999999999999999999999999999999999999)},
    ),
    ("if_not_exists absent", {}, "SET a = if_not_exists(a, :v)", {"v": 5}, {"a": 5}),
    ("if_not_exists present", {"a": 1}, "SET a = if_not_exists(a, :v)", {"v": 5}, {"a": 1}),
    ("if_not_exists plus", {}, "SET a = if_not_exists(a, :z) + :v", {"z": 0, "v": 5}, {"a": 5}),
    ("if_not_exists other", {"c": 4}, "SET a = if_not_exists(c, :v)", {"v": 5}, {"a": 4, "c": 4}),
    ("append", {"l": [1]}, "SET l = list_append(l, :v)", {"v": [2, 3]}, {"l": [1, 2, 3]}),
    ("prepend", {"l": [1]}, "SET l = list_append(:v, l)", {"v": [0]}, {"l": [0, 1]}),
    ("append to none", {}, "SET l = list_append(if_not_exists(l, :e), :v)", {"e": [], "v": [1]}, {"l": [1]}),
    ("nested set", {"m": {"a": 1}}, "SET m.c = :v", {"v": 2}, {"m": {"a": 1, "c": 2}}),
    ("deep set", {"m": {"a": {"k": 1}}}, "SET m.a.k = m.a.k + :v", {"v": 1}, {"m": {"a": {"k": 2}}}),
    ("list element", {"l": [1, 2]}, "SET l[1] = :v", {"v": 9}, {"l": [1, 9]}),
    ("beyond the end", {"l": [1]}, "SET l[7] = :v", {"v": 2}, {"l": [1, 2]}),
    ("two beyond the end", {"l": [1]}, "SET l[9] = :v, l[7] = :w", {"v": 3, "w": 2}, {"l": [1, 2, 3]}),
    ("in list in map", {"m": {"l": [{"x": 1}]}}, "SET m.l[0].x = :v", {"v": 2}, {"m": {"l": [{"x": 2}]}}),
    ("remove", {"a": 1, "c": 2}, "REMOVE a", {}, {"c": 2}),
    ("remove missing", {"c": 2}, "REMOVE a", {}, {"c": 2}),
    ("remove nested", {"m": {"a": 1, "c": 2}}, "REMOVE m.a", {}, {"m": {"c": 2}}),
    ("remove elements", {"l": [0, 1, 2, 3]}, "REMOVE l[1], l[2]", {}, {"l": [0, 3]}),
    ("remove beyond", {"l": [0]}, "REMOVE l[4]", {}, {"l": [0]}),
    ("add number", {"a": 1}, "ADD a :v", {"v": 2}, {"a": 3}),
    ("add to nothing", {}, "ADD a :v", {"v": -2}, {"a": -2}),
    ("add members", {"s": {"x"}}, "ADD s :v", {"v": {"x", "y"}}, {"s": {"x", "y"}}),
    ("add numbers to set", {"s": {1}}, "ADD s :v", {"v": {2}}, {"s": {1, 2}}),
    ("add new set", {}, "ADD s :v", {"v": {b"\x01"}}, {"s": {b"\x01"}}),
    ("add nested", {"m": {"a": 1}}, "ADD m.a :v", {"v": 2}, {"m": {"a": 3}}),
    ("delete members", {"s": {"x", "y"}}, "DELETE s :v", {"v": {"y", "z"}}, {"s": {"x"}}),
    ("delete last member", {"s": {"x"}}, "DELETE s :v", {"v": {"x"}}, {}),
    ("delete from nothing", {"a": 1}, "DELETE s :v", {"v": {"x"}}, {"a": 1}),
    (
        "all sections",
        {"a": 1, "c": 2, "s": {"x", "y"}, "d": 5},
        "SET a = :v REMOVE c ADD d :v DELETE s :w",
        {"v": 3, "w": {"x"}},
        {"a": 3, "s": {"y"}, "d": 8},
    ),
    ("every type", {}, "SET a = :v", {"v": {"l": [None, True, b"\x00", {1, 2}, {"k": "é"}]}},
     {"a": {"l": [None, True, b"\x00", {1, 2}, {"k": "é"}]}}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "expression", "given", "after"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_update(
    bench: Bench, before: dict[str, Any], expression: str, given: dict[str, Any], after: dict[str, Any]
) -> None:
    """An update turns this item into that one."""
    bench.put(**before)
    bench.update(expression, **given)
    assert same(bench.get(), bench.key() | item(**after))


@pytest.mark.smoke
def test_update_creates_the_item(bench: Bench) -> None:
    """An update of an item that does not exist creates it with its key."""
    bench.update("SET a = :v", v=1)
    assert same(bench.get(), bench.key() | item(a=1))


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("", {}, "The expression can not be empty"),
    ("SET", {}, "Syntax error"),
    ("a = :v", {"v": 1}, "Syntax error"),
    ("SET a = :v SET c = :v", {"v": 1}, 'The "SET" section can only be used once'),
    ("SET a = :v, a = :w", {"v": 1, "w": 2}, "Two document paths overlap"),
    ("SET m = :v REMOVE m.a", {"v": 1}, "Two document paths overlap"),
    ("SET m.a = :v, m[0] = :v", {"v": 1}, "Two document paths conflict"),
    ("SET pk = :v", {"v": "other"}, "Cannot update attribute pk. This attribute is part of the key"),
    ("REMOVE sk", {}, "Cannot update attribute sk. This attribute is part of the key"),
    ("SET a = absent", {}, "refers to an attribute that does not exist in the item"),
    ("SET a = absent + :v", {"v": 1}, "refers to an attribute that does not exist in the item"),
    ("SET a = s + :v", {"v": 1}, "incorrect data type"),
    ("SET a = :s + :v", {"s": "x", "v": 1}, "Incorrect operand type for operator or function"),
    ("SET a = list_append(:v, :v)", {"v": 1}, "Incorrect operand type for operator or function"),
    ("SET a = list_append(s, :v)", {"v": [1]}, "incorrect data type"),
    ("SET a = if_not_exists(:v, :v)", {"v": 1}, "requires a document path"),
    ("SET absent.a = :v", {"v": 1}, "The document path provided in the update expression is invalid for update"),
    ("SET s.a = :v", {"v": 1}, "The document path provided in the update expression is invalid for update"),
    ("SET s[0] = :v", {"v": 1}, "The document path provided in the update expression is invalid for update"),
    ("REMOVE absent.a", {}, "The document path provided in the update expression is invalid for update"),
    ("ADD a :v", {"v": "x"}, "Incorrect operand type for operator or function"),
    ("ADD s :v", {"v": 1}, "incorrect data type"),
    ("DELETE s :v", {"v": 1}, "Incorrect operand type for operator or function"),
    ("ADD a c", {}, "Syntax error"),
    ("SET a = :v + :v + :v", {"v": 1}, "Syntax error"),
    ("SET a = list_append(:v)", {"v": [1]}, "Incorrect number of operands"),
    ("SET a = other(:v)", {"v": 1}, "Invalid function name; function: other"),
    ("SET a = :w", {"v": 1}, "attribute value used in expression is not defined"),
    ("SET a = :v", {"v": 1, "w": 1}, "unused in expressions: keys: {:w}"),
    ("SET n = :v", {"v": "text"}, "Type mismatch for Index Key n Expected: N Actual: S"),
    ("SET g = :v", {"v": ""}, "empty string value"),
]


@pytest.mark.parametrize(("expression", "given", "message"), REFUSED)
def test_bad_update(bench: Bench, expression: str, given: dict[str, Any], message: str) -> None:
    """An update that makes no sense is refused with the reason and changes nothing."""
    before = bench.put(s="text")
    request: dict[str, Any] = {"Key": bench.key(), "UpdateExpression": expression}
    if given:
        request["ExpressionAttributeValues"] = values(given)
    code, text = bench.refused("UpdateItem", **request)
    assert code == "ValidationException"
    assert message in text or bench.name not in ("memory", "file")
    assert same(bench.get(), before)


RETURNED: list[tuple[str, dict[str, Any] | None]] = [
    ("NONE", None),
    ("ALL_OLD", {"a": 1, "m": {"x": 1, "y": 1}}),
    ("ALL_NEW", {"a": 2, "m": {"x": 5, "y": 1}}),
    ("UPDATED_OLD", {"a": 1, "m": {"x": 1}}),
    ("UPDATED_NEW", {"a": 2, "m": {"x": 5}}),
]


@pytest.mark.parametrize(("wanted", "expected"), RETURNED)
def test_return_values(bench: Bench, wanted: str, expected: dict[str, Any] | None) -> None:
    """ReturnValues chooses the item before or after, whole or only what was updated."""
    bench.put(a=1, m={"x": 1, "y": 1})
    answer = bench.call(
        "UpdateItem",
        Key=bench.key(),
        UpdateExpression="SET a = a + :one, m.x = :v",
        ExpressionAttributeValues=values({"one": 1, "v": 5}),
        ReturnValues=wanted,
    )
    whole = bench.key() if wanted.startswith("ALL") else {}
    assert same(answer.get("Attributes"), None if expected is None else whole | item(**expected))


def test_return_values_of_put_and_delete(bench: Bench) -> None:
    """Put and delete return the old item when asked, and nothing where there was none."""
    first = bench.put(a=1)
    absent = bench.call("PutItem", Item=bench.key("2"), ReturnValues="ALL_OLD")
    assert "Attributes" not in absent
    replaced = bench.call("PutItem", Item=bench.key() | item(a=2), ReturnValues="ALL_OLD")
    assert same(replaced["Attributes"], first)
    removed = bench.call("DeleteItem", Key=bench.key(), ReturnValues="ALL_OLD")
    assert same(removed["Attributes"], bench.key() | item(a=2))
    assert bench.refused("PutItem", Item=bench.key(), ReturnValues="ALL_NEW")[0] == "ValidationException"


@pytest.mark.parametrize("operation", ["PutItem", "UpdateItem", "DeleteItem"])
def test_old_item_of_a_failed_condition(bench: Bench, operation: str) -> None:
    """ReturnValuesOnConditionCheckFailure brings the item as it was with the refusal."""
    before = bench.put(a=1)
    request: dict[str, Any] = {"Item": bench.key()} if operation == "PutItem" else {"Key": bench.key()}
    request |= {"ConditionExpression": "a = :v", "ExpressionAttributeValues": {":v": av(2)}}
    if operation == "UpdateItem":
        request["UpdateExpression"] = "SET a = :v"
    with pytest.raises(ClientError, match="conditional request failed") as caught:
        bench.call(operation, **request, ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert same(caught.value.response["Item"], before)
    with pytest.raises(ClientError, match="conditional request failed") as caught:
        bench.call(operation, **request)
    assert "Item" not in caught.value.response
