"""Settling accounts."""

from typing import Annotated

import strawberry
from uuid_utils.compat import uuid7

from app.api.engine.context import Info
from app.api.ids import ACCOUNT
from app.api.refusals import (
    AccountNotFound,
    EntriesUnbalanced,
    ExternalIdTaken,
    IdempotencyConflict,
    NewEntriesRefused,
    Overloaded,
    SettlementNotPossible,
    ValidationFailed,
    answering,
    required_id,
)
from app.api.scalars import JSON, DateTime
from app.api.statements.settlements import Settlement
from app.api.transactions.mutations import derive
from app.ledger import refusals
from app.ledger.statements.settlements import MAX_SETTLED
from app.ledger.statements.settlements import CreateSettlement as Command
from app.store import rows
from app.store.identity import Permission


@strawberry.input(description="What to settle, and where the money goes.")
class CreateSettlementInput:
    account_id: strawberry.ID = strawberry.field(description="The account to settle.")
    up_to: DateTime = strawberry.field(
        description="Entries are collected that took effect before this; itself not in it."
    )
    counterpart_account_id: strawberry.ID = strawberry.field(
        description="The account that is paid out to, of the same ledger and currency."
    )
    idempotency_key: str = strawberry.field(
        description="1 to 255 characters, unique in the ledger for ever."
    )
    description: str | None = strawberry.field(
        description="For people; of the payout, up to 2,000 characters.", default=None
    )
    external_id: str | None = strawberry.field(
        description="The client's own id of the payout, unique in the ledger.", default=None
    )
    metadata: JSON | None = strawberry.field(
        description="The client's own data; of the payout.", default=None
    )


@strawberry.type(description="The entries are settled, and paid out.")
class CreateSettlementSuccess:
    settlement: Settlement = strawberry.field(description="The settlement.")
    replayed: bool = strawberry.field(description="Whether the key had been used before.")


CreateSettlementResult = Annotated[
    CreateSettlementSuccess
    | ValidationFailed
    | AccountNotFound
    | SettlementNotPossible
    | EntriesUnbalanced
    | NewEntriesRefused
    | IdempotencyConflict
    | ExternalIdTaken
    | Overloaded,
    strawberry.union("CreateSettlementResult", description="What became of createSettlement."),
]


@strawberry.type
class SettlementMutations:
    @strawberry.mutation(
        description=(
            "Pay out what the posted entries of an account come to that no settlement has collected"
            f" yet, and mark them as settled: up to {MAX_SETTLED:,} entries that took effect before"
            " upTo. If they come to nothing or less, they stay for a later one. Needs the scope"
            " write."
        )
    )
    @answering(Permission.WRITE)
    async def create_settlement(
        self,
        info: Info,
        input: Annotated[CreateSettlementInput, strawberry.argument(description="What to settle.")],
    ) -> CreateSettlementResult:
        account_id = required_id(ACCOUNT, input.account_id, "accountId")
        counterpart = required_id(ACCOUNT, input.counterpart_account_id, "counterpartAccountId")
        ledger_id = await info.context.load.one(
            rows.accounts_by_id, account_id, build=lambda row: row.ledger_id
        )
        if ledger_id is None:
            raise refusals.AccountNotFound
        command = Command.of(
            info.context.scope,
            uuid7(),
            ledger_id,
            input.idempotency_key,
            (account_id, counterpart),
            up_to=input.up_to,
            description=input.description,
            external_id=input.external_id,
            metadata=input.metadata or {},
        )
        command.check()
        await info.context.renew()
        done = await derive(info, command)
        settlement = await info.context.load.one(
            rows.settlements_by_id, done.transaction.row.transaction_id, build=Settlement.of
        )
        return CreateSettlementSuccess(settlement=settlement, replayed=done.replayed)
