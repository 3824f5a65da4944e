"""Credit lots, and what was taken from them."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Text, and_, case, literal_column, select

from app.store.reading import Listing, Lookup, of_organization
from app.store.rows.columns import above_zero, alike
from app.store.tables import credit_lots, entries, lot_movements


class LotRow(NamedTuple):
    """A credit lot in its present state; `number` is the sequence of the entry that opened it."""

    lot_id: UUID
    account_id: UUID
    number: int
    code: str | None
    amount: int
    remaining: int
    expired: int
    expires_at: datetime
    breakage_account_id: UUID
    due_at: datetime | None
    due_attempts: int | None
    refusal_code: str | None
    refusal_message: str | None
    refused_at: datetime | None
    state: str


class LotMovementRow(NamedTuple):
    """What an entry took from a credit lot; `sequence` is the entry's."""

    lot_id: UUID
    account_id: UUID
    sequence: int
    kind: str
    amount: int
    ledger_id: UUID
    transaction_sequence: int


_lot_state = case(
    (credit_lots.c.remaining > literal_column("0"), literal_column("'open'")),
    (credit_lots.c.expired > literal_column("0"), literal_column("'expired'")),
    else_=literal_column("'spent'"),
).cast(Text)
_lot = select(*(credit_lots.c[name] for name in LotRow._fields[:-1]), _lot_state.label("state"))
_movement = select(
    *(lot_movements.c[name] for name in LotMovementRow._fields[:-2]),
    entries.c.ledger_id,
    entries.c.transaction_sequence,
).join_from(lot_movements, entries, alike(entries, lot_movements, "account_id", "sequence"))

lots_by_id = Lookup(LotRow, _lot, credit_lots, (credit_lots.c.lot_id,))
lots_by_entry = Lookup(LotRow, _lot, credit_lots, (credit_lots.c.account_id, credit_lots.c.number))
movements_by_entry = Lookup(
    LotMovementRow,
    _movement,
    entries,
    (lot_movements.c.account_id, lot_movements.c.sequence),
    (lot_movements.c.lot_id,),
)

lots_of_account = Listing(
    LotRow,
    _lot,
    lambda account_id: and_(
        of_organization(credit_lots),
        credit_lots.c.account_id == account_id,
        above_zero(credit_lots.c.number),  # as the index by time of expiry has it
    ),
    {"state": _lot_state},
    {"expires_at": ("expires_at", "number")},
)
movements_of_lot = Listing(
    LotMovementRow,
    _movement,
    lambda lot_id: and_(of_organization(lot_movements), lot_movements.c.lot_id == lot_id),
    {},
    {"sequence": ("sequence",)},
)
