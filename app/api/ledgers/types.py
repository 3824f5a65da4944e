"""Ledgers."""

from collections.abc import Sequence
from typing import Annotated

import strawberry

from app.api.accounts.balances import Currency, TrialBalanceLine
from app.api.accounts.types import Account
from app.api.connections import After, Before, Connection, First, Last, connect, listed
from app.api.engine.context import Info
from app.api.enums import Mode, OrderDirection, PeriodEventKind
from app.api.filters import (
    AccountFilter,
    AccountOrder,
    EntryFilter,
    EntryOrder,
    TransactionFilter,
    TransactionOrder,
)
from app.api.ids import LEDGER, encode
from app.api.ledgers.proofs import Checkpoint
from app.api.nodes import OPAQUE, Node, of_row, reads
from app.api.reconciliation.outside import ExternalAccount, ImportProfile
from app.api.scalars import JSON, Amount, DateTime
from app.api.scalars import Sequence as Counter
from app.api.statements.schedules import StatementSchedule
from app.api.templates.types import TransactionTemplate
from app.api.transactions.entries import Entry
from app.api.transactions.types import Transaction
from app.store import rows
from app.store.accounts.history import CurrencyTotals


@strawberry.type(description="A closing or a reopening of a ledger's past.")
class PeriodEvent:
    row: strawberry.Private[rows.PeriodEventRow]

    kind: PeriodEventKind = of_row(lambda row: PeriodEventKind(row.kind), "Which of both.")
    closed_through: DateTime | None = of_row(
        "closed_through",
        "Through which moment the ledger was closed from then on; null for none.",
    )
    reason: str | None = of_row("reason", "Why, as it was told.")
    api_key_name: str = of_row("api_key_name", "The name of the API key that did it.")
    created_at: DateTime = of_row("recorded_at", "When it was recorded.")

    @classmethod
    def of(cls, row: rows.PeriodEventRow) -> "PeriodEvent":
        return cls(row=row)


@strawberry.type(description="A closed book: its accounts transact only with each other.")
class Ledger(Node):
    row: strawberry.Private[rows.LedgerRow]

    id: strawberry.ID = of_row(lambda row: encode(LEDGER, row.ledger_id), OPAQUE)
    name: str = of_row("name", "For people.")
    description: str | None = of_row("description", "For people.")
    mode: Mode = of_row(
        lambda row: Mode(row.mode), "Live, or a test; the mode of the API key it is of."
    )
    metadata: JSON = of_row("metadata", "The client's own data.")
    created_at: DateTime = of_row("created_at", "When it was opened.")
    archived_at: DateTime | None = of_row(
        "archived_at", "Since when it takes no more writes; null while it does."
    )
    closed_through: DateTime | None = of_row(
        "closed_through",
        "Nothing is recorded any more that takes effect then or before; null where nothing is"
        " closed.",
    )

    @classmethod
    def of(cls, row: rows.LedgerRow) -> "Ledger":
        return cls(row=row)

    @strawberry.field(description="Its accounts, in order of creation unless told otherwise.")
    def accounts(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        filter: Annotated[
            AccountFilter | None, strawberry.argument(description="Which accounts; all if absent.")
        ] = None,
        order_by: Annotated[
            AccountOrder | None, strawberry.argument(description="In what order.")
        ] = None,
    ) -> Connection[Account]:
        order = order_by or AccountOrder()
        return connect(
            info.context,
            rows.accounts_of_ledger,
            self.row.ledger_id,
            Account.of,
            order=order.field.value,
            descending=order.direction is OrderDirection.DESC,
            conditions=filter.conditions() if filter else (),
            first=first,
            after=after,
        )

    @strawberry.field(description="Its transactions, in commit order unless told otherwise.")
    def transactions(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        filter: Annotated[
            TransactionFilter | None,
            strawberry.argument(description="Which transactions; all if absent."),
        ] = None,
        order_by: Annotated[
            TransactionOrder | None, strawberry.argument(description="In what order.")
        ] = None,
    ) -> Connection[Transaction]:
        order = order_by or TransactionOrder()
        return connect(
            info.context,
            rows.transactions_of_ledger,
            self.row.ledger_id,
            Transaction.of,
            order=order.field.value,
            descending=order.direction is OrderDirection.DESC,
            conditions=filter.conditions() if filter else (),
            first=first,
            after=after,
        )

    @strawberry.field(
        description=(
            "The entries of all its accounts, in order of transaction and line unless told"
            " otherwise. `first` with `after` reads from the start of the order, `last` with"
            " `before` from its end; either way a page is in that order."
        )
    )
    def entries(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Annotated[
            EntryFilter | None, strawberry.argument(description="Which entries; all if absent.")
        ] = None,
        order_by: Annotated[
            EntryOrder | None, strawberry.argument(description="In what order.")
        ] = None,
    ) -> Connection[Entry]:
        order = order_by or EntryOrder()
        return connect(
            info.context,
            rows.entries_of_ledger,
            self.row.ledger_id,
            Entry.of,
            order=order.field.value,
            descending=order.direction is OrderDirection.DESC,
            conditions=filter.conditions() if filter else (),
            first=first,
            after=after,
            last=last,
            before=before,
        )

    periods = listed(
        Connection[PeriodEvent],
        rows.periods_of_ledger,
        "ledger_id",
        "Every closing and reopening of its past, oldest first.",
        order="number",
        from_end=True,
    )

    transaction_templates = listed(
        Connection[TransactionTemplate],
        rows.templates_of_ledger,
        "ledger_id",
        "Its transaction templates, the newest version of each, in order of code.",
        order="code",
    )

    external_accounts = listed(
        Connection[ExternalAccount],
        rows.external_accounts_of_ledger,
        "ledger_id",
        "The external accounts tied to its accounts, as they were made.",
        order="created_at",
    )

    statement_schedules = listed(
        Connection[StatementSchedule],
        rows.schedules_of_ledger,
        "ledger_id",
        "Its schedules of statements, in order of creation.",
        order="created_at",
    )

    import_profiles = listed(
        Connection[ImportProfile],
        rows.import_profiles_of_ledger,
        "ledger_id",
        "How its CSV files are read, in order of name.",
        order="name",
    )

    @strawberry.field(
        description="Its newest sealed block, or that of a number; null where there is none."
    )
    @reads("ledger_id")
    def checkpoint(
        self,
        info: Info,
        block: Annotated[
            Counter | None, strawberry.argument(description="The number of a block.")
        ] = None,
    ) -> Checkpoint | None:
        return info.context.load.checkpoint(
            self.row.ledger_id, block, lambda found: None if found is None else Checkpoint.of(found)
        )

    @strawberry.field(description="All its accounts summed, one line a currency.")
    def trial_balance(
        self,
        info: Info,
        as_of: Annotated[
            DateTime | None,
            strawberry.argument(description="Entries effective by then; all if absent."),
        ] = None,
        known_at: Annotated[
            DateTime | None,
            strawberry.argument(description="Entries recorded by then; all if absent."),
        ] = None,
    ) -> list[TrialBalanceLine]:
        return info.context.load.trial_balance(self.row.ledger_id, as_of, known_at, _lines)


def _lines(totals: Sequence[CurrencyTotals]) -> list[TrialBalanceLine]:
    return [
        TrialBalanceLine(
            currency=Currency(code=line.currency, exponent=line.exponent),
            accounts=line.accounts,
            debits=Amount(line.balances.posted_debits),
            credits=Amount(line.balances.posted_credits),
            pending_debits=Amount(line.balances.pending_debits),
            pending_credits=Amount(line.balances.pending_credits),
        )
        for line in totals
    ]
