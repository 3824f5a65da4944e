"""Velocity limits of accounts, with their usage."""

from datetime import datetime

import strawberry

from app.api.enums import VelocityPeriod
from app.api.scalars import Amount, DateTime, Sequence, optional_amount
from app.ledger.accounts.velocities import Velocity


@strawberry.type(
    description=(
        "How much may go out of an account, or how often, in a window of time. A transaction's"
        " outgoing counts, by when it was recorded: what it posts and holds against the normal"
        " side, less what it released there again."
    )
)
class VelocityLimit:
    name: str = strawberry.field(description="Unique among the limits of the account.")
    maximum_amount: Amount | None = strawberry.field(
        description="The most that may go out in a window, in minor units; null if unlimited."
    )
    maximum_count: Sequence | None = strawberry.field(
        description="How many transactions may take something out; null if unlimited."
    )
    window_seconds: int | None = strawberry.field(
        description="The length of a rolling window; null if it is a calendar period."
    )
    period: VelocityPeriod | None = strawberry.field(
        description="The calendar period; null if the window rolls."
    )
    time_zone: str | None = strawberry.field(
        description="Where the calendar period begins, an IANA name; null if the window rolls."
    )
    starts_at: DateTime = strawberry.field(
        description="From when on transactions count at present, up to now."
    )
    used_amount: Amount = strawberry.field(
        description="What has gone out in the present window, in minor units."
    )
    used_count: Sequence = strawberry.field(
        description="How many transactions have taken something out in the present window."
    )
    resets_at: DateTime = strawberry.field(
        description=(
            "By when nothing of the present usage counts any more: the end of the period, or of a"
            " rolling window's length from now."
        )
    )

    @classmethod
    def of(cls, velocity: Velocity, now: datetime) -> "VelocityLimit":
        window = velocity.window
        return cls(
            name=velocity.name,
            maximum_amount=optional_amount(velocity.maximum_amount),
            maximum_count=None
            if velocity.maximum_count is None
            else Sequence(velocity.maximum_count),
            window_seconds=window.seconds,
            period=None if window.period is None else VelocityPeriod(window.period.value),
            time_zone=window.time_zone,
            starts_at=DateTime(velocity.counted_from),
            used_amount=Amount(velocity.used_amount),
            used_count=Sequence(velocity.used_count),
            resets_at=DateTime(window.bounds(now)[1]),
        )
