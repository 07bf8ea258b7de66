"""A received message as ``email.receive`` shows it (RFC 5322, MIME); nothing a sender writes can make it fail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from typing import Any, cast

from shared.kit import clock

LONGEST_TEXT = 256 * 1024
"""Characters of a body that are shown at most."""

MALFORMED = (ValueError, LookupError, AttributeError, TypeError, RecursionError)
"""What the parsers of the standard library raise on mail that breaks the rules."""

_BLOCKS = {"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "table", "ul", "ol", "hr"}
_SILENT = {"script", "style", "head", "title"}


@dataclass(frozen=True, slots=True)
class Fetched:
    """One message as IMAP answers it. ``arrived_ms`` is when the server took it in; ``content`` may end early."""

    sequence: int
    uid: int
    size: int
    arrived_ms: int
    flags: list[str]
    content: bytes = field(repr=False)


def shown(fetched: Fetched, *, with_body: bool, preview: int) -> dict[str, Any]:
    """The message as a JSON object; ``preview`` cuts the body to so many characters."""
    message = message_from_bytes(fetched.content, policy=policy.default)
    headers = _headers(message)
    body, html = _bodies(message) if with_body or preview else ("", "")
    return {
        "subject": _first(headers, "subject"),
        "from": next(iter(_addresses(message, "from")), ""),
        "to": _addresses(message, "to"),
        "cc": _addresses(message, "cc"),
        "date": _date(_first(headers, "date"), fetched.arrived_ms),
        "body": body[:preview] if preview else body[:LONGEST_TEXT],
        "html": html[:LONGEST_TEXT] if with_body else "",
        "headers": headers,
        "messageId": _first(headers, "message-id").strip(),
        "metadata": _metadata(fetched),
    }


def _metadata(fetched: Fetched) -> dict[str, Any]:
    flags = {flag.lower() for flag in fetched.flags}
    marks = {
        name: f"\\{name}" in flags for name in ("seen", "answered", "deleted", "draft", "flagged", "recent")
    }  # fmt: skip
    place = {"uid": fetched.uid, "sequence": fetched.sequence, "size": fetched.size, "flags": fetched.flags}
    return place | {"date": clock.rfc3339(fetched.arrived_ms)} | marks


def _headers(message: EmailMessage) -> dict[str, str]:
    """Names as written to their decoded values; values of a repeated name are lines of one text."""
    found: dict[str, str] = {}
    names: dict[str, str] = {}
    for name, raw in message.raw_items():
        try:
            value = str(policy.default.header_fetch_parse(name, raw))
        except MALFORMED:
            value = str(raw)
        kept = names.setdefault(name.lower(), clean(name))
        found[kept] = f"{found[kept]}\n{clean(value)}" if kept in found else clean(value)
    return found


def _first(headers: Mapping[str, str], name: str) -> str:
    values = (value for key, value in headers.items() if key.lower() == name)
    return next(values, "").partition("\n")[0]


def _addresses(message: EmailMessage, name: str) -> list[str]:
    found: list[str] = []
    for key, raw in message.raw_items():
        if key.lower() == name:
            try:
                parsed = policy.default.header_fetch_parse(key, raw)
                found.extend(clean(one.addr_spec) for one in cast(Any, parsed).addresses if one.domain)
            except MALFORMED:
                found.extend(re.findall(r"[^\s<>,;\"]+@[^\s<>,;\"]+", str(raw)))
    return found


def _date(written: str, arrived_ms: int) -> str:
    try:
        moment = parsedate_to_datetime(written)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return clock.rfc3339(int(moment.timestamp() * 1000))
    except (*MALFORMED, OverflowError):
        return clock.rfc3339(arrived_ms)


def _bodies(message: EmailMessage) -> tuple[str, str]:
    """Plain text and HTML; mail that has only HTML gets its words as plain text."""
    try:
        plain, html = message.get_body(("plain",)), message.get_body(("html",))
    except MALFORMED:
        return "", ""
    texts = [clean(_content(part)).replace("\r\n", "\n") if part is not None else "" for part in (plain, html)]
    return (texts[0] if plain is not None else words(texts[1])), texts[1]


def _content(part: MIMEPart) -> str:
    try:
        return str(part.get_content())
    except MALFORMED:
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else str(payload)


def clean(text: str) -> str:
    """``text`` without what has no encoding."""
    return text.encode("utf-8", "replace").decode()


def words(html: str) -> str:
    """The text of a page: no tags, scripts or styles, a line for each block."""
    reader = _Words()
    reader.feed(html)
    reader.close()
    lines = (re.sub(r"[ \t\r\f\v\xa0]+", " ", line).strip() for line in "".join(reader.found).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in _SILENT
        if tag in _BLOCKS:
            self.found.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(self._silent - (tag in _SILENT), 0)

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.found.append(data.replace("\n", " "))


def moment(text: str) -> datetime:
    """An RFC 3339 time, or a date, which is its midnight in UTC. Raises ValueError."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None and len(text) > len("2030-01-31"):
        raise ValueError(f"time without an offset: {text!r}")
    return found.replace(tzinfo=found.tzinfo or UTC)
