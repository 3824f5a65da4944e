"""Opening, changing and archiving ledgers."""

from typing import Annotated

import strawberry
from uuid_utils.compat import uuid7

from app.api.engine.context import Info
from app.api.errors import Code, CodedError
from app.api.ids import LEDGER
from app.api.ledgers.types import Ledger
from app.api.refusals import (
    LedgerArchived,
    LedgerNotFound,
    LotsRemain,
    PendingTransactionsRemain,
    ValidationFailed,
    answering,
    required_id,
)
from app.api.scalars import JSON, DateTime
from app.ledger import refusals
from app.ledger.accounts import periods as domain
from app.ledger.accounts.administration import Change, CreateLedger
from app.store.accounts import administration
from app.store.identity import Permission


@strawberry.input(description="A new ledger, of the API key's mode.")
class CreateLedgerInput:
    name: str = strawberry.field(description="For people; up to 255 characters.")
    description: str | None = strawberry.field(
        description="For people; up to 2,000 characters.", default=None
    )
    metadata: JSON | None = strawberry.field(description="The client's own data.", default=None)


@strawberry.input(description="New labels of a ledger; fields left out stay as they are.")
class UpdateLedgerInput:
    ledger_id: strawberry.ID = strawberry.field(description="The ledger.")
    name: str | None = strawberry.field(description="For people.", default=strawberry.UNSET)
    description: str | None = strawberry.field(
        description="For people; null clears it.", default=strawberry.UNSET
    )
    metadata: JSON | None = strawberry.field(
        description="The client's own data; replaces what is there.", default=strawberry.UNSET
    )


@strawberry.input(description="A ledger to archive.")
class ArchiveLedgerInput:
    ledger_id: strawberry.ID = strawberry.field(description="The ledger.")


@strawberry.input(description="Up to when to close a ledger's past.")
class ClosePeriodInput:
    ledger_id: strawberry.ID = strawberry.field(description="The ledger.")
    through: DateTime = strawberry.field(
        description="The last moment that is closed, in the past. What is closed stays closed."
    )
    reason: str | None = strawberry.field(
        description="For people; up to 2,000 characters; kept in the ledger's periods.",
        default=None,
    )


@strawberry.input(description="From when on to open a ledger's past again.")
class ReopenPeriodInput:
    ledger_id: strawberry.ID = strawberry.field(description="The ledger.")
    through: DateTime | None = strawberry.field(
        description="The last moment that stays closed; null, if given, opens all.",
        default=strawberry.UNSET,
    )
    reason: str | None = strawberry.field(
        description="For people; up to 2,000 characters; kept in the ledger's periods.",
        default=None,
    )


@strawberry.type(description="The ledger is open.")
class CreateLedgerSuccess:
    ledger: Ledger = strawberry.field(description="The new ledger.")


@strawberry.type(description="The ledger has its new labels.")
class UpdateLedgerSuccess:
    ledger: Ledger = strawberry.field(description="The ledger.")


@strawberry.type(description="The ledger takes no more writes.")
class ArchiveLedgerSuccess:
    ledger: Ledger = strawberry.field(description="The ledger.")


@strawberry.type(description="The ledger is closed through that moment, or a later one.")
class ClosePeriodSuccess:
    ledger: Ledger = strawberry.field(description="The ledger.")


@strawberry.type(description="What is later than that moment is open.")
class ReopenPeriodSuccess:
    ledger: Ledger = strawberry.field(description="The ledger.")


CreateLedgerResult = Annotated[
    CreateLedgerSuccess | ValidationFailed,
    strawberry.union("CreateLedgerResult", description="What became of createLedger."),
]
UpdateLedgerResult = Annotated[
    UpdateLedgerSuccess | ValidationFailed | LedgerNotFound | LedgerArchived,
    strawberry.union("UpdateLedgerResult", description="What became of updateLedger."),
]
ArchiveLedgerResult = Annotated[
    ArchiveLedgerSuccess
    | ValidationFailed
    | LedgerNotFound
    | PendingTransactionsRemain
    | LotsRemain,
    strawberry.union("ArchiveLedgerResult", description="What became of archiveLedger."),
]

ClosePeriodResult = Annotated[
    ClosePeriodSuccess | ValidationFailed | LedgerNotFound | LedgerArchived,
    strawberry.union("ClosePeriodResult", description="What became of closePeriod."),
]
ReopenPeriodResult = Annotated[
    ReopenPeriodSuccess | ValidationFailed | LedgerNotFound | LedgerArchived,
    strawberry.union("ReopenPeriodResult", description="What became of reopenPeriod."),
]


def given(**fields: object) -> dict[str, object]:
    """Those fields of an update that the client sent."""
    return {name: value for name, value in fields.items() if value is not strawberry.UNSET}


@strawberry.type
class LedgerMutations:
    @strawberry.mutation(
        description="Open a ledger. Needs the scope admin, and a key that sees all ledgers."
    )
    @answering(Permission.ADMIN)
    async def create_ledger(
        self,
        info: Info,
        input: Annotated[CreateLedgerInput, strawberry.argument(description="The ledger.")],
    ) -> CreateLedgerResult:
        if info.context.scope.ledger_ids is not None:
            raise CodedError(Code.FORBIDDEN, "A key that sees only some ledgers opens no others.")
        command = CreateLedger(
            info.context.scope, uuid7(), input.name, input.description, input.metadata or {}
        )
        command.check()
        async with info.context.database.writing() as connection:
            row = await administration.create_ledger(connection, command)
        return CreateLedgerSuccess(ledger=Ledger.of(row))

    @strawberry.mutation(description="Give a ledger other labels. Needs the scope admin.")
    @answering(Permission.ADMIN)
    async def update_ledger(
        self,
        info: Info,
        input: Annotated[UpdateLedgerInput, strawberry.argument(description="The labels.")],
    ) -> UpdateLedgerResult:
        ledger_id = required_id(LEDGER, input.ledger_id, "ledgerId")
        change = Change(
            info.context.scope,
            given(name=input.name, description=input.description, metadata=input.metadata),
        )
        change.check()
        async with info.context.database.writing() as connection:
            row = await administration.change_ledger(connection, ledger_id, change)
        return UpdateLedgerSuccess(ledger=Ledger.of(row))

    @strawberry.mutation(
        description=(
            "Let a ledger take no more writes, for good; archiving twice changes nothing. Needs the"
            " scope admin."
        )
    )
    @answering(Permission.ADMIN)
    async def archive_ledger(
        self,
        info: Info,
        input: Annotated[ArchiveLedgerInput, strawberry.argument(description="The ledger.")],
    ) -> ArchiveLedgerResult:
        ledger_id = required_id(LEDGER, input.ledger_id, "ledgerId")
        async with info.context.database.writing() as connection:
            row = await administration.archive_ledger(connection, info.context.scope, ledger_id)
        return ArchiveLedgerSuccess(ledger=Ledger.of(row))

    @strawberry.mutation(
        description=(
            "Close a ledger through a moment: nothing is recorded any more that takes effect then"
            " or before. Where it is closed as far, nothing changes. Needs the scope admin."
        )
    )
    @answering(Permission.ADMIN)
    async def close_period(
        self,
        info: Info,
        input: Annotated[ClosePeriodInput, strawberry.argument(description="The period.")],
    ) -> ClosePeriodResult:
        ledger = await _move_period(info, input, domain.PeriodEventKind.CLOSED)
        return ClosePeriodSuccess(ledger=ledger)

    @strawberry.mutation(
        description=(
            "Open what a ledger has closed later than a moment. Where nothing is, nothing changes."
            " Needs the scope admin."
        )
    )
    @answering(Permission.ADMIN)
    async def reopen_period(
        self,
        info: Info,
        input: Annotated[ReopenPeriodInput, strawberry.argument(description="The period.")],
    ) -> ReopenPeriodResult:
        ledger = await _move_period(info, input, domain.PeriodEventKind.REOPENED)
        return ReopenPeriodSuccess(ledger=ledger)


async def _move_period(
    info: Info, input: ClosePeriodInput | ReopenPeriodInput, kind: domain.PeriodEventKind
) -> Ledger:
    if input.through is strawberry.UNSET:
        raise refusals.ValidationFailed(
            message="Say through when it stays closed; null opens all.", path=("input", "through")
        )
    command = domain.MovePeriod(
        info.context.scope,
        required_id(LEDGER, input.ledger_id, "ledgerId"),
        kind,
        input.through,
        input.reason,
        info.context.principal.api_key_id,
    )
    command.check()
    async with info.context.database.writing() as connection:
        row = await administration.move_period(connection, command)
    return Ledger.of(row)
