"""Requests of one address per minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from functions.signup.app import handler
from shared.identity.addresses import Addresses
from shared.kit.errors import TooManyRequests
from shared.store.embedded import EmbeddedEngine
from tests.support.apigw import call
from tests.support.deployment import deployment
from tests.support.time import HeldClock


def test_an_address_has_so_many_requests_a_minute(held: HeldClock, store: EmbeddedEngine) -> None:
    """The next is refused until the minute is over, whichever process it reaches; another address has its own."""
    addresses, others = Addresses(b"k" * 32, 2), Addresses(b"k" * 32, 2)
    addresses.admit("192.0.2.1")
    others.admit("192.0.2.1")
    with pytest.raises(TooManyRequests) as refused:
        addresses.admit("192.0.2.1")
    addresses.admit("192.0.2.2")
    held.advance(refused.value.retry_after)
    addresses.admit("192.0.2.1")


def test_no_limit_is_counted_nowhere(store: EmbeddedEngine) -> None:
    """The default: not one store request."""
    with store.requests.recorded() as seen:
        for _ in range(5):
            Addresses(b"k" * 32, 0).admit("192.0.2.1")
    assert seen == []


def test_public_routes_are_limited(tmp_path: Path) -> None:
    """429 with Retry-After in NullRun's form, also to a request that is wrong."""
    with deployment(tmp_path, address_requests_per_minute=2):
        answers = [call(handler, "POST", "/api/v1/auth/register", json={}) for _ in range(3)]
    assert [answer.status for answer in answers] == [422, 422, 429]
    assert answers[2].body["error"] == "rate_limit_exceeded" and int(answers[2].headers["retry-after"]) > 0
