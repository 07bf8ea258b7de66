"""Which way mail goes."""

from __future__ import annotations

from shared.governance.ports import MailSender
from shared.kit.settings import Settings

FOLDER = "mail"


def mail_sender(settings: Settings) -> MailSender:
    """A mail server where the settings name one; else SES on AWS, and a folder of the data embedded."""
    if settings.smtp_host:
        from shared.adapters.embedded.mail import SmtpMail

        secret = settings.smtp_password
        password = "" if secret is None else secret.get_secret_value()
        return SmtpMail(
            settings.smtp_host, settings.smtp_port, sender=settings.mail_sender, username=settings.smtp_username,
            password=password,
        )  # fmt: skip
    if settings.adapter == "aws":
        from shared.adapters.aws.mail import SesMail

        return SesMail(sender=settings.mail_sender)
    from shared.adapters.embedded.mail import FolderMail

    return FolderMail(settings.data / FOLDER, sender=settings.mail_sender)
