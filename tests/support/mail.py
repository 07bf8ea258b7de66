"""Real mail servers on loopback ports of this process: aiosmtpd and pymap, in one event loop of their own."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from proxyprotocol.reader import ProxyProtocolReader
from pymap.backend.dict import DictBackend
from pymap.imap import IMAPServer
from pysasl.hashing import BuiltinHash

HOST = "127.0.0.1"
USERNAME, PASSWORD = "ada@example.org", 'p"a\\ss wörd'


@contextmanager
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="mail servers")
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@contextmanager
def listening(
    loop: asyncio.AbstractEventLoop, start: Callable[[], Awaitable[asyncio.AbstractServer]]
) -> Iterator[int]:  # fmt: skip
    """The port of a server that ``start`` makes in ``loop``; at the end its connections are waited for."""

    async def stop() -> None:
        server.close()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

    async def begin() -> asyncio.AbstractServer:
        return await start()

    server: Any = asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
    yield server.sockets[0].getsockname()[1]
    asyncio.run_coroutine_threadsafe(stop(), loop).result(10)


@dataclass
class Inbox:
    """What an SMTP server took: aiosmtpd's handler."""

    envelopes: list[Envelope] = field(default_factory=list)
    logins: list[bytes] = field(default_factory=list)
    refuse: frozenset[str] = frozenset()
    answer: str = "250 taken"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.envelopes.append(envelope)
        return self.answer

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.password)
        right = (data.login, data.password) == (USERNAME.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False)


@contextmanager
def smtp_server(
    loop: asyncio.AbstractEventLoop, inbox: Inbox, *, implicit: ssl.SSLContext | None = None,
    starttls: ssl.SSLContext | None = None, login: bool = True, **options: Any,
) -> Iterator[int]:  # fmt: skip
    """aiosmtpd's port."""

    async def start() -> asyncio.AbstractServer:
        def session() -> SMTP:
            return SMTP(
                inbox, hostname="mail.test", tls_context=starttls, authenticator=inbox.authenticate if login else None,
                auth_require_tls=starttls is not None,
                auth_exclude_mechanism=() if login else ("PLAIN", "LOGIN"),
                enable_SMTPUTF8=True, **options,
            )  # fmt: skip

        return await loop.create_server(session, HOST, 0, ssl=implicit)

    with listening(loop, start) as port:
        yield port


@contextmanager
def imap_server(
    loop: asyncio.AbstractEventLoop, *, implicit: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """pymap's port, with one empty mailbox."""

    async def start() -> asyncio.AbstractServer:
        arguments = Namespace(
            host=None, port=0, debug=False, cert=None, key=None, tls=starttls is not None, passlib_cfg=None,
            proxy_protocol=None, inherited_sockets=None, demo_data=False, demo_user=USERNAME, demo_password=PASSWORD,
        )  # fmt: skip
        backend, config = await DictBackend.init(
            arguments, ssl_context=starttls, secure_auth=starttls is not None,
            invalid_user_sleep=0.0, hash_context=BuiltinHash(rounds=1),
        )  # fmt: skip
        config.apply_context()
        await backend.start(AsyncExitStack())
        answer = ProxyProtocolReader(config.proxy_protocol).get_callback(IMAPServer(backend.login, config))
        return await asyncio.start_server(answer, HOST, 0, ssl=implicit)

    logging.getLogger("pymap").setLevel(logging.CRITICAL)
    with listening(loop, start) as port:
        yield port
