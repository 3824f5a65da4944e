"""Credit lots: stored value that expires, with all that ever left it."""

from typing import TYPE_CHECKING, Annotated

import strawberry

from app.api.connections import Connection, listed
from app.api.engine.context import Info
from app.api.enums import CreditLotState, ErrorCode, LotMovementKind, by_word
from app.api.ids import LOT, encode
from app.api.nodes import OPAQUE, Node, ScheduledRefusal, of_row, reads
from app.api.scalars import Amount, DateTime
from app.store import rows

if TYPE_CHECKING:
    from app.api.accounts.types import Account
    from app.api.transactions.entries import Entry
    from app.api.transactions.types import Transaction


_STATE = by_word(CreditLotState)
_KIND = by_word(LotMovementKind)


@strawberry.type(description="What one entry took from a credit lot.")
class LotMovement:
    row: strawberry.Private[rows.LotMovementRow]

    kind: LotMovementKind = of_row(lambda row: _KIND[row.kind], "How it left the lot.")
    amount: Amount = of_row("amount", "In minor units, above zero.")

    @classmethod
    def of(cls, row: rows.LotMovementRow) -> "LotMovement":
        return cls(row=row)

    @strawberry.field(description="The lot.")
    @reads("lot_id")
    def lot(self, info: Info) -> "CreditLot":
        return info.context.load.one(rows.lots_by_id, self.row.lot_id, build=CreditLot.of)

    @strawberry.field(description="The account's entry that took it.")
    @reads("account_id", "sequence")
    def entry(
        self, info: Info
    ) -> Annotated["Entry", strawberry.lazy("app.api.transactions.entries")]:
        from app.api.transactions.entries import Entry

        return info.context.load.one(
            rows.entries_by_id, self.row.account_id, self.row.sequence, build=Entry.of
        )

    @strawberry.field(description="The transaction of that entry.")
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


@strawberry.type(
    description=(
        "A part of an account's money that expires. What is spent from the account is taken from"
        " the lot that expires first; what is left at `expiresAt`, and not reserved by a hold, goes"
        " to the breakage account. amount = remaining + spent + expired."
    )
)
class CreditLot(Node):
    row: strawberry.Private[rows.LotRow]

    id: strawberry.ID = of_row(lambda row: encode(LOT, row.lot_id), OPAQUE)
    code: str | None = of_row("code", "The client's own word for it.")
    state: CreditLotState = of_row(lambda row: _STATE[row.state], "Where it stands.")
    amount: Amount = of_row("amount", "What it was opened with, in minor units.")
    remaining: Amount = of_row(
        "remaining", "What is left of it, whether reserved by holds or not, in minor units."
    )
    spent: Amount = of_row(
        lambda row: row.amount - row.remaining - row.expired, "What was spent of it."
    )
    expired: Amount = of_row("expired", "What went to the breakage account.")
    expires_at: DateTime = of_row("expires_at", "When what is left of it expires.")

    @classmethod
    def of(cls, row: rows.LotRow) -> "CreditLot":
        return cls(row=row)

    @strawberry.field(description="The account that it is a part of.")
    @reads("account_id")
    def account(
        self, info: Info
    ) -> Annotated["Account", strawberry.lazy("app.api.accounts.types")]:
        from app.api.accounts.types import find_account

        return find_account(info.context, self.row.account_id)

    @strawberry.field(description="The account that what expires goes to.")
    @reads("breakage_account_id")
    def breakage_account(
        self, info: Info
    ) -> Annotated["Account", strawberry.lazy("app.api.accounts.types")]:
        from app.api.accounts.types import find_account

        return find_account(info.context, self.row.breakage_account_id)

    @strawberry.field(description="The entry that opened it.")
    @reads("account_id", "number")
    def opened_by(
        self, info: Info
    ) -> Annotated["Entry", strawberry.lazy("app.api.transactions.entries")]:
        from app.api.transactions.entries import Entry

        return info.context.load.one(
            rows.entries_by_id, self.row.account_id, self.row.number, build=Entry.of
        )

    movements = listed(
        Connection[LotMovement],
        rows.movements_of_lot,
        "lot_id",
        "All that left it, oldest first.",
        order="sequence",
    )

    @strawberry.field(
        description="Why it did not expire when that was last tried; null if it never failed."
    )
    @reads("refusal_code", "refusal_message", "refused_at", "due_attempts", "due_at")
    def last_refusal(self) -> ScheduledRefusal | None:
        row = self.row
        if row.refusal_code is None or row.refusal_message is None or row.refused_at is None:
            return None
        return ScheduledRefusal(
            code=ErrorCode[row.refusal_code],
            message=row.refusal_message,
            refused_at=DateTime(row.refused_at),
            attempts=row.due_attempts or 0,
            next_attempt_at=None if row.due_at is None else DateTime(row.due_at),
        )
