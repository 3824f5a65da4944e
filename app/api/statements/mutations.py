"""Making statements, and scheduling them."""

from typing import Annotated

import strawberry
from uuid_utils.compat import uuid7

from app.api.engine.context import Info
from app.api.ids import ACCOUNT, LEDGER, STATEMENT_SCHEDULE
from app.api.refusals import (
    AccountNotFound,
    LedgerArchived,
    LedgerNotFound,
    StatementKeyTaken,
    StatementScheduleNotFound,
    ValidationFailed,
    answering,
    required_id,
)
from app.api.scalars import JSON, DateTime
from app.api.statements.schedules import StatementSchedule
from app.api.statements.types import Statement
from app.ledger.statements import schedules
from app.ledger.statements import statements as domain
from app.store.identity import Permission
from app.store.statements.schedules import create_schedule, delete_schedule
from app.store.statements.statements import create_statement


@strawberry.input(description="A period to state an account for.")
class CreateStatementInput:
    account_id: strawberry.ID = strawberry.field(description="The account.")
    from_: DateTime = strawberry.field(
        name="from", description="Where the period begins, in effective time."
    )
    to: DateTime = strawberry.field(
        description="Where it ends; itself not in the period, and not in the future."
    )
    idempotency_key: str | None = strawberry.field(
        description=(
            "1 to 255 characters, unique among the statements of the ledger for ever: the same key"
            " gives the first statement. Without one every request makes a new statement."
        ),
        default=None,
    )


@strawberry.input(
    description=(
        "Which accounts to state every month: those named, those whose external id begins so, those"
        " whose metadata contain this, or else all of the ledger."
    )
)
class CreateStatementScheduleInput:
    ledger_id: strawberry.ID = strawberry.field(description="The ledger.")
    time_zone: str = strawberry.field(
        description='Where months begin and end, an IANA name such as "Europe/Paris".'
    )
    starting_from: str = strawberry.field(
        description=(
            'The first month, such as "2026-01". Months that are over already are stated at once.'
        )
    )
    account_ids: list[strawberry.ID] | None = strawberry.field(
        description=f"The accounts, up to {schedules.MAX_ACCOUNTS:,}.", default=None
    )
    external_id_prefix: str | None = strawberry.field(
        description="How the external ids of the accounts begin.", default=None
    )
    metadata: JSON | None = strawberry.field(
        description="What the metadata of the accounts contain.", default=None
    )


@strawberry.input(description="A schedule of statements to delete.")
class DeleteStatementScheduleInput:
    schedule_id: strawberry.ID = strawberry.field(description="The schedule.")


@strawberry.type(description="Every month will be stated when it is over.")
class CreateStatementScheduleSuccess:
    schedule: StatementSchedule = strawberry.field(description="The schedule.")


@strawberry.type(description="No more months are stated; what was stated stays.")
class DeleteStatementScheduleSuccess:
    schedule: StatementSchedule = strawberry.field(description="The schedule.")


@strawberry.type(description="The statement is made, for ever.")
class CreateStatementSuccess:
    statement: Statement = strawberry.field(description="The statement.")
    replayed: bool = strawberry.field(description="Whether the key had been used before.")


CreateStatementResult = Annotated[
    CreateStatementSuccess
    | ValidationFailed
    | StatementKeyTaken
    | LedgerArchived
    | AccountNotFound,
    strawberry.union("CreateStatementResult", description="What became of createStatement."),
]


CreateStatementScheduleResult = Annotated[
    CreateStatementScheduleSuccess
    | ValidationFailed
    | LedgerNotFound
    | LedgerArchived
    | AccountNotFound,
    strawberry.union(
        "CreateStatementScheduleResult", description="What became of createStatementSchedule."
    ),
]
DeleteStatementScheduleResult = Annotated[
    DeleteStatementScheduleSuccess | ValidationFailed | StatementScheduleNotFound,
    strawberry.union(
        "DeleteStatementScheduleResult", description="What became of deleteStatementSchedule."
    ),
]


@strawberry.type
class StatementMutations:
    @strawberry.mutation(
        description=(
            "State an account for a period that is over: what was posted, as known now. What comes"
            " to be known later changes nothing of it. Needs the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def create_statement(
        self,
        info: Info,
        input: Annotated[CreateStatementInput, strawberry.argument(description="The period.")],
    ) -> CreateStatementResult:
        command = domain.CreateStatement(
            scope=info.context.scope,
            statement_id=uuid7(),
            account_id=required_id(ACCOUNT, input.account_id, "accountId"),
            from_at=input.from_,
            to_at=input.to,
            idempotency_key=input.idempotency_key,
        )
        command.check()
        row, replayed = await create_statement(info.context.database, command)
        return CreateStatementSuccess(statement=Statement.of(row), replayed=replayed)

    @strawberry.mutation(
        description=(
            "State accounts of a ledger every month, as soon as the month is over in a time zone."
            " Needs the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def create_statement_schedule(
        self,
        info: Info,
        input: Annotated[
            CreateStatementScheduleInput, strawberry.argument(description="The schedule.")
        ],
    ) -> CreateStatementScheduleResult:
        named = input.account_ids
        command = schedules.CreateStatementSchedule(
            scope=info.context.scope,
            schedule_id=uuid7(),
            ledger_id=required_id(LEDGER, input.ledger_id, "ledgerId"),
            time_zone=input.time_zone,
            starting_from=schedules.read_month(input.starting_from),
            account_ids=None
            if named is None
            else tuple(
                required_id(ACCOUNT, one, "accountIds", str(place))
                for place, one in enumerate(named)
            ),
            external_id_prefix=input.external_id_prefix,
            account_metadata=input.metadata,
        )
        command.check()
        async with info.context.database.writing() as connection:
            row = await create_schedule(connection, command)
        return CreateStatementScheduleSuccess(schedule=StatementSchedule.of(row))

    @strawberry.mutation(
        description=(
            "State no more months; what was stated stays. Deleting twice changes nothing. Needs the"
            " scope write."
        )
    )
    @answering(Permission.WRITE)
    async def delete_statement_schedule(
        self,
        info: Info,
        input: Annotated[
            DeleteStatementScheduleInput, strawberry.argument(description="The schedule.")
        ],
    ) -> DeleteStatementScheduleResult:
        schedule_id = required_id(STATEMENT_SCHEDULE, input.schedule_id, "scheduleId")
        async with info.context.database.writing() as connection:
            row = await delete_schedule(connection, info.context.scope, schedule_id)
        return DeleteStatementScheduleSuccess(schedule=StatementSchedule.of(row))
