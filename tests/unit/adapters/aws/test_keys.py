from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from shared.adapters.aws.keys import KmsKeyRing, secret_text
from shared.kit.crypto import Unsealable
from shared.kit.errors import Unavailable


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS, simulated in this process."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    secret_text.cache_clear()
    with mock_aws():
        yield


def test_kms_wraps_in_a_context(aws: None) -> None:
    """A data key unwraps with the same encryption context only."""
    ring = KmsKeyRing(boto3.client("kms").create_key()["KeyMetadata"]["KeyId"])
    plain, wrapped = ring.new_data_key({"scope": "account#a"})
    assert len(plain) == 32
    assert ring.unwrap(wrapped, {"scope": "account#a"}) == plain
    with pytest.raises(Unsealable):
        ring.unwrap(wrapped, {"scope": "account#b"})


def test_a_missing_key_is_unavailable(aws: None) -> None:
    """What AWS refuses is 503 to the caller, not a fault with detail."""
    with pytest.raises(Unavailable):
        KmsKeyRing("11111111-2222-3333-4444-555555555555").new_data_key({})


def test_texts_come_from_secrets_manager(aws: None) -> None:
    """A secret's text is read by its id; a missing one is unavailable."""
    made = boto3.client("secretsmanager").create_secret(Name="bootstrap", SecretString="one-time-token")
    assert secret_text(made["ARN"]) == "one-time-token"
    with pytest.raises(Unavailable):
        secret_text("missing")
