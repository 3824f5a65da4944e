"""Transfers: money leaves one account and arrives at another, whichever sides that takes.

"Leaves" and "arrives" are as the accounts' owners see it: the balance of `from` falls and that of
`to` rises. Between two credit-normal accounts (wallets) that is a debit of `from` and a credit of
`to`; between two debit-normal ones (cash, a bank) it is the other way round. Between a debit-normal
and a credit-normal account there is no transfer: a balanced pair of entries there raises both, as a
deposit does, or lowers both, as a payout does, and the client says which by posting the entries.

The sides depend on the accounts, so they are settled in the decision, under the accounts' locks.
The fingerprint is of what the client sent, which no account can change.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import Account, Scope
from app.ledger.refusals import EntriesUnbalanced, NormalBalancesDiffer, Path, ValidationFailed
from app.ledger.transactions.commands import EntryDraft, PostTransaction, check_amount
from app.ledger.values import immutable


@immutable
class Transfer(PostTransaction):
    """A posting of two entries: what leaves first, what arrives second."""

    @classmethod
    def of(
        cls,
        scope: Scope,
        transaction_id: UUID,
        ledger_id: UUID,
        idempotency_key: str,
        from_to: tuple[UUID, UUID],
        amount: int,
        **more: Any,
    ) -> "Transfer":
        """A transfer between credit-normal accounts, until it is known what they are."""
        entries = tuple(
            EntryDraft(account_id, direction, amount)
            for account_id, direction in zip(from_to, Direction, strict=True)
        )
        return cls(scope, transaction_id, ledger_id, idempotency_key, entries, **more)

    def check(self) -> None:
        """Raise ValidationFailed where the input alone is wrong."""
        leaving, arriving = self.entries
        check_amount(leaving.amount, ("input", "amount"))
        if leaving.account_id == arriving.account_id:
            raise ValidationFailed(
                message="A transfer goes from one account to another.", path=("input", "to")
            )
        PostTransaction.check(self)

    def resolved(self, accounts: Mapping[UUID, Account]) -> PostTransaction:
        """Turn the entries to the sides of these accounts.

        Raises NormalBalancesDiffer, EntriesUnbalanced.
        """
        leaving, arriving = (accounts[entry.account_id].normal_balance for entry in self.entries)
        if leaving is not arriving:
            raise NormalBalancesDiffer
        self._refuse_other_currency(*(accounts[entry.account_id] for entry in self.entries))
        out, into = self.entries
        entries = (
            replace(out, direction=leaving.opposite),
            replace(into, direction=arriving),
        )
        return replace(self, entries=entries)

    def _refuse_other_currency(self, leaving: Account, arriving: Account) -> None:
        if leaving.currency != arriving.currency:
            amount = self.entries[0].amount
            is_debit = leaving.normal_balance is Direction.CREDIT
            raise EntriesUnbalanced(
                message="A transfer is in one currency, and these accounts are in"
                f" {leaving.currency} and {arriving.currency}.",
                currency=leaving.currency,
                exponent=leaving.exponent,
                debits=amount if is_debit else 0,
                credits=0 if is_debit else amount,
            )

    def placed(self, path: Path) -> Path:
        """The entries' fields are `from`, `to` and `amount` of a transfer."""
        match path:
            case (first, "entries", index, "accountId"):
                return (first, ("from", "to")[int(index)])
            case (first, "entries"):  # unbalanced, for they are of two currencies
                return (first, "to")
            case (first, "entries", *_):
                return (first, "amount")
        return path

    def _subject(self) -> tuple[str, dict[str, Any]]:
        leaving, arriving = self.entries
        return "transfer", {
            "from": leaving.account_id.hex,
            "to": arriving.account_id.hex,
            "amount": str(leaving.amount),
        }
