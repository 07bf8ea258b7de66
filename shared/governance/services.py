"""The parts of governance, each built when first asked for: the gate's function loads its own and no others."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.governance.authentication import KeyAuthenticator
    from shared.governance.bindings import Bindings
    from shared.governance.executing import Executing
    from shared.governance.gate import Gate
    from shared.governance.keys import ApiKeys
    from shared.governance.workflows import Workflows
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

    @cached_property
    def keys(self) -> ApiKeys:
        """API keys of an org."""
        from shared.governance.keys import ApiKeys

        return ApiKeys(self._root, self._settings)

    @cached_property
    def bindings(self) -> Bindings:
        """Which workflow governs which definition."""
        from shared.governance.bindings import Bindings

        return Bindings()

    @cached_property
    def workflows(self) -> Workflows:
        """Workflows of an org, and their states."""
        from shared.governance.workflows import Workflows

        return Workflows(self._settings, self.keys, self.bindings)

    @cached_property
    def gate(self) -> Gate:
        """May this happen, and is there money for it."""
        from shared.governance.gate import Gate

        return Gate(self.authenticator, lambda: self.approvals)

    @cached_property
    def executing(self) -> Executing:
        """May this tool run, under a reservation of the gate."""
        from shared.governance.executing import Executing

        return Executing(self.gate)
