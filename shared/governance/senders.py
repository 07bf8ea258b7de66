"""How a message is put for each kind of channel, and sent.

A webhook is signed twice: in NullRun's way, and in that of Standard Webhooks, which libraries of many languages verify.
Sources: NullRun docs, HTTP API, Alert channels; Standard Webhooks, Specification; Slack API, Incoming webhooks.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from shared.governance.channels import secret_bytes
from shared.governance.ports import MailFailed, MailSender
from shared.kit import clock, ids, json

if TYPE_CHECKING:
    from shared.outbound import OutboundClient

TIMEOUT_S = 10.0
ANSWER_BYTES = 64 * 1024


class NotSent(Exception):
    """Nobody took the message; the reason holds no secret. ``final`` when another attempt cannot help."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


class Senders:
    """Sends messages: ``payload`` has ``subject``, ``text`` and, for webhooks, ``event``. Raises NotSent."""

    def __init__(self, outbound: Callable[[], OutboundClient], mail: Callable[[], MailSender]) -> None:
        self._outbound = outbound
        self._mail = mail

    def to_channel(
        self, channel_type: str, config: Mapping[str, str], message_id: str, payload: Mapping[str, Any]
    ) -> None:
        """Send to an alert channel."""
        if channel_type == "email":
            self.to_person(config["email"], payload)
        elif channel_type == "slack":
            self._post(config["url"], json.dumpb({"text": _slack_text(payload)}), {})
        else:
            body = json.dumpb(payload["event"])
            self._post(config["url"], body, webhook_headers(config.get("secret"), message_id, body))

    def to_person(self, address: str, payload: Mapping[str, Any]) -> None:
        """Send a mail."""
        try:
            self._mail().send(address, payload["subject"], payload["text"])
        except MailFailed as failed:
            raise NotSent(str(failed)) from None

    def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        # Whoever only looks at deliveries needs no HTTP client.
        from shared.outbound import OutboundError, OutboundRefused

        sent = {"Content-Type": "application/json", **headers}
        try:
            answer = self._outbound().request(
                "POST", url, headers=sent, body=body, timeout_s=TIMEOUT_S, follow_redirects=False,
                max_bytes=ANSWER_BYTES,
            )  # fmt: skip
        except OutboundRefused as refused:
            raise NotSent(refused.message, final=True) from None
        except OutboundError as error:
            raise NotSent(error.message) from None
        if not 200 <= answer.status < 300:
            raise NotSent(f"The receiver answered {answer.status}")


def _slack_text(payload: Mapping[str, Any]) -> str:
    """Names in it are people's own; none of them may become a mention or a link."""
    subject, text = (html.escape(payload[name], quote=False) for name in ("subject", "text"))
    return f"*{subject}*\n{text}"


def webhook_headers(secret: str | None, message_id: str, body: bytes) -> dict[str, str]:
    """Headers that tell which message it is and when it was sent, and prove with ``secret`` who sent it."""
    stamp, nonce = str(clock.now_ms() // 1000), ids.token(16)
    headers = {"X-NullRun-Timestamp": stamp, "X-NullRun-Nonce": nonce}
    headers |= {"webhook-id": message_id, "webhook-timestamp": stamp}
    if secret is not None:
        headers["X-NullRun-Signature"] = _mac(secret.encode(), f"{stamp}.{nonce}.", body).hex()
        standard = _mac(secret_bytes(secret), f"{message_id}.{stamp}.", body)
        headers["webhook-signature"] = f"v1,{base64.b64encode(standard).decode()}"
    return headers


def _mac(key: bytes, prefix: str, body: bytes) -> bytes:
    return hmac.digest(key, prefix.encode() + body, hashlib.sha256)
