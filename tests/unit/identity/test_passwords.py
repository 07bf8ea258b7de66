from __future__ import annotations

import threading

import pytest

from shared.identity.passwords import Passwords
from shared.kit.errors import Unavailable
from tests.support.deployment import cheap_passwords


def test_only_the_right_password_is_right() -> None:
    """A hash is made with argon2id and verifies its own password and no other."""
    passwords = cheap_passwords()
    stored = passwords.hash("correct horse")
    assert stored.startswith("$argon2id$")
    assert passwords.verify(stored, "correct horse")
    assert not passwords.verify(stored, "correct horsE")


def test_default_parameters_follow_the_cheat_sheet() -> None:
    """The default is argon2id with 19 MiB, two passes and one lane."""
    assert "$m=19456,t=2,p=1$" in Passwords().hash("x")


def test_nobody_has_no_password() -> None:
    """Without a stored hash nothing is right, not even the stand-in's own password."""
    passwords = cheap_passwords()
    assert not passwords.verify(None, "anything")
    assert not passwords.verify(None, "the password of nobody")


def test_an_unknown_account_costs_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known and unknown accounts, and absurdly long passwords, are each one verification."""
    passwords = cheap_passwords()
    stored = passwords.hash("correct horse")
    passwords.verify(None, "warm up")
    calls: list[str] = []
    verify = passwords._hasher.verify

    def counted(hash: str, password: bytes) -> bool:
        calls.append(hash)
        return verify(hash, password)

    monkeypatch.setattr(passwords, "_hasher", type("H", (), {"verify": staticmethod(counted)}))
    for candidate, password in ((stored, "wrong"), (None, "wrong"), (stored, "x" * 100_000)):
        calls.clear()
        assert not passwords.verify(candidate, password)
        assert len(calls) == 1


def test_a_damaged_hash_is_wrong_and_no_error() -> None:
    """A stored value that is no hash refuses every password."""
    assert not cheap_passwords().verify("not a hash", "x")


def test_hashes_of_other_parameters_are_outdated() -> None:
    """A hash made with weaker parameters is renewed at the next sign-in."""
    assert Passwords().is_outdated(cheap_passwords().hash("x"))
    assert not cheap_passwords().is_outdated(cheap_passwords().hash("x"))


def test_at_most_the_given_number_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further sign-ins wait for a slot, and give up with 503 when none comes free."""
    passwords = Passwords(passes=1, memory_kib=8, slots=1)
    monkeypatch.setattr("shared.identity.passwords._WAIT_S", 0.05)
    inside, leave = threading.Event(), threading.Event()

    def slow(password: str) -> str:
        inside.set()
        leave.wait(10)
        return ""

    monkeypatch.setattr(passwords, "_hasher", type("H", (), {"hash": staticmethod(slow)}))
    worker = threading.Thread(target=passwords.hash, args=("x",))
    worker.start()
    assert inside.wait(10)
    with pytest.raises(Unavailable):
        passwords.hash("y")
    leave.set()
    worker.join()
