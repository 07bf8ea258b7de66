"""The change stream: one record per committed change, in order, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pynamodb.attributes import BinaryAttribute

from shared.store.base import Record, TableMeta
from shared.store.embedded import EmbeddedEngine, installed
from shared.store.stream import ChangeRecord, Image
from shared.store.transaction import ConditionFailed, Transaction
from tests.support.store import memory_store
from tests.unit.store.conftest import Thing


def _events(engine: EmbeddedEngine, after: int = 0) -> list[tuple[str, str]]:
    return [(record.event, record.keys["sk"]["S"]) for record in engine.stream.read(after)]


def test_events_and_images(engine: EmbeddedEngine) -> None:
    """Insert, modify and remove carry their keys and the images before and after."""
    thing = Thing("o", "1", amount=1)
    thing.save()
    thing.update([Thing.amount.set(2)])
    thing.delete()
    inserted, modified, removed = engine.stream.read(0)
    assert (inserted.event, modified.event, removed.event) == ("INSERT", "MODIFY", "REMOVE")
    assert inserted.old is None
    assert inserted.new == {"pk": {"S": "o"}, "sk": {"S": "1"}, "amount": {"N": "1"}}
    assert modified.old == inserted.new
    assert removed.old == modified.new
    assert removed.new is None
    assert removed.keys == {"pk": {"S": "o"}, "sk": {"S": "1"}}
    assert inserted.table == "signalbox-things"
    assert inserted.sequence < modified.sequence < removed.sequence


def test_no_change_no_record(engine: EmbeddedEngine) -> None:
    """Writing what is there already, deleting nothing and failed conditions leave no record."""
    Thing("o", "1", amount=1).save()
    Thing("o", "1", amount=1).save()
    Thing("o", "1").update([Thing.amount.set(1)])
    Thing("o", "2").delete()
    transaction = Transaction().put(Thing("o", "3")).check(Thing, "o", "4", Thing.pk.exists())
    with pytest.raises(ConditionFailed):
        transaction.commit()
    assert _events(engine) == [("INSERT", "1")]


def test_a_transaction_leaves_all_its_records(engine: EmbeddedEngine) -> None:
    """Every item of a transaction has its record."""
    Transaction().put(Thing("o", "1")).put(Thing("o", "2")).commit()
    assert sorted(_events(engine)) == [("INSERT", "1"), ("INSERT", "2")]


def test_read_after_and_trim(engine: EmbeddedEngine) -> None:
    """A reader continues after what it has seen; trimmed records are gone and their numbers never come again."""
    for number in range(5):
        Thing("o", f"{number}").save()
    first = engine.stream.read(0, limit=2)
    assert [record.keys["sk"]["S"] for record in first] == ["0", "1"]
    assert _events(engine, first[-1].sequence) == [("INSERT", "2"), ("INSERT", "3"), ("INSERT", "4")]
    last = engine.stream.last()
    engine.stream.trim(last)
    assert _events(engine) == []
    Thing("o", "new").save()
    assert engine.stream.read(0)[0].sequence > last


def test_wait_returns_when_something_is_written(engine: EmbeddedEngine) -> None:
    """A waiting reader wakes at the commit of another thread."""
    assert engine.stream.wait(0, timeout=0) is False
    woken: list[bool] = []
    reader = threading.Thread(target=lambda: woken.append(engine.stream.wait(0, timeout=60)), daemon=True)
    reader.start()
    while not engine.stream._grown._waiters:  # type: ignore[attr-defined]
        pass
    Thing("o", "1").save()
    reader.join(10)
    assert woken == [True]
    assert engine.stream.wait(0, timeout=0) is True


WRITE_ONE = """
import sys
from shared.store.embedded import EmbeddedEngine, install
from tests.unit.store.conftest import Thing
install(EmbeddedEngine.open(sys.argv[1]))
Thing("o", "elsewhere").save()
"""


def test_wait_sees_other_processes(tmp_path: Path) -> None:
    """A waiting reader wakes at the commit of another process on the same file."""
    engine = EmbeddedEngine.open(tmp_path / "store.db")
    with installed(engine):
        engine.create_tables(Thing)
        process = subprocess.Popen([sys.executable, "-c", WRITE_ONE, str(tmp_path / "store.db")])
        assert engine.stream.wait(0, timeout=60) is True
        assert process.wait(60) == 0
        assert _events(engine) == [("INSERT", "elsewhere")]
    engine.close()


@pytest.mark.parametrize(
    ("view", "old", "new"),
    [("KEYS_ONLY", False, False), ("NEW_IMAGE", False, True), ("OLD_IMAGE", True, False)],
)
def test_view_types(view: str, old: bool, new: bool) -> None:
    """A table's stream shows the images its view type names."""

    class Viewed(Record):
        class Meta(TableMeta):
            table = "viewed"
            stream_view_type = view

        data = BinaryAttribute(legacy_encoding=False, null=True)

    with memory_store(Viewed) as engine:
        Viewed("o", "1", data=b"\x01").save()
        Viewed("o", "1", data=b"\x02").save()
        record = engine.stream.read(0)[-1]
    assert record.view == view
    assert (record.old is not None, record.new is not None) == (old, new)


def test_a_table_without_a_stream_leaves_nothing() -> None:
    """Only tables with a stream view type have change records."""

    class Silent(Record):
        class Meta(TableMeta):
            table = "silent"

    with memory_store(Silent) as engine:
        Silent("o", "1").save()
        assert engine.stream.last() == 0


def test_records_have_the_form_lambda_receives() -> None:
    """A record survives the way through a Lambda event, binary and nested values included."""
    image: Image = {"pk": {"S": "o"}, "b": {"B": b"\xff"}, "m": {"M": {"l": {"L": [{"BS": [b"\x00"]}]}}}}
    record = ChangeRecord(
        sequence=7, table="signalbox-things", event="MODIFY", keys={"pk": {"S": "o"}}, old=image, new=None,
        at_ms=1_800_000_000_000, view="OLD_IMAGE", expired=True,
    )  # fmt: skip
    event = record.as_event()
    assert event["dynamodb"]["OldImage"]["b"] == {"B": "/w=="}
    assert event["eventName"] == "MODIFY"
    assert event["userIdentity"]["principalId"] == "dynamodb.amazonaws.com"
    assert ChangeRecord.from_event(event) == record
