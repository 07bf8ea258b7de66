from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from shared.adapters.embedded.keyfile import MasterKeyFile
from shared.kit.crypto import Unsealable


def test_the_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    """The first start makes it, mode 0600, in a folder that need not exist; later ones read the same key."""
    path = tmp_path / "new" / "master.key"
    first = MasterKeyFile(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert MasterKeyFile(path).derive("x") == first.derive("x")
    assert [entry.name for entry in path.parent.iterdir()] == ["master.key"]


def test_starting_side_by_side_makes_one_key(tmp_path: Path) -> None:
    """Of several starts at once one writes, all read the same."""
    rings: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: rings.append(MasterKeyFile(tmp_path / "master.key").derive("x")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rings) == 8
    assert len(set(rings)) == 1


def test_a_data_key_unwraps_in_its_context(tmp_path: Path) -> None:
    """Another context or another master key cannot unwrap it."""
    ring = MasterKeyFile(tmp_path / "master.key")
    plain, wrapped = ring.new_data_key({"scope": "account#a"})
    assert len(plain) == 32
    assert plain not in wrapped
    assert ring.unwrap(wrapped, {"scope": "account#a"}) == plain
    with pytest.raises(Unsealable):
        ring.unwrap(wrapped, {"scope": "account#b"})
    with pytest.raises(Unsealable):
        MasterKeyFile(tmp_path / "other.key").unwrap(wrapped, {"scope": "account#a"})


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"master":5}', b'{"master":"c2hvcnQ="}', b'{"master":"!"}'])
def test_a_damaged_file_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    """Making a new key would lose every secret: the start fails and says which file."""
    path = tmp_path / "master.key"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"master\.key"):
        MasterKeyFile(path)
    assert path.read_bytes() == content
