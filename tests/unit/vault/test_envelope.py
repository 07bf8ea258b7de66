from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.embedded.keyfile import MasterKeyFile
from shared.kit.errors import Internal
from shared.store.embedded import EmbeddedEngine
from shared.vault import Envelope, KeyRing


def test_a_value_opens_at_its_place_only(store: EmbeddedEngine, ring: KeyRing) -> None:
    """Ciphertext copied to another owner, kind or name does not open."""
    envelope = Envelope(ring)
    sealed = envelope.seal("account#a", "secrets", "KEY", b"value")
    envelope.seal("account#b", "secrets", "KEY", b"value")
    assert envelope.open("account#a", "secrets", "KEY", sealed) == b"value"
    for place in (("account#b", "secrets", "KEY"), ("account#a", "other", "KEY"), ("account#a", "secrets", "KEY2")):
        with pytest.raises(Internal):
            envelope.open(*place, sealed)


def test_another_process_opens_it(store: EmbeddedEngine, ring: KeyRing) -> None:
    """What is needed to open is in the store and the key ring, not in memory."""
    sealed = Envelope(ring).seal("account#a", "secrets", "KEY", b"value")
    assert Envelope(ring).open("account#a", "secrets", "KEY", sealed) == b"value"


def test_another_master_key_opens_nothing(store: EmbeddedEngine, ring: KeyRing, tmp_path: Path) -> None:
    """The store alone is worth nothing to who copies it."""
    sealed = Envelope(ring).seal("account#a", "secrets", "KEY", b"value")
    with pytest.raises(Internal):
        Envelope(MasterKeyFile(tmp_path / "other.key")).open("account#a", "secrets", "KEY", sealed)


def test_an_owners_data_key_is_made_once(store: EmbeddedEngine, ring: KeyRing) -> None:
    """Sealing side by side for a new owner uses one key: everything opens afterwards."""
    sealed: list[bytes] = []

    def seal() -> None:
        sealed.append(Envelope(ring).seal("account#a", "secrets", "KEY", b"value"))

    threads = [threading.Thread(target=seal) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {Envelope(ring).open("account#a", "secrets", "KEY", one) for one in sealed} == {b"value"}


def test_destroying_a_key_destroys_what_it_sealed(store: EmbeddedEngine, ring: KeyRing) -> None:
    """Afterwards nothing opens, also where the key is still remembered; a new value gets a new key."""
    envelope, elsewhere = Envelope(ring), Envelope(ring)
    sealed = envelope.seal("account#a", "secrets", "KEY", b"value")
    envelope.destroy("account#a")
    with pytest.raises(Internal):
        envelope.open("account#a", "secrets", "KEY", sealed)
    again = elsewhere.seal("account#a", "secrets", "KEY", b"new")
    assert envelope.open("account#a", "secrets", "KEY", again) == b"new"


def test_a_data_key_is_unwrapped_once_in_a_while(store: EmbeddedEngine, ring: KeyRing) -> None:
    """Many values of one owner ask the key ring once."""
    Envelope(ring).seal("account#a", "secrets", "KEY", b"value")
    asked: list[dict[str, str]] = []

    class Counting:
        name = "counting"

        def new_data_key(self, context: dict[str, str]) -> tuple[bytes, bytes]:
            return ring.new_data_key(context)

        def unwrap(self, wrapped: bytes, context: dict[str, str]) -> bytes:
            asked.append(context)
            return ring.unwrap(wrapped, context)

    envelope: Any = Envelope(Counting())
    for number in range(5):
        envelope.open("account#a", "secrets", str(number), envelope.seal("account#a", "secrets", str(number), b"v"))
    assert asked == [{"scope": "account#a"}]
