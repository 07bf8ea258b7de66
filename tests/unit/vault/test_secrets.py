from __future__ import annotations

import threading

import pytest

from shared.identity import ANONYMOUS, Departure, Principal
from shared.kit import clock
from shared.kit.errors import Forbidden, InvalidRequest, NotFound, Unauthorized
from shared.store.embedded import EmbeddedEngine
from shared.vault import Secrets
from tests.support.time import HeldClock


def test_a_secret_comes_back(secrets: Secrets, ada: Principal) -> None:
    """Stored, listed without its value, shown with it, removed."""
    row = secrets.put(ada, "ada", "API_KEY", "välue \n 1")
    assert secrets.list(ada, "ada") == [row]
    assert secrets.get(ada, "ada", "API_KEY") == "välue \n 1"
    secrets.delete(ada, "ada", "API_KEY")
    assert secrets.list(ada, "ada") == []
    with pytest.raises(NotFound):
        secrets.delete(ada, "ada", "API_KEY")


def test_nobody_else_comes_near_it(secrets: Secrets, ada: Principal, admin: Principal) -> None:
    """Not even an administrator; whether it exists is not told."""
    secrets.put(ada, "ada", "API_KEY", "value")
    for key in ("API_KEY", "MISSING"):
        for attempt in (
            lambda key=key: secrets.get(admin, "ada", key),
            lambda key=key: secrets.put(admin, "ada", key, "x"),
            lambda key=key: secrets.replace(admin, "ada", key, "x"),
            lambda key=key: secrets.delete(admin, "ada", key),
            lambda: secrets.list(admin, "ada"),
        ):
            with pytest.raises(Forbidden):
                attempt()
    with pytest.raises(Unauthorized):
        secrets.list(ANONYMOUS, "")
    assert secrets.get(ada, "ada", "API_KEY") == "value"


def test_replacing_keeps_the_time_of_creation(secrets: Secrets, ada: Principal) -> None:
    """An upsert and a replacement move `updated` only."""
    with clock.use(HeldClock()):
        first = secrets.put(ada, "ada", "K", "1")
        second = secrets.put(ada, "ada", "K", "2")
        third = secrets.replace(ada, "ada", "K", "3")
    assert first.created_ms == second.created_ms == third.created_ms
    assert first.updated_ms < second.updated_ms < third.updated_ms
    assert secrets.get(ada, "ada", "K") == "3"
    with pytest.raises(NotFound):
        secrets.replace(ada, "ada", "MISSING", "x")


@pytest.mark.parametrize("key", ["A", "a.b@c-d_e9", "x" * 256])
def test_keys_that_may_be(secrets: Secrets, ada: Principal, key: str) -> None:
    """Letters, digits and the four signs."""
    assert secrets.put(ada, "ada", key, "").key == key


@pytest.mark.parametrize("key", ["", "keys", "a b", "a/b", "a#b", "é", "x" * 257, "a\n", ".", ".."])
def test_keys_that_may_not_be(secrets: Secrets, ada: Principal, key: str) -> None:
    """Anything else, the one name the API needs itself, and what means another path in a URL."""
    with pytest.raises(InvalidRequest):
        secrets.put(ada, "ada", key, "value")


def test_values_have_a_limit(secrets: Secrets, ada: Principal) -> None:
    """64 KB, and text that can be stored."""
    secrets.put(ada, "ada", "K", "x" * 65536)
    for value in ("x" * 65537, "\ud800"):
        with pytest.raises(InvalidRequest):
            secrets.put(ada, "ada", "K", value)


def test_the_store_never_sees_a_value(secrets: Secrets, ada: Principal, store: EmbeddedEngine) -> None:
    """At rest there is ciphertext only."""
    secrets.put(ada, "ada", "K", "the-value-itself")
    assert "the-value-itself" not in str(store._make_api_call("Scan", {"TableName": "signalbox-vault"}))


def test_executions_get_values(secrets: Secrets, ada: Principal) -> None:
    """All of the account's own, none of anybody else's."""
    secrets.put(ada, "ada", "A", "value-one")
    secrets.put(ada, "ada", "B", "value-two")
    assert secrets.values("ada") == {"A": "value-one", "B": "value-two"}
    assert secrets.values("bob") == {}


def test_a_departure_leaves_nothing(secrets: Secrets, ada: Principal, store: EmbeddedEngine) -> None:
    """Secrets and data key go, and doing it again is harmless."""
    secrets.put(ada, "ada", "A", "value")
    for _ in range(2):
        secrets.forget(Departure("ada", ("org-a",)))
    assert store._make_api_call("Scan", {"TableName": "signalbox-vault"})["Items"] == []


def test_writes_side_by_side_lose_nothing(secrets: Secrets, ada: Principal) -> None:
    """Many upserts of one new key: one value wins whole, and the row is there once."""
    threads = [threading.Thread(target=secrets.put, args=(ada, "ada", "K", f"value{n}")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert secrets.get(ada, "ada", "K") in {f"value{n}" for n in range(8)}
    assert len(secrets.list(ada, "ada")) == 1
