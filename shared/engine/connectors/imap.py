"""Reading a mailbox (RFC 3501), over a checked connection."""

from __future__ import annotations

import base64
import contextlib
import imaplib
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from shared.engine.connectors.mail import Link, MailServer, tls
from shared.engine.connectors.received import Fetched
from shared.engine.kinds.base import Call, NodeFailed

MOST_BYTES = 32 * 1024 * 1024
"""Most a server may send in one conversation."""
LARGEST_PART = 1024 * 1024
"""Bytes that are read of one message at most; of many messages less, so that all together stay below ALL_PARTS."""
ALL_PARTS = 24 * 1024 * 1024
LARGEST_HEADER = 64 * 1024
WINDOW = 20_000
"""Messages searched at once: the answer must fit into one line of imaplib's."""
BATCH = 50

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ITEM = re.compile(rb"(\d+) \(")
_INTERNAL_DATE = re.compile(rb'INTERNALDATE "\s?(\d{1,2})-(\w{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"')


@dataclass(frozen=True, slots=True)
class Query:
    """Which messages: texts by search key (FROM, TO, SUBJECT), and times of arrival, ``since`` <= time < ``before``."""

    texts: dict[str, str]
    unseen: bool = False
    since: datetime | None = None
    before: datetime | None = None

    @property
    def criteria(self) -> list[str]:
        """What the server can decide. It knows only dates, in its own time zone: a day more on either side."""
        found = ["UNSEEN"] if self.unseen else []
        for name, text in self.texts.items():
            if text.isascii():
                found += [name, quoted(text)]
        if self.since is not None:
            found += ["SINCE", _day(self.since - timedelta(days=1))]
        if self.before is not None:
            found += ["BEFORE", _day(self.before + timedelta(days=2))]
        return found or ["ALL"]

    def includes(self, arrived_ms: int) -> bool:
        """Whether a message that arrived then is meant, to the millisecond."""
        arrived = datetime.fromtimestamp(arrived_ms / 1000, UTC)
        return (self.since is None or arrived >= self.since) and (self.before is None or arrived < self.before)


class _Client(imaplib.IMAP4):
    """imaplib's client over the connection of a link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        super().__init__(link.server.host, link.server.port)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return self._link.socket

    def read(self, size: int) -> bytes:
        # Memory is taken before the bytes arrive, and the server says how much.
        if size > MOST_BYTES:
            raise self.abort(f"a literal of {size} bytes")
        return super().read(size)


Shown = TypeVar("Shown")


def read(
    call: Call, server: MailServer, folder: str, query: Query, show: Callable[[list[Fetched]], Shown],
    *, limit: int, whole: bool, mark: bool,
) -> Shown:  # fmt: skip
    """What ``show`` makes of the newest ``limit`` messages, newest first; ``whole`` reads their bodies too.

    With ``mark`` they are marked as read once ``show`` has succeeded.
    """
    with server.connection(call, MOST_BYTES) as link:
        try:
            imap = _Client(link)
            try:
                mailbox = _Mailbox(imap, link, folder, writable=mark)
                messages = mailbox.newest(query, limit, whole=whole)
                shown = show(messages)
                if mark and messages:
                    mailbox.mark(messages)
                return shown
            finally:
                with contextlib.suppress(imaplib.IMAP4.error, OSError):
                    imap.logout()
        except imaplib.IMAP4.readonly:
            raise NodeFailed(f"{server.name}: messages of {folder} cannot be marked as read", retryable=False) from None
        except imaplib.IMAP4.abort as error:
            raise ConnectionError(server.said(error)) from None
        except ssl.SSLError:
            # One of them, a certificate that is not valid, is a ValueError as well.
            raise
        except ValueError:
            raise NodeFailed(f"{server.name} answers what is no IMAP", retryable=False) from None
        except imaplib.IMAP4.error as error:
            raise NodeFailed(f"{server.name}: {server.said(error)}", retryable=False) from None


class _Mailbox:
    def __init__(self, imap: imaplib.IMAP4, link: Link, folder: str, *, writable: bool) -> None:
        self._imap, self._server = imap, link.server
        if link.wants_starttls("STARTTLS" in imap.capabilities):
            imap.starttls(tls())
        self._log_in()
        self._count = int(
            self._ask(f"folder {folder}", imap.select(quoted(utf7(folder)), readonly=not writable))[0] or 0
        )

    def _log_in(self) -> None:
        imap, server = self._imap, self._server
        try:
            if "AUTH=PLAIN" in imap.capabilities:
                imap.authenticate("PLAIN", lambda _: base64.b64decode(server.plain))
            elif server.username.isascii() and server.password.isascii():
                imap.xatom("LOGIN", quoted(server.username), quoted(server.password))
                imap.state = "AUTH"
            else:
                message = f"{server.name} accepts only ASCII in username and password"
                raise NodeFailed(message, retryable=False)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            raise NodeFailed(f"{server.name} refused the login: {server.said(error)}", retryable=False) from None

    def newest(self, query: Query, limit: int, *, whole: bool) -> list[Fetched]:
        uids: list[int] = []
        for batch in self._batches(query, limit):
            uids += self._arrived(batch, query) if query.since or query.before else batch
            if len(uids) >= limit:
                break
        if not uids:
            return []
        uids = uids[:limit]
        largest = min(LARGEST_PART if whole else LARGEST_HEADER, ALL_PARTS // len(uids))
        messages = self._fetch(uids, f"BODY.PEEK[{'' if whole else 'HEADER'}]<0.{largest}>")
        return sorted(messages, key=lambda message: message.uid, reverse=True)

    def mark(self, messages: list[Fetched]) -> None:
        uids = _set([message.uid for message in messages])
        self._ask("marking as read", self._imap.uid("STORE", uids, "+FLAGS.SILENT", r"(\Seen)"))

    def _arrived(self, uids: list[int], query: Query) -> list[int]:
        found = [message.uid for message in self._fetch(uids, "") if query.includes(message.arrived_ms)]
        return sorted(found, reverse=True)

    def _batches(self, query: Query, limit: int) -> Iterator[list[int]]:
        """UIDs the server finds, newest first, window by window, so that a huge mailbox is no huge answer."""
        for high in range(self._count, 0, -WINDOW):
            found = self._search(self._window(max(high - WINDOW, 0) + 1, high), query)
            for start in range(0, len(found), max(limit, BATCH)):
                yield found[start : start + max(limit, BATCH)]

    def _window(self, low: int, high: int) -> list[str]:
        """The search key of the messages from one sequence number to another: by their UIDs, which do not shift."""
        if (low, high) == (1, self._count):
            return []
        answer = self._ask("fetch", self._imap.fetch(f"{low},{high}", "(UID)"))
        uids = [message.uid for message in map(_fetched, _grouped(answer)) if message is not None]
        return ["UID", f"{min(uids)}:{max(uids)}"] if uids else []

    def _search(self, window: list[str], query: Query) -> list[int]:
        found = _numbers(self._ask("search", self._imap.uid("SEARCH", *window, *query.criteria)))
        for name, text in query.texts.items():
            if not text.isascii():
                # What is not ASCII travels as a literal, of which imaplib sends one in a command.
                self._imap.literal = text.encode()  # type: ignore[assignment]
                found &= _numbers(self._ask("search", self._imap.uid("SEARCH", "CHARSET", "UTF-8", *window, name)))
        return sorted(found, reverse=True)

    def _fetch(self, uids: Sequence[int], part: str) -> list[Fetched]:
        items = f"(UID FLAGS INTERNALDATE RFC822.SIZE {part})" if part else "(UID INTERNALDATE)"
        answer = self._ask("fetch", self._imap.uid("FETCH", _set(uids), items))
        wanted = set(uids)
        return [message for message in map(_fetched, _grouped(answer)) if message is not None and message.uid in wanted]

    def _ask(self, what: str, answer: tuple[str, Any]) -> list[Any]:
        status, data = answer
        if status != "OK":
            raise NodeFailed(f"{self._server.name}: {what}: {self._server.said(data[-1])}", retryable=False)
        return list(data)


def quoted(text: str) -> str:
    """An IMAP quoted string (RFC 3501, 4.3); the caller has refused control characters."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def utf7(name: str) -> str:
    """A folder's name in IMAP's own UTF-7 (RFC 3501, 5.1.3)."""

    def encoded(part: re.Match[str]) -> str:
        text = base64.b64encode(part[0].encode("utf-16-be")).decode().rstrip("=").replace("/", ",")
        return f"&{text}-"

    return re.sub(r"[^ -~]+", encoded, name.replace("&", "&-"))


def _day(moment: datetime) -> str:
    return f"{moment.day:02d}-{_MONTHS[moment.month - 1]}-{moment.year:04d}"


def _set(uids: Sequence[int]) -> str:
    return ",".join(map(str, uids))


def _numbers(answer: list[Any]) -> set[int]:
    return {int(word) for line in answer if line for word in line.split()}


def _grouped(answer: list[Any]) -> list[tuple[bytes, bytes]]:
    """For each message the attributes as one text, and the literal, of which we ask for one."""
    found: list[tuple[bytes, bytes]] = []
    for item in answer:
        text, literal = item if isinstance(item, tuple) else (item or b"", b"")
        if _ITEM.match(text):
            found.append((text, literal))
        elif found:
            found[-1] = (found[-1][0] + text, found[-1][1] or literal)
    return found


def _fetched(group: tuple[bytes, bytes]) -> Fetched | None:
    text, content = group
    sequence, uid, size = _ITEM.match(text), re.search(rb"UID (\d+)", text), re.search(rb"RFC822\.SIZE (\d+)", text)
    flags, date = re.search(rb"FLAGS \(([^)]*)\)", text), _INTERNAL_DATE.search(text)
    if sequence is None or uid is None:
        return None
    words = flags[1].decode("utf-8", "replace").split() if flags else []
    return Fetched(
        int(sequence[1]), int(uid[1]), int(size[1]) if size else len(content), _arrived(date), words, content
    )


def _arrived(date: re.Match[bytes] | None) -> int:
    if date is None or date[2].decode() not in _MONTHS:
        return 0
    day, year, hour, minute, second, off_hours, off_minutes = (int(date[n]) for n in (1, 3, 4, 5, 6, 8, 9))
    offset = timedelta(hours=off_hours, minutes=off_minutes) * (-1 if date[7] == b"-" else 1)
    try:
        local = datetime(year, _MONTHS.index(date[2].decode()) + 1, day, hour, minute, min(second, 59), tzinfo=UTC)
        return int((local - offset).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0
