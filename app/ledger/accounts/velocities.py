"""Velocity limits: how much may go out of an account, or how often, in a window of time.

What counts is a transaction's outgoing on the account: what it posts and holds against the normal
side, less what it releases there again. It is dated by when the transaction was recorded, whatever
its effective time. So a hold counts from the moment it is made; settling it changes nothing; what
is released of it is given back to the window in which the hold was made; and a transaction of which
nothing is left outgoing does not count. A reversal is a transaction of its own, and gives nothing
back.

A window rolls (the last so many seconds) or is a calendar period of a time zone. Its first moment
never moves back, so usage is kept as running figures: each transaction is added once, when it is
made, and in a rolling window taken off once, when it is too old. `counted_from` is the first moment
that they count, `counted_after` the account's last entry before it.
"""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

from app.ledger.amounts import MAX_AMOUNT
from app.ledger.refusals import ValidationFailed
from app.ledger.times import zone_named
from app.ledger.values import immutable

MAX_SECONDS = 366 * 24 * 60 * 60
MAX_COUNT = 2**63 - 1
MAX_LIMITS = 10
"""Of one account."""

_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)


class Period(Enum):
    """A calendar period of a time zone; weeks begin on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@immutable
class Window:
    """The last so many `seconds`, or else the present `period` of an IANA `time_zone`."""

    seconds: int | None = None
    period: Period | None = None
    time_zone: str | None = None

    def check(self) -> None:
        """Raise ValidationFailed where it is no window, or not exactly one."""
        if (self.seconds is None) == (self.period is None):
            raise ValidationFailed(
                message="A window is either windowSeconds or a period with its timeZone."
            )
        if self.seconds is not None and not 1 <= self.seconds <= MAX_SECONDS:
            raise ValidationFailed(
                message=f"A window rolls over 1 to {MAX_SECONDS} seconds (366 days).",
                path=("input", "windowSeconds"),
            )
        if (self.period is None) != (self.time_zone is None):
            raise ValidationFailed(
                message="A period needs its timeZone, and nothing else takes one.",
                path=("input", "timeZone"),
            )
        if self.time_zone is not None:
            try:
                zone_named(self.time_zone)
            except ValueError:
                raise ValidationFailed(
                    message="There is no such time zone.", path=("input", "timeZone")
                ) from None

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """The first moment (UTC) that counts at `now`, and when nothing of now counts any more."""
        if self.seconds is not None:
            length = timedelta(seconds=self.seconds)
            return now - length + _MICROSECOND, now + length
        assert self.period is not None
        assert self.time_zone is not None
        zone = ZoneInfo(self.time_zone)
        first = _first_day(self.period, now.astimezone(zone).date())
        start, end = _beginning(first, zone), _beginning(_next(self.period, first), zone)
        if end <= now:  # clocks went back over midnight: it is yesterday again, today has begun
            first = _next(self.period, first)
            start, end = end, _beginning(_next(self.period, first), zone)
        return start, end


@immutable
class Gone:
    """What leaves a rolling window as it moves, and the last entry that it leaves behind."""

    amount: int
    count: int
    last: int


@immutable
class Velocity:
    """A limit and its usage; amounts in minor units. None does not bind."""

    name: str
    window: Window
    maximum_amount: int | None
    maximum_count: int | None
    counted_from: datetime
    counted_after: int
    used_amount: int = 0
    used_count: int = 0

    def moved(self, now: datetime, version: int, gone: Gone) -> "Velocity":
        """Its usage at `now`, of an account at that version.

        A new period begins at nothing, and so does a window that has left all behind.
        """
        start, _ = self.window.bounds(now)
        if start <= self.counted_from:
            return self
        if self.window.period is not None or gone.last == version:
            return replace(
                self, counted_from=start, counted_after=version, used_amount=0, used_count=0
            )
        return replace(
            self,
            counted_from=start,
            counted_after=gone.last,
            used_amount=self.used_amount - gone.amount,
            used_count=self.used_count - gone.count,
        )

    def with_outgoing(self, before: int, after: int, created_at: datetime) -> "Velocity":
        """Its usage when the outgoing of a transaction made at that time has changed."""
        if before == after or created_at < self.counted_from:
            return self
        return replace(
            self,
            used_amount=self.used_amount + after - before,
            used_count=self.used_count + (after > 0) - (before > 0),
        )

    @property
    def exceeded(self) -> bool:
        return (self.maximum_amount is not None and self.used_amount > self.maximum_amount) or (
            self.maximum_count is not None and self.used_count > self.maximum_count
        )

    def never_fits(self, amount: int) -> bool:
        """Whether an outgoing of this amount is too much even for an unused window."""
        return self.maximum_count == 0 or (
            self.maximum_amount is not None and amount > self.maximum_amount
        )


def check_maxima(maximum_amount: int | None, maximum_count: int | None) -> None:
    """Refuse a limit without a maximum, or with one that is out of range."""
    if maximum_amount is None and maximum_count is None:
        raise ValidationFailed(message="A limit has a maximumAmount, a maximumCount, or both.")
    if maximum_amount is not None and not 0 <= maximum_amount <= MAX_AMOUNT:
        raise ValidationFailed(
            message="A maximum is from 0 to 10^36 minor units.", path=("input", "maximumAmount")
        )
    if maximum_count is not None and not 0 <= maximum_count <= MAX_COUNT:
        raise ValidationFailed(
            message="A maximum count is from 0 to 2^63 - 1.", path=("input", "maximumCount")
        )


def _first_day(period: Period, day: date) -> date:
    if period is Period.WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period is Period.MONTH else day


def _next(period: Period, first: date) -> date:
    if period is Period.MONTH:
        return (first + timedelta(days=32)).replace(day=1)
    return first + timedelta(days=7 if period is Period.WEEK else 1)


def _beginning(day: date, zone: ZoneInfo) -> datetime:
    """The first moment of a local day, in UTC.

    Where clocks repeat midnight that is the first of the two. Where they skip it the day begins as
    they go forward, between what midnight would be by the new offset and by the old one.
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    late, early = midnight.astimezone(UTC), midnight.replace(fold=1).astimezone(UTC)
    while late - early >= _SECOND:
        middle = early + (late - early) // 2 // _SECOND * _SECOND
        if middle.astimezone(zone).date() >= day:
            late = middle
        else:
            early = middle + _SECOND
    return late
