"""Periodic duties: each at its own pace, and no failure stops the others."""

from __future__ import annotations

import threading

import pytest

from shared.adapters.embedded.ticker import Duty, Ticker

SOON = 20.0


def test_duties_are_done_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    """A failing one too, without holding up the rest; a rare one is not done early."""
    done: dict[str, int] = {"often": 0, "broken": 0, "rare": 0}
    enough = threading.Event()

    def work(name: str) -> None:
        done[name] += 1
        if done["often"] >= 3 and done["broken"] >= 3:
            enough.set()
        if name == "broken":
            raise ValueError("it broke")

    def duty(name: str, every_s: float) -> Duty:
        return Duty(name, every_s, lambda: work(name))

    ticker = Ticker([duty("often", 0.001), duty("broken", 0.001), duty("rare", 3600)])
    ticker.run()
    assert enough.wait(SOON)
    ticker.close()
    counted = dict(done)
    assert counted["rare"] == 0 and counted["often"] >= 3 and counted["broken"] >= 3
    assert done == counted
    assert "it broke" in caplog.text


def test_closing_waits_for_the_duty_under_way() -> None:
    """No other begins."""
    inside, go_on, after = threading.Event(), threading.Event(), []

    def slow() -> None:
        inside.set()
        go_on.wait(SOON)
        after.append("slow")

    ticker = Ticker([Duty("slow", 0.001, slow), Duty("next", 0.001, lambda: after.append("next"))])
    ticker.run()
    assert inside.wait(SOON)
    before = len(after)
    closer = threading.Thread(target=ticker.close)
    closer.start()
    go_on.set()
    closer.join(SOON)
    assert not closer.is_alive() and len(after) > before


def test_a_ticker_that_never_ran_closes() -> None:
    """There is nothing to wait for."""
    Ticker([Duty("never", 0.001, lambda: None)]).close()


def test_a_duty_apart_keeps_no_other_waiting() -> None:
    """While a duty apart is under way the others are done."""
    goes_on, done = threading.Event(), threading.Event()
    ticker = Ticker([Duty("slow", 0.0, goes_on.wait, apart=True), Duty("quick", 0.01, done.set)])
    ticker.run()
    try:
        assert done.wait(10)
    finally:
        goes_on.set()
        ticker.close()
