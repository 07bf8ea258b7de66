"""Password hashes: argon2id, a bounded number at a time, the same work for accounts that do not exist.

Parameters follow the OWASP Password Storage Cheat Sheet (argon2id, 19 MiB, two passes, one lane).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from shared.identity.names import MAX_PASSWORD
from shared.kit.errors import Unavailable

_WAIT_S = 15.0


class Passwords:
    """Makes and checks hashes; at most ``slots`` at once, so that log-ins cannot eat the machine."""

    def __init__(self, *, passes: int = 2, memory_kib: int = 19 * 1024, slots: int = 4) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._slots = threading.BoundedSemaphore(slots)

    @cached_property
    def _nobody(self) -> str:
        return self._hasher.hash("the password of nobody")

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=_WAIT_S):
            raise Unavailable("Too many sign-ins at once; try again")
        try:
            yield
        finally:
            self._slots.release()

    def hash(self, password: str) -> str:
        """A salted hash with its parameters."""
        with self._slot():
            return self._hasher.hash(password)

    def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password is the one that was hashed. None (nobody's) costs the same and is False."""
        if len(password) > MAX_PASSWORD:
            # No account has such a password; the check still costs the same.
            stored, password = None, password[:MAX_PASSWORD]
        with self._slot():
            against_nobody = self._nobody
            try:
                self._hasher.verify(stored or against_nobody, password.encode("utf-8", "surrogatepass"))
            except (VerificationError, InvalidHashError):
                return False
            return stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)
