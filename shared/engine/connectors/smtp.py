"""Handing a message to a mail server (RFC 6409), over a checked connection."""

from __future__ import annotations

import binascii
import contextlib
import smtplib
import socket
from typing import Any

from shared.engine.connectors.mail import Link, MailServer, tls
from shared.engine.connectors.message import Outgoing
from shared.engine.kinds.base import Call, NodeFailed

MOST_BYTES = 1024 * 1024
"""Most a server may say in one conversation."""


class _Client(smtplib.SMTP):
    """smtplib's client over the connection of a link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        literal = f"[IPv6:{link.own}]" if ":" in link.own else f"[{link.own}]"
        super().__init__(link.server.host, link.server.port, local_hostname=literal)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._link.socket


def submit(call: Call, server: MailServer, outgoing: Outgoing) -> dict[str, str]:
    """Send; the answer is what the server said of recipients it refused while it took others."""
    with server.connection(call, MOST_BYTES) as link:
        try:
            with contextlib.closing(_Client(link)) as smtp:
                return _converse(call, smtp, link, outgoing)
        except smtplib.SMTPServerDisconnected as error:
            raise ConnectionError(server.said(error)) from None
        except smtplib.SMTPException as error:
            raise _failure(server, error) from None
        except (binascii.Error, UnicodeError):
            # A challenge that cannot be decoded.
            raise NodeFailed(f"{server.name} answers what is no SMTP", retryable=False) from None


def _converse(call: Call, smtp: smtplib.SMTP, link: Link, outgoing: Outgoing) -> dict[str, str]:
    server = link.server
    smtp.ehlo_or_helo_if_needed()
    if link.wants_starttls(smtp.has_extn("starttls")):
        smtp.starttls(context=tls())
        smtp.ehlo_or_helo_if_needed()
    _log_in(call, smtp, server)
    refused = smtp.send_message(outgoing.message, outgoing.sender.addr_spec, outgoing.recipients)
    # The server has taken the message; how the conversation ends does not matter any more.
    with contextlib.suppress(smtplib.SMTPException, OSError):
        smtp.quit()
    return {address: f"{code} {server.said(reply)}" for address, (code, reply) in refused.items()}


def _log_in(call: Call, smtp: smtplib.SMTP, server: MailServer) -> None:
    mechanisms = smtp.esmtp_features.get("auth", "").upper().split()
    if not mechanisms:
        call.log("warn", f"{server.name} asks for no login; the message is sent without one")
        return
    if "PLAIN" not in mechanisms:
        try:
            smtp.login(server.username, server.password)
        except UnicodeEncodeError:
            message = f"{server.name} accepts only ASCII in username and password"
            raise NodeFailed(message, retryable=False) from None
        return
    code, reply = smtp.docmd("AUTH", f"PLAIN {server.plain}")
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, reply)


def _failure(server: MailServer, error: smtplib.SMTPException) -> NodeFailed:
    match error:
        case smtplib.SMTPAuthenticationError(smtp_code=code, smtp_error=reply):
            return _refusal(server, "refused the login", code, reply)
        case smtplib.SMTPRecipientsRefused(recipients=recipients):
            address, (code, reply) = next(iter(recipients.items()))
            return _refusal(server, f"refused the recipient {address}", code, reply)
        case smtplib.SMTPSenderRefused(smtp_code=code, smtp_error=reply, sender=sender):
            return _refusal(server, f"refused the sender {sender}", code, reply)
        case smtplib.SMTPResponseException(smtp_code=code, smtp_error=reply):
            return _refusal(server, "refused the message", code, reply)
    return NodeFailed(f"{server.name}: {server.said(error)}", retryable=False)


def _refusal(server: MailServer, what: str, code: int, reply: Any) -> NodeFailed:
    # A server says 4xx when trying again may help and 5xx when it will not (RFC 5321, 4.2.1).
    return NodeFailed(f"{server.name} {what}: {code} {server.said(reply)}", retryable=code < 500)
