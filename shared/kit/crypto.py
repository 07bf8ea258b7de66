"""The few cryptographic building blocks: derived keys, keyed digests, authenticated encryption."""

from __future__ import annotations

import hashlib
import hmac

from shared.kit import ids

KEY_BYTES = 32
_NONCE_BYTES = 12


class Unsealable(Exception):
    """The sealed bytes were changed, or belong to another key or context."""


def derive(root: bytes, purpose: str) -> bytes:
    """A 32-byte key of its own for ``purpose``. Source: RFC 5869, the expand step; ``root`` must be uniform already."""
    return hmac.digest(root, purpose.encode() + b"\x01", hashlib.sha256)


def digest(key: bytes, *parts: str) -> str:
    """A keyed digest in hex of the parts, each told apart from the next."""
    message = b"".join(len(part := text.encode("utf-8", "surrogatepass")).to_bytes(8) + part for text in parts)
    return hmac.digest(key, message, hashlib.sha256).hex()


def seal(key: bytes, plain: bytes, context: bytes) -> bytes:
    """Nonce and AES-256-GCM ciphertext; only :func:`unseal` with the same key and context opens it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = ids.random_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, context)


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """The plain bytes. Raises Unsealable."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
    except (InvalidTag, ValueError):
        raise Unsealable("cannot be opened with this key and context") from None
