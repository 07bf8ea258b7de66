"""The message ``email.send`` hands in, made from a node's parameters (RFC 5322, MIME)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import mimetypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import NonASCIILocalPartDefect, ObsoleteHeaderDefect
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, cast

from shared.engine.connectors.mail import one_line
from shared.engine.connectors.received import MALFORMED
from shared.engine.kinds.base import Call, NodeFailed
from shared.engine.kinds.scripting import text_of
from shared.kit import clock

MOST_RECIPIENTS = 100

_HEADER_NAME = re.compile(r"[!-9;-~]+")
_CONTENT_TYPE = re.compile(r"([\w!#$&^.+-]+)/([\w!#$&^.+-]+)(\s*;.*)?", re.ASCII)
_OURS = {
    "from", "to", "cc", "bcc", "subject", "mime-version", "content-type", "content-transfer-encoding",
    "content-disposition",
}  # fmt: skip
_TOLERATED = (NonASCIILocalPartDefect, ObsoleteHeaderDefect)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message with its envelope."""

    message: EmailMessage
    sender: Address
    to: Sequence[Address]
    cc: Sequence[Address]
    bcc: Sequence[Address]
    subject: str

    @property
    def recipients(self) -> list[str]:
        """Every address once, hidden ones included."""
        return list(dict.fromkeys(one.addr_spec for one in (*self.to, *self.cc, *self.bcc)))

    def sent(self) -> dict[str, Any]:
        """The node's output."""
        shown = {name: [str(one) for one in getattr(self, name)] for name in ("to", "cc", "bcc")}
        return {"status": "sent", "from": str(self.sender), **shown, "subject": self.subject}


def compose(call: Call) -> Outgoing:
    """The message of a node's parameters. Raises NodeFailed that names the parameter to correct."""
    params = call.params
    senders = addresses(params.get("from") or call.require("username"), "from")
    if len(senders) != 1:
        raise NodeFailed("from must be one e-mail address", retryable=False)
    to, subject = addresses(call.require("to"), "to"), one_line(call.require("subject"), "subject")
    cc, bcc = (addresses(params.get(name) or [], name) for name in ("cc", "bcc"))
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = senders, to, subject
    if cc:
        message["Cc"] = cc
    _add_headers(message, params.get("headers"))
    _date_and_identify(message, call, senders[0])
    _fill(message, params)
    outgoing = Outgoing(message, senders[0], to, cc, bcc, subject)
    if not 1 <= len(outgoing.recipients) <= MOST_RECIPIENTS:
        raise NodeFailed(f"a message needs between 1 and {MOST_RECIPIENTS} recipients", retryable=False)
    return outgoing


def addresses(value: Any, name: str) -> tuple[Address, ...]:
    """E-mail addresses of a text (separated by commas) or a list of texts, with or without display names."""
    found: list[Address] = []
    for text in value if isinstance(value, list) else [value]:
        if not isinstance(text, str):
            raise NodeFailed(f"{name} must be an e-mail address or a list of them", retryable=False)
        parsed = _parsed_addresses(one_line(text, name))
        if parsed is None:
            raise NodeFailed(f"{name} holds no valid e-mail address: {text[:200]}", retryable=False)
        found.extend(parsed)
    return tuple(found)


def _parsed_addresses(text: str) -> Sequence[Address] | None:
    try:
        header = cast(Any, SMTP.header_factory("to", text))
        header.fold(policy=SMTP)
    except MALFORMED:
        return None
    bad = any(not isinstance(defect, _TOLERATED) for defect in header.defects)
    found: Sequence[Address] = header.addresses
    return None if bad or any(not one.username or not one.domain for one in found) else found


def _add_headers(message: EmailMessage, headers: Any) -> None:
    if not headers:
        return
    if not isinstance(headers, dict):
        raise NodeFailed("headers must be an object of names and texts", retryable=False)
    seen: set[str] = set()
    for name, value in headers.items():
        lower = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            raise NodeFailed(f"{one_line(name, 'a header name')} is no name of a header", retryable=False)
        if lower in _OURS or lower in seen:
            raise NodeFailed(f"the header {name} is set already; use the node's parameters", retryable=False)
        seen.add(lower)
        text = one_line(value, f"the header {name}")
        try:
            message[name] = text
            SMTP.fold_binary(name, message[name])
        except MALFORMED:
            raise NodeFailed(f"the header {name} has a malformed value: {text[:200]}", retryable=False) from None


def _date_and_identify(message: EmailMessage, call: Call, sender: Address) -> None:
    if "Date" not in message:
        message["Date"] = format_datetime(datetime.fromtimestamp(clock.now_ms() // 1000, UTC))
    if "Message-ID" not in message:
        # The same for every attempt, so that a message sent twice by a crash is recognised as one.
        digest = hashlib.sha256(f"{call.execution.org_id}\n{call.idempotency_key}".encode()).hexdigest()[:32]
        try:
            domain = sender.domain.encode("idna").decode()
        except UnicodeError:
            domain = "localhost"
        message["Message-ID"] = f"<{digest}@{domain}>"


def _fill(message: EmailMessage, params: dict[str, Any]) -> None:
    html, body = params.get("html"), params.get("body")
    if html is None or body is not None:
        message.set_content(_text("" if body is None else body))
    if html is not None and body is not None:
        message.add_alternative(_text(html), subtype="html")
    elif html is not None:
        message.set_content(_text(html), subtype="html")
    attachments = params.get("attachments") or []
    if not isinstance(attachments, list) or not all(isinstance(one, dict) for one in attachments):
        raise NodeFailed("attachments must be a list of {filename, content_type, content}", retryable=False)
    for number, attachment in enumerate(attachments, start=1):
        _attach(message, attachment, f"attachment {number}")


def _attach(message: EmailMessage, attachment: dict[str, Any], name: str) -> None:
    content, filename = attachment.get("content"), attachment.get("filename")
    if content is None or not filename:
        raise NodeFailed(f"{name} needs filename and content", retryable=False)
    filename = one_line(filename, f"filename of {name}")
    written = attachment.get("content_type") or mimetypes.guess_type(filename)[0] or "application/octet-stream"
    kind = _CONTENT_TYPE.fullmatch(one_line(written, f"content_type of {name}"))
    if kind is None or kind[1].lower() in ("multipart", "message"):
        raise NodeFailed(f"content_type of {name} must be a type such as application/pdf", retryable=False)
    parsed = cast(Any, SMTP.header_factory("content-type", kind[0]))
    parameters = {key: value for key, value in parsed.params.items() if key != "name"}
    message.add_attachment(
        _bytes(content, attachment.get("encoding"), name),
        maintype=kind[1].lower(), subtype=kind[2].lower(), filename=filename, params=parameters,
    )  # fmt: skip


def _bytes(content: Any, encoding: Any, name: str) -> bytes:
    """Base64 where it is valid Base64 or said to be, else the text itself."""
    if encoding not in (None, "base64", "text"):
        raise NodeFailed(f"encoding of {name} must be base64 or text", retryable=False)
    text = text_of(content)
    if encoding != "text" and isinstance(content, str):
        try:
            return base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True)
        except (binascii.Error, ValueError):
            if encoding == "base64":
                raise NodeFailed(f"content of {name} is no valid Base64", retryable=False) from None
    return _text(text).encode()


def _text(value: Any) -> str:
    return text_of(value).encode("utf-8", "replace").decode()
