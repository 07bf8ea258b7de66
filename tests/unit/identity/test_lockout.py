from __future__ import annotations

import threading

import pytest

from shared.identity import Identity
from shared.identity.lockout import Lockout
from shared.kit.errors import TooManyRequests, Unauthorized
from shared.store.embedded import EmbeddedEngine
from tests.support.deployment import PASSWORD, cheap_identity
from tests.support.time import HeldClock


def guess(identity: Identity, name: str = "ada", times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(Unauthorized):
            identity.sessions.login(name, "wrong password")


def test_five_failures_lock_for_five_minutes(identity: Identity, held: HeldClock) -> None:
    """After the fifth failure even the right password is 429, until 300 seconds are over."""
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    guess(identity, times=5)
    with pytest.raises(TooManyRequests) as caught:
        identity.sessions.login("ada", PASSWORD)
    assert caught.value.retry_after == 300
    held.advance(299)
    with pytest.raises(TooManyRequests) as caught:
        identity.sessions.login("ADA", PASSWORD)
    assert caught.value.retry_after == 1
    held.advance(1)
    assert identity.sessions.login("ada", PASSWORD).account.username == "ada"


def test_a_success_forgets_the_failures_before_it(identity: Identity, held: HeldClock) -> None:
    """Four failures, a success and four failures do not lock."""
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    guess(identity, times=4)
    identity.sessions.login("ada", PASSWORD)
    guess(identity, times=4)
    identity.sessions.login("ada", PASSWORD)


def test_after_a_lock_counting_starts_afresh(identity: Identity, held: HeldClock) -> None:
    """The failure after a lock is the first of five, not the sixth."""
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    guess(identity, times=5)
    held.advance(300)
    guess(identity, times=4)
    identity.sessions.login("ada", PASSWORD)


def test_an_old_failure_is_forgotten(identity: Identity, held: HeldClock) -> None:
    """Failures older than the lock would be do not count."""
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    guess(identity, times=4)
    held.advance(302)
    guess(identity, times=1)
    identity.sessions.login("ada", PASSWORD)


def test_a_lock_does_not_tell_who_exists(identity: Identity, held: HeldClock) -> None:
    """A name nobody has is locked exactly like one somebody has, with the same words."""
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    told: list[list[str]] = []
    for name in ("ada", "nobody"):
        words: list[str] = []
        for _ in range(6):
            with pytest.raises((Unauthorized, TooManyRequests)) as caught:
                identity.sessions.login(name, "wrong password")
            words.append(f"{type(caught.value).__name__} {caught.value}")
        told.append(words)
    assert told[0] == told[1]


def test_other_names_are_not_locked(identity: Identity, held: HeldClock) -> None:
    """One name's lock is nobody else's."""
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    identity.accounts.sign_up(username="bob", password=PASSWORD)
    guess(identity, times=5)
    identity.sessions.login("bob", PASSWORD)


def test_a_restart_forgets_nothing(store: EmbeddedEngine, held: HeldClock) -> None:
    """Failures are counted in the store."""
    cheap_identity().accounts.sign_up(username="ada", password=PASSWORD)
    guess(cheap_identity(), times=3)
    guess(cheap_identity(), times=2)
    with pytest.raises(TooManyRequests):
        cheap_identity().sessions.login("ada", PASSWORD)


def test_a_name_is_not_stored_in_clear(identity: Identity, store: EmbeddedEngine, held: HeldClock) -> None:
    """People type passwords into the field for the name; no record shows what was typed."""
    guess(identity, name="my secret password")
    request = {"TableName": "signalbox-identity"}
    assert "my secret password" not in str(store._make_api_call("Scan", request))


def test_guesses_side_by_side_are_all_counted(store: EmbeddedEngine, held: HeldClock) -> None:
    """Of many failures at once none is lost: the name is locked after exactly the limit."""
    lockout = Lockout(b"k" * 32, failures=40, seconds=300)

    def fail() -> None:
        for _ in range(5):
            lockout.failed("ada")

    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads[:-1]:
        thread.start()
    for thread in threads[:-1]:
        thread.join()
    lockout.refuse_locked("ada")
    threads[-1].start()
    threads[-1].join()
    with pytest.raises(TooManyRequests):
        lockout.refuse_locked("ada")


def test_a_right_guess_after_the_lock_does_not_count(
    identity: Identity, held: HeldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password checked while others locked the name is refused, right or not."""
    identity.accounts.sign_up(username="ada", password=PASSWORD)
    passwords = identity.sessions._passwords
    verify = passwords.verify

    def slow(stored: str | None, password: str) -> bool:
        result = verify(stored, password)
        if password == PASSWORD:
            for _ in range(5):
                identity.sessions._lockout.failed("ada")
        return result

    monkeypatch.setattr(type(passwords), "verify", lambda self, stored, password: slow(stored, password))
    with pytest.raises(TooManyRequests):
        identity.sessions.login("ada", PASSWORD)
