"""Credit lots: stored value that expires, such as gift cards and promotional credit.

A posted entry on an account's normal side may open a lot: so much of the account's money that is to
be gone by a certain time. A lot is a claim on the account's posted balance and no balance of its
own; what the account has beyond its lots does not expire. Four rules say what becomes of lots.

Spending. What is posted against the normal side (at once, or by settling a hold) is taken from the
lots, the one that expires first before the others (of one time, the older one), and from what is in
no lot only when the lots are used up. Of a reversal the lots that the reversed transaction opened
come first: a top-up that is taken back takes its own lot back.

Holds. A hold takes nothing, it reserves: what is pending against the normal side counts as if it
were taken already, from the lot that expires first on. Voiding gives back a reservation and moves
nothing.

Expiry. When a lot falls due, what no hold reserves of it goes to the breakage account, by a
transaction of the server's own. What is reserved stays, past its time, for the hold to settle from;
when a hold gives some of it back, the lot is due again at that moment. So with lots of 100 (to
January) and 50 (to March) and a hold of 70, the end of January moves 30. If the hold is settled
with 60 in February and the rest released, 10 of the first lot are left and free, and go to the
breakage account right then. Whatever touches the account after a lot's time finds it expired,
whether the server's own turn has come by then or not. Only where a rule refuses the expiry (an
account that is not open, an archived ledger, a floor above zero, a ceiling of the breakage account)
does the lot stay, to be spent until the rule lets go. Entry maxima and velocity limits are about
spending and refuse no expiry, though it counts as outgoing.

Money that comes back. What a reversal puts back on the normal side is in no lot: it does not
expire. Whoever refunded may keep it; one who wants refunded credit to expire posts the refund with
a lot of its own.

The lots together never exceed what is posted: a lot that arrives on an overdrawn account pays what
was overdrawn first. So an expiry leaves available at zero or above, and no floor of zero or below
has anything against it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from enum import Enum
from uuid import UUID

from app.ledger.refusals import RefusedAttempt
from app.ledger.values import immutable


class MovementKind(Enum):
    """How something left a lot."""

    SPENT = "spent"
    EXPIRED = "expired"


@immutable
class Lot:
    """A lot as it stands; amounts in minor units, times UTC.

    `number` is the sequence of the entry that opened it, `transaction_sequence` that of the entry's
    transaction. `expired` is what went to the breakage account. `due_at` is when the server has to
    look at it; None while nothing can expire of it: it is used up, or holds reserve what is left
    past its time.
    """

    lot_id: UUID
    account_id: UUID
    number: int
    transaction_sequence: int
    code: str | None
    amount: int
    remaining: int
    expired: int
    expires_at: datetime
    breakage_account_id: UUID
    due_at: datetime | None
    refused: RefusedAttempt | None = None

    def less(self, amount: int, kind: MovementKind) -> "Lot":
        """The lot after so much was taken from it."""
        expired = amount if kind is MovementKind.EXPIRED else 0
        taken = replace(self, remaining=self.remaining - amount, expired=self.expired + expired)
        return taken if taken.remaining else replace(taken, due_at=None)


@immutable
class Movement:
    """What one entry took from one lot of its account, in minor units."""

    lot_id: UUID
    account_id: UUID
    sequence: int
    kind: MovementKind
    amount: int


def _no_lot(_: Lot) -> bool:
    return False


def in_order(lots: Sequence[Lot], first: Callable[[Lot], bool] = _no_lot) -> list[Lot]:
    """Those that expire first at the beginning, but `first` ones before all others."""
    return sorted(lots, key=lambda lot: (not first(lot), lot.expires_at, lot.number))


def take(
    lots: Sequence[Lot],
    amount: int,
    sequence: int,
    kind: MovementKind = MovementKind.SPENT,
    first: Callable[[Lot], bool] = _no_lot,
) -> tuple[tuple[Lot, ...], tuple[Movement, ...]]:
    """The lots after an entry of that `sequence` took so much, and what it took from which."""
    after: list[Lot] = []
    movements: list[Movement] = []
    for lot in in_order(lots, first):
        part = min(amount, lot.remaining)
        amount -= part
        if part:
            movements.append(Movement(lot.lot_id, lot.account_id, sequence, kind, part))
            after.append(lot.less(part, kind))
        else:
            after.append(lot)
    return tuple(after), tuple(movements)


def free(lots: Sequence[Lot], outgoing: int) -> dict[UUID, int]:
    """What no hold reserves, by id of lot; `outgoing` is pending against the normal side."""
    unreserved: dict[UUID, int] = {}
    for lot in in_order(lots):
        reserved = min(outgoing, lot.remaining)
        outgoing -= reserved
        unreserved[lot.lot_id] = lot.remaining - reserved
    return unreserved
