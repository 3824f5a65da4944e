"""Transaction templates, and which transactions were made from them."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.store.tables.columns import Moment, foreign_key


class TransactionTemplate(SQLModel, table=True):
    """One version of a transaction template. Append-only, but for how it ends.

    `template_id` is of a code in its ledger; what the version says is `definition`, read and
    written by `app.ledger.templates.templates` alone.
    """

    __tablename__: ClassVar[str] = "transaction_templates"
    __table_args__ = (
        foreign_key("transaction_templates_ledger", "ledgers", "ledger_id"),
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
        foreign_key(
            "template_uses_transaction",
            "transactions",
            "ledger_id",
            transaction_sequence="sequence",
        ),
        foreign_key(
            "template_uses_template", "transaction_templates", "ledger_id", "code", "version"
        ),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid, primary_key=True)
    transaction_sequence: int = Field(sa_type=BigInteger, primary_key=True)
    code: str = Field(sa_type=Text)
    version: int = Field(sa_type=Integer)
    params: dict[str, Any] = Field(sa_type=JSONB)
