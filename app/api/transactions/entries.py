"""Entries."""

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from app.api.accounts.balances import Balances, balances_of
from app.api.accounts.types import Account, find_account
from app.api.engine.context import Info
from app.api.enums import DIRECTIONS, Direction, EntryStatus
from app.api.filters import EFFECTS
from app.api.ids import encode_entry
from app.api.nodes import OPAQUE, Node, of_row, reads
from app.api.scalars import JSON, Amount, DateTime, Sequence
from app.ledger.accounts import balances as domain
from app.store import rows
from app.store.rows import reconciliation as reconciliation_rows

if TYPE_CHECKING:
    from app.api.accounts.lots import CreditLot, LotMovement
    from app.api.reconciliation.types import ReconciliationMatch
    from app.api.statements.settlements import Settlement
    from app.api.transactions.types import Transaction

_STATUS = {effect: status for status, effects in EFFECTS.items() for effect in effects}


@cache
def _transaction_type() -> "type[Transaction]":
    from app.api.transactions.types import Transaction

    return Transaction


@strawberry.type(description="One immutable line of one account.")
class Entry(Node):
    row: strawberry.Private[rows.EntryRow]
    known_transaction: strawberry.Private[Any] = None

    id: strawberry.ID = of_row(lambda row: encode_entry(row.account_id, row.sequence), OPAQUE)
    direction: Direction = of_row(lambda row: DIRECTIONS[row.direction], "Its side.")
    amount: Amount = of_row("amount", "In minor units, above zero.")
    status: EntryStatus = of_row(
        lambda row: _STATUS[row.effect], "The state that it brought about."
    )
    sequence: Sequence = of_row(
        "sequence", "1, 2, 3 … among the entries of its account, without a gap."
    )
    effective_at: DateTime = of_row("effective_at", "When it happened in the world.")
    created_at: DateTime = of_row("recorded_at", "When it was recorded.")
    metadata: JSON = of_row(lambda row: row.metadata or {}, "The client's own data.")

    @classmethod
    def of(cls, row: rows.EntryRow, known_transaction: "Transaction | None" = None) -> "Entry":
        return cls(row=row, known_transaction=known_transaction)

    @strawberry.field(description="The transaction that it is a line of.")
    @reads("ledger_id", "transaction_sequence")
    def transaction(
        self, info: Info
    ) -> Annotated["Transaction", strawberry.lazy("app.api.transactions.types")]:
        if self.known_transaction is not None:
            return self.known_transaction
        return info.context.load.one(
            rows.transactions_by_sequence,
            self.row.ledger_id,
            self.row.transaction_sequence,
            build=_transaction_type().of,
        )

    @strawberry.field(description="The credit lot that it opened; null if it opened none.")
    @reads("account_id", "sequence")
    def lot(
        self, info: Info
    ) -> Annotated["CreditLot", strawberry.lazy("app.api.accounts.lots")] | None:
        from app.api.accounts.lots import CreditLot

        return info.context.load.one(
            rows.lots_by_entry, self.row.account_id, self.row.sequence, build=CreditLot.of
        )

    @strawberry.field(
        description="The settlement that it is settled by; null while it is unsettled."
    )
    @reads("account_id", "sequence")
    def settled_by(
        self, info: Info
    ) -> Annotated["Settlement", strawberry.lazy("app.api.statements.settlements")] | None:
        from app.api.statements.settlements import Settlement

        return info.context.load.one(
            rows.settlements_by_entry,
            self.row.account_id,
            self.row.sequence,
            build=Settlement.of,
        )

    @strawberry.field(description="What it took from credit lots of its account.")
    @reads("account_id", "sequence")
    def lot_movements(
        self, info: Info
    ) -> list[Annotated["LotMovement", strawberry.lazy("app.api.accounts.lots")]]:
        from app.api.accounts.lots import LotMovement

        return info.context.load.all(
            rows.movements_by_entry, self.row.account_id, self.row.sequence, build=LotMovement.of
        )

    @strawberry.field(
        description="The match that has it in a closed reconciliation; null if none has."
    )
    @reads("account_id", "sequence")
    def reconciled_by(
        self, info: Info
    ) -> Annotated["ReconciliationMatch", strawberry.lazy("app.api.reconciliation.types")] | None:
        from app.api.reconciliation.types import ReconciliationMatch

        return info.context.load.one(
            reconciliation_rows.closed_matches_by_entry,
            self.row.account_id,
            self.row.sequence,
            build=ReconciliationMatch.of,
        )

    @strawberry.field(description="The account that it is on.")
    @reads("account_id")
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
