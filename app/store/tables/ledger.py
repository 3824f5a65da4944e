"""Ledgers, the periods that they closed, and the currencies that they count in."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, SmallInteger, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.ledger.accounts.periods import PeriodEventKind
from app.ledger.accounts.state import Mode
from app.store.tables.columns import Moment, foreign_key, one_of


class Ledger(SQLModel, table=True):
    """A closed book, and the counter that numbers its transactions.

    Whoever posts holds this row's lock until commit, which makes sequence order commit order and
    recorded time non-decreasing.
    """

    __tablename__: ClassVar[str] = "ledgers"
    __table_args__ = (
        foreign_key("ledgers_organization", "organizations"),
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
    closed_through: datetime | None = Field(sa_type=Moment)


class PeriodEvent(SQLModel, table=True):
    """A closing or a reopening of a ledger's past. Append-only."""

    __tablename__: ClassVar[str] = "period_events"
    __table_args__ = (
        foreign_key("period_events_ledger", "ledgers", "ledger_id"),
        foreign_key("period_events_api_key", "api_keys", "api_key_id"),
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
        foreign_key("currencies_ledger", "ledgers", "ledger_id"),
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
