"""Windows of velocity limits: where they begin and end, whatever the clocks do."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.accounts.velocities import Period, Window, check_maxima
from app.ledger.refusals import ValidationFailed

ZONES = (
    *("UTC", "Europe/Paris", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"),
    # Clocks that change at midnight, go back over it, or leave out a whole day.
    *("America/Sao_Paulo", "America/Havana", "Asia/Beirut", "America/St_Johns", "Pacific/Apia"),
    "America/Toronto",
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def period(day: date, kind: Period) -> date:
    """The first day of a day's period."""
    first = {Period.DAY: 0, Period.WEEK: day.weekday(), Period.MONTH: day.day - 1}
    return day - timedelta(days=first[kind])


@pytest.mark.parametrize(
    ("kind", "zone", "now", "start", "end"),
    [
        # The last Sunday of March has 23 hours in Paris, the last of October 25.
        ("day", "Europe/Paris", "2030-03-31T12:00", "2030-03-30T23:00", "2030-03-31T22:00"),
        ("day", "Europe/Paris", "2030-10-27T12:00", "2030-10-26T22:00", "2030-10-27T23:00"),
        ("week", "Europe/Paris", "2030-03-31T12:00", "2030-03-24T23:00", "2030-03-31T22:00"),
        ("month", "Europe/Paris", "2030-03-31T21:59", "2030-02-28T23:00", "2030-03-31T22:00"),
        ("month", "Europe/Paris", "2030-03-31T22:00", "2030-03-31T22:00", "2030-04-30T22:00"),
        ("month", "America/New_York", "2030-01-01T04:59", "2029-12-01T05:00", "2030-01-01T05:00"),
        # Midnight is left out: the day begins at one o'clock.
        ("day", "America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T03:00", "2018-11-05T02:00"),
        # Midnight comes twice: the day begins at the first.
        ("day", "America/Havana", "2030-11-03T05:30", "2030-11-03T04:00", "2030-11-04T05:00"),
        # A minute past midnight clocks went back an hour: it was yesterday again, and today stays.
        ("day", "America/St_Johns", "2010-11-07T03:00", "2010-11-07T02:30", "2010-11-08T03:30"),
        # At half past eleven clocks went forward to half past midnight.
        ("day", "America/Toronto", "1919-03-31T12:00", "1919-03-31T04:30", "1919-04-01T04:00"),
        # Apia had no 30 December 2011.
        ("day", "Pacific/Apia", "2011-12-30T09:59", "2011-12-29T10:00", "2011-12-30T10:00"),
        ("day", "Pacific/Apia", "2011-12-30T10:00", "2011-12-30T10:00", "2011-12-31T10:00"),
    ],
)
def test_periods(kind: str, zone: str, now: str, start: str, end: str) -> None:
    """A period begins with the first moment of its first day there, and ends with the next one."""
    window = Window(period=Period(kind), time_zone=zone)
    assert window.bounds(utc(now)) == (utc(start), utc(end))


@given(
    kind=st.sampled_from(Period),
    zone=st.sampled_from(ZONES),
    now=st.integers(-1_700_000_000, 2_050_000_000).map(lambda at: datetime.fromtimestamp(at, UTC)),
    later=st.timedeltas(timedelta(0), timedelta(days=40)),
)
def test_periods_follow_each_other(
    kind: Period, zone: str, now: datetime, later: timedelta
) -> None:
    """Now is in its period, the periods of a zone neither overlap nor leave gaps nor go back."""
    window, there = Window(period=kind, time_zone=zone), ZoneInfo(zone)
    start, end = window.bounds(now)
    assert start <= now < end
    assert window.bounds(start) == (start, end)
    assert window.bounds(end - timedelta(microseconds=1)) == (start, end)
    assert window.bounds(end)[0] == end
    assert window.bounds(now + later)[0] >= start
    first = start.astimezone(there).date()
    assert period(first, kind) == first or zone == "Pacific/Apia"
    assert (start - timedelta(microseconds=1)).astimezone(there).date() < first


def test_rolling() -> None:
    """What went out exactly a window ago no longer counts, a microsecond later it does."""
    start, end = Window(60).bounds(utc("2030-01-01T00:01"))
    assert start == utc("2030-01-01T00:00") + timedelta(microseconds=1)
    assert end == utc("2030-01-01T00:02")


@pytest.mark.parametrize(
    ("window", "path"),
    [
        (Window(), ()),
        (Window(60, Period.DAY, "UTC"), ()),
        (Window(0), ("windowSeconds",)),
        (Window(366 * 86400 + 1), ("windowSeconds",)),
        (Window(60, time_zone="UTC"), ("timeZone",)),
        (Window(period=Period.DAY), ("timeZone",)),
        (Window(period=Period.DAY, time_zone="Mars/Olympus"), ("timeZone",)),
        (Window(period=Period.DAY, time_zone="../UTC"), ("timeZone",)),
        (Window(period=Period.DAY, time_zone="America"), ("timeZone",)),
        (Window(period=Period.DAY, time_zone=""), ("timeZone",)),
    ],
)
def test_windows_that_are_none(window: Window, path: tuple[str, ...]) -> None:
    """A window has seconds or else a period with a time zone that exists."""
    with pytest.raises(ValidationFailed) as refused:
        window.check()
    assert refused.value.path == ("input", *path)


@pytest.mark.parametrize(
    ("amount", "count"), [(None, None), (-1, None), (10**36 + 1, None), (None, -1), (None, 2**63)]
)
def test_maxima_that_are_none(amount: int | None, count: int | None) -> None:
    """A limit limits something, and to what an account can hold."""
    with pytest.raises(ValidationFailed):
        check_maxima(amount, count)
