from __future__ import annotations

import pytest

from shared.kit import crypto

KEY = b"k" * 32


def test_sealed_opens_with_its_key_and_context_only() -> None:
    """A changed byte, another key or another context is Unsealable; the same plain text never looks the same."""
    sealed = crypto.seal(KEY, b"plain", b"context")
    assert crypto.unseal(KEY, sealed, b"context") == b"plain"
    assert crypto.seal(KEY, b"plain", b"context") != sealed
    flipped = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for key, data, context in (
        (b"o" * 32, sealed, b"context"),
        (KEY, sealed, b"contexts"),
        (KEY, flipped, b"context"),
        (KEY, sealed[:-1], b"context"),
        (KEY, b"", b"context"),
    ):
        with pytest.raises(crypto.Unsealable):
            crypto.unseal(key, data, context)


def test_derived_keys_are_apart() -> None:
    """Each purpose and each root has a 32-byte key of its own, the same every time."""
    assert crypto.derive(KEY, "a") == crypto.derive(KEY, "a")
    assert len({crypto.derive(KEY, "a"), crypto.derive(KEY, "b"), crypto.derive(b"o" * 32, "a")}) == 3
    assert len(crypto.derive(KEY, "a")) == 32


def test_a_digest_tells_its_parts_apart() -> None:
    """Moving a character from one part to the next is another digest."""
    assert crypto.digest(KEY, "ab", "c") != crypto.digest(KEY, "a", "bc")
    assert crypto.digest(KEY, "ab", "c") == crypto.digest(KEY, "ab", "c")
