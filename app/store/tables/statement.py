"""What account holders are told and paid: statements, their schedules, settlements."""

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
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from app.ledger.amounts import MAX_AMOUNT
from app.store.tables.columns import Amount, Moment, Total, foreign_key


class AccountStatement(SQLModel, table=True):
    """What an account's holder was told of a period, for ever. Append-only.

    Its lines are not kept twice: they are the entries that took effect in the period and had been
    recorded at `account_version`, and what they said at `known_at` (`statements/statements.py`).
    """

    __tablename__: ClassVar[str] = "account_statements"
    __table_args__ = (
        foreign_key("account_statements_account", "accounts", "ledger_id", "account_id"),
        foreign_key(
            "account_statements_previous",
            "account_statements",
            "account_id",
            previous_number="number",
            use_alter=True,  # it needs the index on the number, which comes after the table
        ),
        # An account's statements in order.
        Index("account_statements_number", "organization_id", "account_id", "number", unique=True),
        # A schedule states a month of an account once, however often that is tried.
        Index(
            "account_statements_scheduled",
            "organization_id",
            "account_id",
            "from_at",
            "to_at",
            unique=True,
            postgresql_where=text("scheduled"),
        ),
        Index(
            "account_statements_idempotency_key",
            "organization_id",
            "idempotency_key",
            "ledger_id",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        CheckConstraint(
            "number >= 1 AND least(account_version, ledger_sequence, line_count) >= 0",
            name="numbers",
        ),
        CheckConstraint("from_at < to_at", name="period"),
        CheckConstraint("previous_number < number", name="previous_number"),
        CheckConstraint(
            "opening_debits >= 0 AND opening_credits >= 0"
            " AND closing_debits >= opening_debits AND closing_credits >= opening_credits",
            name="totals",
        ),
        CheckConstraint("octet_length(content_hash) = 32", name="content_hash"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    statement_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid)
    account_id: UUID = Field(sa_type=Uuid)
    number: int = Field(sa_type=BigInteger)  # 1, 2, 3 … of the account
    from_at: datetime = Field(sa_type=Moment)  # in effective time; in the period
    to_at: datetime = Field(sa_type=Moment)  # itself not in the period
    account_version: int = Field(sa_type=BigInteger)  # the last entry that was known
    ledger_sequence: int = Field(sa_type=BigInteger)  # the last transaction that was known
    known_at: datetime = Field(sa_type=Moment)  # whatever is recorded later comes after this
    previous_number: int | None = Field(sa_type=BigInteger)  # that of the period before
    organization_name: str = Field(sa_type=Text)  # the names as they were
    ledger_name: str = Field(sa_type=Text)
    account_name: str = Field(sa_type=Text)
    opening_debits: int = Field(sa_type=Total)
    opening_credits: int = Field(sa_type=Total)
    closing_debits: int = Field(sa_type=Total)
    closing_credits: int = Field(sa_type=Total)
    line_count: int = Field(sa_type=BigInteger)
    content_hash: bytes = Field(sa_type=LargeBinary)
    scheduled: bool
    idempotency_key: str | None = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=Moment)


class StatementSchedule(SQLModel, table=True):
    """Which accounts of a ledger get a statement of every month, and which month is next.

    Of the three ways to choose accounts at most one is used; without any it is all of the ledger.
    """

    __tablename__: ClassVar[str] = "statement_schedules"
    __table_args__ = (
        foreign_key("statement_schedules_ledger", "ledgers", "ledger_id"),
        Index("statement_schedules_ledger", "organization_id", "ledger_id", "schedule_id"),
        # What falls due next, of all organizations (see transactions_due).
        Index("statement_schedules_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        CheckConstraint(
            "num_nonnulls(account_ids, external_id_prefix, account_metadata) <= 1",
            name="selection",
        ),
        CheckConstraint(
            "extract(day FROM starting_from) = 1 AND extract(day FROM next_month) = 1"
            " AND starting_from <= next_month",
            name="months",
        ),
        CheckConstraint("(due_at IS NULL) = (deleted_at IS NOT NULL)", name="due_at"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    schedule_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid)
    time_zone: str = Field(sa_type=Text)
    account_ids: list[UUID] | None = Field(sa_type=ARRAY(Uuid))
    external_id_prefix: str | None = Field(sa_type=Text)
    account_metadata: dict[str, Any] | None = Field(sa_type=JSONB)  # what theirs contains
    starting_from: date = Field(sa_type=Date)  # the first day of the first month
    next_month: date = Field(sa_type=Date)  # the first day of the month to be stated next
    stated_through: UUID | None = Field(sa_type=Uuid)  # the last account that has that month
    due_at: datetime | None = Field(sa_type=Moment)  # when that month is over
    created_at: datetime = Field(sa_type=Moment)
    deleted_at: datetime | None = Field(sa_type=Moment)


class Settlement(SQLModel, table=True):
    """A payout of what had gathered on an account. Its id is that of the payout's transaction.

    Append-only but for its release: when the payout is reversed, its entries are free again.
    """

    __tablename__: ClassVar[str] = "settlements"
    __table_args__ = (
        foreign_key("settlements_account", "accounts", "ledger_id", "account_id"),
        foreign_key(
            "settlements_transaction", "transactions", "ledger_id", transaction_sequence="sequence"
        ),
        foreign_key(
            "settlements_released", "transactions", "ledger_id", released_sequence="sequence"
        ),
        # An account's settlements in order.
        Index("settlements_number", "organization_id", "account_id", "number", unique=True),
        # Whether a transaction is a payout, or the reversal of one.
        Index(
            "settlements_transaction",
            "organization_id",
            "ledger_id",
            "transaction_sequence",
            unique=True,
        ),
        Index(
            "settlements_released",
            "organization_id",
            "ledger_id",
            "released_sequence",
            unique=True,
            postgresql_where=text("released_sequence IS NOT NULL"),
        ),
        CheckConstraint(f"amount BETWEEN 1 AND {MAX_AMOUNT}", name="amount"),
        CheckConstraint(
            "number >= 1 AND entry_count >= 1 AND first_sequence >= 1 AND open_from >= 1",
            name="numbers",
        ),
        CheckConstraint("transaction_sequence < released_sequence", name="released_sequence"),
        {"postgresql_with": {"fillfactor": 90}},
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    settlement_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid)
    account_id: UUID = Field(sa_type=Uuid)
    number: int = Field(sa_type=BigInteger)  # 1, 2, 3 … of the account
    transaction_sequence: int = Field(sa_type=BigInteger)
    up_to: datetime = Field(sa_type=Moment)  # in effective time; itself not in it
    amount: int = Field(sa_type=Amount)  # net, on the account's normal side
    entry_count: int = Field(sa_type=BigInteger)
    first_sequence: int = Field(sa_type=BigInteger)  # the earliest of its entries
    open_from: int = Field(sa_type=BigInteger)  # before this none was left unsettled
    released_sequence: int | None = Field(sa_type=BigInteger)


class SettlementEntry(SQLModel, table=True):
    """An entry that a settlement collected. Append-only.

    `round` counts the settlements that have collected it, and is what makes an entry be settled
    once at a time: who sees the last one released makes the next round, and two that do so at once
    make the same.
    """

    __tablename__: ClassVar[str] = "settlement_entries"
    __table_args__ = (
        foreign_key("settlement_entries_settlement", "settlements", "settlement_id"),
        # A settlement's entries in order.
        Index("settlement_entries_settlement", "organization_id", "settlement_id", "sequence"),
        CheckConstraint("round >= 1", name="round"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    account_id: UUID = Field(sa_type=Uuid, primary_key=True)
    sequence: int = Field(sa_type=BigInteger, primary_key=True)
    round: int = Field(sa_type=Integer, primary_key=True)  # 1, 2, 3 … of the entry
    settlement_id: UUID = Field(sa_type=Uuid)
