from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws
from moto.ses.models import ses_backends

from shared.adapters.aws.mail import SesMail
from shared.governance.ports import MailFailed

SENDER, REGION = "signalbox@example.com", "eu-north-1"
ACCOUNT = "123456789012"


@pytest.fixture
def ses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SES as moto plays it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        yield


@pytest.mark.usefixtures("ses")
def test_a_mail_is_handed_over() -> None:
    """From a verified sender, with subject and text."""
    boto3.client("sesv2").create_email_identity(EmailIdentity=SENDER)
    SesMail(sender=SENDER).send("dan@example.com", "Hello", "Grüße")
    (sent,) = ses_backends[ACCOUNT][REGION].sent_messages
    assert (sent.source, sent.subject, sent.body) == (SENDER, "Hello", "Grüße")
    assert sent.destinations["ToAddresses"] == ["dan@example.com"]


@pytest.mark.usefixtures("ses")
def test_a_sender_that_is_not_verified() -> None:
    """Is told by SES's code."""
    with pytest.raises(MailFailed, match="MessageRejected"):
        SesMail(sender=SENDER).send("dan@example.com", "Hello", "text")


def test_ses_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is one failed mail."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SESV2", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(MailFailed, match="reached"):
        SesMail(sender=SENDER).send("dan@example.com", "Hello", "text")
