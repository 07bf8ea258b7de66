"""Links to large values in a bucket."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from shared.adapters.aws.blobs import S3Blobs


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some, which a link is signed with; no request is made."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")


@pytest.mark.parametrize("region", ["eu-central-1", "eu-west-1", "us-west-2"])
def test_a_link_is_taken_in_every_region(monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    """Also for encrypted objects and in older regions: signature version 4, and the region's own host name."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    link = urlsplit(S3Blobs("values").link("exports/a.jsonl", 60))
    assert (link.hostname, link.path) == (f"values.s3.{region}.amazonaws.com", "/exports/a.jsonl")
    query = parse_qs(link.query)
    assert (query["X-Amz-Algorithm"], query["X-Amz-Expires"]) == (["AWS4-HMAC-SHA256"], ["60"])
