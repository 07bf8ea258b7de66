from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.adapters.aws.mail import SesMail
from shared.adapters.embedded import mail as module
from shared.adapters.embedded.mail import FolderMail, SmtpMail
from shared.adapters.mail import mail_sender
from shared.governance.ports import MailFailed, MailSender
from shared.kit.settings import Settings
from tests.support.certificates import certificate
from tests.support.mail import HOST, PASSWORD, USERNAME, Inbox, event_loop, smtp_server

SENDER = "signalbox@example.com"
TEXT = "Grüße\n\nhttps://box.example.com/invite?token=inv_x\n"


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Where the mail servers of the module run."""
    with event_loop() as running:
        yield running


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a client trusts, and the server's side of it."""
    path, server = certificate(tmp_path_factory.mktemp("tls"), HOST)
    return ssl.create_default_context(cafile=str(path)), server


def parsed(raw: bytes) -> email.message.EmailMessage:
    made = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(made, email.message.EmailMessage)
    return made


# Through a server


def test_encrypted_and_signed_in(loop: asyncio.AbstractEventLoop, trust: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """STARTTLS, then the password, then one mail as it was meant."""
    inbox = Inbox()
    with smtp_server(loop, inbox, starttls=trust[1]) as port:
        mail = SmtpMail(HOST, port, sender=SENDER, username=USERNAME, password=PASSWORD, tls=trust[0])
        mail.send("dan@example.com", "Invitation to Größe", TEXT)
    (envelope,) = inbox.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == (SENDER, ["dan@example.com"])
    assert inbox.logins == [PASSWORD.encode()]
    assert isinstance(envelope.content, bytes)
    told = parsed(envelope.content)
    assert (told["From"], told["To"], told["Subject"]) == (SENDER, "dan@example.com", "Invitation to Größe")
    assert told["Date"] and told["Message-ID"]
    assert told.get_content().replace("\r\n", "\n") == TEXT


def test_without_a_password_plain_is_good_enough(loop: asyncio.AbstractEventLoop) -> None:
    """A relay of one's own network may offer no encryption."""
    inbox = Inbox()
    with smtp_server(loop, inbox, login=False) as port:
        SmtpMail(HOST, port, sender=SENDER).send("dan@example.com", "s", TEXT)
    assert len(inbox.envelopes) == 1


def test_an_address_beyond_ascii(loop: asyncio.AbstractEventLoop) -> None:
    """Goes out as SMTPUTF8."""
    inbox = Inbox()
    with smtp_server(loop, inbox, login=False) as port:
        SmtpMail(HOST, port, sender=SENDER).send("dänü@example.com", "s", TEXT)
    assert inbox.envelopes[0].rcpt_tos == ["dänü@example.com"]


def test_a_password_is_never_sent_in_the_clear(loop: asyncio.AbstractEventLoop) -> None:
    """Where the server offers no encryption nothing is sent at all."""
    inbox = Inbox()
    with smtp_server(loop, inbox) as port, pytest.raises(MailFailed, match="encryption"):
        SmtpMail(HOST, port, sender=SENDER, username=USERNAME, password=PASSWORD).send("d@example.com", "s", TEXT)
    assert (inbox.logins, inbox.envelopes) == ([], [])


def test_encrypted_from_the_start(
    loop: asyncio.AbstractEventLoop, trust: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the port that is for it; a certificate that the default trust does not know is refused before anything."""
    inbox = Inbox()
    with smtp_server(loop, inbox, implicit=trust[1]) as port:
        monkeypatch.setattr(module, "IMPLICIT_TLS", port)
        mail = SmtpMail(HOST, port, sender=SENDER, username="ada", password="ascii", tls=trust[0])
        with pytest.raises(MailFailed, match="535"):
            mail.send("dan@example.com", "s", TEXT)
        with pytest.raises(MailFailed, match="SSLCertVerificationError"):
            SmtpMail(HOST, port, sender=SENDER, username=USERNAME, password=PASSWORD).send("d@example.com", "s", TEXT)
    assert (set(inbox.logins), inbox.envelopes) == ({b"ascii"}, [])


@pytest.mark.parametrize(
    ("inbox", "password", "said"),
    [
        (Inbox(refuse=frozenset({"dan@example.com"})), PASSWORD, "550"),
        (Inbox(answer="451 later"), PASSWORD, "451"),
        (Inbox(), "wröng", "535"),
    ],
)
def test_a_refusal_is_told_by_its_number(
    loop: asyncio.AbstractEventLoop,
    trust: tuple[ssl.SSLContext, ssl.SSLContext],
    inbox: Inbox,
    password: str,
    said: str,
) -> None:
    """Never with the address or the password."""
    with smtp_server(loop, inbox, starttls=trust[1]) as port:
        mail = SmtpMail(HOST, port, sender=SENDER, username=USERNAME, password=password, tls=trust[0])
        with pytest.raises(MailFailed) as failed:
            mail.send("dan@example.com", "s", TEXT)
    assert said in str(failed.value)
    assert "dan@" not in str(failed.value)
    assert password not in str(failed.value)


def test_nobody_there() -> None:
    """A refused connection is one failed mail."""
    with pytest.raises(MailFailed):
        SmtpMail(HOST, 9, sender=SENDER).send("dan@example.com", "s", TEXT)


# Into a folder


def test_a_file_for_each_mail(tmp_path: Path) -> None:
    """Whole, private, readable by any mail program; nothing half-written stays."""
    mail = FolderMail(tmp_path / "mail", sender=SENDER)
    mail.send("dan@example.com", "Hello", TEXT)
    mail.send("eve@example.com", "Hello", TEXT)
    files = sorted((tmp_path / "mail").iterdir())
    assert [file.suffix for file in files] == [".eml", ".eml"]
    assert [parsed(file.read_bytes())["To"] for file in files] == ["dan@example.com", "eve@example.com"]
    assert parsed(files[0].read_bytes()).get_content().replace("\r\n", "\n") == TEXT
    assert (tmp_path / "mail").stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Is one failed mail."""
    (tmp_path / "mail").write_text("a file in the way")
    with pytest.raises(MailFailed):
        FolderMail(tmp_path / "mail", sender=SENDER).send("dan@example.com", "Hello", TEXT)


@pytest.mark.parametrize(
    ("to", "subject"),
    [("dan@example.com\nBcc: eve@example.com", "s"), ("dan@example.com", "s\r\nBcc: eve@example.com")],
)
def test_no_head_can_be_smuggled_in(tmp_path: Path, to: str, subject: str) -> None:
    """Neither by an address nor by a subject."""
    with pytest.raises(MailFailed):
        FolderMail(tmp_path, sender=SENDER).send(to, subject, TEXT)
    assert list(tmp_path.iterdir()) == []


# Which way


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({}, FolderMail),
        ({"smtp_host": "mail.example.com"}, SmtpMail),
        ({"adapter": "aws"}, SesMail),
        ({"adapter": "aws", "smtp_host": "mail.example.com", "smtp_password": "x"}, SmtpMail),
    ],
)
def test_the_settings_decide(values: dict[str, str], kind: type[MailSender]) -> None:
    """A mail server where one is named; else what the place has."""
    assert isinstance(mail_sender(Settings.model_validate(values)), kind)
