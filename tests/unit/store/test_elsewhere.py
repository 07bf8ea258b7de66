"""The same models and transactions on a store that is not ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.store.transaction import (
    ConditionFailed,
    Transaction,
    put_if_absent,
    read,
    read_each,
    read_together,
    update_if,
)
from tests.support.store import moto_store
from tests.unit.store.conftest import Thing, Versioned


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """DynamoDB as moto plays it, reached through PynamoDB's own client."""
    monkeypatch.setenv("SIGNALBOX_TABLE_PREFIX", "elsewhere")
    with moto_store(Thing, Versioned):
        yield


@pytest.mark.usefixtures("elsewhere")
def test_everything_works_through_botocore() -> None:
    """Table definitions, conditional writes, labelled failures, reads and indexes need nothing of ours below."""
    assert put_if_absent(Thing("o", "1", amount=1, group="g", rank=2)) is True
    assert put_if_absent(Thing("o", "1", amount=5)) is False
    assert update_if(Thing("o", "1"), [Thing.amount.set(2)], Thing.amount == 1) is True
    assert update_if(Thing("o", "1"), [Thing.amount.set(3)], Thing.amount == 1) is False
    transaction = Transaction().put(Thing("o", "2"), label="put")
    transaction.update(Thing("o", "1"), [Thing.amount.set(9)], Thing.amount == 7, label="update")
    with pytest.raises(ConditionFailed) as caught:
        transaction.delete(Thing("o", "3"), label="delete").commit()
    assert set(caught.value.failures) == {"update"}
    before = caught.value.failures["update"]
    assert isinstance(before, Thing)
    assert before.amount == 2
    assert read(Thing, "o", "2") is None
    first, second = read_together((Thing, "o", "2"), (Thing, "o", "1"))
    assert first is None
    assert isinstance(second, Thing)
    missing, same = read_each((Thing, "o", "2"), (Thing, "o", "1"))
    assert missing is None
    assert isinstance(same, Thing)
    assert same.amount == second.amount
    assert [thing.sk for thing in Thing.by_rank.query("g")] == ["1"]
