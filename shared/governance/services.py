"""The parts of governance, each built when first asked for: the gate's function loads its own and no others."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.governance.authentication import KeyAuthenticator
    from shared.kit.settings import Settings


class Governance:
    """The services of governance over the installed store."""

    def __init__(self, root_secret: bytes, settings: Settings) -> None:
        self._root = root_secret
        self._settings = settings

    @cached_property
    def authenticator(self) -> KeyAuthenticator:
        """Who is behind an API key."""
        from shared.governance.authentication import KeyAuthenticator

        return KeyAuthenticator(self._root, max_age_s=self._settings.hmac_max_age_seconds)
