"""Signatures of requests and frames, and the texts that are keys. Pure.

``hex(HMAC-SHA256(secret, "{timestamp}:{api_key}:{sha256_hex(body)}"))``, the secret being used as the text it is.
Source: NullRun docs, HTTP API, Authentication; docs/rulings.md#hmac-secrets.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from shared.kit import crypto, ids

LIVE, TEST = "nr_live_", "nr_test_"
PREFIX_CHARACTERS = 12
_KEY = re.compile(r"nr_(live|test)_[A-Za-z0-9]{32}")
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


def new_key(*, live: bool = True) -> str:
    """A fresh key: its prefix and 32 letters or digits."""
    letters: list[str] = []
    while len(letters) < 32:
        # Bytes beyond the last whole alphabet would make some letters likelier than others.
        letters += [_ALPHABET[byte % 62] for byte in ids.random_bytes(48) if byte < 248]
    return (LIVE if live else TEST) + "".join(letters[:32])


def is_key(text: str) -> bool:
    """Whether a text looks like a key."""
    return _KEY.fullmatch(text) is not None


def fingerprint(root: bytes, key: str) -> str:
    """Under what a key is found; says nothing about it without the deployment's root secret."""
    return crypto.digest(crypto.derive(root, "api keys"), key)


def new_salt() -> str:
    """The random part of a secret's version."""
    return ids.random_bytes(crypto.KEY_BYTES).hex()


def secret_of(root: bytes, key_id: str, version: int, salt: str) -> str:
    """The secret of one version of a key: 64 hex characters."""
    return crypto.digest(crypto.derive(root, "hmac secrets"), key_id, str(version), salt)


def sign(secret: str, timestamp: int | str, api_key: str, body: bytes) -> str:
    """The signature of a body."""
    message = f"{timestamp}:{api_key}:{hashlib.sha256(body).hexdigest()}"
    return hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()


def verifies(signature: str, secret: str, timestamp: str, api_key: str, body: bytes) -> bool:
    """Whether a signature is the one; takes the same time for every wrong one. Case counts."""
    expected = sign(secret, timestamp, api_key, body)
    well_formed = _SIGNATURE.fullmatch(signature) is not None
    return hmac.compare_digest(expected, signature if well_formed else "0" * 64) and well_formed
