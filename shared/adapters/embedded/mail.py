"""Mail: through the deployment's own mail server, or into a folder where there is none.

Source: RFC 5321; RFC 3207 (STARTTLS); RFC 8314 (TLS from the start on port 465).
"""

from __future__ import annotations

import base64
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import formatdate
from pathlib import Path

from shared.governance.ports import MailFailed
from shared.kit import clock, ids

TIMEOUT_S = 20.0
IMPLICIT_TLS = 465
_HELO = "signalbox.localdomain"
_SIGNED_IN = 235


class SmtpMail:
    """Hands mail to a mail server. ``tls`` replaces the default trust.

    The connection is encrypted where the server can; a password is never sent without.
    """

    def __init__(
        self, host: str, port: int, *, sender: str, username: str = "", password: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self._host, self._port, self._sender = host, port, sender
        self._username, self._password = username, password
        self._tls = tls

    def send(self, to: str, subject: str, text: str) -> None:
        """Send one mail. Raises MailFailed."""
        sent = message(self._sender, to, subject, text)
        try:
            with self._session() as session:
                session.send_message(sent, self._sender, [to])
        except smtplib.SMTPResponseException as error:
            raise MailFailed(f"the mail server answered {error.smtp_code}") from None
        except smtplib.SMTPRecipientsRefused as error:
            code = next(iter(error.recipients.values()))[0]
            raise MailFailed(f"the mail server refused the recipient with {code}") from None
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise MailFailed(f"the mail server could not be used: {type(error).__name__}") from None

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        context = self._tls or ssl.create_default_context()
        if self._port == IMPLICIT_TLS:
            session: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, local_hostname=_HELO, timeout=TIMEOUT_S, context=context
            )
        else:
            session = smtplib.SMTP(self._host, self._port, local_hostname=_HELO, timeout=TIMEOUT_S)
        with session:
            session.ehlo()
            encrypted = self._port == IMPLICIT_TLS
            if not encrypted and session.has_extn("starttls"):
                session.starttls(context=context)
                session.ehlo()
                encrypted = True
            if self._username:
                if not encrypted:
                    raise MailFailed("the mail server offers no encryption, and a password is not sent without")
                self._sign_in(session)
            yield session

    def _sign_in(self, session: smtplib.SMTP) -> None:
        if f"{self._username}{self._password}".isascii():
            session.login(self._username, self._password)
            return
        # The library knows ASCII only; RFC 4616 says UTF-8.
        proof = base64.b64encode(f"\0{self._username}\0{self._password}".encode()).decode()
        code, answer = session.docmd("AUTH", f"PLAIN {proof}")
        if code != _SIGNED_IN:
            raise smtplib.SMTPAuthenticationError(code, answer)


class FolderMail:
    """Puts each mail into a folder, as one ``.eml`` file."""

    def __init__(self, folder: Path, *, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    def send(self, to: str, subject: str, text: str) -> None:
        """Write one mail. Raises MailFailed."""
        sent = message(self._sender, to, subject, text)
        place = self._folder / f"{ids.uuid7()}.eml"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Whoever watches the folder finds a whole mail or none.
            unfinished = place.with_suffix(".part")
            unfinished.write_bytes(sent.as_bytes())
            unfinished.rename(place)
        except OSError as error:
            raise MailFailed(f"the mail could not be written: {error.strerror}") from None


def message(sender: str, to: str, subject: str, text: str) -> EmailMessage:
    """A plain-text mail. Raises MailFailed for an address or a subject that a head cannot hold."""
    plain = all(part.isascii() for part in (sender, to))
    made = EmailMessage(policy=SMTP if plain else SMTPUTF8)
    try:
        made["From"], made["To"], made["Subject"] = sender, to, subject
        made["Date"] = formatdate(clock.now_ms() / 1000)
        made["Message-ID"] = f"<{ids.uuid7()}@{sender.rpartition('@')[2] or _HELO}>"
        made.set_content(text)
    except ValueError:
        raise MailFailed("the address or the subject cannot be written into a mail") from None
    return made
