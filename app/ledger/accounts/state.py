"""Ledgers and accounts as a decision sees them: their state at one moment, locked."""

from datetime import datetime
from enum import Enum
from uuid import UUID

from app.ledger.accounts.balances import Balances, Direction
from app.ledger.accounts.velocities import Velocity
from app.ledger.transactions.lots import Lot
from app.ledger.values import immutable


class Mode(Enum):
    """Live money, or a test beside it; a key of one mode never sees the other."""

    LIVE = "live"
    TEST = "test"


class AccountStatus(Enum):
    """FROZEN takes no postings until unfrozen; CLOSED for good. Voids are taken by both."""

    OPEN = "open"
    FROZEN = "frozen"
    CLOSED = "closed"


@immutable
class Scope:
    """What an API key may see: its organization's ledgers of one mode, perhaps only some."""

    organization_id: UUID
    mode: Mode
    ledger_ids: frozenset[UUID] | None = None

    def sees(self, ledger_id: UUID, mode: Mode) -> bool:
        return mode is self.mode and (self.ledger_ids is None or ledger_id in self.ledger_ids)


@immutable
class Ledger:
    """The counter row of a ledger; nothing new takes effect at or before `closed_through`."""

    organization_id: UUID
    ledger_id: UUID
    mode: Mode
    archived: bool
    last_sequence: int
    last_recorded_at: datetime
    closed_through: datetime | None = None

    def after(self, recorded_at: datetime, *, transactions: int = 0) -> "Ledger":
        """The ledger after one more event, and so many more transactions."""
        return Ledger(
            self.organization_id,
            self.ledger_id,
            self.mode,
            self.archived,
            self.last_sequence + transactions,
            recorded_at,
            self.closed_through,
        )


@immutable
class Limits:
    """An account's limits beyond the floor (see `limits.py`), in minor units; None does not bind.

    One field of an account that is mostly None: accounts without limits pay next to nothing.
    """

    balance_ceiling: int | None = None
    entry_maximum: int | None = None
    velocities: tuple[Velocity, ...] = ()


@immutable
class Account:
    """An account's rules and running totals.

    `version` counts its entries, so it is also the sequence of the latest one.
    `available_floor` is in minor units; None means that available may fall without limit.
    `lots` are the open credit lots, in no order; most accounts have none.
    """

    organization_id: UUID
    account_id: UUID
    ledger_id: UUID
    currency: str
    exponent: int
    normal_balance: Direction
    status: AccountStatus
    available_floor: int | None
    version: int
    balances: Balances
    limits: Limits | None = None
    lots: tuple[Lot, ...] = ()

    def after(self, balances: Balances) -> "Account":
        """The account after one more entry. (`dataclasses.replace` takes three times as long.)"""
        return Account(
            self.organization_id,
            self.account_id,
            self.ledger_id,
            self.currency,
            self.exponent,
            self.normal_balance,
            self.status,
            self.available_floor,
            self.version + 1,
            balances,
            self.limits,
            self.lots,
        )

    @property
    def available(self) -> int:
        return self.balances.available(self.normal_balance).amount

    @property
    def highest(self) -> int:
        return self.balances.highest(self.normal_balance)

    @property
    def pending_outgoing(self) -> int:
        """What is pending against the normal side."""
        return self.balances.posted(self.normal_balance).amount - self.available
