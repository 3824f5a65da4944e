"""Making statements."""

from typing import Annotated

import strawberry
from uuid_utils.compat import uuid7

from app.api.context import Info
from app.api.ids import ACCOUNT
from app.api.refusals import (
    AccountNotFound,
    LedgerArchived,
    StatementKeyTaken,
    ValidationFailed,
    answering,
    required_id,
)
from app.api.scalars import DateTime
from app.api.statements import Statement
from app.ledger import statements as domain
from app.store.identity import Permission
from app.store.statements import create_statement


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
