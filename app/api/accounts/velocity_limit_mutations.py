"""Setting and removing the velocity limits of accounts."""

from typing import Annotated

import strawberry

from app.api.accounts.types import Account
from app.api.engine.context import Info
from app.api.enums import VelocityPeriod
from app.api.ids import ACCOUNT
from app.api.refusals import (
    AccountNotFound,
    LedgerArchived,
    ValidationFailed,
    answering,
    required_id,
)
from app.api.scalars import Amount, Sequence
from app.ledger.accounts.administration import SetVelocityLimit
from app.ledger.accounts.velocities import MAX_LIMITS, Period, Window
from app.ledger.transactions.commands import MAX_NAME_LENGTH, check_text
from app.store.accounts import velocities
from app.store.identity import Permission


@strawberry.input(
    description=(
        "A limit on what goes out of an account. Its window is either windowSeconds, or a period"
        " with its timeZone."
    )
)
class SetVelocityLimitInput:
    account_id: strawberry.ID = strawberry.field(description="The account.")
    name: str = strawberry.field(
        description=(
            f"Up to 255 characters; a limit of that name is replaced. An account has up to"
            f" {MAX_LIMITS} limits."
        )
    )
    maximum_amount: Amount | None = strawberry.field(
        description="The most that may go out in a window, in minor units; unlimited if absent.",
        default=None,
    )
    maximum_count: Sequence | None = strawberry.field(
        description="How many transactions may take something out; unlimited if absent.",
        default=None,
    )
    window_seconds: int | None = strawberry.field(
        description="The length of a rolling window, up to 366 days.", default=None
    )
    period: VelocityPeriod | None = strawberry.field(
        description="The calendar period.", default=None
    )
    time_zone: str | None = strawberry.field(
        description='Where the period begins, an IANA name such as "Europe/Paris".', default=None
    )


@strawberry.input(description="A limit to remove.")
class RemoveVelocityLimitInput:
    account_id: strawberry.ID = strawberry.field(description="The account.")
    name: str = strawberry.field(description="The limit's name.")


@strawberry.type(description="The limit holds from now on.")
class SetVelocityLimitSuccess:
    account: Account = strawberry.field(description="The account.")


@strawberry.type(description="The account has no limit of that name.")
class RemoveVelocityLimitSuccess:
    account: Account = strawberry.field(description="The account.")


SetVelocityLimitResult = Annotated[
    SetVelocityLimitSuccess | ValidationFailed | AccountNotFound | LedgerArchived,
    strawberry.union("SetVelocityLimitResult", description="What became of setVelocityLimit."),
]
RemoveVelocityLimitResult = Annotated[
    RemoveVelocityLimitSuccess | ValidationFailed | AccountNotFound | LedgerArchived,
    strawberry.union(
        "RemoveVelocityLimitResult", description="What became of removeVelocityLimit."
    ),
]


@strawberry.type
class VelocityLimitMutations:
    @strawberry.mutation(
        description=(
            "Limit what goes out of an account in a window of time. What went out in the window"
            " already counts; a limit below that lets nothing out until there is room. Needs the"
            " scope write."
        )
    )
    @answering(Permission.WRITE)
    async def set_velocity_limit(
        self,
        info: Info,
        input: Annotated[SetVelocityLimitInput, strawberry.argument(description="The limit.")],
    ) -> SetVelocityLimitResult:
        command = SetVelocityLimit(
            scope=info.context.scope,
            account_id=required_id(ACCOUNT, input.account_id, "accountId"),
            name=input.name,
            window=Window(
                input.window_seconds,
                None if input.period is None else Period(input.period.value),
                input.time_zone,
            ),
            maximum_amount=input.maximum_amount,
            maximum_count=input.maximum_count,
        )
        command.check()
        async with info.context.database.writing() as connection:
            row = await velocities.set_velocity_limit(connection, command)
        return SetVelocityLimitSuccess(account=Account.of(row))

    @strawberry.mutation(
        description=(
            "Remove a limit; removing one that is not there changes nothing. Needs the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def remove_velocity_limit(
        self,
        info: Info,
        input: Annotated[RemoveVelocityLimitInput, strawberry.argument(description="The limit.")],
    ) -> RemoveVelocityLimitResult:
        account_id = required_id(ACCOUNT, input.account_id, "accountId")
        check_text("name", input.name, MAX_NAME_LENGTH)
        async with info.context.database.writing() as connection:
            row = await velocities.remove_velocity_limit(
                connection, info.context.scope, account_id, input.name
            )
        return RemoveVelocityLimitSuccess(account=Account.of(row))
