"""Balances as clients read them."""

from collections.abc import Callable
from datetime import datetime

import strawberry

from app.api.scalars import Amount, DateTime, Sequence
from app.ledger.accounts import balances as domain
from app.ledger.amounts import decimal_text


@strawberry.type(description="A unit of account.")
class Currency:
    code: str = strawberry.field(
        description="An ISO 4217 code such as USD, or the ledger's own unit such as POINTS."
    )
    exponent: int = strawberry.field(
        description="Digits of the minor unit: 2 says that 1234 minor units are 12.34."
    )


@strawberry.type(description="One of the balances of an account.")
class Balance:
    amount: Amount = strawberry.field(
        description="The net amount on the account's normal side, in minor units."
    )
    debits: Amount = strawberry.field(description="All debits in it, in minor units.")
    credits: Amount = strawberry.field(description="All credits in it, in minor units.")
    currency: Currency = strawberry.field(description="The account's currency.")

    @strawberry.field(description='The net amount in units of the currency, such as "12.34".')
    def decimal(self) -> str:
        return decimal_text(self.amount, self.currency.exponent)


@strawberry.type(description="The balances of an account at one moment of its history.")
class Balances:
    as_of: DateTime = strawberry.field(description="The moment for which they hold.")
    version: Sequence = strawberry.field(
        description="The sequence of the account's latest entry that is in them; 0 if none is."
    )
    totals: strawberry.Private[domain.Balances]
    normal: strawberry.Private[domain.Direction]
    currency: strawberry.Private[Currency]

    @strawberry.field(description="What has been posted.")
    def posted(self) -> Balance:
        return self._balance(self.totals.posted)

    @strawberry.field(description="What was initiated and is neither posted nor released yet.")
    def pending(self) -> Balance:
        return self._balance(self.totals.pending)

    @strawberry.field(
        description=(
            "What may be used now: posted less what is pending against the normal side. Money on"
            " its way in does not count."
        )
    )
    def available(self) -> Balance:
        return self._balance(self.totals.available)

    @strawberry.field(
        description='Posted plus pending, which some ledgers call their "pending balance".'
    )
    def projected(self) -> Balance:
        return self._balance(self.totals.projected)

    def _balance(self, side: Callable[[domain.Direction], domain.Balance]) -> Balance:
        balance = side(self.normal)
        return Balance(
            amount=Amount(balance.amount),
            debits=Amount(balance.debits),
            credits=Amount(balance.credits),
            currency=self.currency,
        )


@strawberry.type(description="The balances of an account at the end of one step of its history.")
class BalancePoint:
    starts_at: DateTime = strawberry.field(description="Where the step begins.")
    ends_at: DateTime = strawberry.field(description="Where it ends; itself not in the step.")
    balances: Balances = strawberry.field(
        description=(
            "The balances from all entries effective before the end: `asOf` is the microsecond"
            " before it."
        )
    )


@strawberry.type(
    description="All accounts of a ledger in one currency, summed: debits equal credits."
)
class TrialBalanceLine:
    currency: Currency = strawberry.field(description="The currency of the line.")
    accounts: int = strawberry.field(description="How many accounts are in it.")
    debits: Amount = strawberry.field(description="Posted debits, in minor units.")
    credits: Amount = strawberry.field(description="Posted credits, in minor units.")
    pending_debits: Amount = strawberry.field(description="Pending debits, in minor units.")
    pending_credits: Amount = strawberry.field(description="Pending credits, in minor units.")


def balances_of(
    totals: domain.Balances,
    version: int,
    *,
    normal_balance: str,
    currency: str,
    exponent: int,
    as_of: datetime,
) -> Balances:
    """The balances that an account's totals amount to."""
    return Balances(
        as_of=DateTime(as_of),
        version=Sequence(version),
        totals=totals,
        normal=domain.Direction(normal_balance),
        currency=Currency(code=currency, exponent=exponent),
    )
