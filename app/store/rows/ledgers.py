"""Ledgers, and the periods that they closed."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import and_

from app.store.reading import Listing, Lookup, of_organization, visible
from app.store.rows.columns import columns, with_api_key
from app.store.tables import ledgers, period_events


class LedgerRow(NamedTuple):
    """A ledger."""

    ledger_id: UUID
    name: str
    description: str | None
    mode: str
    metadata: dict[str, Any]
    created_at: datetime
    archived_at: datetime | None
    closed_through: datetime | None


class PeriodEventRow(NamedTuple):
    """A closing or reopening of a ledger's past, and the name of the API key that did it."""

    number: int
    kind: str
    closed_through: datetime | None
    reason: str | None
    api_key_name: str
    recorded_at: datetime


_ledger = columns(LedgerRow, ledgers)
_period_event = with_api_key(PeriodEventRow, period_events)

ledgers_by_id = Lookup(LedgerRow, _ledger, ledgers, (ledgers.c.ledger_id,))

ledgers_of_organization = Listing(
    LedgerRow,
    _ledger,
    lambda organization_id: and_(visible(ledgers), ledgers.c.organization_id == organization_id),
    {
        "name": ledgers.c.name,
        "created_at": ledgers.c.created_at,
        "archived_at": ledgers.c.archived_at,
        "metadata": ledgers.c.metadata,
    },
    {"created_at": ("ledger_id",)},
)
periods_of_ledger = Listing(
    PeriodEventRow,
    _period_event,
    lambda ledger_id: and_(of_organization(period_events), period_events.c.ledger_id == ledger_id),
    {},
    {"number": ("number",)},
)
