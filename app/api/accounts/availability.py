"""Why an account has available what it has: posted, less the holds on it one by one."""

from typing import TYPE_CHECKING, Annotated

import strawberry

from app.api.connections import After, Connection, First, connect
from app.api.engine.context import Info
from app.api.enums import REASONS, HoldReason
from app.api.nodes import of_row
from app.api.scalars import Amount, DateTime
from app.ledger.accounts import balances as domain
from app.store import rows

if TYPE_CHECKING:
    from app.api.transactions.types import Transaction


@strawberry.type(description="What one pending transaction takes from an account's available.")
class OutgoingHold:
    cursor: str = strawberry.field(description="Its place; give it as `after` to go on.")
    row: strawberry.Private[rows.OutgoingHoldRow]

    reason: HoldReason | None = of_row(
        lambda row: REASONS[row.reason], "What the hold is for; null if nobody said."
    )
    amount: Amount = of_row(
        "amount", "What is left of it against the account's normal side, in minor units."
    )
    posts_at: DateTime | None = of_row("posts_at", "When it posts by itself; null if never.")
    expires_at: DateTime | None = of_row(
        "expires_at", "When it is released by itself; null if never."
    )

    @classmethod
    def of(cls, row: rows.OutgoingHoldRow) -> "OutgoingHold":
        return cls(row=row, cursor="")

    @strawberry.field(description="The pending transaction behind it.")
    def transaction(
        self, info: Info
    ) -> Annotated["Transaction", strawberry.lazy("app.api.transactions.types")]:
        from app.api.transactions.types import Transaction

        return info.context.load.one(
            rows.transactions_by_id, self.row.transaction_id, build=Transaction.of
        )


@strawberry.type(
    description=(
        "What may be used of an account, and why no more: available = posted - pendingOutgoing, and"
        " pendingOutgoing is the sum of the holds. All of one moment, in minor units on the normal"
        " side."
    )
)
class Availability:
    posted: Amount = strawberry.field(description="What has been posted.")
    pending_outgoing: Amount = strawberry.field(
        description="What is pending against the normal side: on its way out."
    )
    floor: Amount | None = strawberry.field(
        description="Below this no entry may take available; null if it may fall without limit."
    )
    available: Amount = strawberry.field(description="What may be used now.")
    account: strawberry.Private[rows.AccountRow]

    @classmethod
    def of(cls, row: rows.AccountRow) -> "Availability":
        totals = domain.Balances(
            row.posted_debits, row.posted_credits, row.pending_debits, row.pending_credits
        )
        normal = domain.Direction(row.normal_balance)
        posted, available = totals.posted(normal).amount, totals.available(normal).amount
        return cls(
            posted=Amount(posted),
            pending_outgoing=Amount(posted - available),
            floor=None if row.available_floor is None else Amount(row.available_floor),
            available=Amount(available),
            account=row,
        )

    @strawberry.field(
        description=(
            "The holds behind pendingOutgoing, in order of creation: up to `first` of them. Those"
            " that bring money in are not among them; see the account's `holds`."
        )
    )
    def holds(self, info: Info, first: First = None, after: After = None) -> list[OutgoingHold]:
        return connect(
            info.context,
            rows.outgoing_holds_of_account,
            self.account.account_id,
            OutgoingHold.of,
            order="sequence",
            first=first,
            after=after,
            shown=_with_cursors,
        )


def _with_cursors(page: Connection[OutgoingHold]) -> list[OutgoingHold]:
    for number, hold in enumerate(page.nodes):
        hold.cursor = page.cursor_of(number)
    return page.nodes
