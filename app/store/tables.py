"""The tables: the one description of storage, from top to bottom.

Every primary, unique and foreign key begins with `organization_id`, and so does every statement's
WHERE: a row of one tenant cannot point at a row of another, and the tables can be distributed or
partitioned by organization as they stand. Ids are UUIDv7, so order of id is order of creation.

Three shapes carry the money:

    accounts            rules and four running totals; changed only by the writer
    transactions        numbered 1, 2, 3 … in their ledger
    entries             append-only; a line of one transaction on one account

and one is derived from the entries, to answer for any time soon (`accounts/totals.py`):

    account_totals      append-only; what an account's entries come to by span of effective time

An entry has no id of its own: it is (organization, account, sequence), and its transaction is
(organization, ledger, transaction sequence), which makes the database itself hold that account,
entry and transaction are of one ledger.

Texts that are unique in a ledger have it last in their index, and are compared with it by IS NOT
DISTINCT FROM, which no index serves: a planner with poor statistics finds (organization, ledger)
just as selective as the text, and reads the whole ledger for one key (seen: 1 ms a key, growing).

What the tables cannot say (append-only, balanced entries, roles) is in the migrations, as triggers
and grants. All amounts are whole minor units; all times are UTC.
"""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlmodel import Field, SQLModel

from app.ledger.accounts.balances import Direction, Effect
from app.ledger.accounts.periods import PeriodEventKind
from app.ledger.accounts.state import AccountStatus, Mode
from app.ledger.accounts.velocities import Period
from app.ledger.amounts import MAX_AMOUNT
from app.ledger.reconciliation.comparison import (
    DiscrepancyKind,
    DiscrepancyStatus,
    MatchOrigin,
    MatchStatus,
    ReconciliationEventKind,
    ReconciliationStatus,
    ResolutionKind,
    RunStatus,
)
from app.ledger.reconciliation.outside import ExternalAccountKind, ImportStatus, StatementFormat
from app.ledger.transactions.commands import HoldReason
from app.ledger.transactions.lots import MovementKind
from app.ledger.transactions.record import EventKind, TransactionStatus

Moment = TIMESTAMP(timezone=True)
Amount = Numeric(37, 0)
Total = Numeric(60, 0)
"""Room for 10^24 entries of the largest amount."""

SQLModel.metadata.naming_convention = {
    "pk": "%(table_name)s_pkey",
    "ck": "%(table_name)s_%(constraint_name)s",
}


def one_of(column: str, members: Any) -> CheckConstraint:
    """A column that holds one of an enumeration's values."""
    values = ", ".join(f"'{member.value}'" for member in members)
    return CheckConstraint(f"{column} IN ({values})", name=column)


class Organization(SQLModel, table=True):
    """A tenant. Nothing crosses it."""

    __tablename__: ClassVar[str] = "organizations"

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    name: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=Moment)


class ApiKey(SQLModel, table=True):
    """A credential. The secret itself is never stored, only its SHA-256."""

    __tablename__: ClassVar[str] = "api_keys"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id"], ["organizations.organization_id"], name="api_keys_organization"
        ),
        # How a request finds its key: the token names the organization and the secret.
        Index("api_keys_secret", "organization_id", "secret_hash", unique=True),
        one_of("mode", Mode),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    api_key_id: UUID = Field(sa_type=Uuid, primary_key=True)
    name: str = Field(sa_type=Text)
    mode: str = Field(sa_type=Text)
    scopes: list[str] = Field(sa_type=ARRAY(Text))
    ledger_restricted: bool  # whether only the ledgers of api_key_ledgers are visible
    secret_hash: bytes = Field(sa_type=LargeBinary)
    hint: str = Field(sa_type=Text)  # the token's first and last characters, to tell keys apart
    created_at: datetime = Field(sa_type=Moment)
    expires_at: datetime | None = Field(sa_type=Moment)
    revoked_at: datetime | None = Field(sa_type=Moment)


class ApiKeyLedger(SQLModel, table=True):
    """A ledger that a restricted key may see."""

    __tablename__: ClassVar[str] = "api_key_ledgers"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "api_key_id"],
            ["api_keys.organization_id", "api_keys.api_key_id"],
            name="api_key_ledgers_api_key",
        ),
        ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="api_key_ledgers_ledger",
        ),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    api_key_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid, primary_key=True)


class Ledger(SQLModel, table=True):
    """A closed book, and the counter that numbers its transactions.

    Whoever posts holds this row's lock until commit, which makes sequence order commit order and
    recorded time non-decreasing.
    """

    __tablename__: ClassVar[str] = "ledgers"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id"], ["organizations.organization_id"], name="ledgers_organization"
        ),
        one_of("mode", Mode),
        CheckConstraint("last_sequence >= 0", name="last_sequence"),
        {"postgresql_with": {"fillfactor": 70}},  # the counter changes in place (HOT)
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid, primary_key=True)
    name: str = Field(sa_type=Text)
    description: str | None = Field(sa_type=Text)
    mode: str = Field(sa_type=Text)
    metadata_: dict[str, Any] = Field(sa_type=JSONB, sa_column_kwargs={"name": "metadata"})
    created_at: datetime = Field(sa_type=Moment)
    archived_at: datetime | None = Field(sa_type=Moment)
    last_sequence: int = Field(sa_type=BigInteger)
    last_recorded_at: datetime = Field(sa_type=Moment)
    closed_through: datetime | None = Field(sa_type=Moment)  # no new entry takes effect by then


class PeriodEvent(SQLModel, table=True):
    """A closing or a reopening of a ledger's past. Append-only."""

    __tablename__: ClassVar[str] = "period_events"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="period_events_ledger",
        ),
        ForeignKeyConstraint(
            ["organization_id", "api_key_id"],
            ["api_keys.organization_id", "api_keys.api_key_id"],
            name="period_events_api_key",
        ),
        one_of("kind", PeriodEventKind),
        CheckConstraint("number >= 1", name="number"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid, primary_key=True)
    number: int = Field(sa_type=Integer, primary_key=True)  # 1, 2, 3 … in the ledger
    kind: str = Field(sa_type=Text)
    closed_through: datetime | None = Field(sa_type=Moment)  # from then on; None is nothing closed
    reason: str | None = Field(sa_type=Text)
    api_key_id: UUID = Field(sa_type=Uuid)
    recorded_at: datetime = Field(sa_type=Moment)


class Currency(SQLModel, table=True):
    """A currency that a ledger has accounts in; it has one exponent there, for ever."""

    __tablename__: ClassVar[str] = "currencies"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="currencies_ledger",
        ),
        # Lets accounts refer to the code together with its exponent.
        Index(
            "currencies_exponent",
            "organization_id",
            "ledger_id",
            "code",
            "exponent",
            unique=True,
        ),
        CheckConstraint("exponent BETWEEN 0 AND 36", name="exponent"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid, primary_key=True)
    code: str = Field(sa_type=Text, primary_key=True)
    exponent: int = Field(sa_type=SmallInteger)


class Account(SQLModel, table=True):
    """An account: its rules, and its totals after its latest entry.

    `version` counts the entries. `floor_version` is the version at which the present floor was set:
    every later entry kept it. So with the ceiling and the entry maximum.
    """

    __tablename__: ClassVar[str] = "accounts"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "currency", "exponent"],
            [
                "currencies.organization_id",
                "currencies.ledger_id",
                "currencies.code",
                "currencies.exponent",
            ],
            name="accounts_currency",
        ),
        # A ledger's accounts in order of creation; entries refer to it to stay in their ledger.
        Index("accounts_ledger", "organization_id", "ledger_id", "account_id", unique=True),
        # A ledger's accounts in order of name. The condition holds for all, and keeps the checks of
        # foreign keys, which do not state it, away from an index that has their columns and more.
        Index(
            "accounts_name",
            "organization_id",
            "ledger_id",
            "name",
            "account_id",
            postgresql_where=text("name <> ''"),
        ),
        CheckConstraint("name <> ''", name="name"),
        Index(
            "accounts_external_id",
            "organization_id",
            "external_id",
            "ledger_id",
            unique=True,
            postgresql_where=text("external_id IS NOT NULL"),
        ),
        # Filters by metadata containment.
        Index(
            "accounts_metadata",
            "metadata",
            postgresql_using="gin",
            postgresql_ops={"metadata": "jsonb_path_ops"},
            postgresql_where=text("metadata <> '{}'::jsonb"),
        ),
        one_of("normal_balance", Direction),
        one_of("status", AccountStatus),
        CheckConstraint(
            "least(posted_debits, posted_credits, pending_debits, pending_credits) >= 0",
            name="totals",
        ),
        {"postgresql_with": {"fillfactor": 50}},  # totals change in place (HOT)
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    account_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid)
    name: str = Field(sa_type=Text)
    description: str | None = Field(sa_type=Text)
    external_id: str | None = Field(sa_type=Text)
    normal_balance: str = Field(sa_type=Text)
    currency: str = Field(sa_type=Text)
    exponent: int = Field(sa_type=SmallInteger)
    status: str = Field(sa_type=Text)
    available_floor: int | None = Field(sa_type=Amount)
    floor_version: int = Field(sa_type=BigInteger)
    metadata_: dict[str, Any] = Field(sa_type=JSONB, sa_column_kwargs={"name": "metadata"})
    created_at: datetime = Field(sa_type=Moment)
    version: int = Field(sa_type=BigInteger)
    posted_debits: int = Field(sa_type=Total)
    posted_credits: int = Field(sa_type=Total)
    pending_debits: int = Field(sa_type=Total)
    pending_credits: int = Field(sa_type=Total)
    balance_ceiling: int | None = Field(sa_type=Amount)
    ceiling_version: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")})
    entry_maximum: int | None = Field(sa_type=Amount)
    maximum_version: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")})
    velocity_limited: bool = Field(  # whether it has rows in velocity_limits
        sa_type=Boolean, sa_column_kwargs={"server_default": text("false")}
    )
    has_lots: bool = Field(  # whether it has open credit lots
        sa_type=Boolean, sa_column_kwargs={"server_default": text("false")}
    )


class VelocityLimit(SQLModel, table=True):
    """How much may go out of an account, or how often, in a window; and its usage so far.

    Usage counts the transactions made from `counted_from` on, of the account's entries after
    `counted_after` (see `accounts/velocities.py`). Whoever changes a row holds its account's lock.
    """

    __tablename__: ClassVar[str] = "velocity_limits"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "account_id"],
            ["accounts.organization_id", "accounts.account_id"],
            name="velocity_limits_account",
        ),
        one_of("period", Period),
        CheckConstraint(
            "(window_seconds IS NULL) = (period IS NOT NULL)"
            " AND (period IS NULL) = (time_zone IS NULL) AND window_seconds >= 1",
            name="window",
        ),
        CheckConstraint(
            "coalesce(maximum_amount, maximum_count) IS NOT NULL"
            " AND least(maximum_amount, maximum_count) >= 0",
            name="maxima",
        ),
        CheckConstraint("least(used_amount, used_count, counted_after) >= 0", name="usage"),
        {"postgresql_with": {"fillfactor": 50}},  # usage changes in place (HOT)
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    account_id: UUID = Field(sa_type=Uuid, primary_key=True)
    name: str = Field(sa_type=Text, primary_key=True)
    maximum_amount: int | None = Field(sa_type=Amount)
    maximum_count: int | None = Field(sa_type=BigInteger)
    window_seconds: int | None = Field(sa_type=Integer)
    period: str | None = Field(sa_type=Text)
    time_zone: str | None = Field(sa_type=Text)
    counted_from: datetime = Field(sa_type=Moment)
    counted_after: int = Field(sa_type=BigInteger)
    used_amount: int = Field(sa_type=Total)
    used_count: int = Field(sa_type=BigInteger)


class Transaction(SQLModel, table=True):
    """A transaction's head and present state; what it did to accounts is in its entries.

    What is due is kept here and nowhere else: a transaction with `due_at` is work to be done, and
    it is done by the change that takes `due_at` away.
    """

    __tablename__: ClassVar[str] = "transactions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="transactions_ledger",
        ),
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "reverses_sequence"],
            ["transactions.organization_id", "transactions.ledger_id", "transactions.sequence"],
            name="transactions_reversed",
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
    reverses_sequence: int | None = Field(sa_type=BigInteger)  # the transaction that it reverses


class TransactionEvent(SQLModel, table=True):
    """One accepted command and what it did to its transaction. Append-only.

    The unique key on the idempotency key is the promise of "exactly once"; it is kept for ever.
    What the server did by itself when a hold fell due has no key.
    """

    __tablename__: ClassVar[str] = "transaction_events"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "transaction_sequence"],
            ["transactions.organization_id", "transactions.ledger_id", "transactions.sequence"],
            name="transaction_events_transaction",
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
    changes: dict[str, Any] | None = Field(sa_type=JSONB)  # of a correction: before and after


class Entry(SQLModel, table=True):
    """One line on one account, with the account's totals after it. Append-only.

    Any past state of an account is one row of this table: its latest entry at that time.
    """

    __tablename__: ClassVar[str] = "entries"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "account_id"],
            ["accounts.organization_id", "accounts.ledger_id", "accounts.account_id"],
            name="entries_account",
        ),
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "transaction_sequence"],
            ["transactions.organization_id", "transactions.ledger_id", "transactions.sequence"],
            name="entries_transaction",
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


class TransactionTemplate(SQLModel, table=True):
    """One version of a transaction template. Append-only, but for how it ends.

    `template_id` is of a code in its ledger; what the version says is `definition`, read and
    written by `app.ledger.templates.templates` alone.
    """

    __tablename__: ClassVar[str] = "transaction_templates"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="transaction_templates_ledger",
        ),
        # How a version is found; uses refer to it.
        Index(
            "transaction_templates_code",
            "organization_id",
            "ledger_id",
            "code",
            "version",
            unique=True,
        ),
        # The newest version of each code, in order of code.
        Index(
            "transaction_templates_newest",
            "organization_id",
            "ledger_id",
            "code",
            unique=True,
            postgresql_where=text("superseded_at IS NULL"),
        ),
        CheckConstraint("version >= 1", name="version"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    template_id: UUID = Field(sa_type=Uuid, primary_key=True)
    version: int = Field(sa_type=Integer, primary_key=True)  # 1, 2, 3 … of its code
    ledger_id: UUID = Field(sa_type=Uuid)
    code: str = Field(sa_type=Text)
    description: str | None = Field(sa_type=Text)
    definition: dict[str, Any] = Field(sa_type=JSONB)
    created_at: datetime = Field(sa_type=Moment)
    superseded_at: datetime | None = Field(sa_type=Moment)  # by the next version
    archived_at: datetime | None = Field(sa_type=Moment)


class TemplateUse(SQLModel, table=True):
    """The template that a transaction was made from, and its parameters. Append-only.

    Beside the transactions and not in them, so that postings without a template pay nothing for it.
    """

    __tablename__: ClassVar[str] = "template_uses"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "transaction_sequence"],
            ["transactions.organization_id", "transactions.ledger_id", "transactions.sequence"],
            name="template_uses_transaction",
        ),
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "code", "version"],
            [
                "transaction_templates.organization_id",
                "transaction_templates.ledger_id",
                "transaction_templates.code",
                "transaction_templates.version",
            ],
            name="template_uses_template",
        ),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid, primary_key=True)
    transaction_sequence: int = Field(sa_type=BigInteger, primary_key=True)
    code: str = Field(sa_type=Text)
    version: int = Field(sa_type=Integer)
    params: dict[str, Any] = Field(sa_type=JSONB)  # all of them, defaults too, as texts


class AccountTotals(SQLModel, table=True):
    """What the first `sequence` entries of an account come to in one span of effective time.

    Append-only, and a pure function of the entries: `accounts/totals.py` has the spans and who
    writes them. It has no foreign key, which would do nothing but lock what postings need; `verify`
    looks.
    """

    __tablename__: ClassVar[str] = "account_totals"
    __table_args__ = (CheckConstraint("level BETWEEN 0 AND 15 AND span >= 0", name="span"),)

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    account_id: UUID = Field(sa_type=Uuid, primary_key=True)
    level: int = Field(sa_type=SmallInteger, primary_key=True)  # the span is 16^level microseconds
    span: int = Field(sa_type=BigInteger, primary_key=True)  # 0, 1, 2 … since the year 1
    sequence: int = Field(sa_type=BigInteger, primary_key=True)
    latest: int = Field(sa_type=BigInteger)  # the sequence of the last entry in it
    entries: int = Field(sa_type=BigInteger)
    split: bool  # whether the next finer spans in it have totals too
    posted_debits: int = Field(sa_type=Total)
    posted_credits: int = Field(sa_type=Total)
    pending_debits: int = Field(sa_type=Total)  # what a span does to pending may be below zero
    pending_credits: int = Field(sa_type=Total)


class CreditLot(SQLModel, table=True):
    """A part of an account's money that expires (see app/ledger/transactions/lots.py).

    What it was opened as stays; what is left, what expired and what is due change with the
    account's entries, under the account's lock. No foreign key leads to its entry: while statistics
    are poor the planner would look that up by the wrong index (`verify` looks instead).
    """

    __tablename__: ClassVar[str] = "credit_lots"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "account_id"],
            ["accounts.organization_id", "accounts.ledger_id", "accounts.account_id"],
            name="credit_lots_account",
        ),
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "breakage_account_id"],
            ["accounts.organization_id", "accounts.ledger_id", "accounts.account_id"],
            name="credit_lots_breakage_account",
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


class Revision(SQLModel, table=True):
    """A row that describes or limits, as it was from one change of it to the next. Append-only.

    Triggers write it (`sealing.REVISED` has the tables and columns), under the ledger's lock, so
    that numbers have no gap.
    """

    __tablename__: ClassVar[str] = "revisions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="revisions_ledger",
        ),
        CheckConstraint("number >= 1", name="number"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid, primary_key=True)
    number: int = Field(sa_type=BigInteger, primary_key=True)  # 1, 2, 3 … in the ledger
    subject: str = Field(sa_type=Text)  # the table
    key: dict[str, Any] = Field(sa_type=JSONB)  # of the row, but for the organization
    content: dict[str, Any] | None = Field(sa_type=JSONB)  # None: the row was deleted
    recorded_at: datetime = Field(sa_type=Moment)


class Block(SQLModel, table=True):
    """Leaves that are sealed (see app/ledger/proofs.py). Append-only.

    `last_…` is the place of the last event that is sealed by then; `leaf_hashes` has those of the
    block's leaves one after the other, and is no part of what is hashed but by the root.
    """

    __tablename__: ClassVar[str] = "blocks"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="blocks_ledger",
        ),
        # The block that sealed an event: the first one that ends with it or behind it.
        Index(
            "blocks_last",
            "organization_id",
            "ledger_id",
            "last_recorded_at",
            "last_sequence",
            "last_number",
            "number",
        ),
        CheckConstraint("number >= 1 AND leaves >= 1 AND first_leaf >= 0", name="numbers"),
        CheckConstraint(
            "num_nulls(last_recorded_at, last_sequence, last_number) IN (0, 3)", name="last"
        ),
        CheckConstraint(
            "(previous IS NULL) = (number = 1) AND (skip IS NULL) = (number & (number - 1) = 0)",
            name="links",
        ),
        CheckConstraint("octet_length(leaf_hashes) = 32 * leaves", name="leaf_hashes"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid, primary_key=True)
    number: int = Field(sa_type=BigInteger, primary_key=True)  # 1, 2, 3 … in the ledger
    first_leaf: int = Field(sa_type=BigInteger)
    leaves: int = Field(sa_type=Integer)
    revisions: int = Field(sa_type=BigInteger)
    transactions: int = Field(sa_type=BigInteger)
    last_recorded_at: datetime | None = Field(sa_type=Moment)
    last_sequence: int | None = Field(sa_type=BigInteger)
    last_number: int | None = Field(sa_type=Integer)
    root: bytes = Field(sa_type=LargeBinary)
    previous: bytes | None = Field(sa_type=LargeBinary)
    skip: bytes | None = Field(sa_type=LargeBinary)
    sealed_at: datetime = Field(sa_type=Moment)
    hash: bytes = Field(sa_type=LargeBinary)
    leaf_hashes: bytes = Field(sa_type=LargeBinary)


class ExternalAccount(SQLModel, table=True):
    """An account in somebody else's books, which mirrors one of ours.

    Whoever stores statements of it or reconciles it holds this row's lock until commit: its two
    counters number its statements and their lines.
    """

    __tablename__: ClassVar[str] = "external_accounts"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "account_id"],
            ["accounts.organization_id", "accounts.ledger_id", "accounts.account_id"],
            name="external_accounts_account",
        ),
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
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="import_profiles_ledger",
        ),
    )

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
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "external_account_id"],
            [
                "external_accounts.organization_id",
                "external_accounts.ledger_id",
                "external_accounts.external_account_id",
            ],
            name="statement_imports_external_account",
        ),
        ForeignKeyConstraint(
            ["organization_id", "original_import_id"],
            ["statement_imports.organization_id", "statement_imports.import_id"],
            name="statement_imports_original",
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
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "external_account_id"],
            [
                "external_accounts.organization_id",
                "external_accounts.ledger_id",
                "external_accounts.external_account_id",
            ],
            name="external_statements_external_account",
        ),
        ForeignKeyConstraint(
            ["organization_id", "import_id"],
            ["statement_imports.organization_id", "statement_imports.import_id"],
            name="external_statements_import",
        ),
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
        ForeignKeyConstraint(
            ["organization_id", "external_statement_id"],
            ["external_statements.organization_id", "external_statements.external_statement_id"],
            name="statement_lines_external_statement",
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
        ForeignKeyConstraint(
            ["organization_id", "external_statement_id"],
            ["external_statements.organization_id", "external_statements.external_statement_id"],
            name="statement_line_repeats_external_statement",
        ),
        ForeignKeyConstraint(
            ["organization_id", "external_account_id", "number"],
            [
                "statement_lines.organization_id",
                "statement_lines.external_account_id",
                "statement_lines.number",
            ],
            name="statement_line_repeats_line",
        ),
        Index("statement_line_repeats_line", "organization_id", "external_account_id", "number"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    external_statement_id: UUID = Field(sa_type=Uuid, primary_key=True)
    position: int = Field(sa_type=BigInteger, primary_key=True)
    external_account_id: UUID = Field(sa_type=Uuid)
    number: int = Field(sa_type=BigInteger)


class Reconciliation(SQLModel, table=True):
    """The lines of an external account beside the entries of its account, over some days.

    Whoever changes its matches or discrepancies holds the external account's lock until commit, and
    then this row's. What `examined_at` stands before is as of the last such change: of lines up to
    `examined_line`, of the account's entries up to `examined_version`.
    """

    __tablename__: ClassVar[str] = "reconciliations"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "external_account_id"],
            [
                "external_accounts.organization_id",
                "external_accounts.ledger_id",
                "external_accounts.external_account_id",
            ],
            name="reconciliations_external_account",
        ),
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "account_id"],
            ["accounts.organization_id", "accounts.ledger_id", "accounts.account_id"],
            name="reconciliations_account",
        ),
        ForeignKeyConstraint(
            ["organization_id", "api_key_id"],
            ["api_keys.organization_id", "api_keys.api_key_id"],
            name="reconciliations_api_key",
        ),
        # Those of an external account. The condition holds for all (see accounts_name).
        Index(
            "reconciliations_external_account",
            "organization_id",
            "external_account_id",
            "reconciliation_id",
            postgresql_where=text("last_event > 0"),
        ),
        one_of("status", ReconciliationStatus),
        CheckConstraint("from_date <= through_date", name="days"),
        CheckConstraint("(closed_at IS NOT NULL) = (status = 'closed')", name="closed"),
        CheckConstraint("last_event >= 1", name="last_event"),
        CheckConstraint(
            "num_nulls(examined_at, examined_version, examined_line, ledger_balance, items, counts)"
            " IN (0, 6)",
            name="examined",
        ),
        {"postgresql_with": {"fillfactor": 50}},
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    reconciliation_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid)
    external_account_id: UUID = Field(sa_type=Uuid)
    account_id: UUID = Field(sa_type=Uuid)
    name: str = Field(sa_type=Text)
    from_date: date = Field(sa_type=Date)
    through_date: date = Field(sa_type=Date)
    time_zone: str = Field(sa_type=Text)  # where an entry's day begins
    margin_days: int = Field(sa_type=SmallInteger)  # how far around the days partners are sought
    rules: list[dict[str, Any]] = Field(sa_type=JSONB)
    api_key_id: UUID = Field(sa_type=Uuid)
    created_at: datetime = Field(sa_type=Moment)
    status: str = Field(sa_type=Text)
    closed_at: datetime | None = Field(sa_type=Moment)
    last_event: int = Field(sa_type=Integer)
    examined_at: datetime | None = Field(sa_type=Moment)
    examined_version: int | None = Field(sa_type=BigInteger)
    examined_line: int | None = Field(sa_type=BigInteger)
    ledger_balance: int | None = Field(sa_type=Total)
    statement_balance: int | None = Field(sa_type=Total)
    items: list[dict[str, Any]] | None = Field(sa_type=JSONB)  # of the bridge; amounts are texts
    counts: dict[str, int] | None = Field(sa_type=JSONB)


class ReconciliationRun(SQLModel, table=True):
    """One request to look for matches, and what became of it. Unfinished runs are work to be done.

    All that a run writes is one transaction, which finishes it; a run whose process died is begun
    anew.
    """

    __tablename__: ClassVar[str] = "reconciliation_runs"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "reconciliation_id"],
            ["reconciliations.organization_id", "reconciliations.reconciliation_id"],
            name="reconciliation_runs_reconciliation",
        ),
        ForeignKeyConstraint(
            ["organization_id", "api_key_id"],
            ["api_keys.organization_id", "api_keys.api_key_id"],
            name="reconciliation_runs_api_key",
        ),
        # One waits at most, besides one that is under way.
        Index(
            "reconciliation_runs_waiting",
            "organization_id",
            "reconciliation_id",
            unique=True,
            postgresql_where=text("status = 'waiting'"),
        ),
        # Those of a reconciliation, in order. The condition holds for all (see accounts_name).
        Index(
            "reconciliation_runs_reconciliation",
            "organization_id",
            "reconciliation_id",
            "run_id",
            postgresql_where=text("confirmed >= 0"),
        ),
        # What is to be done, of all organizations (as with transactions_due).
        Index(
            "reconciliation_runs_unfinished",
            "requested_at",
            postgresql_where=text("finished_at IS NULL"),
        ),
        one_of("status", RunStatus),
        CheckConstraint(
            "(finished_at IS NOT NULL) = (status IN ('completed', 'failed'))", name="finished"
        ),
        CheckConstraint("(failure IS NOT NULL) = (status = 'failed')", name="failure"),
        CheckConstraint(
            "least(confirmed, proposed, withdrawn, appeared, vanished) >= 0", name="counts"
        ),
        {"postgresql_with": {"fillfactor": 50}},
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    run_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid)
    reconciliation_id: UUID = Field(sa_type=Uuid)
    api_key_id: UUID = Field(sa_type=Uuid)
    status: str = Field(sa_type=Text)
    requested_at: datetime = Field(sa_type=Moment)
    started_at: datetime | None = Field(sa_type=Moment)
    finished_at: datetime | None = Field(sa_type=Moment)
    failure: str | None = Field(sa_type=Text)
    confirmed: int = Field(sa_type=BigInteger)  # matches that are new
    proposed: int = Field(sa_type=BigInteger)
    withdrawn: int = Field(sa_type=BigInteger)  # proposals that were there before
    appeared: int = Field(sa_type=BigInteger)  # discrepancies
    vanished: int = Field(sa_type=BigInteger)


class ReconciliationMatch(SQLModel, table=True):
    """Lines and entries that stand for the same; its id is a digest of which they were at first.

    An adjusting entry may join it later. A proposal goes when a run no longer makes it. All that a
    closed reconciliation has stays.
    """

    __tablename__: ClassVar[str] = "reconciliation_matches"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "reconciliation_id"],
            ["reconciliations.organization_id", "reconciliations.reconciliation_id"],
            name="reconciliation_matches_reconciliation",
        ),
        ForeignKeyConstraint(
            ["organization_id", "api_key_id"],
            ["api_keys.organization_id", "api_keys.api_key_id"],
            name="reconciliation_matches_api_key",
        ),
        # Those of a reconciliation. The condition holds for all (see accounts_name).
        Index(
            "reconciliation_matches_reconciliation",
            "organization_id",
            "reconciliation_id",
            "match_id",
            postgresql_where=text("score >= 0"),
        ),
        # Those that reach into other days.
        Index(
            "reconciliation_matches_crossing",
            "organization_id",
            "ledger_id",
            postgresql_where=text("NOT whole"),
        ),
        one_of("status", MatchStatus),
        one_of("origin", MatchOrigin),
        CheckConstraint("(rule IS NOT NULL) = (origin = 'rule')", name="rule"),
        CheckConstraint("origin = 'rule' OR status = 'confirmed'", name="origin_status"),
        CheckConstraint("score BETWEEN 0 AND 1000", name="score"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    match_id: UUID = Field(sa_type=Uuid, primary_key=True)
    reconciliation_id: UUID = Field(sa_type=Uuid)
    ledger_id: UUID = Field(sa_type=Uuid)
    status: str = Field(sa_type=Text)
    origin: str = Field(sa_type=Text)
    rule: str | None = Field(sa_type=Text)  # the name of the rule that found it
    score: int = Field(sa_type=SmallInteger)
    difference: int = Field(sa_type=Total)  # of its lines less its entries
    reach: int = Field(sa_type=Total)  # the same of those before the days
    days: int = Field(sa_type=Integer)  # from its line to its entry
    whole: bool  # whether all of it lies in the days of the reconciliation
    late: bool  # whether that is more than its rule's
    foreign_currency: bool  # whether a line counts in another currency, and hence as nothing
    reason: str | None = Field(sa_type=Text)
    api_key_id: UUID | None = Field(sa_type=Uuid)  # who confirmed or made it; None is the rule
    decided_at: datetime | None = Field(sa_type=Moment)  # when it was confirmed


class ReconciliationMatchLine(SQLModel, table=True):
    """A line of a match."""

    __tablename__: ClassVar[str] = "reconciliation_match_lines"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "match_id"],
            ["reconciliation_matches.organization_id", "reconciliation_matches.match_id"],
            name="reconciliation_match_lines_match",
        ),
        ForeignKeyConstraint(
            ["organization_id", "external_account_id", "number"],
            [
                "statement_lines.organization_id",
                "statement_lines.external_account_id",
                "statement_lines.number",
            ],
            name="reconciliation_match_lines_line",
        ),
        # The matches of a line.
        Index(
            "reconciliation_match_lines_line",
            "organization_id",
            "external_account_id",
            "number",
            "match_id",
            unique=True,
        ),
        # A line is accounted for once, in whichever reconciliation.
        Index(
            "reconciliation_match_lines_once",
            "organization_id",
            "external_account_id",
            "number",
            unique=True,
            postgresql_where=text("confirmed"),
        ),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    match_id: UUID = Field(sa_type=Uuid, primary_key=True)
    external_account_id: UUID = Field(sa_type=Uuid)
    number: int = Field(sa_type=BigInteger, primary_key=True)
    reconciliation_id: UUID = Field(sa_type=Uuid)
    confirmed: bool  # as its match is


class ReconciliationMatchEntry(SQLModel, table=True):
    """An entry of a match. No foreign key leads to it, as with credit lots."""

    __tablename__: ClassVar[str] = "reconciliation_match_entries"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "match_id"],
            ["reconciliation_matches.organization_id", "reconciliation_matches.match_id"],
            name="reconciliation_match_entries_match",
        ),
        # The matches of an entry.
        Index(
            "reconciliation_match_entries_entry",
            "organization_id",
            "account_id",
            "sequence",
            "match_id",
            unique=True,
        ),
        # An entry is accounted for once, in whichever reconciliation.
        Index(
            "reconciliation_match_entries_once",
            "organization_id",
            "account_id",
            "sequence",
            unique=True,
            postgresql_where=text("confirmed"),
        ),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    match_id: UUID = Field(sa_type=Uuid, primary_key=True)
    account_id: UUID = Field(sa_type=Uuid)
    sequence: int = Field(sa_type=BigInteger, primary_key=True)
    reconciliation_id: UUID = Field(sa_type=Uuid)
    confirmed: bool  # as its match is


class ReconciliationRejection(SQLModel, table=True):
    """A line and an entry that are never again to be matched by a rule. Append-only.

    A pair of two entries, where a match had no line, has its first entry in the place of the line,
    as a number below zero.
    """

    __tablename__: ClassVar[str] = "reconciliation_rejections"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "reconciliation_id"],
            ["reconciliations.organization_id", "reconciliations.reconciliation_id"],
            name="reconciliation_rejections_reconciliation",
        ),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    reconciliation_id: UUID = Field(sa_type=Uuid, primary_key=True)
    number: int = Field(sa_type=BigInteger, primary_key=True)  # of the line
    sequence: int = Field(sa_type=BigInteger, primary_key=True)  # of the entry


class ReconciliationDiscrepancy(SQLModel, table=True):
    """Something that does not agree; its id is a digest of what it is, its amount included.

    `amount` is what it adds to the ledger's balance on the way to the statement's. It goes when its
    cause does; one that a transaction resolved stays, and counts no more.
    """

    __tablename__: ClassVar[str] = "reconciliation_discrepancies"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "reconciliation_id"],
            ["reconciliations.organization_id", "reconciliations.reconciliation_id"],
            name="reconciliation_discrepancies_reconciliation",
        ),
        ForeignKeyConstraint(
            ["organization_id", "api_key_id"],
            ["api_keys.organization_id", "api_keys.api_key_id"],
            name="reconciliation_discrepancies_api_key",
        ),
        # Those of a reconciliation, in order of what they are about. The condition holds for all.
        Index(
            "reconciliation_discrepancies_reconciliation",
            "organization_id",
            "reconciliation_id",
            "day",
            "discrepancy_id",
            postgresql_where=text("kind <> ''"),
        ),
        one_of("kind", DiscrepancyKind),
        one_of("status", DiscrepancyStatus),
        one_of("resolution", ResolutionKind),
        CheckConstraint(
            "num_nulls(resolution, api_key_id, resolved_at)"
            " = CASE status WHEN 'open' THEN 3 ELSE 0 END",
            name="resolved",
        ),
        CheckConstraint(
            "(status = 'resolved') = (transaction_sequence IS NOT NULL)"
            " AND (status = 'resolved') = (resolved_match_id IS NOT NULL)"
            " AND (status = 'accepted') = coalesce(resolution = 'accepted', false)",
            name="transaction",
        ),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    discrepancy_id: UUID = Field(sa_type=Uuid, primary_key=True)
    reconciliation_id: UUID = Field(sa_type=Uuid)
    ledger_id: UUID = Field(sa_type=Uuid)
    external_account_id: UUID = Field(sa_type=Uuid)
    account_id: UUID = Field(sa_type=Uuid)
    kind: str = Field(sa_type=Text)
    day: date = Field(sa_type=Date)  # of its line, else of its entry, else of its statement's end
    amount: int = Field(sa_type=Total)
    match_id: UUID | None = Field(sa_type=Uuid)
    line_number: int | None = Field(sa_type=BigInteger)
    entry_sequence: int | None = Field(sa_type=BigInteger)
    other_line: int | None = Field(sa_type=BigInteger)  # the one that it doubles
    external_statement_id: UUID | None = Field(sa_type=Uuid)
    status: str = Field(sa_type=Text)
    resolution: str | None = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)
    api_key_id: UUID | None = Field(sa_type=Uuid)
    resolved_at: datetime | None = Field(sa_type=Moment)
    transaction_sequence: int | None = Field(sa_type=BigInteger)  # that resolved it
    resolved_match_id: UUID | None = Field(sa_type=Uuid)  # what it is matched by since


class ReconciliationEvent(SQLModel, table=True):
    """Something that was done to a reconciliation, by whom and why. Append-only."""

    __tablename__: ClassVar[str] = "reconciliation_events"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "reconciliation_id"],
            ["reconciliations.organization_id", "reconciliations.reconciliation_id"],
            name="reconciliation_events_reconciliation",
        ),
        ForeignKeyConstraint(
            ["organization_id", "api_key_id"],
            ["api_keys.organization_id", "api_keys.api_key_id"],
            name="reconciliation_events_api_key",
        ),
        one_of("kind", ReconciliationEventKind),
        CheckConstraint("number >= 1", name="number"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    reconciliation_id: UUID = Field(sa_type=Uuid, primary_key=True)
    number: int = Field(sa_type=Integer, primary_key=True)  # 1, 2, 3 … in the reconciliation
    kind: str = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)
    details: dict[str, Any] = Field(sa_type=JSONB)  # what it was about, and what came of it
    api_key_id: UUID = Field(sa_type=Uuid)
    recorded_at: datetime = Field(sa_type=Moment)


class AccountStatement(SQLModel, table=True):
    """What an account's holder was told of a period, for ever. Append-only.

    Its lines are not kept twice: they are the entries that took effect in the period and had been
    recorded at `account_version`, and what they said at `known_at` (`statements/statements.py`).
    """

    __tablename__: ClassVar[str] = "account_statements"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "account_id"],
            ["accounts.organization_id", "accounts.ledger_id", "accounts.account_id"],
            name="account_statements_account",
        ),
        ForeignKeyConstraint(
            ["organization_id", "account_id", "previous_number"],
            [
                "account_statements.organization_id",
                "account_statements.account_id",
                "account_statements.number",
            ],
            name="account_statements_previous",
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
        ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="statement_schedules_ledger",
        ),
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
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "account_id"],
            ["accounts.organization_id", "accounts.ledger_id", "accounts.account_id"],
            name="settlements_account",
        ),
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "transaction_sequence"],
            ["transactions.organization_id", "transactions.ledger_id", "transactions.sequence"],
            name="settlements_transaction",
        ),
        ForeignKeyConstraint(
            ["organization_id", "ledger_id", "released_sequence"],
            ["transactions.organization_id", "transactions.ledger_id", "transactions.sequence"],
            name="settlements_released",
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
    released_sequence: int | None = Field(sa_type=BigInteger)  # the payout's reversal


class SettlementEntry(SQLModel, table=True):
    """An entry that a settlement collected. Append-only.

    `round` counts the settlements that have collected it, and is what makes an entry be settled
    once at a time: who sees the last one released makes the next round, and two that do so at once
    make the same.
    """

    __tablename__: ClassVar[str] = "settlement_entries"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "settlement_id"],
            ["settlements.organization_id", "settlements.settlement_id"],
            name="settlement_entries_settlement",
        ),
        # A settlement's entries in order.
        Index("settlement_entries_settlement", "organization_id", "settlement_id", "sequence"),
        CheckConstraint("round >= 1", name="round"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    account_id: UUID = Field(sa_type=Uuid, primary_key=True)
    sequence: int = Field(sa_type=BigInteger, primary_key=True)
    round: int = Field(sa_type=Integer, primary_key=True)  # 1, 2, 3 … of the entry
    settlement_id: UUID = Field(sa_type=Uuid)


def table_of(model: type[SQLModel]) -> Table:
    """The SQLAlchemy table behind a model, to build statements from."""
    return SQLModel.metadata.tables[str(model.__tablename__)]


organizations = table_of(Organization)
api_keys = table_of(ApiKey)
api_key_ledgers = table_of(ApiKeyLedger)
ledgers = table_of(Ledger)
period_events = table_of(PeriodEvent)
currencies = table_of(Currency)
accounts = table_of(Account)
velocity_limits = table_of(VelocityLimit)
transactions = table_of(Transaction)
transaction_events = table_of(TransactionEvent)
entries = table_of(Entry)
transaction_templates = table_of(TransactionTemplate)
template_uses = table_of(TemplateUse)
account_totals = table_of(AccountTotals)
credit_lots = table_of(CreditLot)
lot_movements = table_of(LotMovement)
revisions = table_of(Revision)
blocks = table_of(Block)
external_accounts = table_of(ExternalAccount)
import_profiles = table_of(ImportProfile)
statement_imports = table_of(StatementImport)
external_statements = table_of(ExternalStatement)
statement_lines = table_of(StatementLine)
statement_line_repeats = table_of(StatementLineRepeat)
reconciliations = table_of(Reconciliation)
reconciliation_runs = table_of(ReconciliationRun)
reconciliation_matches = table_of(ReconciliationMatch)
reconciliation_match_lines = table_of(ReconciliationMatchLine)
reconciliation_match_entries = table_of(ReconciliationMatchEntry)
reconciliation_rejections = table_of(ReconciliationRejection)
reconciliation_discrepancies = table_of(ReconciliationDiscrepancy)
reconciliation_events = table_of(ReconciliationEvent)
account_statements = table_of(AccountStatement)
statement_schedules = table_of(StatementSchedule)
settlements = table_of(Settlement)
settlement_entries = table_of(SettlementEntry)
