"""Settlements: payouts of what has gathered on an account."""

from typing import TYPE_CHECKING, Annotated

import strawberry

from app.api.connections import Connection, listed
from app.api.engine.context import Info
from app.api.ids import SETTLEMENT, encode
from app.api.nodes import OPAQUE, Node, of_row, reads
from app.api.scalars import Amount, DateTime, Sequence
from app.store import rows

if TYPE_CHECKING:
    from app.api.accounts.types import Account
    from app.api.transactions.entries import Entry
    from app.api.transactions.types import Transaction


@strawberry.type(description="What no settlement of an account has collected yet.")
class Unsettled:
    amount: Amount = strawberry.field(
        description="What its entries come to on the account's normal side, in minor units."
    )
    count: Sequence = strawberry.field(description="How many entries there are.")


@strawberry.type(
    description=(
        "A payout of the posted entries of an account that none had paid out before. It is undone"
        " by reversing its transaction, as a whole: then its entries are unsettled again."
    )
)
class Settlement(Node):
    row: strawberry.Private[rows.SettlementRow]

    id: strawberry.ID = of_row(lambda row: encode(SETTLEMENT, row.settlement_id), OPAQUE)
    number: Sequence = of_row("number", "1, 2, 3 … of the account.")
    up_to: DateTime = of_row(
        "up_to", "The effective time before which entries were collected; itself not in it."
    )
    amount: Amount = of_row("amount", "What was paid out, in minor units.")
    entry_count: Sequence = of_row("entry_count", "How many entries were collected.")

    @classmethod
    def of(cls, row: rows.SettlementRow) -> "Settlement":
        return cls(row=row)

    @strawberry.field(description="The account that was settled.")
    @reads("account_id")
    def account(
        self, info: Info
    ) -> Annotated["Account", strawberry.lazy("app.api.accounts.types")]:
        from app.api.accounts.types import find_account

        return find_account(info.context, self.row.account_id)

    @strawberry.field(description="The payout.")
    @reads("ledger_id", "transaction_sequence")
    def transaction(
        self, info: Info
    ) -> Annotated["Transaction", strawberry.lazy("app.api.transactions.types")]:
        from app.api.transactions.types import Transaction

        return info.context.load.one(
            rows.transactions_by_sequence,
            self.row.ledger_id,
            self.row.transaction_sequence,
            build=Transaction.of,
        )

    @strawberry.field(
        description="The reversal that undid it and made its entries unsettled again; null if none."
    )
    @reads("ledger_id", "released_sequence")
    def released_by(
        self, info: Info
    ) -> Annotated["Transaction", strawberry.lazy("app.api.transactions.types")] | None:
        from app.api.transactions.types import Transaction

        if self.row.released_sequence is None:
            return None
        return info.context.load.one(
            rows.transactions_by_sequence,
            self.row.ledger_id,
            self.row.released_sequence,
            build=Transaction.of,
        )

    entries = listed(
        Connection[Annotated["Entry", strawberry.lazy("app.api.transactions.entries")]],
        rows.entries_of_settlement,
        "settlement_id",
        "What it collected, in order of sequence.",
        order="sequence",
    )
