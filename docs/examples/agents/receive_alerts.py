"""Receive alerts at http://127.0.0.1:9000/, print those whose signatures are good: receive_alerts.py SECRET."""

import base64
import hashlib
import hmac
import json
import sys
import time
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer

TOLERANCE_S = 300


def is_genuine(secret: str, headers: Message, body: bytes) -> bool:
    """Whether the message was signed with the channel's secret, and lately. Either signature would do."""
    stamp = headers["webhook-timestamp"]
    if abs(time.time() - int(stamp)) > TOLERANCE_S:
        return False
    # NullRun's own: hexadecimal, with the secret's text as the key.
    signed = f"{stamp}.{headers['X-NullRun-Nonce']}.".encode() + body
    nullrun = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    # Standard Webhooks: Base64, with the bytes that whsec_... stands for as the key.
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    signed = f"{headers['webhook-id']}.{stamp}.".encode() + body
    standard = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return hmac.compare_digest(nullrun, headers["X-NullRun-Signature"]) and hmac.compare_digest(
        standard, headers["webhook-signature"]
    )


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what is genuine; a repetition has the same ``webhook-id``."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        genuine = is_genuine(sys.argv[1], self.headers, body)
        self.send_response(204 if genuine else 401)
        self.end_headers()
        if genuine:
            print(self.headers["webhook-id"], json.loads(body), flush=True)


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", 9000), Receiver).serve_forever()
