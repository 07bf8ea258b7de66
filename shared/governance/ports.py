"""What governance needs of the outside; adapters stand behind it."""

from __future__ import annotations

from typing import Protocol


class MailFailed(Exception):
    """A mail was not taken. The text is for the operator and has no secret in it."""


class MailSender(Protocol):
    """Sends plain-text mail from the deployment's own address."""

    def send(self, to: str, subject: str, text: str) -> None:
        """Hand a mail over. Raises MailFailed; then it may be tried again."""
        ...
