"""Mail through Amazon SES. Source: Amazon SES API v2, SendEmail."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.governance.ports import MailFailed


class SesMail:
    """Sends as ``sender``, an identity that is verified in SES."""

    def __init__(self, *, sender: str) -> None:
        self._sender = sender

    @cached_property
    def _client(self) -> Any:
        config = Config(retries={"max_attempts": 3, "mode": "standard"}, connect_timeout=3, read_timeout=10)
        return boto3.client("sesv2", config=config)

    def send(self, to: str, subject: str, text: str) -> None:
        """Send one mail. Raises MailFailed."""
        content = {
            "Simple": {
                "Subject": {"Data": subject, "Charset": "UTF-8"},
                "Body": {"Text": {"Data": text, "Charset": "UTF-8"}},
            }
        }
        try:
            self._client.send_email(FromEmailAddress=self._sender, Destination={"ToAddresses": [to]}, Content=content)
        except ClientError as error:
            raise MailFailed(f"SES answered {error.response['Error']['Code']}") from None
        except BotoCoreError as error:
            raise MailFailed(f"SES could not be reached: {type(error).__name__}") from None
