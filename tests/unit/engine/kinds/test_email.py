"""email.send against aiosmtpd, email.receive against pymap."""

import asyncio
import base64
import email
import imaplib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from email import policy
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.engine.connectors import imap as imap_connector
from shared.engine.connectors.imap import Query, quoted, utf7
from shared.engine.connectors.mail import Link, MailServer
from shared.engine.connectors.received import Fetched, moment, shown, words
from shared.engine.connectors.tunnel import Tunnel, tunnelled
from shared.engine.kinds.base import Call, Done, KindServices, NodeFailed
from shared.engine.kinds.email_receive import EmailReceive
from shared.engine.kinds.email_send import EmailSend
from shared.kit import json
from tests.support.certificates import certificate
from tests.support.mail import HOST, PASSWORD, USERNAME, Inbox, event_loop, imap_server, smtp_server
from tests.unit.engine.kinds.conftest import CallFactory

LOGIN = {"username": USERNAME, "password": PASSWORD}
MAIL = LOGIN | {"smtp_host": HOST, "to": "bob@example.net", "subject": "Hello", "body": "Hi Bob"}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with event_loop() as running:
        yield running


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return certificate(tmp_path_factory.mktemp("tls"), HOST)


@pytest.fixture
def trust(trusted: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The server's context; its certificate is among the machine's authorities."""
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted[0]))
    return trusted[1]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def smtp(loop: asyncio.AbstractEventLoop, inbox: Inbox) -> Iterator[int]:
    """A server without TLS on a loopback port."""
    with smtp_server(loop, inbox) as port:
        yield port


def gone() -> socket.socket:
    """A connection that the other side has reset."""
    with closing(socket.create_server((HOST, 0))) as listener:
        connection = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    other.close()
    with pytest.raises(ConnectionResetError):
        connection.recv(1)
    return connection


def sent(made: Call) -> Any:
    outcome = EmailSend().run(made)
    assert isinstance(outcome, Done)
    return outcome.output


def received(made: Call) -> list[dict[str, Any]]:
    outcome = EmailReceive().run(made)
    assert isinstance(outcome, Done)
    assert json.loads(json.dumpb(outcome.output)) == outcome.output
    return cast(list[dict[str, Any]], outcome.output)


def message(inbox: Inbox) -> EmailMessage:
    (envelope,) = inbox.envelopes
    content = envelope.content
    assert isinstance(content, bytes)
    return email.message_from_bytes(content, policy=policy.default)


def test_a_message_is_handed_in(call: CallFactory, smtp: int, inbox: Inbox) -> None:
    """Envelope and headers hold what the parameters say, and so does the output."""
    output = sent(
        call(MAIL | {"smtp_port": smtp, "cc": ["Cy <cy@example.net>"], "bcc": "dan@example.net,eve@example.net"})
    )
    assert output == {
        "status": "sent", "from": USERNAME, "to": ["bob@example.net"], "cc": ["Cy <cy@example.net>"],
        "bcc": ["dan@example.net", "eve@example.net"], "subject": "Hello",
    }  # fmt: skip
    (envelope,) = inbox.envelopes
    assert envelope.mail_from == USERNAME
    assert envelope.rcpt_tos == ["bob@example.net", "cy@example.net", "dan@example.net", "eve@example.net"]
    got = message(inbox)
    assert (got["From"], got["To"], got["Cc"], got["Bcc"]) == (USERNAME, "bob@example.net", "Cy <cy@example.net>", None)
    assert got["Subject"] == "Hello" and got.get_content() == "Hi Bob\r\n"
    assert "dan@" not in got.as_string()
    assert inbox.logins == [PASSWORD.encode()]


def test_text_html_and_attachments(call: CallFactory, smtp: int, inbox: Inbox) -> None:
    """HTML is an alternative to the text; Base64 is decoded, other text is sent as it is."""
    attachments = [
        {"filename": "a.bin", "content_type": "application/x-a", "content": base64.b64encode(b"\x00\xff").decode()},
        {"filename": "müll.txt", "content": "grüße, und mehr"},
        {"filename": "word.csv", "content": "word", "encoding": "text"},
        {"filename": "o.json", "content": {"a": 1}},
    ]
    sent(call(MAIL | {"smtp_port": smtp, "subject": "Grüße", "html": "<b>Hi</b>", "attachments": attachments}))
    got = message(inbox)
    plain, html = got.get_body(("plain",)), got.get_body(("html",))
    assert got["Subject"] == "Grüße"
    assert plain is not None and plain.get_content().strip() == "Hi Bob"
    assert html is not None and html.get_content().strip() == "<b>Hi</b>"
    parts = [
        (one.get_filename(), one.get_content_type(), one.get_payload(decode=True)) for one in got.iter_attachments()
    ]
    assert parts == [
        ("a.bin", "application/x-a", b"\x00\xff"),
        ("müll.txt", "text/plain", "grüße, und mehr".encode()),
        ("word.csv", "text/csv", b"word"),
        ("o.json", "application/json", b'{"a":1}'),
    ]


def test_html_alone(call: CallFactory, smtp: int, inbox: Inbox) -> None:
    """Without body the message is HTML only; a body that is no text is sent as JSON."""
    sent(call(MAIL | {"smtp_port": smtp, "body": None, "html": "<p>x</p>"}))
    assert message(inbox).get_content_type() == "text/html"
    inbox.envelopes.clear()
    sent(call(MAIL | {"smtp_port": smtp, "body": {"a": [1]}}))
    assert message(inbox).get_content().strip() == '{"a":[1]}'


def test_headers(call: CallFactory, smtp: int, inbox: Inbox) -> None:
    """Headers of the author arrive; Date and Message-ID are made unless given."""
    sent(call(MAIL | {"smtp_port": smtp, "headers": {"X-Ticket": 7, "Reply-To": "help@example.org"}}))
    got = message(inbox)
    assert (got["X-Ticket"], got["Reply-To"]) == ("7", "help@example.org")
    assert got["Date"].datetime.tzinfo is not None and got["Message-ID"].endswith("@example.org>")
    inbox.envelopes.clear()
    sent(call(MAIL | {"smtp_port": smtp, "headers": {"Message-ID": "<mine@example.org>"}}))
    assert message(inbox)["Message-ID"] == "<mine@example.org>"


def test_attempts_send_the_same_message(call: CallFactory, smtp: int, inbox: Inbox) -> None:
    """The Message-ID belongs to the visit: the same for every attempt, another for another visit."""
    made = call(MAIL | {"smtp_port": smtp})
    for one in (made, replace(made, attempt=2), replace(made, idempotency_key="other")):
        sent(one)
    ids = [email.message_from_bytes(cast(bytes, one.content))["Message-ID"] for one in inbox.envelopes]
    assert ids[0] == ids[1] != ids[2]


def test_an_idempotency_key_sends_once(call: CallFactory, smtp: int, inbox: Inbox) -> None:
    """The stored result is answered instead of a second message."""
    stored: dict[str, Any] = {}
    operations = SimpleNamespace(
        get=lambda org_id, key: stored.get(key), put=lambda org_id, key, value, ttl_s: stored.update({key: value})
    )
    made = call(MAIL | {"smtp_port": smtp, "idempotency_key": "order 5"})
    services = SimpleNamespace(http=made.services.http, wall_clock_limit_s=600.0, operations=operations)
    made = replace(made, services=cast(KindServices, services))
    assert sent(made) == sent(made)
    assert len(inbox.envelopes) == 1


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"smtp_host": ""}, "smtp_host parameter is required"),
        ({"username": None}, "username parameter is required"),
        ({"password": ""}, "password parameter is required"),
        ({"to": []}, "needs between 1 and 100 recipients"),
        ({"to": None}, "to parameter is required"),
        ({"to": "bob"}, "to holds no valid e-mail address: bob"),
        ({"to": "bob@example.net; cy@example.net"}, "to holds no valid e-mail address"),
        *(({"to": text}, "to holds no valid e-mail address") for text in ("<", '"', "a@[", ":b>>;?", "a@b <a@[>")),
        ({"to": [5]}, "to must be an e-mail address or a list"),
        ({"to": [f"u{n}@example.net" for n in range(101)]}, "needs between 1 and 100 recipients"),
        ({"cc": "bob@example.net\nBcc: eve@example.net"}, "cc must be one line"),
        ({"from": "a@example.org, b@example.org"}, "from must be one e-mail address"),
        ({"username": "apikey"}, "from holds no valid e-mail address: apikey"),
        ({"subject": "Hi\r\nBcc: eve@example.net"}, "subject must be one line"),
        ({"subject": "Hi\u2028there"}, "subject must be one line"),
        ({"username": "ada\r\nx", "from": USERNAME}, "username and password must be one line"),
        ({"password": "p\n"}, "username and password must be one line"),
        ({"headers": {"X-A": "1\nBcc: eve@example.net"}}, "the header X-A must be one line"),
        ({"headers": {"X-A": "1\x85Bcc: eve@example.net"}}, "the header X-A must be one line"),
        ({"headers": {"Message-ID": "<a@[>"}}, "the header Message-ID has a malformed value"),
        ({"headers": {"Message-ID": "<ü@x>"}}, "the header Message-ID has a malformed value"),
        ({"headers": {"Resent-To": "<"}}, "the header Resent-To has a malformed value"),
        ({"headers": {"X-A: 1\r\nBcc": "eve@example.net"}}, "must be one line"),
        ({"headers": {"X A": "1"}}, "X A is no name of a header"),
        ({"headers": {"bcc": "eve@example.net"}}, "the header bcc is set already"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "the header x-a is set already"),
        ({"headers": "X-A: 1"}, "headers must be an object"),
        ({"attachments": "x"}, "attachments must be a list"),
        ({"attachments": [{"content": "x"}]}, "attachment 1 needs filename and content"),
        ({"attachments": [{"filename": "a\nb", "content": "x"}]}, "filename of attachment 1 must be one line"),
        ({"attachments": [{"filename": "a", "content": "?", "encoding": "base64"}]}, "no valid Base64"),
        ({"attachments": [{"filename": "a", "content": "x", "content_type": "multipart/mixed"}]}, "content_type of"),
        ({"smtp_port": "no"}, "smtp_port must be a whole number, between 1 and 65535"),
        ({"smtp_port": 70000}, "smtp_port must be a whole number"),
        ({"tls": "maybe"}, "tls must be one of auto, implicit, starttls, none"),
        ({"timeout": "soon"}, "timeout must be a duration"),
    ],
)
def test_bad_parameters_are_named(call: CallFactory, smtp: int, inbox: Inbox, params: Any, message: str) -> None:
    """Nothing is sent, and trying again would not help."""
    with pytest.raises(NodeFailed, match=message) as caught:
        EmailSend().run(call(MAIL | {"smtp_port": smtp} | params))
    assert caught.value.retryable is False and inbox.envelopes == []


def test_a_wrong_password(call: CallFactory, smtp: int) -> None:
    """The refusal is the author's to correct, and no message holds the password."""
    with pytest.raises(NodeFailed, match="refused the login: 535") as caught:
        EmailSend().run(call(MAIL | {"smtp_port": smtp, "password": "wrong-password"}))
    assert caught.value.retryable is False and "wrong-password" not in caught.value.message


def test_refused_recipients(call: CallFactory, smtp: int, inbox: Inbox, rows: list[Any]) -> None:
    """One of several is a warning; all of them is a failure."""
    inbox.refuse = frozenset({"no@example.net"})
    sent(call(MAIL | {"smtp_port": smtp, "to": ["bob@example.net", "no@example.net"]}))
    assert rows == [("warn", f"{HOST}:{smtp} refused the recipient no@example.net: 550 no such mailbox", None)]
    with pytest.raises(NodeFailed, match=r"refused the recipient no@example\.net: 550") as caught:
        EmailSend().run(call(MAIL | {"smtp_port": smtp, "to": "no@example.net"}))
    assert caught.value.retryable is False


def test_a_busy_server_may_be_tried_again(call: CallFactory, smtp: int, inbox: Inbox) -> None:
    """4xx answers are retryable."""
    inbox.answer = "451 later"
    with pytest.raises(NodeFailed, match="refused the message: 451 later") as caught:
        EmailSend().run(call(MAIL | {"smtp_port": smtp}))
    assert caught.value.retryable is True


def test_a_server_that_asks_for_no_login(
    call: CallFactory, loop: asyncio.AbstractEventLoop, inbox: Inbox, rows: list[Any]
) -> None:
    """The message is sent without the password, and the log says so."""
    with smtp_server(loop, inbox, login=False) as port:
        sent(call(MAIL | {"smtp_port": port}))
    assert len(inbox.envelopes) == 1
    assert rows == [("warn", f"{HOST}:{port} asks for no login; the message is sent without one", None)]


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_tls(
    call: CallFactory, loop: asyncio.AbstractEventLoop, inbox: Inbox, trust: ssl.SSLContext, mode: str
) -> None:
    """Both ways into TLS work with a certificate that is valid for the host the author wrote."""
    options: dict[str, Any] = {mode: trust}
    with smtp_server(loop, inbox, **options) as port:
        sent(call(MAIL | {"smtp_port": port, "tls": mode}))
    assert len(inbox.envelopes) == 1


def test_starttls_is_used_where_it_is_offered(
    call: CallFactory, loop: asyncio.AbstractEventLoop, inbox: Inbox, trusted: tuple[Path, ssl.SSLContext]
) -> None:
    """On its own the node switches to TLS; a certificate nobody vouches for ends it before the login."""
    refusal = rf"the certificate of {HOST} is not valid: self.signed"
    with smtp_server(loop, inbox, starttls=trusted[1]) as port, pytest.raises(NodeFailed, match=refusal) as caught:
        EmailSend().run(call(MAIL | {"smtp_port": port}))
    assert caught.value.retryable is False and inbox.logins == []
    with imap_server(loop, starttls=trusted[1]) as port, pytest.raises(NodeFailed, match=refusal) as caught:
        EmailReceive().run(call(LOGIN | {"imap_host": HOST, "imap_port": port}))
    assert caught.value.retryable is False


def test_a_port_without_tls(call: CallFactory, smtp: int) -> None:
    """TLS from the first byte with a server that does not know it is named as such."""
    with pytest.raises(NodeFailed, match=rf"TLS with {HOST}:{smtp} failed: "):
        EmailSend().run(call(MAIL | {"smtp_port": smtp, "tls": "implicit"}))


def test_tls_may_be_demanded(call: CallFactory, smtp: int, inbox: Inbox) -> None:
    """With tls: starttls even a loopback server must offer it."""
    with pytest.raises(NodeFailed, match="does not offer STARTTLS, and the password is not sent without TLS"):
        EmailSend().run(call(MAIL | {"smtp_port": smtp, "tls": "starttls"}))
    assert inbox.logins == []


@pytest.mark.parametrize(
    ("tls", "offered", "public", "loopback", "answer"),
    [
        ("auto", True, True, False, True),
        ("auto", True, False, True, True),
        ("auto", False, True, False, "does not offer STARTTLS"),
        ("auto", False, False, False, "does not offer STARTTLS"),
        ("auto", False, False, True, False),
        ("starttls", False, False, True, "does not offer STARTTLS"),
        ("none", True, True, False, "only for servers the deployment's settings name"),
        ("none", False, True, False, "only for servers the deployment's settings name"),
        ("none", True, False, False, False),
        ("none", False, False, True, False),
    ],
)
def test_when_a_password_may_go_without_tls(
    tls: str, offered: bool, public: bool, loopback: bool, answer: bool | str
) -> None:
    """Never to a public address; to a private one if the author says so; on this machine if TLS is not offered."""
    server = MailServer("mail.test", 587, "u", "p", tls, False, 30.0)
    with closing(socket.socket()) as unused:
        link = Link(server, unused, HOST, public=public, loopback=loopback)
        if isinstance(answer, bool):
            assert link.wants_starttls(offered) is answer
        else:
            with pytest.raises(NodeFailed, match=answer):
                link.wants_starttls(offered)


def test_private_addresses_are_refused_by_the_guard(call: CallFactory) -> None:
    """Mail goes the guarded way."""
    for kind, params in (
        (EmailSend(), MAIL | {"smtp_host": "10.0.0.1"}),
        (EmailReceive(), LOGIN | {"imap_host": "10.0.0.1"}),
    ):
        with pytest.raises(NodeFailed, match=r"10\.0\.0\.1:\d+ cannot be called") as caught:
            kind.run(call(params))
        assert caught.value.retryable is False


def test_a_server_that_hangs_up_at_once(call: CallFactory) -> None:
    """A connection that is over before anything was said may be tried again."""
    for kind, params in ((EmailSend(), MAIL), (EmailReceive(), LOGIN | {"imap_host": HOST})):
        made = call(params)
        services = SimpleNamespace(http=SimpleNamespace(connect=lambda *_, **__: gone()), wall_clock_limit_s=600.0)
        with pytest.raises(NodeFailed, match=rf"connection to {HOST}:\d+: ") as caught:
            kind.run(replace(made, services=cast(KindServices, services)))
        assert caught.value.retryable is True


@pytest.fixture
def talker() -> Iterator[Callable[[bytes], int]]:
    """A server that says what it is told and then only listens; answers its port."""
    opened: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(greeting: bytes) -> int:
        listener = socket.create_server((HOST, 0))
        opened.append(listener)

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    connection.sendall(greeting)
                    while connection.recv(65536):
                        pass
                except OSError:
                    return

        threads.append(threading.Thread(target=talk))
        threads[-1].start()
        return int(listener.getsockname()[1])

    yield start
    for thread in threads:
        thread.join(10)
    for listener in opened:
        listener.close()


@pytest.mark.parametrize(
    ("kind", "greeting", "message"),
    [
        (EmailSend(), b"", r"connection to 127\.0\.0\.1:\d+: no end within 0\.5 s"),
        (EmailReceive(), b"", r"connection to 127\.0\.0\.1:\d+: no end within 0\.5 s"),
        (EmailSend(), b"250-endless\r\n" * 200_000, "the server sent more than 1 MB"),
        (EmailSend(), b"554 go away\r\n", "refused the message: 554 go away"),
        (EmailSend(), b"SSH-2.0-x\r\n" * 3, "connection to|refused the message"),
        (EmailSend(), b"220 hi\r\n250-x\r\n250 AUTH CRAM-MD5\r\n334 a\r\n", "answers what is no SMTP"),
        (EmailReceive(), b"SSH-2.0-x\r\n", "connection to"),
        (EmailReceive(), b"* PREAUTH hi\r\n", "connection to"),
        (EmailReceive(), b"* OK hi {99999999999}\r\n", "a literal of 99999999999 bytes"),
    ],
)
def test_strange_servers(call: CallFactory, talker: Any, kind: Any, greeting: bytes, message: str) -> None:
    """Silence, floods and other protocols end in time with a message for the author."""
    port = talker(greeting)
    timeout = "10s" if len(greeting) > 100 else "500ms"
    params = MAIL | {"imap_host": HOST, "smtp_port": port, "imap_port": port, "timeout": timeout}
    with pytest.raises(NodeFailed, match=message):
        kind.run(call(params))


def test_half_a_reply_is_not_taken_for_an_answer() -> None:
    """Where the connection was cut, that is the reason, whatever the library read into what came before."""
    server = MailServer("mail.test", 587, "u", "p", "auto", False, 30.0)
    for cut, message in (
        ("no end within 30 s", "connection to mail.test:587: no end within 30 s"),
        (None, "refused: 2"),
    ):
        tunnel = cast(Tunnel, SimpleNamespace(cut=cut))
        with pytest.raises(NodeFailed, match=f"^{message}$"), server.explained(tunnel):
            raise NodeFailed("refused: 2", retryable=False)


def test_a_tunnel_delivers_what_was_written_before_its_end() -> None:
    """Closing the library's end does not lose its last words."""
    left, right = socket.socketpair()
    with closing(right), tunnelled(left, seconds=10, most_bytes=100) as (library, _):
        library.sendall(b"bye")
        library.shutdown(socket.SHUT_WR)
        assert right.recv(10) == b"bye"
        right.shutdown(socket.SHUT_WR)


# Receiving

NINE = " 2-Jan-2026 09:00:00 +0000"


def mail(subject: str = "Hello", *, sender: str = "Bob <bob@example.net>", body: str = "Hi Ada") -> bytes:
    made = EmailMessage()
    made["From"], made["To"], made["Cc"] = sender, f"{USERNAME}, cy@example.net", "Dan <dan@example.net>"
    made["Subject"], made["Message-ID"], made["Date"] = subject, "<1@example.net>", "Fri, 02 Jan 2026 10:00:00 +0100"
    made.set_content(body)
    return made.as_bytes(policy=policy.SMTP)


@pytest.fixture
def mailbox(loop: asyncio.AbstractEventLoop) -> Iterator[tuple[int, Callable[..., None]]]:
    """A server's port, and what puts a message into its only mailbox."""
    with imap_server(loop) as port, imaplib.IMAP4(HOST, port) as client:
        client.authenticate("PLAIN", lambda _: f"\0{USERNAME}\0{PASSWORD}".encode())

        def add(content: bytes, *, flags: str = "", at: str = NINE, folder: str = "INBOX") -> None:
            if folder != "INBOX":
                client.create(quoted(utf7(folder)))
            assert client.append(quoted(utf7(folder)), flags, f'"{at}"', content)[0] == "OK"

        yield port, add


@pytest.fixture
def read(call: CallFactory, mailbox: tuple[int, Any]) -> Callable[..., list[dict[str, Any]]]:
    def run(**params: Any) -> list[dict[str, Any]]:
        return received(call(LOGIN | {"imap_host": HOST, "imap_port": mailbox[0]} | params))

    return run


def test_a_message_as_it_is_shown(mailbox: Any, read: Any) -> None:
    """Every field of the documented result."""
    mailbox[1](mail(), flags=r"(\Flagged \Answered)")
    (got,) = read(with_body=True)
    size = got["metadata"].pop("size")
    headers = got.pop("headers")
    flags = got["metadata"].pop("flags")
    recent = got["metadata"].pop("recent")
    assert got == {
        "subject": "Hello", "from": "bob@example.net", "to": [USERNAME, "cy@example.net"], "cc": ["dan@example.net"],
        "date": "2026-01-02T09:00:00.000Z", "body": "Hi Ada\n", "html": "", "messageId": "<1@example.net>",
        "metadata": {
            "uid": got["metadata"]["uid"], "sequence": 1, "date": "2026-01-02T09:00:00.000Z", "seen": False,
            "answered": True, "deleted": False, "draft": False, "flagged": True,
        },
    }  # fmt: skip
    assert size == len(mail()) and {"\\Flagged", "\\Answered"} <= set(flags) and recent is ("\\Recent" in flags)
    assert headers["From"] == "Bob <bob@example.net>" and headers["Subject"] == "Hello"


def test_newest_first_and_limited(mailbox: Any, read: Any) -> None:
    """The limit keeps the newest; without with_body there is none."""
    for number in range(4):
        mailbox[1](mail(f"number {number}"))
    assert [one["subject"] for one in read(limit=3)] == ["number 3", "number 2", "number 1"]
    assert {one["body"] for one in read()} == {""}


def test_an_empty_mailbox(read: Any) -> None:
    """Nothing to read is an empty list."""
    assert read(with_body=True, mark_as_read=True) == []


def test_searching(mailbox: Any, read: Any) -> None:
    """Every search parameter narrows the result; quotes, brackets and words beyond ASCII are only text."""
    mailbox[1](mail('say "hi" \\ (x)', sender="Zoë <zoe@example.net>"), flags=r"(\Seen)")
    mailbox[1](mail("Grüße aus Köln"))
    mailbox[1](mail("plain"))

    def subjects(**params: Any) -> list[str]:
        return [one["subject"] for one in read(**params)]

    assert subjects(unseen=True) == ["plain", "Grüße aus Köln"]
    assert subjects(**{"from": "zoe@"}) == ['say "hi" \\ (x)']
    assert subjects(to="cy@example.net", subject="plain") == ["plain"]
    assert subjects(to="nobody@example.net") == []
    assert subjects(subject='say "hi" \\ (x)') == ['say "hi" \\ (x)']
    assert subjects(subject='x" ALL "') == []
    assert subjects(subject="Grüße", unseen=True) == ["Grüße aus Köln"]
    assert subjects(**{"subject": "Köln", "from": "zoe"}) == []


def test_times_of_arrival(mailbox: Any, read: Any) -> None:
    """since includes its instant, before excludes it, offsets count, a date is its midnight in UTC."""
    for hour, name in ((9, "nine"), (10, "ten"), (11, "eleven")):
        mailbox[1](mail(name), at=f" 2-Jan-2026 {hour:02d}:00:00 +0000")

    def subjects(**params: Any) -> list[str]:
        return [one["subject"] for one in read(**params)]

    assert subjects(since="2026-01-02T10:00:00Z") == ["eleven", "ten"]
    assert subjects(before="2026-01-02T10:00:00Z") == ["nine"]
    assert subjects(since="2026-01-02T10:30:00+01:00", before="2026-01-02T12:00:00+01:00") == ["ten"]
    assert subjects(since="2026-01-02", limit=1) == ["eleven"]
    assert subjects(since="2026-01-03") == [] and subjects(before="2026-01-02") == []


def test_reading_leaves_messages_unread(mailbox: Any, read: Any) -> None:
    """Only mark_as_read marks, and only what was shown; the result shows how it was before."""
    mailbox[1](mail("old"))
    mailbox[1](mail("new"))
    read(with_body=True)
    assert len(read(unseen=True)) == 2
    (got,) = read(unseen=True, limit=1, mark_as_read=True)
    assert (got["subject"], got["metadata"]["seen"]) == ("new", False)
    assert [one["subject"] for one in read(unseen=True)] == ["old"]


def test_what_cannot_be_shown_is_not_marked(mailbox: Any, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that is too large fails before anything is marked as read."""
    mailbox[1](mail())
    monkeypatch.setattr("shared.engine.kinds.email_receive.LARGEST_OUTPUT", 10)
    with pytest.raises(NodeFailed, match="larger than 5 MB together; use a lower limit"):
        read(mark_as_read=True)
    monkeypatch.undo()
    assert len(read(unseen=True)) == 1


def test_previews(mailbox: Any, read: Any) -> None:
    """body_preview shows the first characters, also without with_body."""
    mailbox[1](mail(body="0123456789"))
    assert [one["body"] for one in read(body_preview=4)] == ["0123"]
    assert [one["body"] for one in read(body_preview=4, with_body=True)] == ["0123"]


def test_only_the_beginning_of_a_huge_message_is_read(mailbox: Any, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size is the real one, the body what was read."""
    monkeypatch.setattr(imap_connector, "LARGEST_PART", 1000)
    content = mail(body="line\n" * 1000)
    mailbox[1](content)
    (got,) = read(with_body=True)
    assert got["metadata"]["size"] == len(content) and 100 < len(got["body"]) < 1000
    monkeypatch.setattr(imap_connector, "ALL_PARTS", 1000)
    mailbox[1](content)
    assert [len(one["body"]) < 500 for one in read(with_body=True)] == [True, True]


def test_windows(mailbox: Any, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mailbox searched in pieces gives the same result."""
    monkeypatch.setattr(imap_connector, "WINDOW", 2)
    monkeypatch.setattr(imap_connector, "BATCH", 1)
    for number in range(5):
        mailbox[1](mail(f"number {number}"))
    assert [one["subject"] for one in read(limit=4)] == ["number 4", "number 3", "number 2", "number 1"]
    assert [one["subject"] for one in read(subject="number 0", since="2026-01-01")] == ["number 0"]


def test_folders(mailbox: Any, read: Any) -> None:
    """A folder's name may be anything; one that is not there is named."""
    mailbox[1](mail("in there"), folder='Gelöscht & "mehr"')
    assert [one["subject"] for one in read(folder='Gelöscht & "mehr"')] == ["in there"]
    with pytest.raises(NodeFailed, match="folder Nowhere: "):
        read(folder="Nowhere")


@pytest.mark.parametrize(
    ("name", "written"),
    [("INBOX", "INBOX"), ("R&D", "R&-D"), ("Gelöscht", "Gel&APY-scht"), ("台北", "&U,BTFw-"), ("☺!", "&Jjo-!")],
)
def test_modified_utf_7(name: str, written: str) -> None:
    """Names as RFC 3501 writes them; its own examples are among these."""
    assert utf7(name) == written


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"imap_host": ""}, "imap_host parameter is required"),
        ({"folder": "a\r\nb DELETE x"}, "folder must be one line"),
        ({"subject": "x\r\ny LOGOUT"}, "subject must be one line"),
        ({"from": "\0"}, "from must be one line"),
        ({"limit": 501}, "limit must be a whole number, between 1 and 500"),
        ({"limit": -1}, "limit must be a whole number"),
        ({"body_preview": "x"}, "body_preview must be a whole number"),
        ({"since": "yesterday"}, "since must be an RFC 3339 time"),
        ({"before": "2026-01-01T00:00:00"}, "before must be an RFC 3339 time"),
        ({"username": "a\0b"}, "must be one line"),
    ],
)
def test_bad_search_parameters_are_named(call: CallFactory, params: Any, message: str) -> None:
    """Refused before anything is sent."""
    with pytest.raises(NodeFailed, match=message) as caught:
        EmailReceive().run(call(LOGIN | {"imap_host": "192.0.2.1"} | params))
    assert caught.value.retryable is False


@pytest.mark.parametrize("params", [{"password": 'x"\r\nA1 DELETE INBOX'}, {"username": "ada\r\nA1 LOGOUT"}])
def test_credentials_are_no_commands(call: CallFactory, params: dict[str, str]) -> None:
    """A line break in a credential, which would end the LOGIN command, is refused before anything is sent."""
    with pytest.raises(NodeFailed, match="username and password must be one line") as caught:
        EmailReceive().run(call(LOGIN | {"imap_host": "10.0.0.1"} | params))
    assert caught.value.retryable is False


def test_a_wrong_imap_password(read: Any) -> None:
    """The refusal is the author's to correct, without the password."""
    with pytest.raises(NodeFailed, match="refused the login") as caught:
        read(password="wrong-password")
    assert caught.value.retryable is False and "wrong-password" not in caught.value.message


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_imap_tls(call: CallFactory, loop: asyncio.AbstractEventLoop, trust: ssl.SSLContext, mode: str) -> None:
    """Both ways into TLS."""
    with imap_server(loop, **{mode: trust}) as port:
        params = LOGIN | {"imap_host": HOST, "imap_port": port}
        assert received(call(params | {"tls": mode})) == []
        if mode == "starttls":
            assert received(call(params)) == []


def show(content: bytes, **options: Any) -> dict[str, Any]:
    fetched = Fetched(1, 2, len(content), 1_700_000_000_000, ["\\Seen"], content)
    result = shown(fetched, with_body=True, preview=0, **options)
    assert json.loads(json.dumpb(result)) == result
    return result


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\r\n", b"no colon", b"\xff\xfe\r\n\r\n\xff", b"From: \xff <\xff@x>\r\n\r\n", b"To: <<>>@,;:\r\n\r\n",
        b"From: =?x?q?=ff?=\r\nSubject: =?utf-8?b?!!!?=\r\nDate: 31 Feb\r\n\r\n",
        b"Date: Mon, 1 Jan 999999 0:0:0\r\n\r\n",
        b"Content-Type: text/plain; charset=nonsense\r\n\r\n\xe4",
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n!", b"Content-Type: a/b; c=\"\r\n\r\n",
        b"Message-ID: <[>\r\nCc: a@[b\r\nReply-To: :;\r\n\r\n", b"From: " + b"(" * 3000 + b"\r\n\r\n",
    ],
)  # fmt: skip
def test_malformed_mail_is_shown_all_the_same(content: bytes) -> None:
    """Whatever a stranger sends, the node does not fail, and the result is JSON."""
    assert show(content)["metadata"]["uid"] == 2


def test_words_of_html() -> None:
    """Mail that has only HTML has its words as body."""
    head = "<head><title>t</title><style>a{}</style></head>"
    html = f"<html>{head}<body><p>Hello&nbsp;<b>you</b></p><p>1 &lt; 2</p></body></html>"
    assert words(html) == "Hello you\n1 < 2"
    got = show(b"Content-Type: text/html\r\n\r\n" + html.encode())
    assert (got["body"], got["html"]) == ("Hello you\n1 < 2", html)


def test_repeated_headers() -> None:
    """Values of one name are lines, in their order."""
    got = show(b"Received: one\r\nreceived: two\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n")
    assert got["headers"] == {"Received": "one\ntwo", "Subject": "Grüße"} and got["subject"] == "Grüße"


def test_criteria_widen_dates() -> None:
    """Servers compare dates in a zone of their own, so the search takes a day more on either side."""
    query = Query({}, since=moment("2026-03-01T00:00:00Z"), before=moment("2026-03-01T12:00:00Z"))
    assert query.criteria == ["SINCE", "28-Feb-2026", "BEFORE", "03-Mar-2026"]
