"""Large values: a port, and a folder that implements it. On AWS an S3 bucket does."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Protocol, runtime_checkable

from shared.kit.errors import NotFound

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*(?:/[A-Za-z0-9][A-Za-z0-9._=-]*)*")


class Blobs(Protocol):
    """Bytes by key. Keys are ``/``-separated names of ASCII letters, digits and ``._=-``, up to 512 characters."""

    def put(self, key: str, data: bytes) -> None:
        """Store durably; an existing blob is replaced whole, never seen half-written."""

    def get(self, key: str) -> bytes:
        """The bytes, or NotFound."""
        ...

    def delete(self, key: str) -> None:
        """Remove; a missing blob is no error."""


@runtime_checkable
class LinkedBlobs(Blobs, Protocol):
    """Blobs that others may fetch from where they are."""

    def link(self, key: str, seconds: int) -> str:
        """A URL that answers the blob to anybody for so long."""
        ...


def check_key(key: str) -> str:
    """The key, or ValueError when it is not one (no empty or dotted names, so no way out of a folder)."""
    if len(key) > 512 or not _KEY.fullmatch(key):
        raise ValueError(f"not a blob key: {key!r}")
    return key


class FolderBlobs:
    """Blobs as files below a folder, readable by their owner only."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, key: str, data: bytes) -> None:
        """Write a temporary file, flush it to disk and move it into place."""
        path = self._path(key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _flush_folders(path.parent, self._folder)

    def get(self, key: str) -> bytes:
        """The file's bytes, or NotFound."""
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            raise NotFound("The stored value is gone") from None

    def delete(self, key: str) -> None:
        """Remove the file."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / check_key(key)


def _flush_folders(folder: Path, top: Path) -> None:
    # A file's name is durable only once the folder that holds it has been flushed, up to the first that already was.
    while True:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if folder == top:
            return
        folder = folder.parent
