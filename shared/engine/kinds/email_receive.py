"""``email.receive``: read messages of a mailbox."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from shared.engine.connectors import imap
from shared.engine.connectors.mail import TLS, MailServer, one_line
from shared.engine.connectors.received import Fetched, moment, shown
from shared.engine.kinds.base import Call, Done, NodeFailed, NodeKind, Outcome
from shared.engine.kinds.records import whole
from shared.engine.kinds.scripting import DURATION, text_of, truthy
from shared.kit import json

DEFAULT_LIMIT = 50
MOST_MESSAGES = 500
LARGEST_OUTPUT = 5 * 1024 * 1024

_TIME = {"type": "string", "description": "RFC 3339 time of arrival; a date is its midnight in UTC."}


class EmailReceive(NodeKind):
    """Finds messages with IMAP in TLS, newest first, and shows them as objects."""

    name: ClassVar[str] = "email.receive"
    effectful: ClassVar[bool] = True
    description: ClassVar[str] = "Read e-mails from a mailbox."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "imap_host": {"type": "string"},
            "imap_port": {"type": "integer", "default": 993, "description": "993 is TLS, others are STARTTLS."},
            "tls": TLS,
            "username": {"type": "string"},
            "password": {"type": "string"},
            "folder": {"type": "string", "default": "INBOX"},
            "limit": {"type": "integer", "minimum": 1, "maximum": MOST_MESSAGES, "default": DEFAULT_LIMIT},
            "unseen": {"type": "boolean", "description": "Only messages not yet marked as read."},
            "from": {"type": "string", "description": "Part of the sender."},
            "to": {"type": "string", "description": "Part of a recipient."},
            "subject": {"type": "string", "description": "Part of the subject."},
            "since": _TIME,
            "before": _TIME,
            "with_body": {"type": "boolean", "default": False},
            "body_preview": {"type": "integer", "minimum": 0, "description": "Characters of the body to show."},
            "mark_as_read": {"type": "boolean", "default": False},
            "timeout": DURATION,
        },
        "required": ["imap_host", "username", "password"],
    }

    def run(self, call: Call) -> Outcome:
        params = call.params
        server = MailServer.of(call, "imap", port=993, implicit_port=993)
        folder = one_line(params.get("folder") or "INBOX", "folder")
        limit = whole(params.get("limit") or DEFAULT_LIMIT, "limit", least=1, most=MOST_MESSAGES)
        preview = whole(params.get("body_preview") or 0, "body_preview")
        with_body, mark = truthy(params.get("with_body")), truthy(params.get("mark_as_read"))

        def show(fetched: list[Fetched]) -> list[dict[str, Any]]:
            found = [shown(one, with_body=with_body, preview=preview) for one in fetched]
            if json.size(found) > LARGEST_OUTPUT:
                raise NodeFailed("the messages are larger than 5 MB together; use a lower limit", retryable=False)
            return found

        bodies = with_body or preview > 0
        return Done(imap.read(call, server, folder, _query(params), show, limit=limit, whole=bodies, mark=mark))


def _query(params: dict[str, Any]) -> imap.Query:
    given = {name: params[name] for name in ("from", "to", "subject") if params.get(name)}
    texts = {name.upper(): one_line(value, name) for name, value in given.items()}
    since, before = _moment(params.get("since"), "since"), _moment(params.get("before"), "before")
    return imap.Query(texts, unseen=truthy(params.get("unseen")), since=since, before=before)


def _moment(value: Any, name: str) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        return moment(text_of(value))
    except ValueError:
        message = f"{name} must be an RFC 3339 time such as 2030-01-31T12:00:00Z, or a date"
        raise NodeFailed(message, retryable=False) from None
