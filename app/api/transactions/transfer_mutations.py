"""Transfers."""

from typing import Annotated

import strawberry
from uuid_utils.compat import uuid7

from app.api.engine.context import Info
from app.api.enums import PostingStatus
from app.api.ids import ACCOUNT, LEDGER
from app.api.refusals import (
    AccountNotFound,
    EntriesUnbalanced,
    ExternalIdTaken,
    IdempotencyConflict,
    NewEntriesRefused,
    NormalBalancesDiffer,
    Overloaded,
    ValidationFailed,
    answering,
    required_id,
)
from app.api.scalars import JSON, Amount, DateTime
from app.api.transactions.mutations import derive
from app.api.transactions.types import Transaction
from app.ledger.transactions import transfers
from app.store.identity import Permission


@strawberry.input(description="Money to move from one account to another.")
class TransferInput:
    ledger_id: strawberry.ID = strawberry.field(description="The ledger.")
    from_: strawberry.ID = strawberry.field(
        name="from", description="The account that the money leaves: its balance falls."
    )
    to: strawberry.ID = strawberry.field(
        description=(
            "The account at which it arrives: its balance rises. It grows on the same side as"
            " `from`, and is of the same currency."
        )
    )
    amount: Amount = strawberry.field(description="In minor units, above zero.")
    idempotency_key: str = strawberry.field(
        description="1 to 255 characters, unique in the ledger for ever."
    )
    status: PostingStatus = strawberry.field(
        description="Posted at once, or pending as a hold.", default=PostingStatus.POSTED
    )
    description: str | None = strawberry.field(
        description="For people; up to 2,000 characters.", default=None
    )
    external_id: str | None = strawberry.field(
        description="The client's own id, unique among the transactions of the ledger.",
        default=None,
    )
    metadata: JSON | None = strawberry.field(description="The client's own data.", default=None)
    effective_at: DateTime | None = strawberry.field(
        description="When it happened in the world, past or future; now if absent.", default=None
    )
    dry_run: bool = strawberry.field(
        description="Decide and answer, but record nothing.", default=False
    )


@strawberry.type(description="The transfer is recorded.")
class TransferSuccess:
    transaction: Transaction = strawberry.field(description="The transaction as it now stands.")
    replayed: bool = strawberry.field(description="Whether the key had been used before.")


TransferResult = Annotated[
    TransferSuccess
    | ValidationFailed
    | AccountNotFound
    | NormalBalancesDiffer
    | EntriesUnbalanced
    | NewEntriesRefused
    | IdempotencyConflict
    | ExternalIdTaken
    | Overloaded,
    strawberry.union("TransferResult", description="What became of transfer."),
]


@strawberry.type
class TransferMutations:
    @strawberry.mutation(
        description=(
            "Record a transaction of two entries, on whichever sides lower the one account and"
            " raise the other. Needs the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def transfer(
        self,
        info: Info,
        input: Annotated[TransferInput, strawberry.argument(description="What to move.")],
    ) -> TransferResult:
        command = transfers.Transfer.of(
            scope=info.context.scope,
            transaction_id=uuid7(),
            ledger_id=required_id(LEDGER, input.ledger_id, "ledgerId"),
            idempotency_key=input.idempotency_key,
            from_to=(
                required_id(ACCOUNT, input.from_, "from"),
                required_id(ACCOUNT, input.to, "to"),
            ),
            amount=input.amount,
            pending=input.status is PostingStatus.PENDING,
            description=input.description,
            external_id=input.external_id,
            metadata=input.metadata or {},
            effective_at=input.effective_at,
            dry_run=input.dry_run,
        )
        command.check()
        done = await derive(info, command)
        return TransferSuccess(transaction=done.transaction, replayed=done.replayed)
