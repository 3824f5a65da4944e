"""Transactions, their entries, and the events that made them: what was recorded.

A transaction is the sum of its events. The first one creates it, posted or pending; each later one
(a settlement, a void) appends entries that undo part of what is pending. Every accepted command is
exactly one event and carries that command's idempotency key, so history and idempotency are one
and the same fact.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from app.ledger.balances import Balances, Direction, Effect
from app.ledger.commands import Metadata


class TransactionStatus(Enum):
    """POSTED as soon as nothing is left pending and something was posted; VOIDED if nothing was."""

    PENDING = "pending"
    POSTED = "posted"
    VOIDED = "voided"


class EventKind(Enum):
    """POSTED and HELD create a transaction; SETTLED and VOIDED change a held one."""

    POSTED = "posted"
    HELD = "held"
    SETTLED = "settled"
    VOIDED = "voided"


@dataclass(frozen=True, slots=True)
class Entry:
    """One immutable line; `amount` in minor units.

    `sequence` counts the entries of the account, `line` those of the transaction, both from 1.
    """

    account_id: UUID
    sequence: int
    line: int
    event: int
    direction: Direction
    effect: Effect
    amount: int
    balances_after: Balances
    effective_at: datetime
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class Event:
    """One accepted command. `number` counts the events of its transaction from 1."""

    number: int
    kind: EventKind
    idempotency_key: str
    fingerprint: bytes
    description: str | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction's state after its latest event. `sequence` counts those of its ledger."""

    organization_id: UUID
    ledger_id: UUID
    transaction_id: UUID
    sequence: int
    status: TransactionStatus
    description: str | None
    external_id: str | None
    metadata: Metadata
    effective_at: datetime
    created_at: datetime
    posted_at: datetime | None
    voided_at: datetime | None
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class PastLine:
    """What a decision needs to know of an entry recorded earlier."""

    account_id: UUID
    direction: Direction
    effect: Effect
    amount: int


@dataclass(frozen=True, slots=True)
class Hold:
    """A transaction that somebody wants to settle or void, with all its lines so far."""

    transaction: Transaction
    events: int
    lines: tuple[PastLine, ...]


@dataclass(frozen=True, slots=True)
class Used:
    """An idempotency key that is taken, by what content, and what it brought about."""

    fingerprint: bytes
    transaction_id: UUID


def remaining(lines: Iterable[PastLine]) -> Mapping[tuple[UUID, Direction], int]:
    """What is still pending on each side of each account, in the order of the hold's entries."""
    left: dict[tuple[UUID, Direction], int] = {}
    for line in lines:
        side = (line.account_id, line.direction)
        sign = 1 if line.effect is Effect.HOLD else -1
        left[side] = left.get(side, 0) + sign * line.amount
    return {side: amount for side, amount in left.items() if amount}
