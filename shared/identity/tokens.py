"""Signed tokens. Each kind has a secret of its own, so a token of one kind is nothing to the readers of another."""

from __future__ import annotations

from typing import Any

from shared.kit import clock, crypto
from shared.kit.errors import Unauthorized

ALGORITHM = "HS256"
SESSION = "session"
"""The kind of a person's session."""

_MAX_TOKEN = 4096
_REQUIRED = ("sub", "iat", "nbf", "exp", "jti", "iss")


class Tokens:
    """Makes and reads JWTs signed with keys derived from ``root`` (32 bytes or more)."""

    def __init__(self, root: bytes) -> None:
        if len(root) < crypto.KEY_BYTES:
            raise ValueError(f"the token secret must have at least {crypto.KEY_BYTES} bytes")
        self._root = root

    def _key(self, kind: str) -> bytes:
        return crypto.derive(self._root, f"token {kind}")

    def sign(self, kind: str, claims: dict[str, Any]) -> str:
        """The token of ``claims``."""
        # Loaded when a token is made or read; on AWS a function that serves people loads it as it starts.
        import jwt

        return jwt.encode(claims, self._key(kind), algorithm=ALGORITHM)

    def read(self, kind: str, token: str, *, issuer: str) -> dict[str, Any]:
        """The claims of a token that is ours, of this kind, and within its time. Raises Unauthorized."""
        if len(token) > _MAX_TOKEN:
            raise Unauthorized("The token is not valid")
        import jwt

        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(kind),
                algorithms=[ALGORITHM],
                issuer=issuer,
                # Times are compared below, with the clock everything else here uses.
                options={"require": list(_REQUIRED), "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise Unauthorized("The token is not valid") from None
        if not all(type(claims[name]) is int for name in ("iat", "nbf", "exp")):
            raise Unauthorized("The token is not valid")
        now = clock.now_ms()
        if claims["exp"] * 1000 <= now:
            raise Unauthorized("The token has expired")
        if claims["nbf"] * 1000 > now:
            raise Unauthorized("The token is not valid yet")
        return claims
