"""What account holders are told and paid: statements, their schedules, settlements."""

from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Text, and_, literal_column, select

from app.ledger.statements.statements import POSTED_EFFECTS, Statement
from app.store.reading import Listing, Lookup, of_organization
from app.store.rows.columns import above_zero, alike, columns
from app.store.rows.entries import EntryRow, entries_by_id
from app.store.tables import (
    account_statements,
    accounts,
    entries,
    settlement_entries,
    settlements,
    statement_schedules,
)


class SettlementRow(NamedTuple):
    """A payout of what had gathered on an account."""

    settlement_id: UUID
    ledger_id: UUID
    account_id: UUID
    number: int
    transaction_sequence: int
    up_to: datetime
    amount: int
    entry_count: int
    released_sequence: int | None


class StatementScheduleRow(NamedTuple):
    """Which accounts are stated every month, and which month is next."""

    schedule_id: UUID
    ledger_id: UUID
    time_zone: str
    account_ids: list[UUID] | None
    external_id_prefix: str | None
    account_metadata: dict[str, Any] | None
    starting_from: date
    next_month: date
    created_at: datetime
    deleted_at: datetime | None


StatementRow = Statement
STORED_OF_STATEMENT = tuple(name for name in Statement._fields if name in account_statements.c)
"""The columns of a statement's own row; the others are its account's and its predecessor's."""

_schedule = columns(StatementScheduleRow, statement_schedules)
_settlement = columns(SettlementRow, settlements)
_previous = account_statements.alias("previous")
_statement = (
    select(
        *(account_statements.c[name] for name in STORED_OF_STATEMENT),
        accounts.c.normal_balance,
        accounts.c.currency,
        accounts.c.exponent,
        accounts.c.external_id,
        _previous.c.content_hash.label("previous_hash"),
        _previous.c.account_version.label("previous_version"),
    )
    .join_from(account_statements, accounts, alike(accounts, account_statements, "account_id"))
    .outerjoin(
        _previous, alike(_previous, account_statements, "account_id", number="previous_number")
    )
)

statements_by_id = Lookup(
    StatementRow, _statement, account_statements, (account_statements.c.statement_id,)
)
statements_by_number = Lookup(
    StatementRow,
    _statement,
    account_statements,
    (account_statements.c.account_id, account_statements.c.number),
)
settlements_by_id = Lookup(SettlementRow, _settlement, settlements, (settlements.c.settlement_id,))
settlements_by_entry = Lookup(
    SettlementRow,
    _settlement.join_from(
        settlements, settlement_entries, alike(settlement_entries, settlements, "settlement_id")
    ).where(settlements.c.released_sequence.is_(None)),
    settlements,
    (settlement_entries.c.account_id, settlement_entries.c.sequence),
)
schedules_by_id = Lookup(
    StatementScheduleRow,
    _schedule,
    statement_schedules,
    (statement_schedules.c.schedule_id,),
)

statements_of_account = Listing(
    StatementRow,
    _statement,
    lambda account_id: and_(
        of_organization(account_statements), account_statements.c.account_id == account_id
    ),
    {},
    {"number": ("number",)},
)

_entry_of_statement = entries_by_id.select.join(
    account_statements, alike(account_statements, entries, "account_id")
)
_moves_posted = entries.c.effect.in_(
    [literal_column(f"'{effect}'", Text) for effect in POSTED_EFFECTS]
)
late_adjustments_of_statement = Listing(
    EntryRow,
    _entry_of_statement,
    lambda statement_id: and_(
        of_organization(account_statements),
        of_organization(entries),
        account_statements.c.statement_id == statement_id,
        entries.c.effective_at >= account_statements.c.from_at,
        entries.c.effective_at < account_statements.c.to_at,
        entries.c.sequence > account_statements.c.account_version,
        _moves_posted,
        above_zero(entries.c.amount),  # as the index by time has it
    ),
    {},
    {"effective_at": ("effective_at", "sequence")},
)
adjustments_of_statement = Listing(
    EntryRow,
    _entry_of_statement.join(
        _previous, alike(_previous, account_statements, "account_id", number="previous_number")
    ),
    lambda statement_id: and_(
        of_organization(account_statements),
        of_organization(entries),
        account_statements.c.statement_id == statement_id,
        entries.c.effective_at < account_statements.c.from_at,
        entries.c.sequence > _previous.c.account_version,
        entries.c.sequence <= account_statements.c.account_version,
        _moves_posted,
    ),
    {},
    {"sequence": ("sequence",)},
)
settlements_of_account = Listing(
    SettlementRow,
    _settlement,
    lambda account_id: and_(of_organization(settlements), settlements.c.account_id == account_id),
    {},
    {"number": ("number",)},
)

_settled_entry = entries_by_id.select.join(
    settlement_entries, alike(settlement_entries, entries, "account_id", "sequence")
)
entries_of_settlement = Listing(
    EntryRow,
    _settled_entry.with_only_columns(
        *(
            settlement_entries.c.sequence if column.key == "sequence" else column
            for column in _settled_entry.selected_columns
        ),
        maintain_column_froms=True,
    ),
    lambda settlement_id: and_(
        of_organization(settlement_entries), settlement_entries.c.settlement_id == settlement_id
    ),
    {},
    {"sequence": ("sequence",)},
)
schedules_of_ledger = Listing(
    StatementScheduleRow,
    _schedule,
    lambda ledger_id: and_(
        of_organization(statement_schedules),
        statement_schedules.c.ledger_id == ledger_id,
        statement_schedules.c.deleted_at.is_(None),
    ),
    {},
    {"created_at": ("schedule_id",)},
)
