"""The data folder: one server at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

LOCK = "server.lock"


class FolderInUse(Exception):
    """Another server has the folder; the message says which."""


class FolderLock:
    """Held while a server runs. The system lets go of it however the process ends, kill -9 included."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = (folder / LOCK).open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise FolderInUse(holder) from None

    def describe(self, url: str) -> None:
        """Say who holds the folder, for whoever finds it locked."""
        # On a full disk the holder stays anonymous, and what needs the disk says so itself.
        with contextlib.suppress(OSError):
            self._file.truncate(0)
            os.write(self._file.fileno(), f"process {os.getpid()}, {url}".encode())

    def release(self) -> None:
        """Let go."""
        self._file.close()
