"""Entries."""

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from app.api.accounts import Account, find_account
from app.api.balances import Balances, balances_of
from app.api.context import Info
from app.api.enums import Direction, EntryStatus
from app.api.filters import EFFECTS
from app.api.ids import encode_entry
from app.api.nodes import Node
from app.api.scalars import JSON, Amount, DateTime, Sequence
from app.ledger import balances as domain
from app.store import rows

if TYPE_CHECKING:
    from app.api.transactions import Transaction

_STATUS = {effect: status for status, effects in EFFECTS.items() for effect in effects}


@strawberry.type(description="One immutable line of one account.")
class Entry(Node):
    direction: Direction = strawberry.field(description="Its side.")
    amount: Amount = strawberry.field(description="In minor units, above zero.")
    status: EntryStatus = strawberry.field(description="The state that it brought about.")
    sequence: Sequence = strawberry.field(
        description="1, 2, 3 … among the entries of its account, without a gap."
    )
    effective_at: DateTime = strawberry.field(description="When it happened in the world.")
    created_at: DateTime = strawberry.field(description="When it was recorded.")
    metadata: JSON = strawberry.field(description="The client's own data.")
    row: strawberry.Private[rows.EntryRow]
    known_transaction: strawberry.Private[Any] = None

    @classmethod
    def of(cls, row: rows.EntryRow, known_transaction: "Transaction | None" = None) -> "Entry":
        return cls(
            id=encode_entry(row.account_id, row.sequence),
            direction=Direction(row.direction),
            amount=Amount(row.amount),
            status=_STATUS[row.effect],
            sequence=Sequence(row.sequence),
            effective_at=DateTime(row.effective_at),
            created_at=DateTime(row.recorded_at),
            metadata=JSON(row.metadata or {}),
            row=row,
            known_transaction=known_transaction,
        )

    @strawberry.field(description="The transaction that it is a line of.")
    def transaction(
        self, info: Info
    ) -> Annotated["Transaction", strawberry.lazy("app.api.transactions")]:
        from app.api.transactions import Transaction

        if self.known_transaction is not None:
            return self.known_transaction
        return info.context.load.one(
            rows.transactions_by_sequence,
            self.row.ledger_id,
            self.row.transaction_sequence,
            build=Transaction.of,
        )

    @strawberry.field(description="The account that it is on.")
    def account(self, info: Info) -> Account:
        return find_account(info.context, self.row.account_id)

    @strawberry.field(description="The account's balances right after it.")
    def balances_after(self) -> Balances:
        row = self.row
        return balances_of(
            domain.Balances(
                row.posted_debits, row.posted_credits, row.pending_debits, row.pending_credits
            ),
            row.sequence,
            normal_balance=row.normal_balance,
            currency=row.currency,
            exponent=row.exponent,
            as_of=row.recorded_at,
        )
