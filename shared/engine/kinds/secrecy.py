"""What a kind keeps beyond its execution holds no secret of the account's."""

from __future__ import annotations

from typing import Any

from shared.engine.kinds.base import Call
from shared.engine.scope import LazySecrets
from shared.vault import Redactor


def without_secrets(call: Call, value: Any) -> Any:
    """A JSON value as the journal keeps it: every secret that the execution has read so far is replaced."""
    secrets = call.scope.secrets
    known = secrets.loaded if isinstance(secrets, LazySecrets) else secrets
    return Redactor(known.values()).value(value)
