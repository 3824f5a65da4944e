"""Settlements: what has gathered on an account is paid out, and marked as settled by that payout.

A settlement collects the posted entries of an account that no settlement has yet, with an effective
time before `up_to`. Effective time, because it is what people mean by "all of last week's sales":
what is backdated into the week later is collected by the next one. The entries are netted on the
account's normal side, and the payout is an ordinary transaction of two entries, under all the rules
of one: it takes the net from the account and brings it to the counterpart.

Nothing, or less than nothing, is not paid out: the settlement is refused, and what there is stays
for one with a later `up_to`. So a refund that exceeds the sales of a day is made up for by later
ones.

A payout is undone by its reversal, as a whole: with it the entries are free again, in one commit. A
part of it cannot be reversed, for which entries would still be settled then? Neither the payout's
own entry on the account nor its reversal's is ever collected; they cancel out.

What is collected was read under the ledger's lock, so the command that is decided has it in itself.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import Account, Scope
from app.ledger.amounts import MAX_AMOUNT
from app.ledger.refusals import Path, SettlementNotPossible, ValidationFailed
from app.ledger.transactions.commands import EntryDraft, PostTransaction
from app.ledger.values import immutable

MAX_SETTLED = 10_000
"""How many entries one settlement collects, at most."""


NEVER = datetime.max.replace(tzinfo=UTC)


class Unsettled(NamedTuple):
    """An entry to be collected; `round` counts the settlements that it has been in, and this."""

    sequence: int
    direction: Direction
    amount: int
    round: int


@immutable
class Collected:
    """What a settlement finds: its entries, its number, and where the unsettled ones begin then."""

    entries: tuple[Unsettled, ...]
    number: int
    open_from: int


@immutable
class CreateSettlement(PostTransaction):
    """A posting of two entries: out of the account, into the counterpart. `up_to` is UTC."""

    up_to: datetime = NEVER
    collected: Collected | None = None

    @classmethod
    def of(
        cls,
        scope: Scope,
        transaction_id: UUID,
        ledger_id: UUID,
        idempotency_key: str,
        accounts: tuple[UUID, UUID],
        **more: Any,
    ) -> "CreateSettlement":
        """A settlement of the first account with the second, until it is known how much it is."""
        entries = tuple(
            EntryDraft(account_id, direction, 1)
            for account_id, direction in zip(accounts, Direction, strict=True)
        )
        return cls(scope, transaction_id, ledger_id, idempotency_key, entries, **more)

    @property
    def account_id(self) -> UUID:
        return self.entries[0].account_id

    def check(self) -> None:
        """Raise ValidationFailed where the input alone is wrong."""
        if self.account_id == self.entries[1].account_id:
            raise ValidationFailed(
                message="A payout goes to another account.",
                path=("input", "counterpartAccountId"),
            )
        PostTransaction.check(self)

    def resolved(self, accounts: Mapping[UUID, Account]) -> PostTransaction:
        """Pay out what was collected. Raises SettlementNotPossible."""
        account, counterpart = self.entries
        normal = accounts[account.account_id].normal_balance
        amount = self.net(normal)
        return replace(
            self,
            entries=(
                replace(account, direction=normal.opposite, amount=amount),
                replace(counterpart, direction=normal, amount=amount),
            ),
        )

    def net(self, normal: Direction) -> int:
        """What there is to pay out, in minor units. Raises SettlementNotPossible."""
        entries = self.collected.entries if self.collected is not None else ()
        amount = sum(e.amount if e.direction is normal else -e.amount for e in entries)
        if len(entries) > MAX_SETTLED:
            reason = "too_many_entries"
            message = f"A settlement collects up to {MAX_SETTLED} entries; settle up to earlier."
        elif not entries:
            reason, message = "nothing_unsettled", "The account has no unsettled entries by then."
        elif amount <= 0:
            reason, message = "nothing_to_pay", "The unsettled entries come to nothing, or less."
        elif amount > MAX_AMOUNT:
            reason, message = "amount_too_large", "They come to more than one entry can have."
        else:
            return amount
        raise SettlementNotPossible(
            message=message,
            account_id=self.account_id,
            reason=reason,
            unsettled_amount=amount,
            unsettled_count=len(entries),
        )

    def placed(self, path: Path) -> Path:
        """The entries' accounts are fields of a settlement; their amounts are not."""
        match path:
            case (first, "entries", index, "accountId"):
                return (first, ("accountId", "counterpartAccountId")[int(index)])
            case (first, "entries"):  # unbalanced, for they are of two currencies
                return (first, "counterpartAccountId")
            case (first, "entries", *_):
                return (first, "accountId")
        return path

    def _subject(self) -> tuple[str, dict[str, Any]]:
        account, counterpart = self.entries
        return "createSettlement", {
            "account": account.account_id.hex,
            "counterpart": counterpart.account_id.hex,
            "upTo": self.up_to.isoformat(timespec="microseconds"),
        }
