"""Large values in a folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from shared.kit.errors import NotFound
from shared.store.blobs import FolderBlobs


def test_round_trip(tmp_path: Path) -> None:
    """What is put is what is got; it can be replaced and deleted, and deleting twice is no error."""
    blobs = FolderBlobs(tmp_path / "blobs")
    blobs.put("org/execution/1", b"\x00one")
    blobs.put("org/execution/1", b"two")
    assert FolderBlobs(tmp_path / "blobs").get("org/execution/1") == b"two"
    blobs.delete("org/execution/1")
    blobs.delete("org/execution/1")
    with pytest.raises(NotFound):
        blobs.get("org/execution/1")
    with pytest.raises(NotFound):
        blobs.get("org")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a/.b", "a\\b", "a\0b", "é", "x" * 513]
)
def test_keys_cannot_leave_the_folder(tmp_path: Path, key: str) -> None:
    """A key that is not plain names is refused before the disk is touched."""
    blobs = FolderBlobs(tmp_path / "blobs")
    for action in (blobs.get, blobs.delete, lambda name: blobs.put(name, b"")):
        with pytest.raises(ValueError, match="not a blob key"):
            action(key)
    assert [path.name for path in tmp_path.iterdir()] == ["blobs"]


def test_put_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes are on disk before their name is, and the name and its folders are before put returns."""
    blobs = FolderBlobs(tmp_path / "blobs")
    flushed: list[tuple[str, bool]] = []
    flush = os.fsync

    def note(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        flushed.append((kind, (tmp_path / "blobs/a/b").exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    blobs.put("a/b", b"x")
    assert flushed == [("file", False), ("folder", True), ("folder", True)]


def test_a_failed_put_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails the old value stays and no half-written file remains."""
    blobs = FolderBlobs(tmp_path / "blobs")
    blobs.put("a", b"old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        blobs.put("a", b"new")
    assert blobs.get("a") == b"old"
    assert [path.name for path in (tmp_path / "blobs").iterdir()] == ["a"]


def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    """Nobody else may read what is stored."""
    FolderBlobs(tmp_path / "blobs").put("a/b", b"x")
    assert (tmp_path / "blobs").stat().st_mode & 0o077 == 0
    assert (tmp_path / "blobs/a/b").stat().st_mode & 0o077 == 0
