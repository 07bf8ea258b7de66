"""Operations on several items: transactions and batches (Amazon DynamoDB API Reference)."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import Bench
from tests.conformance.plain import av, item, same, values


def _put(bench: Bench, sk: str, **request: Any) -> dict[str, Any]:
    return {"Put": {"TableName": "conformance", "Item": bench.key(sk), **request}}


def _update(bench: Bench, sk: str, value: Any, **request: Any) -> dict[str, Any]:
    return {
        "Update": {
            "TableName": "conformance",
            "Key": bench.key(sk),
            "UpdateExpression": "SET v = :v",
            "ExpressionAttributeValues": values({"v": value}),
            **request,
        }
    }


def _check(bench: Bench, sk: str, condition: str, **request: Any) -> dict[str, Any]:
    return {
        "ConditionCheck": {
            "TableName": "conformance", "Key": bench.key(sk), "ConditionExpression": condition, **request,
        }
    }  # fmt: skip


def _delete(bench: Bench, sk: str, **request: Any) -> dict[str, Any]:
    return {"Delete": {"TableName": "conformance", "Key": bench.key(sk), **request}}


def _write(bench: Bench, *actions: dict[str, Any], **request: Any) -> dict[str, Any]:
    return bench.call("TransactWriteItems", TransactItems=list(actions), **request)


def _cancelled(bench: Bench, *actions: dict[str, Any]) -> list[dict[str, Any]]:
    with pytest.raises(ClientError) as caught:
        _write(bench, *actions)
    assert caught.value.response["Error"]["Code"] == "TransactionCanceledException"
    reasons: list[dict[str, Any]] = caught.value.response["CancellationReasons"]
    codes = ", ".join(reason["Code"] for reason in reasons)
    assert f"specific reasons [{codes}]" in caught.value.response["Error"]["Message"]
    return reasons


@pytest.mark.smoke
def test_transaction_writes_all(bench: Bench) -> None:
    """Puts, updates, deletes and checks happen together."""
    bench.put("gone")
    bench.put("seen", v=1)
    _write(
        bench,
        _put(bench, "new"),
        _update(bench, "made", 5),
        _delete(bench, "gone"),
        _check(bench, "seen", "attribute_exists(v)"),
    )
    assert bench.get("new") == bench.key("new")
    assert bench.get("made") == bench.key("made") | item(v=5)
    assert bench.get("gone") is None


@pytest.mark.smoke
def test_transaction_writes_nothing(bench: Bench) -> None:
    """One failed condition undoes everything, and each action has its reason in its place."""
    bench.put("taken")
    reasons = _cancelled(
        bench,
        _put(bench, "new"),
        _put(bench, "taken", ConditionExpression="attribute_not_exists(pk)"),
        _delete(bench, "absent", ConditionExpression="attribute_exists(pk)"),
    )
    assert [reason["Code"] for reason in reasons] == ["None", "ConditionalCheckFailed", "ConditionalCheckFailed"]
    assert bench.get("new") is None


@pytest.mark.parametrize("kind", ["put", "update", "delete", "check"])
def test_transaction_returns_the_old_item(bench: Bench, kind: str) -> None:
    """The item as it was comes with the reason when asked for, and only then."""
    before = bench.put("a", v=1)
    make: Any = {
        "put": lambda **request: _put(bench, "a", **request),
        "update": lambda **request: _update(bench, "a", 1, **request),
        "delete": lambda **request: _delete(bench, "a", **request),
        "check": lambda **request: _check(bench, "a", "attribute_not_exists(pk)", **request),
    }[kind]
    request = {} if kind == "check" else {"ConditionExpression": "attribute_not_exists(pk)"}
    (reason,) = _cancelled(bench, make(**request, ReturnValuesOnConditionCheckFailure="ALL_OLD"))
    assert same(reason["Item"], before)
    (reason,) = _cancelled(bench, make(**request))
    assert "Item" not in reason
    assert reason["Message"] == "The conditional request failed"


def test_transaction_validation_reason(bench: Bench) -> None:
    """An action that cannot be applied to its item cancels the transaction with ValidationError."""
    bench.put("a", v="text")
    bad = _update(bench, "a", 1, UpdateExpression="SET v = v + :v")
    reasons = _cancelled(bench, _put(bench, "b"), bad)
    assert [reason["Code"] for reason in reasons] == ["None", "ValidationError"]
    assert bench.get("b") is None


def test_transaction_twice_the_same_item(bench: Bench) -> None:
    """Two actions on one item are refused."""
    with pytest.raises(ClientError, match="cannot include multiple operations on one item"):
        _write(bench, _put(bench, "a"), _delete(bench, "a"))


@pytest.mark.parametrize("count", [100, 101, 0])
def test_transaction_size(bench: Bench, count: int) -> None:
    """A transaction has 1 to 100 actions."""
    actions = [_put(bench, f"{number:03}") for number in range(count)]
    if count == 100:
        _write(bench, *actions)
        assert bench.query()["Count"] == 100
        return
    with pytest.raises(ClientError) as caught:
        _write(bench, *actions)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert bench.query()["Count"] == 0


def test_transaction_of_four_megabytes(bench: Bench) -> None:
    """More than 4 MB in one transaction is refused."""
    actions = [_put(bench, f"{number}") for number in range(11)]
    for action in actions:
        action["Put"]["Item"]["v"] = av("x" * 390_000)
    with pytest.raises(ClientError) as caught:
        _write(bench, *actions)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert bench.query(Select="COUNT")["Count"] == 0


def test_transaction_token(bench: Bench) -> None:
    """The same transaction with the same token is done once; another one with that token is refused."""
    bench.put("a", v=0)
    token = f"{abs(hash(bench.pk)):032x}"[:36]
    step = _update(bench, "a", 1, UpdateExpression="SET v = v + :v")
    for _ in range(3):
        _write(bench, step, ClientRequestToken=token)
    assert bench.get("a") == bench.key("a") | item(v=1)
    with pytest.raises(ClientError) as caught:
        _write(bench, _put(bench, "b"), ClientRequestToken=token)
    assert caught.value.response["Error"]["Code"] == "IdempotentParameterMismatchException"


def test_cancelled_transaction_keeps_its_token_free(bench: Bench) -> None:
    """A transaction that was cancelled can be sent again with its token."""
    token = f"c{abs(hash(bench.pk)):030x}"[:36]
    step = _update(bench, "a", 1, ConditionExpression="attribute_exists(pk)")
    with pytest.raises(ClientError, match="cancelled"):
        _write(bench, step, ClientRequestToken=token)
    bench.put("a")
    _write(bench, step, ClientRequestToken=token)
    assert bench.get("a") == bench.key("a") | item(v=1)


def test_transaction_across_tables(bench: Bench) -> None:
    """A transaction may span tables."""
    other = {"pk": av(bench.pk)}
    _write(bench, _put(bench, "a"), {"Put": {"TableName": "singles", "Item": other}})
    assert bench.call("GetItem", "singles", Key=other)["Item"] == other


@pytest.mark.smoke
def test_transact_get(bench: Bench) -> None:
    """Several items are read in the order asked, cut by their projections, empty where there is none."""
    bench.put("a", v=1, w=2)
    answer = bench.call(
        "TransactGetItems",
        TransactItems=[
            {"Get": {"TableName": "conformance", "Key": bench.key("none")}},
            {"Get": {"TableName": "conformance", "Key": bench.key("a"), "ProjectionExpression": "w"}},
        ],
    )
    assert answer["Responses"][0].get("Item") is None
    assert answer["Responses"][1]["Item"] == item(w=2)


@pytest.mark.smoke
def test_batch_write_and_get(bench: Bench) -> None:
    """A batch puts and deletes items; another reads them."""
    bench.put("old")
    puts = [{"PutRequest": {"Item": bench.key(f"{number:02}")}} for number in range(24)]
    bench.call(
        "BatchWriteItem",
        RequestItems={"conformance": [*puts, {"DeleteRequest": {"Key": bench.key("old")}}]},
    )
    assert bench.query()["Count"] == 24
    keys = [bench.key(f"{number:02}") for number in range(30)]
    answer = bench.call("BatchGetItem", RequestItems={"conformance": {"Keys": keys}})
    assert len(answer["Responses"]["conformance"]) == 24
    assert answer["UnprocessedKeys"] == {}


def test_batch_limits(bench: Bench) -> None:
    """A batch writes up to 25 items and reads up to 100, none of them twice."""
    puts = [{"PutRequest": {"Item": bench.key(f"{number:02}")}} for number in range(26)]
    assert bench.refused("BatchWriteItem", RequestItems={"conformance": puts})[0] == "ValidationException"
    twice = [puts[0], puts[0]]
    assert bench.refused("BatchWriteItem", RequestItems={"conformance": twice})[0] == "ValidationException"
    keys = [bench.key(f"{number:03}") for number in range(101)]
    assert bench.refused("BatchGetItem", RequestItems={"conformance": {"Keys": keys}})[0] == "ValidationException"
    doubled = {"Keys": [keys[0], keys[0]]}
    assert bench.refused("BatchGetItem", RequestItems={"conformance": doubled})[0] == "ValidationException"


def test_empty_batches(bench: Bench) -> None:
    """A batch without anything in it is refused."""
    assert bench.refused("BatchWriteItem", RequestItems={"conformance": []})[0] == "ValidationException"
    assert bench.refused("BatchGetItem", RequestItems={"conformance": {"Keys": []}})[0] == "ValidationException"
    assert bench.refused("BatchGetItem", RequestItems={})[0] == "ValidationException"


@pytest.mark.parametrize("count", [0, 101])
def test_transact_get_limits(bench: Bench, count: int) -> None:
    """A transactional read names 1 to 100 items, none of them twice."""
    gets = [{"Get": {"TableName": "conformance", "Key": bench.key(f"{number}")}} for number in range(count)]
    assert bench.refused("TransactGetItems", TransactItems=gets)[0] == "ValidationException"
    twice = [{"Get": {"TableName": "conformance", "Key": bench.key()}}] * 2
    assert bench.refused("TransactGetItems", TransactItems=twice)[0] == "ValidationException"


def test_batch_get_of_much(bench: Bench) -> None:
    """A batch read brings what fits into 16 MB and names the rest."""
    for number in range(45):
        bench.put(f"{number:02}", v="x" * 390_000)
    keys = [bench.key(f"{number:02}") for number in range(45)]
    found: list[Any] = []
    pending: dict[str, Any] = {"conformance": {"Keys": keys}}
    rounds = 0
    while pending:
        answer = bench.call("BatchGetItem", RequestItems=pending)
        found += [entry["sk"]["S"] for entry in answer["Responses"]["conformance"]]
        pending = answer["UnprocessedKeys"]
        rounds += 1
    assert sorted(found) == [f"{number:02}" for number in range(45)]
    assert rounds == 2
