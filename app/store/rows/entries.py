"""Entries, each with what it takes to read its account's totals."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import and_, select

from app.store.reading import Listing, Lookup, of_organization
from app.store.rows.columns import above_zero, alike
from app.store.tables import accounts, entries


class EntryRow(NamedTuple):
    """One entry with the account's totals after it, and what it takes to read them."""

    account_id: UUID
    sequence: int
    ledger_id: UUID
    transaction_sequence: int
    line: int
    direction: str
    effect: str
    amount: int
    posted_debits: int
    posted_credits: int
    pending_debits: int
    pending_credits: int
    effective_at: datetime
    recorded_at: datetime
    metadata: dict[str, Any] | None
    normal_balance: str
    currency: str
    exponent: int


_entry = select(
    *(entries.c[name] for name in EntryRow._fields if name in entries.c),
    accounts.c.normal_balance,
    accounts.c.currency,
    accounts.c.exponent,
).join_from(entries, accounts, alike(accounts, entries, "account_id"))

entries_by_id = Lookup(EntryRow, _entry, entries, (entries.c.account_id, entries.c.sequence))
entries_by_transaction = Lookup(
    EntryRow,
    _entry,
    entries,
    (entries.c.ledger_id, entries.c.transaction_sequence),
    (entries.c.line,),
)

_every = above_zero(entries.c.amount)  # as the indexes by time have it
_entry_fields = {
    "effect": entries.c.effect,
    "direction": entries.c.direction,
    "amount": entries.c.amount,
    "currency": accounts.c.currency,
    "account_id": entries.c.account_id,
    "sequence": entries.c.sequence,
    "effective_at": entries.c.effective_at,
    "recorded_at": entries.c.recorded_at,
}
entries_of_account = Listing(
    EntryRow,
    _entry,
    lambda account_id: and_(of_organization(entries), entries.c.account_id == account_id, _every),
    _entry_fields,
    {"sequence": ("sequence",), "effective_at": ("effective_at", "sequence")},
)
entries_of_ledger = Listing(
    EntryRow,
    _entry,
    lambda ledger_id: and_(of_organization(entries), entries.c.ledger_id == ledger_id, _every),
    _entry_fields,
    {
        "sequence": ("transaction_sequence", "line"),
        "effective_at": ("effective_at", "transaction_sequence", "line"),
    },
)
