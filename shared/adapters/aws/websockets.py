"""API Gateway's WebSockets, as the relay's sender (the ``@connections`` commands of API Gateway's management API)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.kit.errors import Unavailable
from shared.push.ports import NORMAL, Gone

YOUNG_MS = 10_000
"""API Gateway may answer 410 for a connection whose ``$connect`` has not been answered to the client yet."""


class ApiGatewaySender:
    """Sends through the stage's own address, never through the distribution in front of it."""

    in_use = True
    lanes = 16

    def __init__(self, endpoint_url: str) -> None:
        self._endpoint_url = endpoint_url

    @cached_property
    def _client(self) -> Any:
        config = Config(
            retries={"max_attempts": 4, "mode": "standard"}, connect_timeout=3, read_timeout=10,
            max_pool_connections=self.lanes,
        )  # fmt: skip
        return boto3.client("apigatewaymanagementapi", endpoint_url=self._endpoint_url, config=config)

    def accepts(self, connection_id: str) -> bool:
        """Always: a post returns when API Gateway has taken the message."""
        return True

    def send(self, connection_id: str, text: str) -> None:
        """Post a message. Raises Gone, Unavailable."""
        self._call(lambda: self._client.post_to_connection(ConnectionId=connection_id, Data=text.encode()))

    def close(self, connection_id: str, code: int = NORMAL) -> None:
        """Disconnect, always with API Gateway's own code; a connection that is gone counts as done."""
        try:
            self._call(lambda: self._client.delete_connection(ConnectionId=connection_id))
        except Gone:
            return

    def _call(self, request: Callable[[], object]) -> None:
        try:
            request()
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") == 410:
                raise Gone("The connection is closed") from error
            raise Unavailable("The message could not be sent; it will be tried again") from error
        except BotoCoreError as error:
            raise Unavailable("The message could not be sent; it will be tried again") from error
