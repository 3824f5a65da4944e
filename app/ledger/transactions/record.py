"""Transactions, their entries, and the events that made them: what was recorded.

A transaction is the sum of its events. The first one creates it, posted or pending; later ones (a
settlement, a void, an expiry) append entries that undo part of what is pending, or correct its
labels. Every accepted command is exactly one event and carries that command's idempotency key, so
history and idempotency are one and the same fact. What the server does by itself when a hold falls
due is an event without a key.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from app.ledger.accounts.balances import Balances, Direction, Effect
from app.ledger.refusals import RefusedAttempt
from app.ledger.transactions.commands import HoldReason, Metadata
from app.ledger.values import immutable


class TransactionStatus(Enum):
    """POSTED as soon as nothing is left pending and something was posted; VOIDED if nothing was."""

    PENDING = "pending"
    POSTED = "posted"
    VOIDED = "voided"


class EventKind(Enum):
    """POSTED and HELD create a transaction; SETTLED and VOIDED change a held one.

    MATURED and EXPIRED do the same by themselves, when the hold's time has come. UPDATED corrects
    labels and moves no money. LOT_EXPIRED creates the transaction by which a credit lot expires.
    """

    POSTED = "posted"
    HELD = "held"
    SETTLED = "settled"
    VOIDED = "voided"
    MATURED = "matured"
    EXPIRED = "expired"
    UPDATED = "updated"
    LOT_EXPIRED = "lot_expired"


@immutable
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


@immutable
class Event:
    """One accepted command. `number` counts the events of its transaction from 1.

    Without key and fingerprint it is the server's own. `changes` has, of each label that was
    corrected, its value before and after.
    """

    number: int
    kind: EventKind
    idempotency_key: str | None
    fingerprint: bytes | None
    description: str | None
    recorded_at: datetime
    changes: Mapping[str, Any] | None = None


@immutable
class Transaction:
    """A transaction's state after its latest event. `sequence` counts those of its ledger.

    `due_at` is when the server has something to do about it next; None when it never has. What the
    server made by itself has no `idempotency_key`.
    `reverses_sequence` is the transaction that this one reverses.
    """

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
    idempotency_key: str | None
    reason: HoldReason | None = None
    posts_at: datetime | None = None
    expires_at: datetime | None = None
    due_at: datetime | None = None
    refused: RefusedAttempt | None = None
    reverses_sequence: int | None = None


@immutable
class PastLine:
    """What a decision needs to know of an entry recorded earlier."""

    account_id: UUID
    direction: Direction
    effect: Effect
    amount: int


@immutable
class Hold:
    """A transaction that somebody wants to change or reverse, with all its lines so far."""

    transaction: Transaction
    events: int
    lines: tuple[PastLine, ...]


@immutable
class Used:
    """An idempotency key that is taken, by what content, and what it brought about."""

    fingerprint: bytes
    transaction_id: UUID


Side = tuple[UUID, Direction]
"""One side of one account."""


def remaining(lines: Iterable[PastLine]) -> Mapping[Side, int]:
    """What is still pending on each side of each account, in the order of the hold's entries."""
    left: dict[Side, int] = {}
    for line in lines:
        side = (line.account_id, line.direction)
        sign = 1 if line.effect is Effect.HOLD else -1
        left[side] = left.get(side, 0) + sign * line.amount
    return {side: amount for side, amount in left.items() if amount}


def reversible(lines: Iterable[PastLine], reversed_: Mapping[Side, int]) -> Mapping[Side, int]:
    """What was posted on each side of each account less what reversals have undone of it."""
    left: dict[Side, int] = {}
    for line in lines:
        if line.effect in (Effect.POST, Effect.SETTLE):
            side = (line.account_id, line.direction)
            left[side] = left.get(side, 0) + line.amount
    return {
        side: rest for side, amount in left.items() if (rest := amount - reversed_.get(side, 0))
    }
