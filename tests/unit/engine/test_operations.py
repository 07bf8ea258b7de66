"""Results of operations that authors named: kept, replayed, forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.engine.operations import LARGE_VALUE, StoredResults
from shared.identity import Departure
from shared.store.blobs import FolderBlobs
from shared.store.embedded import EmbeddedEngine, Fault
from shared.store.models.keyvalue import OperationResult
from tests.support.time import HeldClock

ORG = "org"


@pytest.fixture
def results(store: EmbeddedEngine, tmp_path: Path) -> StoredResults:
    return StoredResults(FolderBlobs(tmp_path))


def files(folder: Path) -> list[Path]:
    """What the blob store holds."""
    return [path for path in folder.rglob("*") if path.is_file()]


LARGE = {"body": "x" * LARGE_VALUE}


@pytest.mark.parametrize("value", [0, "", [], {"status": "sent", "half": "\ud800"}, LARGE])
def test_a_result_is_kept(results: StoredResults, held: HeldClock, value: Any) -> None:
    """It comes back as it was, in its org only and under its key only, however long the key is."""
    key = "a long key " * 500
    results.put(ORG, key, value, 60)
    assert results.get(ORG, key) == value
    assert results.get("another", key) is None
    assert results.get(ORG, key + "!") is None


@pytest.mark.parametrize("value", [{"n": 1}, LARGE])
def test_its_time_is_respected_by_readers(results: StoredResults, held: HeldClock, tmp_path: Path, value: Any) -> None:
    """From its last millisecond on there is no result, though it is stored, and a new one takes its place."""
    results.put(ORG, "k", value, 1.5)
    held.advance(1.499)
    assert results.get(ORG, "k") == value
    held.advance(0.001)
    assert results.get(ORG, "k") is None
    results.put(ORG, "k", {"n": 2}, 60)
    assert results.get(ORG, "k") == {"n": 2}
    assert files(tmp_path) == []


@pytest.mark.parametrize("second", [{"n": 2}, LARGE])
def test_the_first_result_stays(results: StoredResults, held: HeldClock, tmp_path: Path, second: Any) -> None:
    """Of two executions that both acted, everyone sees the result of one."""
    results.put(ORG, "k", {"n": 1}, 60)
    results.put(ORG, "k", second, 60)
    assert results.get(ORG, "k") == {"n": 1}
    assert files(tmp_path) == []


def test_of_two_at_once_one_stays(
    results: StoredResults, store: EmbeddedEngine, held: HeldClock, tmp_path: Path
) -> None:
    """Who is overtaken between looking and writing gives way, and leaves no blob behind."""

    class Overtaken:
        """Puts another result while the first is under way."""

        done = False

        def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
            if operation == "TransactWriteItems" and not self.done:
                self.done = True
                results.put(ORG, "k", {"n": 2}, 60)
            return None

    store.faults = Overtaken()
    results.put(ORG, "k", LARGE, 60)
    assert results.get(ORG, "k") == {"n": 2}
    assert files(tmp_path) == []


def test_a_blob_that_is_gone_is_no_result(results: StoredResults, held: HeldClock, tmp_path: Path) -> None:
    """The operation is then done again instead of failing for ever."""
    results.put(ORG, "k", LARGE, 60)
    for path in files(tmp_path):
        path.unlink()
    assert results.get(ORG, "k") is None


def test_an_org_that_goes_leaves_nothing(
    results: StoredResults, store: EmbeddedEngine, held: HeldClock, tmp_path: Path
) -> None:
    """Records and blobs of its results are removed, twice without harm; other orgs keep theirs."""
    for org in (ORG, "stays"):
        results.put(org, "small", 1, 60)
        results.put(org, "large", LARGE, 60)
    for _ in range(2):
        results.forget(Departure("ada", (ORG,)))
    left = store._make_api_call("Scan", {"TableName": OperationResult.Meta.table_name})["Items"]
    assert {item["pk"]["S"] for item in left} == {"stays#results"}
    assert results.get("stays", "large") == LARGE
    assert len(files(tmp_path)) == 1
