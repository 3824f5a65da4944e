"""Tenants and their credentials."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import Index, LargeBinary, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from app.ledger.accounts.state import Mode
from app.store.tables.columns import Moment, foreign_key, one_of


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
        foreign_key("api_keys_organization", "organizations"),
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
        foreign_key("api_key_ledgers_api_key", "api_keys", "api_key_id"),
        foreign_key("api_key_ledgers_ledger", "ledgers", "ledger_id"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    api_key_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid, primary_key=True)
