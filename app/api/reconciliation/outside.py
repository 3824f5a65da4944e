"""External accounts, and what came in for them: imports, statements, lines, import profiles."""

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from app.api.accounts.balances import Currency
from app.api.connections import After, Before, Connection, First, Last, connect, listed
from app.api.engine.context import Context, Info
from app.api.enums import (
    ExternalAccountKind,
    ImportFailureCode,
    ImportStatus,
    OrderDirection,
    StatementFormat,
    by_word,
)
from app.api.filters import StatementLineFilter, StatementLineOrder
from app.api.ids import EXTERNAL_ACCOUNT, EXTERNAL_STATEMENT, IMPORT, encode, encode_line
from app.api.ledgers.currencies import ISO_EXPONENTS
from app.api.nodes import OPAQUE, Node, of_row, reads
from app.api.reconciliation.formats.reading import Books
from app.api.scalars import JSON, Amount, Date, DateTime, Sequence
from app.ledger import refusals
from app.ledger.amounts import decimal_text
from app.ledger.reconciliation.outside import difference
from app.store import rows
from app.store.rows import reconciliation as reconciliation_rows

if TYPE_CHECKING:
    from app.api.accounts.types import Account
    from app.api.reconciliation.types import Reconciliation, ReconciliationMatch

_KIND = by_word(ExternalAccountKind)
_FORMAT = by_word(StatementFormat)
_STATUS = by_word(ImportStatus)


def currency_of(code: str, account_currency: str, account_exponent: int) -> Currency:
    """The currency of a line: the account's own, or else one of ISO 4217."""
    exponent = account_exponent if code == account_currency else ISO_EXPONENTS.get(code, 0)
    return Currency(code=code, exponent=exponent)


@strawberry.type(
    description=(
        "An account in an outside party's books that tells of one of ours: what comes in there"
        " raises our account on its normal side, or if `inverted` lowers it."
    )
)
class ExternalAccount(Node):
    row: strawberry.Private[rows.ExternalAccountRow]

    id: strawberry.ID = of_row(
        lambda row: encode(EXTERNAL_ACCOUNT, row.external_account_id), OPAQUE
    )
    name: str = of_row("name", "For people.")
    kind: ExternalAccountKind = of_row(lambda row: _KIND[row.kind], "Whose books it is in.")
    identification: str | None = of_row(
        "identification",
        "What statements call it, such as an IBAN; files for another account are refused. Null:"
        " any file is taken.",
    )
    inverted: bool = of_row("inverted", "Whether what comes in there lowers our account.")
    metadata: JSON = of_row("metadata", "The client's own data.")
    created_at: DateTime = of_row("created_at", "When it was made.")

    @classmethod
    def of(cls, row: rows.ExternalAccountRow) -> "ExternalAccount":
        return cls(row=row)

    @strawberry.field(description="Our account that it tells of.")
    @reads("account_id")
    def account(
        self, info: Info
    ) -> Annotated["Account", strawberry.lazy("app.api.accounts.types")]:
        from app.api.accounts.types import find_account

        return find_account(info.context, self.row.account_id)

    statements = listed(
        Connection[
            Annotated["ExternalStatement", strawberry.lazy("app.api.reconciliation.outside")]
        ],
        rows.statements_of_external_account,
        "external_account_id",
        "Its statements, as they came in.",
        order="number",
        from_end=True,
    )

    imports = listed(
        Connection[Annotated["StatementImport", strawberry.lazy("app.api.reconciliation.outside")]],
        rows.imports_of_external_account,
        "external_account_id",
        "What was imported for it or is being imported, the failed ones too, in order.",
        order="created_at",
        from_end=True,
    )

    @strawberry.field(description="The lines of all its statements, each once.")
    @reads("external_account_id")
    def lines(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Annotated[
            StatementLineFilter | None,
            strawberry.argument(description="Which lines; all if absent."),
        ] = None,
        order_by: Annotated[
            StatementLineOrder | None, strawberry.argument(description="In what order.")
        ] = None,
    ) -> Connection["StatementLine"]:
        order = order_by or StatementLineOrder()
        return connect(
            info.context,
            rows.lines_of_external_account,
            self.row.external_account_id,
            StatementLine.of,
            order=order.field.value,
            descending=order.direction is OrderDirection.DESC,
            conditions=filter.conditions() if filter else (),
            first=first,
            after=after,
            last=last,
            before=before,
        )

    reconciliations = listed(
        Connection[Annotated["Reconciliation", strawberry.lazy("app.api.reconciliation.types")]],
        reconciliation_rows.reconciliations_of_external_account,
        "external_account_id",
        "Its reconciliations, in order of creation.",
        order="created_at",
        from_end=True,
    )


@strawberry.type(description="Why a file was not imported, and where in it.")
class ImportFailure:
    code: ImportFailureCode = strawberry.field(description="The reason, stable for programs.")
    message: str = strawberry.field(description="The reason, for people.")
    line: Sequence | None = strawberry.field(description="The line of the file, from 1.")
    column: Sequence | None = strawberry.field(
        description="The character in the line, from 1; in CSV the cell, from 1."
    )


@strawberry.type(
    description="A file, or a list of rows, that came in: all of it is stored, or nothing."
)
class StatementImport(Node):
    row: strawberry.Private[rows.ImportRow]

    id: strawberry.ID = of_row(lambda row: encode(IMPORT, row.import_id), OPAQUE)
    status: ImportStatus = of_row(lambda row: _STATUS[row.status], "How far it has come.")
    format: StatementFormat = of_row(lambda row: _FORMAT[row.format], "What it came as.")
    source_name: str | None = of_row("source_name", "What the sender calls the file.")
    bytes_read: Sequence = of_row("bytes_read", "How much of the body was read, as it was sent.")
    bytes_total: Sequence | None = of_row(
        "bytes_total", "The length of the body; null if it was not told."
    )
    lines_read: Sequence = of_row("lines_read", "How many statement lines were read.")
    lines_new: Sequence = of_row("lines_new", "How many of them are new, and stored.")
    lines_known: Sequence = of_row(
        "lines_known", "How many of them an earlier statement had as well."
    )
    lines_skipped: Sequence = of_row(
        "lines_skipped", "How many entries were left out because they are not booked yet."
    )
    created_at: DateTime = of_row("created_at", "When it began.")
    finished_at: DateTime | None = of_row("finished_at", "When it ended; null while it is read.")

    @classmethod
    def of(cls, row: rows.ImportRow) -> "StatementImport":
        return cls(row=row)

    @strawberry.field(description="Why it failed; null if it has not.")
    @reads("failure_code", "failure_message", "failure_line", "failure_column")
    def failure(self) -> ImportFailure | None:
        row = self.row
        if row.failure_code is None or row.failure_message is None:
            return None
        return ImportFailure(
            code=ImportFailureCode(row.failure_code),
            message=row.failure_message,
            line=None if row.failure_line is None else Sequence(row.failure_line),
            column=None if row.failure_column is None else Sequence(row.failure_column),
        )

    @strawberry.field(description="The import that stored the same before, if RECOGNISED.")
    @reads("original_import_id")
    def original(self, info: Info) -> "StatementImport | None":
        if self.row.original_import_id is None:
            return None
        return info.context.load.one(
            rows.imports_by_id, self.row.original_import_id, build=StatementImport.of
        )

    @strawberry.field(description="The external account that it is for.")
    @reads("external_account_id")
    def external_account(self, info: Info) -> ExternalAccount:
        return find_external_account(info.context, self.row.external_account_id)

    statements = listed(
        Connection[
            Annotated["ExternalStatement", strawberry.lazy("app.api.reconciliation.outside")]
        ],
        rows.statements_of_import,
        "import_id",
        "The statements that it brought, in order.",
        order="number",
    )


@strawberry.type(description="What an outside party says happened on an external account.")
class ExternalStatement(Node):
    row: strawberry.Private[rows.ExternalStatementRow]

    id: strawberry.ID = of_row(
        lambda row: encode(EXTERNAL_STATEMENT, row.external_statement_id), OPAQUE
    )
    number: Sequence = of_row("number", "1, 2, 3 … among those of its external account.")
    reference: str | None = of_row("reference", "What the outside party calls it.")
    currency: Currency = of_row(
        lambda row: currency_of(row.currency, row.account_currency, row.account_exponent),
        "The unit of its balances.",
    )
    from_: Date | None = strawberry.field(
        name="from",
        resolver=reads("from_date")(lambda self: self.row.from_date),
        description="Its first day: as stated, or else that of its first line.",
    )
    through: Date | None = of_row(
        "through_date", "Its last day: as stated, or else that of its last line."
    )
    opening_balance: Amount | None = of_row(
        "opening_balance", "What was there before its lines, as stated, in minor units."
    )
    closing_balance: Amount | None = of_row(
        "closing_balance", "What was there after its lines, as stated, in minor units."
    )
    line_count: Sequence = of_row("line_count", "How many lines stand in it.")
    known_count: Sequence = of_row(
        "known_count", "How many of those an earlier statement had as well."
    )
    line_total: Amount = of_row(
        "line_total", "The sum of its lines in its own currency, in minor units."
    )
    difference: Amount | None = of_row(
        lambda row: difference(row.opening_balance, row.line_total, row.closing_balance),
        "Opening balance and lines less the closing balance; null if a balance is not stated.",
    )
    balanced: bool | None = of_row(
        lambda row: _balanced(row.opening_balance, row.line_total, row.closing_balance),
        "Whether opening balance and lines come to the closing balance; null if a balance is not"
        " stated.",
    )
    created_at: DateTime = of_row("created_at", "When it was stored.")

    @classmethod
    def of(cls, row: rows.ExternalStatementRow) -> "ExternalStatement":
        return cls(row=row)

    @strawberry.field(description="The external account.")
    @reads("external_account_id")
    def external_account(self, info: Info) -> ExternalAccount:
        return find_external_account(info.context, self.row.external_account_id)

    @strawberry.field(name="import", description="The import that brought it.")
    @reads("import_id")
    def import_(self, info: Info) -> StatementImport:
        return info.context.load.one(
            rows.imports_by_id, self.row.import_id, build=StatementImport.of
        )

    lines = listed(
        Connection[Annotated["StatementLine", strawberry.lazy("app.api.reconciliation.outside")]],
        rows.lines_of_statement,
        "external_statement_id",
        "All its lines as they stand in it, those known from earlier statements too.",
        order="position",
    )


@strawberry.type(description="One movement, as an outside party records it.")
class StatementLine(Node):
    row: strawberry.Private[rows.StatementLineRow]

    id: strawberry.ID = of_row(lambda row: encode_line(row.external_account_id, row.number), OPAQUE)
    number: Sequence = of_row("number", "1, 2, 3 … among those of its external account.")
    booked_on: Date = of_row("booked_on", "The day on which it was booked there.")
    value_on: Date | None = of_row("value_on", "The day from which it counts, if stated.")
    amount: Amount = of_row(
        "amount", "In minor units of its currency: above zero came in there, below zero went out."
    )
    currency: Currency = of_row(
        lambda row: currency_of(row.currency, row.account_currency, row.account_exponent),
        "The unit of its amount.",
    )
    decimal: str = of_row(
        lambda row: _decimal(row.amount, row.currency, row.account_currency, row.account_exponent),
        'The amount in units of its currency, such as "-12.34".',
    )
    reference: str | None = of_row("reference", "The outside party's own reference of it.")
    end_to_end_id: str | None = of_row(
        "end_to_end_id", "The reference that came with the payment from who ordered it."
    )
    counterparty: str | None = of_row("counterparty", "Who is on the other side.")
    description: str | None = of_row("description", "What it is for.")
    details: JSON | None = of_row("details", "What else its format says.")
    source_line: Sequence | None = of_row("source_line", "The line of the file, from 1.")

    @classmethod
    def of(cls, row: rows.StatementLineRow) -> "StatementLine":
        return cls(row=row)

    @strawberry.field(description="The matches that have it, proposed ones too.")
    @reads("external_account_id", "number")
    def matches(
        self, info: Info
    ) -> list[Annotated["ReconciliationMatch", strawberry.lazy("app.api.reconciliation.types")]]:
        from app.api.reconciliation.types import ReconciliationMatch

        return info.context.load.all(
            reconciliation_rows.matches_by_line,
            self.row.external_account_id,
            self.row.number,
            build=ReconciliationMatch.of,
        )

    @strawberry.field(description="The statement that was the first to have it.")
    @reads("external_statement_id")
    def statement(self, info: Info) -> ExternalStatement:
        return info.context.load.one(
            rows.external_statements_by_id,
            self.row.external_statement_id,
            build=ExternalStatement.of,
        )

    @strawberry.field(description="The external account.")
    @reads("external_account_id")
    def external_account(self, info: Info) -> ExternalAccount:
        return find_external_account(info.context, self.row.external_account_id)


@strawberry.type(description="How CSV files of a ledger's external accounts are read, by name.")
class ImportProfile:
    row: strawberry.Private[rows.ImportProfileRow]

    name: str = of_row("name", "Its name in the ledger.")
    definition: JSON = of_row("definition", "As saveImportProfile took it, defaults filled in.")
    created_at: DateTime = of_row("created_at", "When it was first saved.")
    updated_at: DateTime = of_row("updated_at", "When it was last saved.")

    @classmethod
    def of(cls, row: rows.ImportProfileRow) -> "ImportProfile":
        return cls(row=row)


async def books_of(context: Context, external_account_id: UUID) -> Books:
    """Read what a reader must know of it. Raises the refusal ExternalAccountNotFound."""
    row = await context.load.one(
        rows.external_accounts_by_id, external_account_id, build=lambda row: row
    )
    if row is None:
        raise refusals.ExternalAccountNotFound
    account = await context.load.one(rows.accounts_by_id, row.account_id, build=lambda row: row)

    def exponent_of(currency: str) -> int | None:
        return account.exponent if currency == account.currency else ISO_EXPONENTS.get(currency)

    return Books(row.ledger_id, account.currency, exponent_of, row.identification)


def find_external_account(context: Context, external_account_id: UUID) -> Any:
    """Load the external account of that id."""
    return context.load.one(
        rows.external_accounts_by_id, external_account_id, build=ExternalAccount.of
    )


def _balanced(opening: int | None, total: int, closing: int | None) -> bool | None:
    missing = difference(opening, total, closing)
    return None if missing is None else missing == 0


def _decimal(amount: int, currency: str, account_currency: str, account_exponent: int) -> str:
    return decimal_text(amount, currency_of(currency, account_currency, account_exponent).exponent)
