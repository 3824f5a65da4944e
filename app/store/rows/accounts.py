"""Accounts."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import and_, literal_column

from app.store.reading import Listing, Lookup, of_organization
from app.store.rows.columns import columns
from app.store.tables import accounts


class AccountRow(NamedTuple):
    """An account with its totals after its latest entry."""

    account_id: UUID
    ledger_id: UUID
    name: str
    description: str | None
    external_id: str | None
    normal_balance: str
    currency: str
    exponent: int
    status: str
    available_floor: int | None
    metadata: dict[str, Any]
    created_at: datetime
    version: int
    posted_debits: int
    posted_credits: int
    pending_debits: int
    pending_credits: int
    balance_ceiling: int | None
    entry_maximum: int | None
    velocity_limited: bool


_account = columns(AccountRow, accounts)

accounts_by_id = Lookup(AccountRow, _account, accounts, (accounts.c.account_id,))
accounts_by_external_id = Lookup(
    AccountRow,
    _account,
    accounts,
    (accounts.c.ledger_id, accounts.c.external_id),
    compared="ledger_id",
)

accounts_of_ledger = Listing(
    AccountRow,
    _account,
    lambda ledger_id: and_(
        of_organization(accounts),
        accounts.c.ledger_id == ledger_id,
        accounts.c.name != literal_column("''"),  # as the index by name has it
    ),
    {
        "name": accounts.c.name,
        "external_id": accounts.c.external_id,
        "currency": accounts.c.currency,
        "status": accounts.c.status,
        "normal_balance": accounts.c.normal_balance,
        "created_at": accounts.c.created_at,
        "metadata": accounts.c.metadata,
    },
    {"created_at": ("account_id",), "name": ("name", "account_id")},
)
