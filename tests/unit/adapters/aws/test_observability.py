from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.adapters.aws.observability import observed
from shared.kit.settings import UNSIGNED, Settings, use_settings
from tests.support.apigw import LambdaContext


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings as on AWS; no X-Ray daemon is there, so the tracer stays quiet."""
    monkeypatch.setenv("POWERTOOLS_TRACE_DISABLED", "1")
    use_settings(Settings(adapter="aws"))
    yield
    use_settings(None)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return {"statusCode": event["status"], "body": "secret-canary"}


def test_off_aws_nothing_is_added() -> None:
    """The very same handler."""
    use_settings(Settings(adapter="embedded"))
    try:
        assert observed("auth", handler) is handler
    finally:
        use_settings(None)


def test_requests_and_faults_are_counted(aws: None, capsys: pytest.CaptureFixture[str]) -> None:
    """One metric line per call, by family; a 5xx is a fault; the answer itself is in no metric."""
    watched = observed("auth", handler)
    for status in (200, 503):
        assert watched({"status": status}, LambdaContext())["statusCode"] == status
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counted = [line for line in lines if "Requests" in line]
    assert [(line["service"], line["Requests"], line["Faults"]) for line in counted] == [
        ("auth", [1.0], [0.0]),
        ("auth", [1.0], [1.0]),
    ]
    assert "secret-canary" not in json.dumps(lines)


@pytest.mark.parametrize(
    ("family", "required", "warned"),
    [("gate", False, True), ("gate", True, False), ("tracking", False, True), ("flows", False, False)],
)
def test_a_cold_start_warns_of_unsigned_requests(
    aws: None, caplog: pytest.LogCaptureFixture, family: str, required: bool, warned: bool
) -> None:
    """Once for each start of a function that agents call, where they need not sign."""
    use_settings(Settings(adapter="aws", hmac_required=required))
    observed(family, handler)
    assert [record.levelname for record in caplog.records if record.message == UNSIGNED] == ["WARNING"] * warned
