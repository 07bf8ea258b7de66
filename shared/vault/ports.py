"""What the vault needs from outside."""

from __future__ import annotations

from typing import Protocol


class KeyRing(Protocol):
    """Wraps data keys with a key that never leaves it. ``context`` is bound to the wrapping."""

    @property
    def name(self) -> str:
        """Which ring it is; stored with every data key."""

    def new_data_key(self, context: dict[str, str]) -> tuple[bytes, bytes]:
        """A fresh 32-byte key: plain, and wrapped."""

    def unwrap(self, wrapped: bytes, context: dict[str, str]) -> bytes:
        """The plain key. Raises Unsealable when ring or context is another."""
