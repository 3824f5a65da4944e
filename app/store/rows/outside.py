"""What others say: their accounts, the files that came in, statements and lines."""

from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import FromClause, Select, Uuid, and_, bindparam, literal_column, select, union_all

from app.store.reading import Listing, Lookup, of_organization
from app.store.rows.columns import above_zero, alike, columns
from app.store.tables import (
    accounts,
    external_accounts,
    external_statements,
    import_profiles,
    statement_imports,
    statement_line_repeats,
    statement_lines,
)


class ExternalAccountRow(NamedTuple):
    """An account in an outside party's books; `last_statement` and `last_line` count on."""

    external_account_id: UUID
    ledger_id: UUID
    account_id: UUID
    name: str
    kind: str
    identification: str | None
    inverted: bool
    metadata: dict[str, Any]
    created_at: datetime
    last_statement: int
    last_line: int


class ImportProfileRow(NamedTuple):
    """How a bank's CSV files are read."""

    name: str
    definition: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class ImportRow(NamedTuple):
    """A file, or a list of rows, that came in for an external account."""

    import_id: UUID
    ledger_id: UUID
    external_account_id: UUID
    format: str
    source_name: str | None
    definition: dict[str, Any] | None
    original_import_id: UUID | None
    status: str
    bytes_total: int | None
    bytes_read: int
    lines_read: int
    lines_new: int
    lines_known: int
    lines_skipped: int
    failure_code: str | None
    failure_message: str | None
    failure_line: int | None
    failure_column: int | None
    created_at: datetime
    finished_at: datetime | None


class ExternalStatementRow(NamedTuple):
    """A statement of an external account, and what our account there counts in."""

    external_statement_id: UUID
    ledger_id: UUID
    external_account_id: UUID
    import_id: UUID
    number: int
    reference: str | None
    currency: str
    from_date: date | None
    through_date: date | None
    opening_balance: int | None
    closing_balance: int | None
    line_count: int
    line_total: int
    known_count: int
    created_at: datetime
    account_currency: str
    account_exponent: int


class StatementLineRow(NamedTuple):
    """A line as it was stored, and what our account there counts in.

    `position` is where it stands in the statement that it is listed in, or else in its own.
    """

    external_account_id: UUID
    number: int
    external_statement_id: UUID
    position: int
    source_line: int | None
    booked_on: date
    value_on: date | None
    amount: int
    currency: str
    reference: str | None
    end_to_end_id: str | None
    counterparty: str | None
    description: str | None
    details: dict[str, Any] | None
    account_currency: str
    account_exponent: int


def _in_account_currency(row: Any, table: FromClause) -> Select[Any]:
    """The columns of a row of an external account, with what our account there counts in."""
    return (
        select(
            *(table.c[name] for name in row._fields[:-2]),
            accounts.c.currency.label("account_currency"),
            accounts.c.exponent.label("account_exponent"),
        )
        .join_from(table, external_accounts, alike(external_accounts, table, "external_account_id"))
        .join(accounts, alike(accounts, external_accounts, "account_id"))
    )


_external_account = columns(ExternalAccountRow, external_accounts)
_import = columns(ImportRow, statement_imports)
_external_statement = _in_account_currency(ExternalStatementRow, external_statements)
_line = _in_account_currency(StatementLineRow, statement_lines)
# Where the lines of a statement stand: those that it was the first to have, and the others.
_places = union_all(
    select(
        statement_lines.c.organization_id,
        statement_lines.c.external_statement_id,
        statement_lines.c.position,
        statement_lines.c.external_account_id,
        statement_lines.c.number,
    ).where(statement_lines.c.number > literal_column("0")),
    select(
        statement_line_repeats.c.organization_id,
        statement_line_repeats.c.external_statement_id,
        statement_line_repeats.c.position,
        statement_line_repeats.c.external_account_id,
        statement_line_repeats.c.number,
    ),
).subquery("places")
_placed_line = _line.with_only_columns(
    *(
        _places.c.position if column.key == "position" else column
        for column in _line.selected_columns
    ),
    maintain_column_froms=True,
).join(_places, alike(_places, statement_lines, "external_account_id", "number"))

external_accounts_by_id = Lookup(
    ExternalAccountRow,
    _external_account,
    external_accounts,
    (external_accounts.c.external_account_id,),
)
import_profiles_by_name = Lookup(
    ImportProfileRow,
    columns(ImportProfileRow, import_profiles),
    import_profiles,
    (import_profiles.c.ledger_id, import_profiles.c.name),
)
imports_by_id = Lookup(ImportRow, _import, statement_imports, (statement_imports.c.import_id,))
external_statements_by_id = Lookup(
    ExternalStatementRow,
    _external_statement,
    external_statements,
    (external_statements.c.external_statement_id,),
)
external_statements_by_import = Lookup(
    ExternalStatementRow,
    _external_statement.where(above_zero(external_statements.c.number)),  # as the index
    external_statements,
    (external_statements.c.import_id,),
    (external_statements.c.number,),
)
statement_lines_by_id = Lookup(
    StatementLineRow,
    _line,
    external_accounts,
    (statement_lines.c.external_account_id, statement_lines.c.number),
)

external_accounts_of_ledger = Listing(
    ExternalAccountRow,
    _external_account,
    lambda ledger_id: and_(
        of_organization(external_accounts), external_accounts.c.ledger_id == ledger_id
    ),
    {},
    {"created_at": ("external_account_id",)},
)
external_accounts_of_account = Listing(
    ExternalAccountRow,
    _external_account,
    lambda account_id: and_(
        of_organization(external_accounts),
        external_accounts.c.account_id == account_id,
        external_accounts.c.last_line >= literal_column("0"),  # as the index has it
    ),
    {},
    {"created_at": ("external_account_id",)},
)
import_profiles_of_ledger = Listing(
    ImportProfileRow,
    columns(ImportProfileRow, import_profiles),
    lambda ledger_id: and_(
        of_organization(import_profiles), import_profiles.c.ledger_id == ledger_id
    ),
    {},
    {"name": ("name",)},
)
imports_of_external_account = Listing(
    ImportRow,
    _import,
    lambda external_account_id: and_(
        of_organization(statement_imports),
        statement_imports.c.external_account_id == external_account_id,
        statement_imports.c.lines_read >= literal_column("0"),  # as the index has it
    ),
    {},
    {"created_at": ("import_id",)},
)
statements_of_external_account = Listing(
    ExternalStatementRow,
    _external_statement,
    lambda external_account_id: and_(
        of_organization(external_statements),
        external_statements.c.external_account_id == external_account_id,
        above_zero(external_statements.c.number),  # as the index has it
    ),
    {},
    {"number": ("number",)},
)
statements_of_import = Listing(
    ExternalStatementRow,
    _external_statement,
    lambda import_id: and_(
        of_organization(external_statements),
        external_statements.c.import_id == import_id,
        above_zero(external_statements.c.number),  # as the index has it
    ),
    {},
    {"number": ("number",)},
)
lines_of_external_account = Listing(
    StatementLineRow,
    _line,
    lambda external_account_id: and_(
        of_organization(statement_lines),
        statement_lines.c.external_account_id == external_account_id,
        above_zero(statement_lines.c.number),  # as the index by date has it
    ),
    {
        "booked_on": statement_lines.c.booked_on,
        "amount": statement_lines.c.amount,
        "currency": statement_lines.c.currency,
        "reference": statement_lines.c.reference,
        "end_to_end_id": statement_lines.c.end_to_end_id,
    },
    {"number": ("number",), "booked_on": ("booked_on", "number")},
)
lines_of_statement = Listing(
    StatementLineRow,
    _placed_line,
    lambda statement_id: and_(
        _places.c.organization_id == bindparam("organization", type_=Uuid),
        of_organization(statement_lines),
        _places.c.external_statement_id == statement_id,
    ),
    {},
    {"position": ("position",)},
)
