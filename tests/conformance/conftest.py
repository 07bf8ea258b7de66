"""Runs every conformance case on every store the machine has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.differences import known
from tests.conformance.plain import av, values
from tests.conformance.stores import Store, available, opened

FULL = ("memory", "file", "dynoxide")
SMOKE = ("ministack", "moto")
_KEYS: dict[str, Any] = {
    "TableName": "conformance",
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [
        {"AttributeName": name, "AttributeType": kind}
        for name, kind in (("pk", "S"), ("sk", "S"), ("g", "S"), ("n", "N"), ("b", "B"), ("t", "S"))
    ],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": name,
            "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}, {"AttributeName": key, "KeyType": "RANGE"}],
            "Projection": projection,
        }
        for name, key, projection in (
            ("by_number", "n", {"ProjectionType": "ALL"}),
            ("by_binary", "b", {"ProjectionType": "KEYS_ONLY"}),
            ("by_text", "t", {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]}),
        )
    ],
}


def _single(name: str, kind: str) -> dict[str, Any]:
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": kind},
        ],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    }


_HASH_ONLY = {
    "TableName": "singles",
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
}
TABLES = (_KEYS, _single("numbers", "N"), _single("binaries", "B"), _HASH_ONLY)


@dataclass
class Bench:
    """A store and a partition of its own for one test."""

    name: str
    store: Store
    pk: str

    def call(self, operation: str, table: str = "conformance", **request: Any) -> dict[str, Any]:
        """One operation; ClientError when it is refused."""
        if operation not in ("TransactWriteItems", "TransactGetItems", "BatchGetItem", "BatchWriteItem"):
            request = {"TableName": table, **request}
        return self.store._make_api_call(operation, request)

    def refused(self, operation: str, table: str = "conformance", **request: Any) -> tuple[str, str]:
        """The code and message an operation is refused with."""
        with pytest.raises(ClientError) as caught:
            self.call(operation, table, **request)
        error = caught.value.response["Error"]
        return error["Code"], error["Message"]

    def key(self, sk: Any = "1") -> dict[str, Any]:
        """A key in this test's partition."""
        return {"pk": av(self.pk), "sk": av(sk)}

    def put(self, sk: Any = "1", table: str = "conformance", **attributes: Any) -> dict[str, Any]:
        """Store an item; answers it in attribute value form."""
        item = self.key(sk) | {name: av(value) for name, value in attributes.items()}
        self.call("PutItem", table, Item=item)
        return item

    def get(self, sk: Any = "1", table: str = "conformance", **request: Any) -> dict[str, Any] | None:
        """The item, read consistently."""
        return self.call("GetItem", table, Key=self.key(sk), ConsistentRead=True, **request).get("Item")

    def update(self, expression: str, sk: Any = "1", **given: Any) -> dict[str, Any]:
        """Update an item with plain values: ``v=1`` is ``:v``."""
        request: dict[str, Any] = {"Key": self.key(sk), "UpdateExpression": expression}
        if given:
            request["ExpressionAttributeValues"] = values(given)
        return self.call("UpdateItem", **request)

    def query(self, condition: str = "pk = :pk", table: str = "conformance", **request: Any) -> dict[str, Any]:
        """Query this test's partition; ``given`` are plain expression values."""
        given = {"pk": self.pk, **request.pop("given", {})}
        given = {name: value for name, value in given.items() if f":{name}" in condition + str(request)}
        return self.call(
            "Query", table, KeyConditionExpression=condition, ExpressionAttributeValues=values(given), **request
        )


@contextmanager
def _furnished(name: str, folder: Path) -> Iterator[Store]:
    """A store with its tables."""
    with opened(name, folder) as store:
        for table in TABLES:
            store._make_api_call("CreateTable", table)
        yield store


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Store]]:
    """Opens each store once."""
    running: dict[str, Store] = {}
    with ExitStack() as stack:

        def get(name: str) -> Store:
            if name not in running:
                running[name] = stack.enter_context(_furnished(name, tmp_path_factory.mktemp(name)))
            return running[name]

        yield get


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "smoke: also run on the stores that are only smoke-tested")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each case the stores it is for: all of them when marked ``smoke``."""
    if "bench" in metafunc.fixturenames:
        smoke = metafunc.definition.get_closest_marker("smoke") is not None
        names = FULL + SMOKE if smoke else FULL
        metafunc.parametrize("bench", [name for name in names if available(name)], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the known differences, strictly: one that has gone must be taken off the list."""
    for test in items:
        parameters = test.callspec.params if isinstance(test, pytest.Function) and hasattr(test, "callspec") else {}
        reason = known(str(parameters.get("bench")), test.nodeid)
        if reason is not None:
            test.add_marker(pytest.mark.xfail(reason=f"the store {reason}", strict=True))


@pytest.fixture
def bench(request: pytest.FixtureRequest, stores: Callable[[str], Store], tmp_path: Path) -> Iterator[Bench]:
    """One store, and a partition no other test uses."""
    pk = request.node.nodeid[-900:]
    if request.param != "moto":
        yield Bench(request.param, stores(request.param), pk)
        return
    # moto replaces botocore for the whole process, so it must be gone before the next test.
    with _furnished("moto", tmp_path) as store:
        yield Bench("moto", store, pk)
