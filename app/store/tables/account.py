"""Accounts, their velocity limits, and their totals by span of effective time."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Index,
    Integer,
    SmallInteger,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import AccountStatus
from app.ledger.accounts.velocities import Period
from app.store.tables.columns import Amount, Moment, Total, foreign_key, one_of


class Account(SQLModel, table=True):
    """An account: its rules, and its totals after its latest entry.

    `version` counts the entries. `floor_version` is the version at which the present floor was set:
    every later entry kept it. So with the ceiling and the entry maximum.
    """

    __tablename__: ClassVar[str] = "accounts"
    __table_args__ = (
        foreign_key(
            "accounts_currency", "currencies", "ledger_id", currency="code", exponent="exponent"
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
        foreign_key("velocity_limits_account", "accounts", "account_id"),
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
