"""Chains live as long as somebody goes on with them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.governance import chains
from shared.governance.chains import ChainNotFound, ChainOver, Chains
from shared.kit import clock, ids
from shared.store.embedded import EmbeddedEngine
from shared.store.models.governance import Chain, chain_pk
from shared.store.transaction import ConditionFailed, Transaction
from tests.support.money import AGENT
from tests.support.time import HeldClock
from tests.support.workflows import ORG, at_once

HOUR_MS = 3_600_000
CHAIN = "2f1f9c59-7c0b-4f3c-9b62-0c6a0d3ee0c5"


@pytest.fixture(autouse=True)
def _store(held: HeldClock, store: EmbeddedEngine) -> None:
    """A held clock and an empty store."""


def _touch(chain_id: str = CHAIN, longest_ms: int = HOUR_MS) -> None:
    """As the gate does it: touch, and if the chain is over ask why."""
    for _ in range(3):
        tx = Transaction()
        chains.touch(tx, ORG, chain_id, clock.now_ms(), longest_ms)
        try:
            tx.commit()
        except ConditionFailed as failed:
            chain = failed.failures["chain"]
            assert isinstance(chain, Chain)
            refusal = chains.refusal(chain)
            if refusal is not None:
                raise refusal from failed
        else:
            return
    raise AssertionError("the chain was never there")


def _live() -> bool:
    return chains.live(ORG, CHAIN, clock.now_ms(), HOUR_MS)


def _beat(chain_id: str = CHAIN) -> dict[str, object]:
    return Chains().heartbeat(AGENT, chain_id)


def test_a_chain_begins_with_its_first_call(held: HeldClock) -> None:
    """And is unknown before."""
    assert not _live()
    _touch()
    assert _live()
    found = Chain.get(chain_pk(ORG, CHAIN), "chain")
    assert (found.started_ms, found.active_ms, found.org_id) == (held.now_ms(), held.now_ms(), ORG)


@pytest.mark.parametrize(("pause_s", "alive"), [(299, True), (300, False)])
def test_a_chain_dies_of_idleness(held: HeldClock, pause_s: float, alive: bool) -> None:
    """300 seconds after it was last heard of."""
    _touch()
    held.advance(pause_s)
    assert _live() is alive


def test_calls_and_heartbeats_keep_it_alive(held: HeldClock) -> None:
    """Each for another 300 seconds, until the longest duration."""
    _touch()
    for number in range(14):
        held.advance(250)
        assert _live()
        if number % 2:
            _touch()
        else:
            _beat()
    held.advance(100)
    assert not _live()


def test_a_chain_that_lasts_too_long_is_refused(held: HeldClock) -> None:
    """CHAIN_MAX_DURATION_EXCEEDED, told to the gate's caller under a code its client can raise."""
    _touch(longest_ms=400_000)
    held.advance(250)
    _touch(longest_ms=400_000)
    held.advance(150)
    with pytest.raises(Exception, match="longer than 400 s") as caught:
        _touch(longest_ms=400_000)
    body = getattr(caught.value, "body", {})
    assert (body["error_code"], body["details"]["error_code"]) == ("CHAIN_MAX_DURATION_EXCEEDED", "CHAIN_EXPIRED")
    with pytest.raises(ChainOver):
        _beat()


@pytest.mark.parametrize("over", [lambda held: held.advance(300), lambda held: chains.end(ORG, CHAIN)])
def test_a_chain_that_is_over_begins_anew(held: HeldClock, over: Callable[[HeldClock], object]) -> None:
    """With the next call of its id, and with its time at the beginning."""
    _touch()
    held.advance(100)
    over(held)
    held.advance(1)
    assert not _live()
    _touch()
    assert _live()
    assert Chain.get(chain_pk(ORG, CHAIN), "chain").started_ms == held.now_ms()


def test_racing_calls_begin_a_chain_once() -> None:
    """All of them are in it."""
    answers = at_once(*(_touch for _ in range(8)))
    assert answers == [None] * 8


def test_an_end_is_told_once() -> None:
    """An unknown chain, and one that has ended, stay what they are."""
    assert not chains.end(ORG, CHAIN)
    _touch()
    assert [chains.end(ORG, CHAIN), chains.end(ORG, CHAIN)] == [True, False]


@pytest.mark.parametrize(("pause_s", "moved"), [(0, False), (24.9, False), (25, True), (60, True)])
def test_a_heartbeat_counts_every_thirty_seconds(held: HeldClock, pause_s: float, moved: bool) -> None:
    """A more frequent one is answered with the last time that counted; five seconds early is on time."""
    _touch()
    began_s = held.now_ms() // 1000
    held.advance(pause_s)
    expected = held.now_ms() // 1000 if moved else began_s
    assert _beat() == {"status": "ok", "chain_id": CHAIN, "last_active": expected}


def test_heartbeats_of_nothing() -> None:
    """404 for a chain nobody began, also one of another org; 409 for one that ended."""
    _touch()
    with pytest.raises(ChainNotFound):
        _beat(ids.uuid4())
    stranger = AGENT.__class__(kind="key", org_id=ids.uuid4(), account_id="", username="", role="viewer")
    with pytest.raises(ChainNotFound):
        Chains().heartbeat(stranger, CHAIN)
    assert _beat(CHAIN.upper())["chain_id"] == CHAIN
    chains.end(ORG, CHAIN)
    with pytest.raises(ChainOver):
        _beat()
