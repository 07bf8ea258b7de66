from __future__ import annotations

from pathlib import Path

import pytest

from shared.adapters.embedded.keyfile import MasterKeyFile
from shared.identity import Principal
from shared.store.embedded import EmbeddedEngine
from shared.vault import Envelope, KeyRing, Secrets


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return MasterKeyFile(tmp_path / "master.key")


@pytest.fixture
def secrets(store: EmbeddedEngine, ring: KeyRing) -> Secrets:
    """The secrets service over the empty store."""
    return Secrets(Envelope(ring))


@pytest.fixture
def ada() -> Principal:
    return Principal(kind="session", org_id="org-a", account_id="ada", username="ada", role="owner")


@pytest.fixture
def admin() -> Principal:
    """A deployment administrator, who is somebody else."""
    return Principal(
        kind="session", org_id="org-b", account_id="bob", username="bob", role="owner", deployment_admin=True
    )
