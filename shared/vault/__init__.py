"""Secrets: sealed at rest, opened for their owner, kept out of everything that is shown."""

from shared.vault.envelope import Envelope
from shared.vault.ports import KeyRing
from shared.vault.redaction import REDACTED, Redactor
from shared.vault.secrets import AccountSecrets, SecretRow, Secrets

__all__ = ["REDACTED", "AccountSecrets", "Envelope", "KeyRing", "Redactor", "SecretRow", "Secrets"]
