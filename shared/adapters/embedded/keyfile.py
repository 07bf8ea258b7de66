"""The master key of the one-machine system: a file made on the first start, readable by its owner only."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from shared.kit import crypto, ids, json

_FORMAT = 1


class MasterKeyFile:
    """A key ring whose master key is in a file. Every use has a key of its own, derived from it."""

    name = "master-key-file"

    def __init__(self, path: Path) -> None:
        self._master = _load(path)
        self._wrapping = crypto.derive(self._master, "wrap data keys")

    def derive(self, purpose: str) -> bytes:
        """A 32-byte secret for ``purpose``, the same on every start."""
        return crypto.derive(self._master, purpose)

    def new_data_key(self, context: dict[str, str]) -> tuple[bytes, bytes]:
        """A fresh data key, plain and wrapped."""
        plain = ids.random_bytes(crypto.KEY_BYTES)
        return plain, crypto.seal(self._wrapping, plain, json.dumpb(sorted(context.items())))

    def unwrap(self, wrapped: bytes, context: dict[str, str]) -> bytes:
        """The plain data key. Raises Unsealable."""
        return crypto.unseal(self._wrapping, wrapped, json.dumpb(sorted(context.items())))


def _load(path: Path) -> bytes:
    """The master key of the file, made if the file is missing. Raises ValueError for a file that holds none."""
    if not path.exists():
        _make(path)
    try:
        stored = json.loads(path.read_bytes())
        master = base64.b64decode(stored["master"], validate=True)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} does not hold a master key; restore it from a backup") from error
    if len(master) != crypto.KEY_BYTES:
        raise ValueError(f"{path} does not hold a master key; restore it from a backup")
    return master


def _make(path: Path) -> None:
    """Write a new master key, durably and whole: of several processes starting at once one wins, all read the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    master = base64.b64encode(ids.random_bytes(crypto.KEY_BYTES)).decode()
    draft = path.with_name(f"{path.name}.{os.getpid()}.{ids.token(6)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumpb({"format": _FORMAT, "master": master}))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink()
