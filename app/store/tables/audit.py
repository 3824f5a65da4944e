"""What proves the rest: revisions of rows, and sealed blocks."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, LargeBinary, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.store.tables.columns import Moment, foreign_key


class Revision(SQLModel, table=True):
    """A row that describes or limits, as it was from one change of it to the next. Append-only.

    Triggers write it (`sealing.REVISED` has the tables and columns), under the ledger's lock, so
    that numbers have no gap.
    """

    __tablename__: ClassVar[str] = "revisions"
    __table_args__ = (
        foreign_key("revisions_ledger", "ledgers", "ledger_id"),
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
        foreign_key("blocks_ledger", "ledgers", "ledger_id"),
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
