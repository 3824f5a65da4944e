"""Transactions, what happened to them, and what holds an account's money."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, exists, func, literal_column, select, true

from app.store.reading import Listing, Lookup, of_organization
from app.store.rows.columns import alike, columns
from app.store.tables import accounts, entries, transaction_events, transactions


class TransactionRow(NamedTuple):
    """A transaction in its present state."""

    transaction_id: UUID
    ledger_id: UUID
    sequence: int
    status: str
    description: str | None
    external_id: str | None
    metadata: dict[str, Any]
    effective_at: datetime
    created_at: datetime
    posted_at: datetime | None
    voided_at: datetime | None
    reason: str | None
    posts_at: datetime | None
    expires_at: datetime | None
    due_at: datetime | None
    due_attempts: int | None
    refusal_code: str | None
    refusal_message: str | None
    refused_at: datetime | None
    reverses_sequence: int | None


class EventRow(NamedTuple):
    """One event of a transaction; without a key it happened by itself."""

    number: int
    kind: str
    idempotency_key: str | None
    description: str | None
    recorded_at: datetime
    changes: dict[str, Any] | None


class OutgoingHoldRow(NamedTuple):
    """What is left of a pending transaction against the normal side of an account."""

    transaction_id: UUID
    sequence: int
    reason: str | None
    posts_at: datetime | None
    expires_at: datetime | None
    amount: int


_transaction = columns(TransactionRow, transactions)
_event = columns(EventRow, transaction_events)

transactions_by_id = Lookup(
    TransactionRow, _transaction, transactions, (transactions.c.transaction_id,)
)
transactions_by_sequence = Lookup(
    TransactionRow, _transaction, transactions, (transactions.c.ledger_id, transactions.c.sequence)
)
transactions_by_external_id = Lookup(
    TransactionRow,
    _transaction,
    transactions,
    (transactions.c.ledger_id, transactions.c.external_id),
    compared="ledger_id",
)
transactions_by_idempotency_key = Lookup(
    TransactionRow,
    _transaction.join_from(
        transactions,
        transaction_events,
        alike(transaction_events, transactions, "ledger_id", transaction_sequence="sequence"),
    ),
    transactions,
    (transaction_events.c.ledger_id, transaction_events.c.idempotency_key),
    compared="ledger_id",
)
reversals_by_transaction = Lookup(
    TransactionRow,
    _transaction,
    transactions,
    (transactions.c.ledger_id, transactions.c.reverses_sequence),
    (transactions.c.sequence,),
)
events_by_transaction = Lookup(
    EventRow,
    _event,
    transaction_events,
    (transaction_events.c.ledger_id, transaction_events.c.transaction_sequence),
    (transaction_events.c.number,),
)


def _in_flight_on(account_id: ColumnElement[UUID]) -> ColumnElement[bool]:
    return and_(
        of_organization(transactions),
        transactions.c.status == literal_column("'pending'"),
        exists()
        .where(
            entries.c.organization_id == transactions.c.organization_id,
            entries.c.account_id == account_id,
            entries.c.ledger_id == transactions.c.ledger_id,
            entries.c.transaction_sequence == transactions.c.sequence,
            entries.c.effect == literal_column("'hold'"),
        )
        .correlate_except(entries),
    )


_left = (
    select(
        func.sum(
            case(
                (entries.c.effect == literal_column("'hold'"), entries.c.amount),
                else_=-entries.c.amount,
            )
        ).label("amount")
    )
    .where(
        of_organization(entries),
        entries.c.ledger_id == transactions.c.ledger_id,
        entries.c.transaction_sequence == transactions.c.sequence,
        entries.c.account_id == accounts.c.account_id,
        entries.c.direction != accounts.c.normal_balance,
        entries.c.effect != literal_column("'post'"),
    )
    .lateral("held")
)


def _outgoing_on(account_id: ColumnElement[UUID]) -> ColumnElement[bool]:
    return and_(
        of_organization(accounts),
        accounts.c.account_id == account_id,
        _in_flight_on(account_id),
        _left.c.amount > literal_column("0"),
    )


_transaction_fields = {
    "status": transactions.c.status,
    "reason": transactions.c.reason,
    "reverses_sequence": transactions.c.reverses_sequence,
    "external_id": transactions.c.external_id,
    "sequence": transactions.c.sequence,
    "effective_at": transactions.c.effective_at,
    "created_at": transactions.c.created_at,
    "metadata": transactions.c.metadata,
}
transactions_of_ledger = Listing(
    TransactionRow,
    _transaction,
    lambda ledger_id: and_(of_organization(transactions), transactions.c.ledger_id == ledger_id),
    _transaction_fields,
    {"sequence": ("sequence",), "effective_at": ("effective_at", "sequence")},
)
holds_of_account = Listing(
    TransactionRow, _transaction, _in_flight_on, _transaction_fields, {"sequence": ("sequence",)}
)
outgoing_holds_of_account = Listing(
    OutgoingHoldRow,
    select(*(transactions.c[name] for name in OutgoingHoldRow._fields[:-1]), _left.c.amount)
    .select_from(accounts)
    .join(transactions, alike(transactions, accounts, "ledger_id"))
    .join(_left, true()),
    _outgoing_on,
    {},
    {"sequence": ("sequence",)},
)
