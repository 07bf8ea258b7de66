"""The parts of the system, wired by the settings. Each is built when first asked for: a function loads only its own."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from shared.kit.settings import Settings, settings

if TYPE_CHECKING:
    from shared.adapters.embedded.keyfile import MasterKeyFile
    from shared.identity import Identity
    from shared.store.embedded import EmbeddedEngine
    from shared.vault import KeyRing, Secrets

MASTER_KEY = "master.key"
STORE = "store.db"


class Services:
    """Everything a request may need."""

    def __init__(self, values: Settings) -> None:
        self.settings = values

    # Store and keys

    @cached_property
    def store(self) -> EmbeddedEngine | None:
        """The embedded engine, installed beneath PynamoDB; None on AWS. Parts that read state ask for it first."""
        if self.settings.adapter != "embedded":
            return None
        from shared.store.embedded import EmbeddedEngine, install
        from shared.store.models import every_model

        self.settings.data.mkdir(parents=True, exist_ok=True)
        engine = EmbeddedEngine.open(self.settings.data / STORE)
        install(engine)
        engine.create_tables(*every_model())
        return engine

    @cached_property
    def _key_file(self) -> MasterKeyFile:
        from shared.adapters.embedded.keyfile import MasterKeyFile

        return MasterKeyFile(self.settings.data / MASTER_KEY)

    @cached_property
    def root_secret(self) -> bytes:
        """Where every signing secret is derived from: the setting, else (embedded) the master key."""
        if self.settings.token_secret is not None:
            return self.settings.token_secret.get_secret_value().encode()
        if self.settings.adapter != "embedded":
            raise ValueError("SIGNALBOX_TOKEN_SECRET is not set")
        return self._key_file.derive("tokens")

    @cached_property
    def keyring(self) -> KeyRing:
        """Wraps the data keys of secrets."""
        if self.settings.adapter == "embedded":
            return self._key_file
        from shared.adapters.aws.keys import KmsKeyRing

        return KmsKeyRing(self.settings.kms_key)

    # Domains

    @cached_property
    def identity(self) -> Identity:
        """Accounts, sessions and who is calling."""
        from shared.identity import Identity, IdentityOptions

        _ = self.store
        chosen = self.settings
        options = IdentityOptions(
            open_signup=chosen.open_signup,
            bootstrap_token=self._bootstrap_token,
            token_hours=chosen.token_hours,
            lockout_failures=chosen.lockout_failures,
            lockout_seconds=chosen.lockout_seconds,
        )
        identity = Identity.build(self.root_secret, options)
        identity.add_cleanup(lambda departure: self.secrets.forget(departure))
        return identity

    def _bootstrap_token(self) -> str | None:
        if not self.settings.bootstrap_secret:
            return None
        from shared.adapters.aws.keys import secret_text

        return secret_text(self.settings.bootstrap_secret)

    @cached_property
    def secrets(self) -> Secrets:
        """Accounts' secrets."""
        from shared.vault import Envelope, Secrets

        _ = self.store
        return Secrets(Envelope(self.keyring))


_services: Services | None = None


def services() -> Services:
    """The services of this process."""
    global _services
    if _services is None:
        _services = Services(settings())
    return _services


def use_services(value: Services | None) -> None:
    """Replace the services of this process; None builds them from the settings again."""
    global _services
    _services = value
