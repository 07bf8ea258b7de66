"""Identifiers and randomness. Everything that needs them asks here, so that a test can seed them."""

from __future__ import annotations

import base64
import hashlib
import random as _random
import secrets
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from shared.kit import clock

SNOWFLAKE_EPOCH_MS = 1_704_067_200_000
"""2024-01-01T00:00:00Z: the zero of our snowflakes."""


TAIL_BITS = 74
"""Bits of a UUIDv7 that are not its time, version or variant."""


class Source(Protocol):
    """Where randomness comes from."""

    def random_bytes(self, count: int) -> bytes: ...

    def uniform(self) -> float: ...


class SystemSource:
    """The operating system's generator, for ids and secrets alike."""

    def random_bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)

    def uniform(self) -> float:
        return secrets.randbits(53) / (1 << 53)


class SeededSource:
    """Reproducible randomness for tests and simulations. Never for secrets in service."""

    def __init__(self, seed: int) -> None:
        # Reproducible on purpose.
        self._random = _random.Random(seed)  # noqa: S311

    def random_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def uniform(self) -> float:
        return self._random.random()


_source: Source = SystemSource()
_order = threading.Lock()
_last_uuid7 = 0
_last_snowflake = 0


@contextmanager
def use(source: Source) -> Iterator[None]:
    """Take randomness from ``source`` inside the block; the monotonic counters start afresh."""
    global _source, _last_uuid7, _last_snowflake
    before = _source, _last_uuid7, _last_snowflake
    _source, _last_uuid7, _last_snowflake = source, 0, 0
    try:
        yield
    finally:
        _source, _last_uuid7, _last_snowflake = before


def uuid4() -> str:
    """A random UUID."""
    return str(uuid.UUID(bytes=_source.random_bytes(16), version=4))


def uuid7() -> str:
    """A UUIDv7 (RFC 9562): sorts by its millisecond, and within this process strictly by creation."""
    global _last_uuid7
    with _order:
        stamp = (clock.now_ms() & 0xFFFFFFFFFFFF) << 74 | int.from_bytes(_source.random_bytes(9)) & ((1 << 73) - 1)
        _last_uuid7 = stamp = max(stamp, _last_uuid7 + 1)
    return _uuid7(stamp)


def uuid7_of(moment_ms: int, *name: str) -> str:
    """The UUIDv7 of something that happens once, at this millisecond: the same name always has the same id."""
    parts = [len(part := text.encode("utf-8", "surrogatepass")).to_bytes(8) + part for text in name]
    digest = hashlib.sha256(moment_ms.to_bytes(8) + b"".join(parts)).digest()
    return _uuid7((moment_ms & 0xFFFFFFFFFFFF) << 74 | int.from_bytes(digest) & ((1 << 74) - 1))


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID in its usual form, in either case."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def uuid7_with(moment_ms: int, tail: int) -> str:
    """The UUIDv7 of this millisecond whose other 74 bits are ``tail``."""
    return _uuid7((moment_ms & 0xFFFFFFFFFFFF) << TAIL_BITS | tail & ((1 << TAIL_BITS) - 1))


def uuid7_tail(text: str) -> int:
    """The 74 bits of a UUIDv7 that are not its time. Raises ValueError for other texts."""
    value = uuid.UUID(text)
    if value.version != 7 or str(value) != text.lower():
        raise ValueError("not a UUIDv7")
    return (value.int >> 64 & 0xFFF) << 62 | value.int & ((1 << 62) - 1)


def _uuid7(stamp: int) -> str:
    """48 bits of milliseconds and 74 further bits, with version and variant between them."""
    value = (stamp >> 74) << 80 | 0x7 << 76 | ((stamp >> 62) & 0xFFF) << 64 | 0b10 << 62 | stamp & ((1 << 62) - 1)
    return str(uuid.UUID(int=value))


def snowflake() -> int:
    """A 63-bit integer: 41 bits of milliseconds since 2024, 22 random bits; increasing within this process."""
    global _last_snowflake
    with _order:
        stamp = (clock.now_ms() - SNOWFLAKE_EPOCH_MS) << 22 | int.from_bytes(_source.random_bytes(3)) & 0x3FFFFF
        _last_snowflake = stamp = max(stamp, _last_snowflake + 1)
    return stamp


def token(nbytes: int = 32) -> str:
    """Unguessable URL-safe text."""
    return base64.urlsafe_b64encode(_source.random_bytes(nbytes)).rstrip(b"=").decode()


def random_bytes(count: int) -> bytes:
    """Unguessable bytes, for salts, nonces and keys."""
    return _source.random_bytes(count)


def uniform() -> float:
    """A number in [0, 1), for jitter."""
    return _source.uniform()
