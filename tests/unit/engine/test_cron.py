"""Cron expressions: what is one, and when it is due."""

from __future__ import annotations

import zoneinfo
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.engine.cron import Cron
from shared.kit import clock
from shared.kit.errors import InvalidRequest

BERLIN = ZoneInfo("Europe/Berlin")


def ms(text: str) -> int:
    """Epoch milliseconds of a UTC time, or of one with an offset."""
    return clock.parse_rfc3339(text if "+" in text else f"{text}Z")


def local(moment_ms: int | None) -> str:
    """A moment in Berlin."""
    assert moment_ms is not None
    return datetime.fromtimestamp(moment_ms / 1000, BERLIN).isoformat()


@pytest.mark.parametrize(
    ("expression", "start", "following"),
    [
        ("* * * * *", "2026-01-01T00:00:00", "2026-01-01T00:01:00"),
        ("*/15 * * * *", "2026-01-01T00:14:59.999", "2026-01-01T00:15:00"),
        ("0 9 * * MON-FRI", "2026-01-02T09:00:00", "2026-01-05T09:00:00"),
        ("0 0 1 1 *", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
        ("0 12 L * *", "2026-02-01T00:00:00", "2026-02-28T12:00:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 ? * 7", "2026-01-01T00:00:00", "2026-01-04T00:00:00"),
        ("*/10 * * * * *", "2026-01-01T00:00:00.001", "2026-01-01T00:00:10"),
        ("30 59 23 31 12 *", "2026-01-01T00:00:00", "2026-12-31T23:59:30"),
    ],
)
def test_when_it_is_due(expression: str, start: str, following: str) -> None:
    """Five fields by the minute, six by the second, strictly after the start; looking back finds it again."""
    cron = Cron.parse(expression, "UTC")
    found = cron.after(ms(start))
    assert found == ms(following)
    assert cron.latest(found) == found
    assert cron.latest(found + 999) == found
    before = cron.latest(found - 1)
    assert before is not None
    assert before < found
    assert cron.after(before) == found


@pytest.mark.parametrize(
    "expression",
    [
        "", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "a * * * *",
        "*/0 * * * *", "5-1 * * * *", "1,,2 * * * *", "-1 * * * *", "0 0 30 2 *", "@hourly", "* * * * MON#6",
        "1.5 * * * *", "L * * * *", "* * * * L", "\u0661 * * * *", "* * * * *" + " *" * 200,
    ],
)  # fmt: skip
def test_what_is_no_expression(expression: str) -> None:
    """Refused with the field named, and what to write."""
    with pytest.raises(InvalidRequest, match=r"schedule (is no cron expression|must have 200 characters at most)"):
        Cron.parse(expression, "UTC")


@pytest.mark.parametrize(
    "zone", ["", ".", "..", "America", "../etc/passwd", "/etc/localtime", "Berlin", "U\0TC", "x" * 99]
)
def test_what_is_no_zone(zone: str) -> None:
    """Only names of the zone database are zones; nothing else is looked up."""
    with pytest.raises(InvalidRequest, match="there is no time zone"):
        Cron.parse("* * * * *", zone)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789*/,-#LW MONJAN?", max_size=40))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    """No text breaks the parser, and what it accepts can be asked in both directions."""
    try:
        cron = Cron.parse(text, "Europe/Berlin")
    except InvalidRequest:
        return
    now = ms("2026-03-29T00:59:59")
    following, latest = cron.after(now), cron.latest(now)
    assert following is None or following > now
    assert latest is None or latest <= now


def test_the_hour_that_is_left_out() -> None:
    """A daily job inside it runs right after it; an hourly one does not run for it."""
    daily, hourly = Cron.parse("30 2 * * *", "Europe/Berlin"), Cron.parse("0 * * * *", "Europe/Berlin")
    start = ms("2026-03-28T12:00:00")
    first = daily.after(start)
    assert first is not None
    assert local(first) == "2026-03-29T03:00:00+02:00"
    assert local(daily.after(first)) == "2026-03-30T02:30:00+02:00"
    assert local(daily.latest(ms("2026-03-29T12:00:00"))) == "2026-03-29T03:00:00+02:00"
    assert local(hourly.after(ms("2026-03-29T00:00:00"))) == "2026-03-29T03:00:00+02:00"


def test_the_hour_that_comes_twice() -> None:
    """A daily job runs in its first pass only, an hourly one in both."""
    daily, hourly = Cron.parse("30 2 * * *", "Europe/Berlin"), Cron.parse("0 * * * *", "Europe/Berlin")
    first = daily.after(ms("2026-10-24T12:00:00"))
    assert first is not None
    assert local(first) == "2026-10-25T02:30:00+02:00"
    for later in ("2026-10-25T02:31:00+02:00", "2026-10-25T02:10:00+01:00", "2026-10-25T02:30:00+01:00"):
        assert local(daily.after(ms(later))) == "2026-10-26T02:30:00+01:00"
    assert daily.latest(ms("2026-10-25T02:45:00+01:00")) == first
    moments = [ms("2026-10-24T23:30:00")]
    for _ in range(4):
        following = hourly.after(moments[-1])
        assert following is not None
        moments.append(following)
    assert [local(moment)[11:] for moment in moments[1:]] == [
        "02:00:00+02:00", "02:00:00+01:00", "03:00:00+01:00", "04:00:00+01:00",
    ]  # fmt: skip


def test_zones_do_not_need_the_system() -> None:
    """Where the system has no zone database the one that is installed with us serves."""
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        assert local(Cron.parse("0 12 * * *", "Europe/Berlin").after(ms("2026-07-01T00:00:00"))) == (
            "2026-07-01T12:00:00+02:00"
        )
    finally:
        zoneinfo.reset_tzpath(to=before)
        zoneinfo.ZoneInfo.clear_cache()
