"""The three balances of an account, and how one entry changes them.

An account keeps four running totals, none of which ever tells debits from credits by a sign:
posted debits, posted credits, pending debits, pending credits. Everything that a client sees is
computed from them on the account's normal side (the side on which it grows):

    posted     = what has been posted
    pending    = what was initiated and is neither posted nor released yet
    available  = posted less the pending amounts against the normal side
    projected  = posted plus pending

Two of them bound what posted can come to by what is pending: available is the least, and the most
is posted plus what is pending on the normal side alone, which ceilings look at.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from app.ledger.values import immutable


class Direction(Enum):
    """The side of an entry, and the normal side of an account."""

    DEBIT = "debit"
    CREDIT = "credit"

    @property
    def opposite(self) -> "Direction":
        return Direction.CREDIT if self is Direction.DEBIT else Direction.DEBIT


class Effect(Enum):
    """What an entry does to the totals on its side.

    POST adds to posted; HOLD adds to pending; SETTLE moves from pending to posted; RELEASE takes
    from pending.
    """

    POST = "post"
    HOLD = "hold"
    SETTLE = "settle"
    RELEASE = "release"


STEPS: Mapping[Effect, tuple[int, int]] = MappingProxyType(
    {
        Effect.POST: (1, 0),
        Effect.HOLD: (0, 1),
        Effect.SETTLE: (1, -1),
        Effect.RELEASE: (0, -1),
    }
)
"""Effect: (sign on posted, sign on pending)."""


@immutable
class Balance:
    """Debits, credits and the net amount on the normal side, in minor units."""

    amount: int
    debits: int
    credits: int


@immutable
class Balances:
    """The four running totals of an account, in minor units, none below zero."""

    posted_debits: int = 0
    posted_credits: int = 0
    pending_debits: int = 0
    pending_credits: int = 0

    def after(self, effect: Effect, direction: Direction, amount: int) -> "Balances":
        """The totals after one more entry."""
        on_posted, on_pending = STEPS[effect]
        if direction is Direction.DEBIT:
            return Balances(
                self.posted_debits + on_posted * amount,
                self.posted_credits,
                self.pending_debits + on_pending * amount,
                self.pending_credits,
            )
        return Balances(
            self.posted_debits,
            self.posted_credits + on_posted * amount,
            self.pending_debits,
            self.pending_credits + on_pending * amount,
        )

    def posted(self, normal: Direction) -> Balance:
        return _balance(self.posted_debits, self.posted_credits, normal)

    def pending(self, normal: Direction) -> Balance:
        return _balance(self.pending_debits, self.pending_credits, normal)

    def available(self, normal: Direction) -> Balance:
        """What may be used now: money on its way in does not count, money on its way out does."""
        if normal is Direction.CREDIT:
            return _balance(self.posted_debits + self.pending_debits, self.posted_credits, normal)
        return _balance(self.posted_debits, self.posted_credits + self.pending_credits, normal)

    def highest(self, normal: Direction) -> int:
        """The most that posted can come to: all that is on its way in, nothing on its way out."""
        if normal is Direction.CREDIT:
            return self.posted_credits + self.pending_credits - self.posted_debits
        return self.posted_debits + self.pending_debits - self.posted_credits

    def projected(self, normal: Direction) -> Balance:
        return _balance(
            self.posted_debits + self.pending_debits,
            self.posted_credits + self.pending_credits,
            normal,
        )


def _balance(debits: int, credits_: int, normal: Direction) -> Balance:
    net = credits_ - debits if normal is Direction.CREDIT else debits - credits_
    return Balance(net, debits, credits_)
