"""What a deployment decides about identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _no_bootstrap_token() -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class IdentityOptions:
    """``bootstrap_token`` answers the one-time token the first sign-up must show, or None where none is needed."""

    open_signup: bool = True
    bootstrap_token: Callable[[], str | None] = _no_bootstrap_token
    token_hours: float = 24.0
    lockout_failures: int = 5
    lockout_seconds: int = 300
    address_requests_per_minute: int = 0
