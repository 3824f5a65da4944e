"""What others say: their accounts, the files that came in, statements and lines."""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    Index,
    Integer,
    LargeBinary,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.ledger.amounts import MAX_AMOUNT
from app.ledger.reconciliation.outside import ExternalAccountKind, ImportStatus, StatementFormat
from app.store.tables.columns import Amount, Moment, Total, foreign_key, one_of


class ExternalAccount(SQLModel, table=True):
    """An account in somebody else's books, which mirrors one of ours.

    Whoever stores statements of it or reconciles it holds this row's lock until commit: its two
    counters number its statements and their lines.
    """

    __tablename__: ClassVar[str] = "external_accounts"
    __table_args__ = (
        foreign_key("external_accounts_account", "accounts", "ledger_id", "account_id"),
        # One ledger's, and the target of foreign keys that hold that all is of one ledger.
        Index(
            "external_accounts_ledger",
            "organization_id",
            "ledger_id",
            "external_account_id",
            unique=True,
        ),
        # Those of one of our accounts. The condition holds for all, and keeps checks of foreign
        # keys away (see accounts_name).
        Index(
            "external_accounts_account",
            "organization_id",
            "account_id",
            "external_account_id",
            postgresql_where=text("last_line >= 0"),
        ),
        one_of("kind", ExternalAccountKind),
        CheckConstraint("last_statement >= 0 AND last_line >= 0", name="counters"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    external_account_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid)
    account_id: UUID = Field(sa_type=Uuid)
    name: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    identification: str | None = Field(sa_type=Text)  # an IBAN, a number, as statements name it
    inverted: bool  # whether what comes in there goes out of our account
    metadata_: dict[str, Any] = Field(sa_type=JSONB, sa_column_kwargs={"name": "metadata"})
    created_at: datetime = Field(sa_type=Moment)
    last_statement: int = Field(sa_type=BigInteger)
    last_line: int = Field(sa_type=BigInteger)


class ImportProfile(SQLModel, table=True):
    """How a bank's CSV files are to be read; a ledger's own, by name."""

    __tablename__: ClassVar[str] = "import_profiles"
    __table_args__ = (foreign_key("import_profiles_ledger", "ledgers", "ledger_id"),)

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid, primary_key=True)
    name: str = Field(sa_type=Text, primary_key=True)
    definition: dict[str, Any] = Field(sa_type=JSONB)
    created_at: datetime = Field(sa_type=Moment)
    updated_at: datetime = Field(sa_type=Moment)


class StatementImport(SQLModel, table=True):
    """One file, or one list of rows, on its way in: all of it is stored, or nothing.

    This row alone is written while the file is read, to show how far it has come.
    """

    __tablename__: ClassVar[str] = "statement_imports"
    __table_args__ = (
        foreign_key(
            "statement_imports_external_account",
            "external_accounts",
            "ledger_id",
            "external_account_id",
        ),
        foreign_key(
            "statement_imports_original", "statement_imports", original_import_id="import_id"
        ),
        # An external account's, in the order in which they came. The condition holds for all (see
        # accounts_name).
        Index(
            "statement_imports_external_account",
            "organization_id",
            "external_account_id",
            "import_id",
            postgresql_where=text("lines_read >= 0"),
        ),
        # Those under way, of which some may belong to a server that is no more.
        Index(
            "statement_imports_importing",
            "organization_id",
            "import_id",
            postgresql_where=text("status = 'importing'"),
        ),
        # A file that was stored is recognised by this.
        Index(
            "statement_imports_content",
            "organization_id",
            "external_account_id",
            "content_hash",
            unique=True,
            postgresql_where=text("status = 'completed'"),
        ),
        one_of("format", StatementFormat),
        one_of("status", ImportStatus),
        CheckConstraint("octet_length(content_hash) = 32", name="content_hash"),
        CheckConstraint(
            "least(bytes_read, lines_read, lines_new, lines_known, lines_skipped) >= 0",
            name="counts",
        ),
        CheckConstraint("(finished_at IS NULL) = (status = 'importing')", name="finished"),
        CheckConstraint(
            "status NOT IN ('completed', 'recognised') OR content_hash IS NOT NULL", name="hashed"
        ),
        CheckConstraint(
            "(original_import_id IS NULL) = (status <> 'recognised')", name="recognised"
        ),
        CheckConstraint(
            "num_nulls(failure_code, failure_message)"
            " = CASE status WHEN 'failed' THEN 0 ELSE 2 END",
            name="failure",
        ),
        {"postgresql_with": {"fillfactor": 50}},
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    import_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid)
    external_account_id: UUID = Field(sa_type=Uuid)
    api_key_id: UUID = Field(sa_type=Uuid)
    format: str = Field(sa_type=Text)
    source_name: str | None = Field(sa_type=Text)  # what the sender calls the file
    definition: dict[str, Any] | None = Field(sa_type=JSONB)  # the profile that a CSV was read by
    content_hash: bytes | None = Field(sa_type=LargeBinary)  # SHA-256 of the file
    original_import_id: UUID | None = Field(sa_type=Uuid)  # the one that stored the same before
    status: str = Field(sa_type=Text)
    bytes_total: int | None = Field(sa_type=BigInteger)  # where the sender told
    bytes_read: int = Field(sa_type=BigInteger)
    lines_read: int = Field(sa_type=BigInteger)
    lines_new: int = Field(sa_type=BigInteger)
    lines_known: int = Field(sa_type=BigInteger)
    lines_skipped: int = Field(sa_type=BigInteger)  # those that their bank has not booked
    failure_code: str | None = Field(sa_type=Text)
    failure_message: str | None = Field(sa_type=Text)
    failure_line: int | None = Field(sa_type=BigInteger)  # where in the file, from 1
    failure_column: int | None = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=Moment)
    finished_at: datetime | None = Field(sa_type=Moment)


class ExternalStatement(SQLModel, table=True):
    """What an outside party says happened on an external account in a period. Append-only.

    Balances and lines are signed: what came in there is positive. Whether opening balance and
    lines come to the closing balance is for the reconciliation to say, not for the table.
    """

    __tablename__: ClassVar[str] = "external_statements"
    __table_args__ = (
        foreign_key(
            "external_statements_external_account",
            "external_accounts",
            "ledger_id",
            "external_account_id",
        ),
        foreign_key("external_statements_import", "statement_imports", "import_id"),
        # Both conditions hold for all (see accounts_name).
        Index(
            "external_statements_number",
            "organization_id",
            "external_account_id",
            "number",
            unique=True,
            postgresql_where=text("number > 0"),
        ),
        Index(
            "external_statements_import",
            "organization_id",
            "import_id",
            "number",
            postgresql_where=text("number > 0"),
        ),
        CheckConstraint("number >= 1", name="number"),
        CheckConstraint("from_date <= through_date", name="period"),
        CheckConstraint("least(line_count, known_count) >= 0", name="counts"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    external_statement_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid)
    external_account_id: UUID = Field(sa_type=Uuid)
    import_id: UUID = Field(sa_type=Uuid)
    number: int = Field(sa_type=BigInteger)  # 1, 2, 3 … of its external account, as they came
    reference: str | None = Field(sa_type=Text)  # what the outside party calls it
    currency: str = Field(sa_type=Text)
    from_date: date | None = Field(sa_type=Date)  # as stated, else as the lines have it
    through_date: date | None = Field(sa_type=Date)
    opening_balance: int | None = Field(sa_type=Amount)
    closing_balance: int | None = Field(sa_type=Amount)
    line_count: int = Field(sa_type=BigInteger)
    line_total: int = Field(sa_type=Total)  # of the lines in its currency
    known_count: int = Field(sa_type=BigInteger)  # lines that an earlier statement had as well
    created_at: datetime = Field(sa_type=Moment)


class StatementLine(SQLModel, table=True):
    """One movement, as an outside party records it. Append-only.

    A line is stored once, with the statement that first had it. It is known again by its
    fingerprint: the outside party's own reference of it, or where there is none all that it says,
    and in either case how often the same has come before it in the same statement.
    """

    __tablename__: ClassVar[str] = "statement_lines"
    __table_args__ = (
        foreign_key(
            "statement_lines_external_statement", "external_statements", "external_statement_id"
        ),
        # The conditions of all three hold for all (see accounts_name).
        Index(
            "statement_lines_fingerprint",
            "organization_id",
            "external_account_id",
            "fingerprint",
            unique=True,
            postgresql_where=text("number > 0"),
        ),
        # A statement's own lines.
        Index(
            "statement_lines_position",
            "organization_id",
            "external_statement_id",
            "position",
            unique=True,
            postgresql_where=text("number > 0"),
        ),
        # Those of a period.
        Index(
            "statement_lines_booked_on",
            "organization_id",
            "external_account_id",
            "booked_on",
            "number",
            postgresql_where=text("number > 0"),
        ),
        CheckConstraint("number >= 1 AND position >= 1 AND occurrence >= 1", name="numbers"),
        CheckConstraint(f"abs(amount) BETWEEN 1 AND {MAX_AMOUNT}", name="amount"),
        CheckConstraint("octet_length(fingerprint) = 32", name="fingerprint"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    external_account_id: UUID = Field(sa_type=Uuid, primary_key=True)
    number: int = Field(sa_type=BigInteger, primary_key=True)  # 1, 2, 3 … of its external account
    external_statement_id: UUID = Field(sa_type=Uuid)
    position: int = Field(sa_type=BigInteger)  # 1, 2, 3 … in the statement
    source_line: int | None = Field(sa_type=BigInteger)  # where it stands in the file
    booked_on: date = Field(sa_type=Date)
    value_on: date | None = Field(sa_type=Date)
    amount: int = Field(sa_type=Amount)  # positive: came in; negative: went out
    currency: str = Field(sa_type=Text)
    reference: str | None = Field(sa_type=Text)  # the outside party's own, unique there
    end_to_end_id: str | None = Field(sa_type=Text)  # ours, that travelled with the payment
    counterparty: str | None = Field(sa_type=Text)
    description: str | None = Field(sa_type=Text)
    details: dict[str, Any] | None = Field(sa_type=JSONB)  # what else the format says
    fingerprint: bytes = Field(sa_type=LargeBinary)
    occurrence: int = Field(sa_type=Integer)


class StatementLineRepeat(SQLModel, table=True):
    """A place in a statement at which a line stands that was stored before. Append-only."""

    __tablename__: ClassVar[str] = "statement_line_repeats"
    __table_args__ = (
        foreign_key(
            "statement_line_repeats_external_statement",
            "external_statements",
            "external_statement_id",
        ),
        foreign_key(
            "statement_line_repeats_line", "statement_lines", "external_account_id", "number"
        ),
        Index("statement_line_repeats_line", "organization_id", "external_account_id", "number"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    external_statement_id: UUID = Field(sa_type=Uuid, primary_key=True)
    position: int = Field(sa_type=BigInteger, primary_key=True)
    external_account_id: UUID = Field(sa_type=Uuid)
    number: int = Field(sa_type=BigInteger)
