"""Keys and secrets on AWS: KMS wraps data keys, Secrets Manager keeps the few texts the deployment itself needs."""

from __future__ import annotations

from functools import cache, cached_property
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from shared.kit.crypto import Unsealable
from shared.kit.errors import Unavailable

_OTHER_KEY = {"InvalidCiphertextException", "IncorrectKeyException"}


class KmsKeyRing:
    """A key ring whose master key is a KMS key. ``context`` is the encryption context, visible in CloudTrail."""

    def __init__(self, key_id: str) -> None:
        self._key_id = key_id

    @cached_property
    def _client(self) -> Any:
        return boto3.client("kms")

    @property
    def name(self) -> str:
        return self._key_id

    def new_data_key(self, context: dict[str, str]) -> tuple[bytes, bytes]:
        """A fresh data key, plain and wrapped. Raises Unavailable."""
        answer = self._call("generate_data_key", KeyId=self._key_id, KeySpec="AES_256", EncryptionContext=context)
        return answer["Plaintext"], answer["CiphertextBlob"]

    def unwrap(self, wrapped: bytes, context: dict[str, str]) -> bytes:
        """The plain data key. Raises Unsealable, Unavailable."""
        answer = self._call("decrypt", KeyId=self._key_id, CiphertextBlob=wrapped, EncryptionContext=context)
        plain: bytes = answer["Plaintext"]
        return plain

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] in _OTHER_KEY:
                raise Unsealable("wrapped by another key or for another context") from error
            raise Unavailable("The key service refused the request") from error
        except BotoCoreError as error:
            raise Unavailable("The key service cannot be reached; try again") from error
        return answer


@cache
def secret_text(secret_id: str) -> str:
    """The text of a secret in Secrets Manager, read once per process. Raises Unavailable."""
    try:
        return str(boto3.client("secretsmanager").get_secret_value(SecretId=secret_id)["SecretString"])
    except (ClientError, BotoCoreError) as error:
        raise Unavailable("The secret store cannot be reached; try again") from error
