"""Envelope encryption: a data key per owner, wrapped by the key ring; every value bound to owner, kind and name.

Removing an owner's data key makes everything under it unreadable, copies and backups included.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from shared.kit import clock, crypto
from shared.kit.errors import Internal
from shared.store.models.vault import DataKey, data_key_pk
from shared.store.transaction import Transaction, put_if_absent, read
from shared.vault.ports import KeyRing

_REMEMBERED = 256
_REMEMBERED_S = 300.0


class Envelope:
    """Seals and opens values of a scope (``account#…`` or ``org#…``)."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._keys: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def seal(self, scope: str, kind: str, name: str, plain: bytes) -> bytes:
        """Ciphertext that opens only for the same scope, kind and name."""
        return crypto.seal(self._key(scope, create=True), plain, _context(scope, kind, name))

    def open(self, scope: str, kind: str, name: str, sealed: bytes) -> bytes:
        """The plain bytes. Raises Internal when the stored bytes were tampered with or their key is gone."""
        try:
            return crypto.unseal(self._key(scope, create=False), sealed, _context(scope, kind, name))
        except crypto.Unsealable:
            # The key remembered here may be of an earlier life of the scope.
            self.forget(scope)
        try:
            return crypto.unseal(self._key(scope, create=False), sealed, _context(scope, kind, name))
        except crypto.Unsealable as error:
            raise Internal("A stored secret cannot be opened") from error

    def forget(self, scope: str) -> None:
        """Drop the scope's key from memory."""
        with self._lock:
            self._keys.pop(scope, None)

    def destroy(self, scope: str) -> None:
        """Remove the scope's data key, and with it every value sealed under it."""
        self.forget(scope)
        Transaction().delete(DataKey(data_key_pk(scope), "current")).commit()

    def _key(self, scope: str, *, create: bool) -> bytes:
        with self._lock:
            known = self._keys.get(scope)
        if known is not None and known[0] > clock.monotonic():
            return known[1]
        plain = self._load(scope, create=create)
        with self._lock:
            self._keys[scope] = (clock.monotonic() + _REMEMBERED_S, plain)
            self._keys.move_to_end(scope)
            while len(self._keys) > _REMEMBERED:
                self._keys.popitem(last=False)
        return plain

    def _load(self, scope: str, *, create: bool) -> bytes:
        pk, context = data_key_pk(scope), {"scope": scope}
        record = read(DataKey, pk, "current")
        if record is None and create:
            plain, wrapped = self._ring.new_data_key(context)
            fresh = DataKey(pk, "current", wrapped=wrapped, key_ring=self._ring.name, created_ms=clock.now_ms())
            if put_if_absent(fresh):
                return plain
            record = read(DataKey, pk, "current")
        if record is None:
            raise Internal("The data key of a stored secret is gone")
        try:
            return self._ring.unwrap(record.wrapped, context)
        except crypto.Unsealable as error:
            raise Internal(f"The key ring cannot unwrap a data key made by {record.key_ring}") from error


def _context(scope: str, kind: str, name: str) -> bytes:
    return f"{scope}\n{kind}\n{name}".encode()
