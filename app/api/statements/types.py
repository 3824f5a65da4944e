"""Account statements: what a holder was told of a period, for ever."""

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from app.api.accounts.balances import Balance, Currency
from app.api.connections import After, Connection, First, connect, listed
from app.api.engine.context import Info
from app.api.ids import STATEMENT, encode
from app.api.nodes import OPAQUE, Node, of_row, reads
from app.api.scalars import Amount, DateTime, Sequence
from app.ledger.statements.statements import Line, net
from app.store import rows
from app.store.statements.statements import statement_lines

if TYPE_CHECKING:
    from app.api.accounts.types import Account
    from app.api.transactions.entries import Entry

PATH = "/statements"


@strawberry.type(description="What the entries of a statement come to, by direction.")
class StatementTotals:
    debits: Amount = strawberry.field(description="All debits of the period, in minor units.")
    credits: Amount = strawberry.field(description="All credits of the period, in minor units.")
    count: Sequence = strawberry.field(description="How many lines there are.")


@strawberry.type(
    description=(
        "Where a statement's files are, as paths on this server; GET them with the same API key."
        " A file says the same for ever; the content hash is its ETag."
    )
)
class StatementDownloads:
    json: str = strawberry.field(description="All of it, with what the content hash is made of.")
    csv: str = strawberry.field(description="Its lines, for spreadsheets.")
    pdf: str = strawberry.field(description="For people.")


@strawberry.type(description="A line of a statement.")
class StatementEntry:
    row: strawberry.Private[Line]
    statement: strawberry.Private[rows.StatementRow]

    position: Sequence = of_row("position", "1, 2, 3 … in the statement.")
    description: str | None = of_row(
        "description", "The transaction's description as it was when the statement was made."
    )

    @strawberry.field(description="The account's balance after it, by effective time.")
    @reads("debits", "credits")
    def running_balance(self) -> Balance:
        return _balance(self.statement, self.row.debits, self.row.credits)

    @strawberry.field(description="The entry.")
    @reads("sequence")
    def entry(
        self, info: Info
    ) -> Annotated["Entry", strawberry.lazy("app.api.transactions.entries")]:
        from app.api.transactions.entries import Entry

        return info.context.load.one(
            rows.entries_by_id, self.statement.account_id, self.row.sequence, build=Entry.of
        )


@strawberry.type(
    description=(
        "An account's statement of a period of effective time: opening balance, posted entries with"
        " the balance after each, closing balance, as known when it was made. It never changes;"
        " entries that come to be known later are listed beside it as late adjustments."
    )
)
class Statement(Node):
    row: strawberry.Private[rows.StatementRow]

    id: strawberry.ID = of_row(lambda row: encode(STATEMENT, row.statement_id), OPAQUE)
    number: Sequence = of_row("number", "1, 2, 3 … of the account.")
    from_: DateTime = of_row("from_at", "Where the period begins.", name="from")
    to: DateTime = of_row("to_at", "Where the period ends; itself not in it.")
    created_at: DateTime = of_row("created_at", "When it was made.")
    ledger_sequence: Sequence = of_row(
        "ledger_sequence", "The last transaction of the ledger when it was made."
    )
    account_version: Sequence = of_row(
        "account_version", "The last entry of the account when it was made: no later one is in it."
    )
    content_hash: str = of_row(
        lambda row: row.content_hash.hex(),
        "SHA-256 of all that it says, in hexadecimal; the JSON file holds what it is made of.",
    )
    account_name: str = of_row("account_name", "The account's name when it was made.")
    scheduled: bool = of_row("scheduled", "Whether it was made by a schedule.")

    @classmethod
    def of(cls, row: rows.StatementRow) -> "Statement":
        return cls(row=row)

    @strawberry.field(description="The account.")
    @reads("account_id")
    def account(
        self, info: Info
    ) -> Annotated["Account", strawberry.lazy("app.api.accounts.types")]:
        from app.api.accounts.types import find_account

        return find_account(info.context, self.row.account_id)

    @strawberry.field(description="The posted balance from all that took effect before the period.")
    @reads("opening_debits", "opening_credits", "normal_balance", "currency", "exponent")
    def opening(self) -> Balance:
        return _balance(self.row, self.row.opening_debits, self.row.opening_credits)

    @strawberry.field(description="The posted balance at the end of the period.")
    @reads("closing_debits", "closing_credits", "normal_balance", "currency", "exponent")
    def closing(self) -> Balance:
        return _balance(self.row, self.row.closing_debits, self.row.closing_credits)

    @strawberry.field(description="What its lines come to.")
    @reads("opening_debits", "opening_credits", "closing_debits", "closing_credits", "line_count")
    def totals(self) -> StatementTotals:
        row = self.row
        return StatementTotals(
            debits=Amount(row.closing_debits - row.opening_debits),
            credits=Amount(row.closing_credits - row.opening_credits),
            count=Sequence(row.line_count),
        )

    @strawberry.field(
        description=(
            "The latest statement of the period right before, made before this one; null if there"
            " was none. opening = its closing + adjustments."
        )
    )
    @reads("account_id", "previous_number")
    def previous(
        self, info: Info
    ) -> Annotated["Statement", strawberry.lazy("app.api.statements.types")] | None:
        if self.row.previous_number is None:
            return None
        return info.context.load.one(
            rows.statements_by_number,
            self.row.account_id,
            self.row.previous_number,
            build=Statement.of,
        )

    adjustments = listed(
        Connection[Annotated["Entry", strawberry.lazy("app.api.transactions.entries")]],
        rows.adjustments_of_statement,
        "statement_id",
        "Posted entries of earlier periods that were recorded after the previous statement was"
        " made and before this one, in order of sequence; none without a previous one.",
        order="sequence",
    )

    @strawberry.field(description="Its lines, in order of effective time.")
    def lines(
        self, info: Info, first: First = None, after: After = None
    ) -> Connection[StatementEntry]:
        return connect(
            info.context,
            statement_lines,
            self.row.statement_id,
            lambda line: StatementEntry(row=line, statement=self.row),
            order="position",
            first=first,
            after=after,
        )

    late_adjustments = listed(
        Connection[Annotated["Entry", strawberry.lazy("app.api.transactions.entries")]],
        rows.late_adjustments_of_statement,
        "statement_id",
        "Posted entries with an effective time in the period that were recorded after it was"
        " made, in order of effective time. They are not in it.",
        order="effective_at",
    )

    @strawberry.field(description="Its files.")
    @reads("statement_id")
    def downloads(self) -> StatementDownloads:
        path = f"{PATH}/{encode(STATEMENT, self.row.statement_id)}"
        return StatementDownloads(json=f"{path}.json", csv=f"{path}.csv", pdf=f"{path}.pdf")


def _balance(row: rows.StatementRow, debits: int, credits_: int) -> Balance:
    return Balance(
        amount=Amount(net(row.normal_balance, debits, credits_)),
        debits=Amount(debits),
        credits=Amount(credits_),
        currency=Currency(code=row.currency, exponent=row.exponent),
    )


def find_statement(info: Info, statement_id: Any) -> Any:
    """Load the statement of that id."""
    return info.context.load.one(rows.statements_by_id, statement_id, build=Statement.of)
