"""Large values in a bucket."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.kit.errors import NotFound, Unavailable
from shared.store.blobs import check_key


class S3Blobs:
    """The ``LinkedBlobs`` port over one S3 bucket, which encrypts by default."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    @cached_property
    def _client(self) -> Any:
        return boto3.client("s3")

    @cached_property
    def _signer(self) -> Any:
        # By default presigned URLs have a signature of version 2 in older regions, which S3 does not take for objects
        # that are encrypted by KMS, and a global host name, which redirects to one that was not signed.
        return boto3.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"}))

    def put(self, key: str, data: bytes) -> None:
        """Store; S3 replaces an object whole. Raises Unavailable."""
        self._call("put_object", Key=check_key(key), Body=data)

    def get(self, key: str) -> bytes:
        """The bytes. Raises NotFound, Unavailable."""
        content: bytes = self._call("get_object", Key=check_key(key))["Body"].read()
        return content

    def delete(self, key: str) -> None:
        """Remove; a missing object is no error. Raises Unavailable."""
        self._call("delete_object", Key=check_key(key))

    def link(self, key: str, seconds: int) -> str:
        """A presigned URL; it works no longer than the credentials of whoever signed it."""
        named = {"Bucket": self._bucket, "Key": check_key(key)}
        url: str = self._signer.generate_presigned_url("get_object", Params=named, ExpiresIn=seconds)
        return url

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self._bucket, **request)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                raise NotFound("The stored value is gone") from None
            raise Unavailable("The blob store refused the request; try again") from error
        except BotoCoreError as error:
            raise Unavailable("The blob store cannot be reached; try again") from error
        return answer
