"""Transactions, what happened to them, their entries, and the credit lots that entries open."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, LargeBinary, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.ledger.accounts.balances import Direction, Effect
from app.ledger.amounts import MAX_AMOUNT
from app.ledger.transactions.commands import HoldReason
from app.ledger.transactions.lots import MovementKind
from app.ledger.transactions.record import EventKind, TransactionStatus
from app.store.tables.columns import Amount, Moment, Total, foreign_key, one_of


class Transaction(SQLModel, table=True):
    """A transaction's head and present state; what it did to accounts is in its entries.

    What is due is kept here and nowhere else: a transaction with `due_at` is work to be done, and
    it is done by the change that takes `due_at` away.
    """

    __tablename__: ClassVar[str] = "transactions"
    __table_args__ = (
        foreign_key("transactions_ledger", "ledgers", "ledger_id"),
        foreign_key(
            "transactions_reversed",
            "transactions",
            "ledger_id",
            reverses_sequence="sequence",
            use_alter=True,  # it needs the index on the sequence, which comes after the table
        ),
        # A ledger's transactions in commit order; entries and events refer to it.
        Index("transactions_sequence", "organization_id", "ledger_id", "sequence", unique=True),
        # A ledger's transactions by the time at which they happened in the world.
        Index(
            "transactions_effective_at", "organization_id", "ledger_id", "effective_at", "sequence"
        ),
        Index(
            "transactions_external_id",
            "organization_id",
            "external_id",
            "ledger_id",
            unique=True,
            postgresql_where=text("external_id IS NOT NULL"),
        ),
        # What is in flight; few rows beside what is done.
        Index(
            "transactions_pending",
            "organization_id",
            "ledger_id",
            "sequence",
            postgresql_where=text("status = 'pending'"),
        ),
        # What falls due next, of all organizations: the one look-up across tenants, by the server
        # itself, which then acts within the tenant of each.
        Index("transactions_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        # The reversals of a transaction.
        Index(
            "transactions_reverses",
            "organization_id",
            "ledger_id",
            "reverses_sequence",
            postgresql_where=text("reverses_sequence IS NOT NULL"),
        ),
        # Filters by metadata containment.
        Index(
            "transactions_metadata",
            "metadata",
            postgresql_using="gin",
            postgresql_ops={"metadata": "jsonb_path_ops"},
            postgresql_where=text("metadata <> '{}'::jsonb"),
        ),
        one_of("status", TransactionStatus),
        CheckConstraint("sequence >= 1", name="sequence"),
        CheckConstraint(
            "(posted_at IS NOT NULL) = (status = 'posted')"
            " AND (voided_at IS NOT NULL) = (status = 'voided')",
            name="times",
        ),
        one_of("reason", HoldReason),
        CheckConstraint("expires_at > posts_at", name="terms"),
        CheckConstraint("due_at IS NULL OR status = 'pending'", name="due_at"),
        CheckConstraint(
            "num_nulls(due_attempts, refusal_code, refusal_message, refused_at) IN (0, 4)",
            name="refused",
        ),
        CheckConstraint("reverses_sequence < sequence", name="reverses"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    transaction_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid)
    sequence: int = Field(sa_type=BigInteger)
    status: str = Field(sa_type=Text)
    description: str | None = Field(sa_type=Text)
    external_id: str | None = Field(sa_type=Text)
    metadata_: dict[str, Any] = Field(sa_type=JSONB, sa_column_kwargs={"name": "metadata"})
    effective_at: datetime = Field(sa_type=Moment)
    created_at: datetime = Field(sa_type=Moment)
    posted_at: datetime | None = Field(sa_type=Moment)
    voided_at: datetime | None = Field(sa_type=Moment)
    reason: str | None = Field(sa_type=Text)  # what a hold is for
    posts_at: datetime | None = Field(sa_type=Moment)  # when a hold settles by itself
    expires_at: datetime | None = Field(sa_type=Moment)  # when what is left of a hold is released
    due_at: datetime | None = Field(sa_type=Moment)  # when the server is to look at it
    due_attempts: int | None = Field(sa_type=Integer)  # how often a rule refused what was due
    refusal_code: str | None = Field(sa_type=Text)  # why, the last time
    refusal_message: str | None = Field(sa_type=Text)
    refused_at: datetime | None = Field(sa_type=Moment)
    reverses_sequence: int | None = Field(sa_type=BigInteger)


class TransactionEvent(SQLModel, table=True):
    """One accepted command and what it did to its transaction. Append-only.

    The unique key on the idempotency key is the promise of "exactly once"; it is kept for ever.
    What the server did by itself when a hold fell due has no key.
    """

    __tablename__: ClassVar[str] = "transaction_events"
    __table_args__ = (
        foreign_key(
            "transaction_events_transaction",
            "transactions",
            "ledger_id",
            transaction_sequence="sequence",
        ),
        Index(
            "transaction_events_idempotency_key",
            "organization_id",
            "idempotency_key",
            "ledger_id",
            unique=True,
        ),
        one_of("kind", EventKind),
        CheckConstraint("octet_length(fingerprint) = 32", name="fingerprint"),
        CheckConstraint(
            "(idempotency_key IS NULL) = (kind IN ('matured', 'expired', 'lot_expired'))"
            " AND (idempotency_key IS NULL) = (fingerprint IS NULL)",
            name="key",
        ),
        CheckConstraint("(changes IS NOT NULL) = (kind = 'updated')", name="changes"),
        # What happened to transactions after they were made, in the order in which it was recorded:
        # sealing reads on from there. What made them has the order of their sequence.
        Index(
            "transaction_events_later",
            "organization_id",
            "ledger_id",
            "recorded_at",
            "transaction_sequence",
            "number",
            postgresql_where=text("number > 1"),
        ),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid, primary_key=True)
    transaction_sequence: int = Field(sa_type=BigInteger, primary_key=True)
    number: int = Field(sa_type=Integer, primary_key=True)  # 1 made the transaction
    kind: str = Field(sa_type=Text)
    idempotency_key: str | None = Field(sa_type=Text)
    fingerprint: bytes | None = Field(sa_type=LargeBinary)  # SHA-256 of the command's content
    description: str | None = Field(sa_type=Text)
    recorded_at: datetime = Field(sa_type=Moment)
    changes: dict[str, Any] | None = Field(sa_type=JSONB)


class Entry(SQLModel, table=True):
    """One line on one account, with the account's totals after it. Append-only.

    Any past state of an account is one row of this table: its latest entry at that time.
    """

    __tablename__: ClassVar[str] = "entries"
    __table_args__ = (
        foreign_key("entries_account", "accounts", "ledger_id", "account_id"),
        foreign_key(
            "entries_transaction", "transactions", "ledger_id", transaction_sequence="sequence"
        ),
        # A transaction's lines, and all entries of a ledger in commit order.
        Index(
            "entries_line",
            "organization_id",
            "ledger_id",
            "transaction_sequence",
            "line",
            unique=True,
        ),
        # The holds of an account; joined with transactions_pending it gives those in flight.
        Index(
            "entries_holds",
            "organization_id",
            "account_id",
            "transaction_sequence",
            postgresql_where=text("effect = 'hold'"),
        ),
        # An account's entries, and a ledger's, by the time at which they happened in the world. The
        # conditions hold for all, and keep these indexes away from whatever does not state them.
        Index(
            "entries_effective_at",
            "organization_id",
            "account_id",
            "effective_at",
            "sequence",
            postgresql_where=text("amount > 0"),
        ),
        Index(
            "entries_ledger_effective_at",
            "organization_id",
            "ledger_id",
            "effective_at",
            "transaction_sequence",
            "line",
            postgresql_where=text("amount > 0"),
        ),
        one_of("direction", Direction),
        one_of("effect", Effect),
        CheckConstraint(f"amount > 0 AND amount <= {MAX_AMOUNT}", name="amount"),
        CheckConstraint("sequence >= 1 AND line >= 1 AND event >= 1", name="numbers"),
        CheckConstraint(
            "least(posted_debits, posted_credits, pending_debits, pending_credits) >= 0",
            name="totals",
        ),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    account_id: UUID = Field(sa_type=Uuid, primary_key=True)
    sequence: int = Field(sa_type=BigInteger, primary_key=True)  # 1, 2, 3 … in the account
    ledger_id: UUID = Field(sa_type=Uuid)
    transaction_sequence: int = Field(sa_type=BigInteger)
    effective_at: datetime = Field(sa_type=Moment)
    recorded_at: datetime = Field(sa_type=Moment)
    line: int = Field(sa_type=Integer)  # 1, 2, 3 … in the transaction
    event: int = Field(sa_type=Integer)  # the transaction's event that brought it about
    direction: str = Field(sa_type=Text)
    effect: str = Field(sa_type=Text)
    amount: int = Field(sa_type=Amount)
    posted_debits: int = Field(sa_type=Total)
    posted_credits: int = Field(sa_type=Total)
    pending_debits: int = Field(sa_type=Total)
    pending_credits: int = Field(sa_type=Total)
    metadata_: dict[str, Any] | None = Field(sa_type=JSONB, sa_column_kwargs={"name": "metadata"})


class CreditLot(SQLModel, table=True):
    """A part of an account's money that expires (see app/ledger/transactions/lots.py).

    What it was opened as stays; what is left, what expired and what is due change with the
    account's entries, under the account's lock. No foreign key leads to its entry: while statistics
    are poor the planner would look that up by the wrong index (`verify` looks instead).
    """

    __tablename__: ClassVar[str] = "credit_lots"
    __table_args__ = (
        foreign_key("credit_lots_account", "accounts", "ledger_id", "account_id"),
        foreign_key(
            "credit_lots_breakage_account",
            "accounts",
            "ledger_id",
            breakage_account_id="account_id",
        ),
        # The lot of an entry.
        Index("credit_lots_entry", "organization_id", "account_id", "number", unique=True),
        # An account's lots, those that expire first at the beginning. The condition holds for all,
        # and keeps checks of foreign keys away (see accounts_name).
        Index(
            "credit_lots_expires_at",
            "organization_id",
            "account_id",
            "expires_at",
            "number",
            postgresql_where=text("number > 0"),
        ),
        # What the writer reads of an account.
        Index(
            "credit_lots_open",
            "organization_id",
            "account_id",
            postgresql_where=text("remaining > 0"),
        ),
        # What falls due next, of all organizations (as with transactions).
        Index("credit_lots_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        CheckConstraint(
            "remaining >= 0 AND expired >= 0 AND remaining + expired <= amount", name="amounts"
        ),
        CheckConstraint("breakage_account_id <> account_id", name="breakage"),
        CheckConstraint("due_at IS NULL OR remaining > 0", name="due_at"),
        CheckConstraint(
            "num_nulls(due_attempts, refusal_code, refusal_message, refused_at) IN (0, 4)",
            name="refused",
        ),
        {"postgresql_with": {"fillfactor": 70}},
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    lot_id: UUID = Field(sa_type=Uuid, primary_key=True)
    account_id: UUID = Field(sa_type=Uuid)
    number: int = Field(sa_type=BigInteger)  # the sequence of the entry that opened it
    ledger_id: UUID = Field(sa_type=Uuid)
    transaction_sequence: int = Field(sa_type=BigInteger)  # that entry's
    code: str | None = Field(sa_type=Text)
    amount: int = Field(sa_type=Amount)
    remaining: int = Field(sa_type=Amount)
    expired: int = Field(sa_type=Amount)  # what went to the breakage account
    expires_at: datetime = Field(sa_type=Moment)
    breakage_account_id: UUID = Field(sa_type=Uuid)
    due_at: datetime | None = Field(sa_type=Moment)  # when the server is to look at it
    due_attempts: int | None = Field(sa_type=Integer)  # how often a rule refused the expiry
    refusal_code: str | None = Field(sa_type=Text)  # why, the last time
    refusal_message: str | None = Field(sa_type=Text)
    refused_at: datetime | None = Field(sa_type=Moment)


class LotMovement(SQLModel, table=True):
    """What one entry took from one lot of its account. Append-only.

    No foreign key leads to either, as with the lot's own entry.
    """

    __tablename__: ClassVar[str] = "lot_movements"
    __table_args__ = (
        # What an entry took.
        Index("lot_movements_entry", "organization_id", "account_id", "sequence"),
        one_of("kind", MovementKind),
        CheckConstraint("amount > 0", name="amount"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    lot_id: UUID = Field(sa_type=Uuid, primary_key=True)
    account_id: UUID = Field(sa_type=Uuid)
    sequence: int = Field(sa_type=BigInteger, primary_key=True)  # of the account's entry
    kind: str = Field(sa_type=Text)
    amount: int = Field(sa_type=Amount)
