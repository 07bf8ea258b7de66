"""Queries while the store does not answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.kit import clock
from shared.kit.errors import Unavailable
from shared.store.embedded import EmbeddedEngine, Fault
from shared.store.embedded.rejection import Rejection
from shared.store.embedded.storage import Storage
from shared.store.retry import ATTEMPTS, Contention
from shared.store.transaction import put_if_absent
from tests.support.time import HeldClock
from tests.unit.store.conftest import Thing
from tests.unit.store.test_transaction import Script

ASK: dict[str, Callable[[], list[str]]] = {
    "query": lambda: [thing.sk for thing in Thing.query("a", consistent_read=True)],
    "page by page": lambda: [thing.sk for thing in Thing.query("a", page_size=1)],
    "scan": lambda: [thing.sk for thing in Thing.scan()],
    "batch": lambda: sorted(thing.sk for thing in Thing.batch_get([("a", "1"), ("a", "2")])),
    "count": lambda: [str(number + 1) for number in range(Thing.count("a"))],
}


@pytest.fixture(autouse=True)
def things(engine: EmbeddedEngine) -> None:
    """Two records of one partition."""
    for name in ("1", "2"):
        Thing("a", name).save()


@pytest.mark.parametrize("how", ASK)
@pytest.mark.parametrize("fault", [Fault.FAILED, Fault.THROTTLED, Fault.ANSWER_LOST])
def test_a_read_outlasts_a_short_trouble(how: str, fault: Fault, engine: EmbeddedEngine) -> None:
    """A page that did not come is asked for again, and nothing is missing or twice."""
    engine.faults = Script(fault, fault, None, fault)
    with clock.use(HeldClock()):
        assert ASK[how]() == ["1", "2"]


@pytest.mark.parametrize("how", ASK)
@pytest.mark.parametrize(("fault", "error"), [(Fault.FAILED, Unavailable), (Fault.THROTTLED, Contention)])
def test_a_lasting_trouble_is_a_clear_error(
    how: str, fault: Fault, error: type[Exception], engine: EmbeddedEngine
) -> None:
    """What a caller sees in the end is our 503, not an error of the library beneath."""
    engine.faults = Script(*[fault] * ATTEMPTS)
    with clock.use(HeldClock()), pytest.raises(error):
        ASK[how]()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("database or disk is full", "disk is full; free some space"),
        ("disk I/O error", "^The store failed; try again$"),
    ],
)
def test_a_store_that_fails_says_what_it_can(said: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the store is no contention, and a full disk is told as such."""

    def fail(self: Storage, work: Any) -> Any:
        raise Rejection("InternalServerError", f"The store failed: {said}")

    monkeypatch.setattr(Storage, "write", fail)
    with clock.use(HeldClock()), pytest.raises(Unavailable, match=message) as caught:
        put_if_absent(Thing("a", "3"))
    assert not isinstance(caught.value, Contention)
