"""``email.send``: hand a message to a mail server."""

from __future__ import annotations

from typing import Any, ClassVar

from shared.engine.connectors.mail import TLS, MailServer
from shared.engine.connectors.message import compose
from shared.engine.connectors.smtp import submit
from shared.engine.kinds.base import Call, Done, NodeKind, Outcome
from shared.engine.kinds.once import ONCE_PARAMETERS, once
from shared.engine.kinds.scripting import DURATION

ADDRESSES = {
    "type": ["string", "array"],
    "items": {"type": "string"},
    "description": "E-mail addresses, with or without names: a list, or a text with commas between them.",
}
ATTACHMENT = {
    "type": "object",
    "properties": {
        "filename": {"type": "string"},
        "content_type": {"type": "string", "description": "Without it the name's ending decides."},
        "content": {"description": "Base64, or the text itself."},
        "encoding": {"enum": ["base64", "text"], "description": "Without it, what is valid Base64 is decoded."},
    },
    "required": ["filename", "content"],
}


class EmailSend(NodeKind):
    """Sends with SMTP in TLS; the same visit has the same Message-ID, however often it is tried."""

    name: ClassVar[str] = "email.send"
    effectful: ClassVar[bool] = True
    description: ClassVar[str] = "Send an e-mail through a mail server."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "smtp_host": {"type": "string"},
            "smtp_port": {"type": "integer", "default": 587, "description": "587 is STARTTLS, 465 TLS."},
            "tls": TLS,
            "username": {"type": "string"},
            "password": {"type": "string"},
            "from": {"type": "string", "description": "The user name, unless given."},
            "to": ADDRESSES,
            "cc": ADDRESSES,
            "bcc": ADDRESSES,
            "subject": {"type": "string"},
            "body": {},
            "html": {"type": "string"},
            "attachments": {"type": "array", "items": ATTACHMENT},
            "headers": {"type": "object"},
            "timeout": DURATION,
            **ONCE_PARAMETERS,
        },
        "required": ["smtp_host", "username", "password", "to", "subject"],
    }

    def run(self, call: Call) -> Outcome:
        server = MailServer.of(call, "smtp", port=587, implicit_port=465)
        outgoing = compose(call)

        def send() -> Done:
            for address, reply in submit(call, server, outgoing).items():
                call.log("warn", f"{server.name} refused the recipient {address}: {reply}")
            return Done(outgoing.sent())

        return once(call, send)
