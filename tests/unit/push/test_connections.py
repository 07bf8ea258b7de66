"""Rows of connections and listeners."""

from __future__ import annotations

import pytest

from shared.kit import clock
from shared.kit.errors import InvalidRequest
from shared.push import Busy, Connection, Connections
from shared.push import connections as module
from shared.push.connections import BEATS, LIFE_SECONDS
from shared.store.models.channels import Listener, channel_pk, connection_pk
from tests.support.push import CHANNEL, ORG, connect
from tests.support.time import HeldClock

pytestmark = pytest.mark.usefixtures("store")


class Held:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def now_ms(self) -> int:
        return self.now

    def monotonic(self) -> float:
        return self.now / 1000

    def sleep(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


def listener(connections: Connections, connection_id: str = "c1") -> Listener:
    connections.listen(connect(connections, connection_id), CHANNEL, "page")
    return next(row for row in connections.listeners(channel_pk(ORG, CHANNEL)) if row.connection_id == connection_id)


def test_listening_twice_is_once() -> None:
    """A second subscription to the same channel changes nothing."""
    connections = Connections()
    row = connect(connections, "c1")
    assert connections.listen(row, CHANNEL, "page") and not connections.listen(row, CHANNEL, "page")
    assert len(connections.listeners(channel_pk(ORG, CHANNEL))) == 1


def test_closing_forgets_every_channel() -> None:
    """Nothing of a closed connection is left, and closing it again is harmless."""
    connections = Connections()
    row = connect(connections, "c1")
    for number in range(3):
        connections.listen(row, f"execution#{number}", "page")
    connections.close("c1")
    connections.close("c1")
    assert connections.get("c1") is None
    assert all(connections.listeners(channel_pk(ORG, f"execution#{number}")) == [] for number in range(3))


def test_leaving_one_channel_keeps_the_others() -> None:
    """Leaving ends one subscription only; leaving what is not heard is harmless."""
    connections = Connections()
    row = connect(connections, "c1")
    connections.listen(row, "execution#1", "page")
    connections.listen(row, "execution#2", "page")
    connections.leave(ORG, "c1", "execution#1")
    connections.leave(ORG, "c1", "execution#1")
    assert connections.listeners(channel_pk(ORG, "execution#1")) == []
    assert len(connections.listeners(channel_pk(ORG, "execution#2"))) == 1


def test_a_connection_hears_a_bounded_number_of_channels() -> None:
    """One client cannot fill the table."""
    connections = Connections()
    row = connect(connections, "c1")
    for number in range(module.MAX_CHANNELS):
        connections.listen(row, f"execution#{number}", "page")
    with pytest.raises(InvalidRequest, match="at most 100"):
        connections.listen(row, "execution#one-too-many", "page")


def test_a_claim_excludes_others_until_it_is_settled() -> None:
    """While one sends, another waits; the wait ends in Busy."""
    connections = Connections()
    row = listener(connections)
    with clock.use(Held()):
        mine = connections.claim(row)
        assert mine is not None
        mine_again = connections.renew(mine)
        assert mine_again
    connections_now = Connections()
    held = Held()
    with clock.use(held):
        assert connections.settle(mine, 7)
        other = connections_now.claim(row)
        assert other is not None and other.cursor == 7


def test_a_dead_senders_claim_runs_out() -> None:
    """A sender that died does not silence the listener for good."""
    connections = Connections()
    row = listener(connections)
    held = Held()
    with clock.use(held):
        assert connections.claim(row) is not None
        before = held.now
        assert connections.claim(row) is not None
        assert held.now - before >= module.CLAIM_MS


def test_a_claim_that_lasts_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cannot get the claim says so instead of sending beside its holder."""
    connections = Connections()
    row = listener(connections)
    monkeypatch.setattr(module, "CLAIM_MS", 3_600_000)
    with clock.use(Held()):
        assert connections.claim(row) is not None
        with pytest.raises(Busy):
            connections.claim(row)


def test_a_settled_or_lost_claim_cannot_settle_again() -> None:
    """The cursor moves by compare-and-set on the claim."""
    connections = Connections()
    mine = connections.claim(listener(connections))
    assert mine is not None
    assert connections.settle(mine, 3)
    assert not connections.settle(mine, 1) and not connections.renew(mine)
    assert connections.listeners(channel_pk(ORG, CHANNEL))[0].cursor == 3


def test_a_listener_that_left_cannot_be_claimed() -> None:
    """None tells that there is nobody to send to; no row comes back to life."""
    connections = Connections()
    row = listener(connections)
    connections.close("c1")
    assert connections.claim(row) is None
    assert connections.listeners(channel_pk(ORG, CHANNEL)) == []


def test_rows_expire() -> None:
    """Rows of a connection whose end was never told are invisible after their time."""
    connections = Connections()
    listener(connections)
    late = Held()
    late.now = clock.now_ms() + (module.LIFE_SECONDS + 1) * 1000
    with clock.use(late):
        assert connections.listeners(channel_pk(ORG, CHANNEL)) == [] and connections.get("c1") is None


def test_a_beating_connection_has_its_turn_until_it_is_closed() -> None:
    """Only those that were opened with a turn have one."""
    connections = Connections()
    silent, beating = (
        Connection(
            connection_pk(name), "connection", connection_id=name, org_id=ORG, account_id="a", protocol="p",
            connected_ms=clock.now_ms(), beat=beat,
        )
        for name, beat in (("silent", None), ("beating", 2))
    )  # fmt: skip
    for row in (silent, beating, beating):
        connections.open(row)
    assert [connections.beating(turn) for turn in range(BEATS)] == [[], [], ["beating"], []]
    connections.close("beating")
    assert connections.beating(2) == [] and connections.get("silent") is not None


def test_rows_are_prolonged_once_half_of_their_time_is_over(held: HeldClock) -> None:
    """All of a connection's rows together; one that was closed does not come back."""
    connections = Connections()
    row = connect(connections, "c1")
    connections.listen(row, CHANNEL, "page")
    ends = row.ttl
    connections.prolong("c1")
    assert (kept := connections.get("c1")) is not None and kept.ttl == ends
    held.advance(LIFE_SECONDS * 0.6)
    connections.prolong("c1")
    held.advance(LIFE_SECONDS * 0.6)
    assert connections.get("c1") is not None and len(connections.listeners(channel_pk(ORG, CHANNEL))) == 1
    connections.close("c1")
    connections.prolong("c1")
    assert connections.get("c1") is None and connections.listeners(channel_pk(ORG, CHANNEL)) == []


def test_a_connection_that_closes_while_it_is_prolonged_stays_closed(
    held: HeldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row is left to come back."""
    connections = Connections()
    connections.listen(connect(connections, "c1"), CHANNEL, "page")
    held.advance(LIFE_SECONDS * 0.6)
    known = connections.get("c1")
    connections.close("c1")
    monkeypatch.setattr(connections, "get", lambda connection_id: known)
    connections.prolong("c1")
    monkeypatch.undo()
    assert connections.get("c1") is None


def test_one_listener_is_found_without_the_others() -> None:
    """By its connection; one that is not there is nobody."""
    connections = Connections()
    for name in ("c1", "c2"):
        connections.listen(connect(connections, name), CHANNEL, "page")
    pk = channel_pk(ORG, CHANNEL)
    assert [row.connection_id for row in connections.listeners(pk, "c2")] == ["c2"]
    assert connections.listeners(pk, "c3") == []
