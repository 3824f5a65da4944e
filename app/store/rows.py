"""What reading gives: one immutable row a thing, and the statements that fetch it.

Amounts are whole minor units (int), times are UTC, enumerations their stored text. Listings are
named for what they list, look-ups `<what>_by_<key>`.
"""

from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    select,
    true,
    union_all,
)

from app.ledger.statements.statements import POSTED_EFFECTS, Statement
from app.store.reading import Listing, Lookup, of_organization, visible
from app.store.tables import (
    account_statements,
    accounts,
    api_keys,
    credit_lots,
    entries,
    external_accounts,
    external_statements,
    import_profiles,
    ledgers,
    lot_movements,
    period_events,
    settlement_entries,
    settlements,
    statement_imports,
    statement_line_repeats,
    statement_lines,
    statement_schedules,
    template_uses,
    transaction_events,
    transaction_templates,
    transactions,
)


class LedgerRow(NamedTuple):
    """A ledger."""

    ledger_id: UUID
    name: str
    description: str | None
    mode: str
    metadata: dict[str, Any]
    created_at: datetime
    archived_at: datetime | None
    closed_through: datetime | None


class PeriodEventRow(NamedTuple):
    """A closing or reopening of a ledger's past, and the name of the API key that did it."""

    number: int
    kind: str
    closed_through: datetime | None
    reason: str | None
    api_key_name: str
    recorded_at: datetime


class AccountRow(NamedTuple):
    """An account with its totals after its latest entry."""

    account_id: UUID
    ledger_id: UUID
    name: str
    description: str | None
    external_id: str | None
    normal_balance: str
    currency: str
    exponent: int
    status: str
    available_floor: int | None
    metadata: dict[str, Any]
    created_at: datetime
    version: int
    posted_debits: int
    posted_credits: int
    pending_debits: int
    pending_credits: int
    balance_ceiling: int | None
    entry_maximum: int | None
    velocity_limited: bool


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


class EntryRow(NamedTuple):
    """One entry with the account's totals after it, and what it takes to read them."""

    account_id: UUID
    sequence: int
    ledger_id: UUID
    transaction_sequence: int
    line: int
    direction: str
    effect: str
    amount: int
    posted_debits: int
    posted_credits: int
    pending_debits: int
    pending_credits: int
    effective_at: datetime
    recorded_at: datetime
    metadata: dict[str, Any] | None
    normal_balance: str
    currency: str
    exponent: int


class TemplateRow(NamedTuple):
    """One version of a transaction template."""

    template_id: UUID
    version: int
    ledger_id: UUID
    code: str
    description: str | None
    definition: dict[str, Any]
    created_at: datetime
    archived_at: datetime | None


class TemplateUseRow(NamedTuple):
    """The version of a template that a transaction was made from, and its parameters."""

    template_id: UUID
    version: int
    ledger_id: UUID
    code: str
    description: str | None
    definition: dict[str, Any]
    created_at: datetime
    archived_at: datetime | None
    params: dict[str, str]


class LotRow(NamedTuple):
    """A credit lot in its present state; `number` is the sequence of the entry that opened it."""

    lot_id: UUID
    account_id: UUID
    number: int
    code: str | None
    amount: int
    remaining: int
    expired: int
    expires_at: datetime
    breakage_account_id: UUID
    due_at: datetime | None
    due_attempts: int | None
    refusal_code: str | None
    refusal_message: str | None
    refused_at: datetime | None
    state: str


class LotMovementRow(NamedTuple):
    """What an entry took from a credit lot; `sequence` is the entry's."""

    lot_id: UUID
    account_id: UUID
    sequence: int
    kind: str
    amount: int
    ledger_id: UUID
    transaction_sequence: int


class ExternalAccountRow(NamedTuple):
    """An account in an outside party's books; `last_statement` and `last_line` count on."""

    external_account_id: UUID
    ledger_id: UUID
    account_id: UUID
    name: str
    kind: str
    identification: str | None
    inverted: bool
    metadata: dict[str, Any]
    created_at: datetime
    last_statement: int
    last_line: int


class ImportProfileRow(NamedTuple):
    """How a bank's CSV files are read."""

    name: str
    definition: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class ImportRow(NamedTuple):
    """A file, or a list of rows, that came in for an external account."""

    import_id: UUID
    ledger_id: UUID
    external_account_id: UUID
    format: str
    source_name: str | None
    definition: dict[str, Any] | None
    original_import_id: UUID | None
    status: str
    bytes_total: int | None
    bytes_read: int
    lines_read: int
    lines_new: int
    lines_known: int
    lines_skipped: int
    failure_code: str | None
    failure_message: str | None
    failure_line: int | None
    failure_column: int | None
    created_at: datetime
    finished_at: datetime | None


class ExternalStatementRow(NamedTuple):
    """A statement of an external account, and what our account there counts in."""

    external_statement_id: UUID
    ledger_id: UUID
    external_account_id: UUID
    import_id: UUID
    number: int
    reference: str | None
    currency: str
    from_date: date | None
    through_date: date | None
    opening_balance: int | None
    closing_balance: int | None
    line_count: int
    line_total: int
    known_count: int
    created_at: datetime
    account_currency: str
    account_exponent: int


class StatementLineRow(NamedTuple):
    """A line as it was stored, and what our account there counts in.

    `position` is where it stands in the statement that it is listed in, or else in its own.
    """

    external_account_id: UUID
    number: int
    external_statement_id: UUID
    position: int
    source_line: int | None
    booked_on: date
    value_on: date | None
    amount: int
    currency: str
    reference: str | None
    end_to_end_id: str | None
    counterparty: str | None
    description: str | None
    details: dict[str, Any] | None
    account_currency: str
    account_exponent: int


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


def _columns(row: Any, table: FromClause) -> Select[Any]:
    return select(*(table.c[name] for name in row._fields))


_ledger = _columns(LedgerRow, ledgers)
_period_event = select(
    *(
        api_keys.c.name.label(name) if name == "api_key_name" else period_events.c[name]
        for name in PeriodEventRow._fields
    )
).join_from(
    period_events,
    api_keys,
    and_(
        api_keys.c.organization_id == period_events.c.organization_id,
        api_keys.c.api_key_id == period_events.c.api_key_id,
    ),
)
_account = _columns(AccountRow, accounts)
_transaction = _columns(TransactionRow, transactions)
_template = _columns(TemplateRow, transaction_templates)
_event = _columns(EventRow, transaction_events)
_entry = select(
    *(entries.c[name] for name in EntryRow._fields if name in entries.c),
    accounts.c.normal_balance,
    accounts.c.currency,
    accounts.c.exponent,
).join_from(
    entries,
    accounts,
    and_(
        accounts.c.organization_id == entries.c.organization_id,
        accounts.c.account_id == entries.c.account_id,
    ),
)

_lot_state = case(
    (credit_lots.c.remaining > literal_column("0"), literal_column("'open'")),
    (credit_lots.c.expired > literal_column("0"), literal_column("'expired'")),
    else_=literal_column("'spent'"),
).cast(Text)
_lot = select(*(credit_lots.c[name] for name in LotRow._fields[:-1]), _lot_state.label("state"))
_movement = select(
    *(lot_movements.c[name] for name in LotMovementRow._fields[:-2]),
    entries.c.ledger_id,
    entries.c.transaction_sequence,
).join_from(
    lot_movements,
    entries,
    and_(
        entries.c.organization_id == lot_movements.c.organization_id,
        entries.c.account_id == lot_movements.c.account_id,
        entries.c.sequence == lot_movements.c.sequence,
    ),
)

_external_account = _columns(ExternalAccountRow, external_accounts)
_import = _columns(ImportRow, statement_imports)
_account_of_statement = and_(
    accounts.c.organization_id == external_accounts.c.organization_id,
    accounts.c.account_id == external_accounts.c.account_id,
)
_external_statement = (
    select(
        *(external_statements.c[name] for name in ExternalStatementRow._fields[:-2]),
        accounts.c.currency.label("account_currency"),
        accounts.c.exponent.label("account_exponent"),
    )
    .join_from(
        external_statements,
        external_accounts,
        and_(
            external_accounts.c.organization_id == external_statements.c.organization_id,
            external_accounts.c.external_account_id == external_statements.c.external_account_id,
        ),
    )
    .join(accounts, _account_of_statement)
)
_line = (
    select(
        *(statement_lines.c[name] for name in StatementLineRow._fields[:-2]),
        accounts.c.currency.label("account_currency"),
        accounts.c.exponent.label("account_exponent"),
    )
    .join_from(
        statement_lines,
        external_accounts,
        and_(
            external_accounts.c.organization_id == statement_lines.c.organization_id,
            external_accounts.c.external_account_id == statement_lines.c.external_account_id,
        ),
    )
    .join(accounts, _account_of_statement)
)
# Where the lines of a statement stand: those that it was the first to have, and the others.
_places = union_all(
    select(
        statement_lines.c.organization_id,
        statement_lines.c.external_statement_id,
        statement_lines.c.position,
        statement_lines.c.external_account_id,
        statement_lines.c.number,
    ).where(statement_lines.c.number > literal_column("0")),
    select(
        statement_line_repeats.c.organization_id,
        statement_line_repeats.c.external_statement_id,
        statement_line_repeats.c.position,
        statement_line_repeats.c.external_account_id,
        statement_line_repeats.c.number,
    ),
).subquery("places")
_placed_line = _line.with_only_columns(
    *(
        _places.c.position if column.key == "position" else column
        for column in _line.selected_columns
    ),
    maintain_column_froms=True,
).join(
    _places,
    and_(
        _places.c.organization_id == statement_lines.c.organization_id,
        _places.c.external_account_id == statement_lines.c.external_account_id,
        _places.c.number == statement_lines.c.number,
    ),
)
_schedule = _columns(StatementScheduleRow, statement_schedules)
_settlement = _columns(SettlementRow, settlements)
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
    .join_from(
        account_statements,
        accounts,
        and_(
            accounts.c.organization_id == account_statements.c.organization_id,
            accounts.c.account_id == account_statements.c.account_id,
        ),
    )
    .outerjoin(
        _previous,
        and_(
            _previous.c.organization_id == account_statements.c.organization_id,
            _previous.c.account_id == account_statements.c.account_id,
            _previous.c.number == account_statements.c.previous_number,
        ),
    )
)

# ---- by key --------------------------------------------------------------------------------------

ledgers_by_id = Lookup(LedgerRow, _ledger, ledgers, (ledgers.c.ledger_id,))
accounts_by_id = Lookup(AccountRow, _account, accounts, (accounts.c.account_id,))
accounts_by_external_id = Lookup(
    AccountRow,
    _account,
    accounts,
    (accounts.c.ledger_id, accounts.c.external_id),
    compared="ledger_id",
)
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
        and_(
            transaction_events.c.organization_id == transactions.c.organization_id,
            transaction_events.c.ledger_id == transactions.c.ledger_id,
            transaction_events.c.transaction_sequence == transactions.c.sequence,
        ),
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
entries_by_id = Lookup(EntryRow, _entry, entries, (entries.c.account_id, entries.c.sequence))
entries_by_transaction = Lookup(
    EntryRow,
    _entry,
    entries,
    (entries.c.ledger_id, entries.c.transaction_sequence),
    (entries.c.line,),
)

templates_by_id = Lookup(
    TemplateRow,
    _template,
    transaction_templates,
    (transaction_templates.c.template_id, transaction_templates.c.version),
)
templates_by_version = Lookup(
    TemplateRow,
    _template,
    transaction_templates,
    (
        transaction_templates.c.ledger_id,
        transaction_templates.c.code,
        transaction_templates.c.version,
    ),
)
_newest = transaction_templates.c.superseded_at.is_(None)
newest_templates_by_code = Lookup(
    TemplateRow,
    _template.where(_newest),
    transaction_templates,
    (transaction_templates.c.ledger_id, transaction_templates.c.code),
)
template_uses_by_transaction = Lookup(
    TemplateUseRow,
    _template.add_columns(template_uses.c.params).join_from(
        template_uses,
        transaction_templates,
        and_(
            transaction_templates.c.organization_id == template_uses.c.organization_id,
            transaction_templates.c.ledger_id == template_uses.c.ledger_id,
            transaction_templates.c.code == template_uses.c.code,
            transaction_templates.c.version == template_uses.c.version,
        ),
    ),
    template_uses,
    (template_uses.c.ledger_id, template_uses.c.transaction_sequence),
)

lots_by_id = Lookup(LotRow, _lot, credit_lots, (credit_lots.c.lot_id,))
lots_by_entry = Lookup(LotRow, _lot, credit_lots, (credit_lots.c.account_id, credit_lots.c.number))
movements_by_entry = Lookup(
    LotMovementRow,
    _movement,
    entries,
    (lot_movements.c.account_id, lot_movements.c.sequence),
    (lot_movements.c.lot_id,),
)

external_accounts_by_id = Lookup(
    ExternalAccountRow,
    _external_account,
    external_accounts,
    (external_accounts.c.external_account_id,),
)
import_profiles_by_name = Lookup(
    ImportProfileRow,
    _columns(ImportProfileRow, import_profiles),
    import_profiles,
    (import_profiles.c.ledger_id, import_profiles.c.name),
)
imports_by_id = Lookup(ImportRow, _import, statement_imports, (statement_imports.c.import_id,))
external_statements_by_id = Lookup(
    ExternalStatementRow,
    _external_statement,
    external_statements,
    (external_statements.c.external_statement_id,),
)
external_statements_by_import = Lookup(
    ExternalStatementRow,
    _external_statement.where(external_statements.c.number > literal_column("0")),  # as the index
    external_statements,
    (external_statements.c.import_id,),
    (external_statements.c.number,),
)
statement_lines_by_id = Lookup(
    StatementLineRow,
    _line,
    external_accounts,
    (statement_lines.c.external_account_id, statement_lines.c.number),
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
        settlements,
        settlement_entries,
        and_(
            settlement_entries.c.organization_id == settlements.c.organization_id,
            settlement_entries.c.settlement_id == settlements.c.settlement_id,
        ),
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

# ---- by page -------------------------------------------------------------------------------------


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
_entry_fields = {
    "effect": entries.c.effect,
    "direction": entries.c.direction,
    "amount": entries.c.amount,
    "currency": accounts.c.currency,
    "account_id": entries.c.account_id,
    "sequence": entries.c.sequence,
    "effective_at": entries.c.effective_at,
    "recorded_at": entries.c.recorded_at,
}

_any = entries.c.amount > literal_column("0")
"""Holds for all entries, and lets the indexes on effective time serve."""

ledgers_of_organization = Listing(
    LedgerRow,
    _ledger,
    lambda organization_id: and_(visible(ledgers), ledgers.c.organization_id == organization_id),
    {
        "name": ledgers.c.name,
        "created_at": ledgers.c.created_at,
        "archived_at": ledgers.c.archived_at,
        "metadata": ledgers.c.metadata,
    },
    {"created_at": ("ledger_id",)},
)
accounts_of_ledger = Listing(
    AccountRow,
    _account,
    lambda ledger_id: and_(
        of_organization(accounts),
        accounts.c.ledger_id == ledger_id,
        accounts.c.name != literal_column("''"),  # as the index by name has it
    ),
    {
        "name": accounts.c.name,
        "external_id": accounts.c.external_id,
        "currency": accounts.c.currency,
        "status": accounts.c.status,
        "normal_balance": accounts.c.normal_balance,
        "created_at": accounts.c.created_at,
        "metadata": accounts.c.metadata,
    },
    {"created_at": ("account_id",), "name": ("name", "account_id")},
)
periods_of_ledger = Listing(
    PeriodEventRow,
    _period_event,
    lambda ledger_id: and_(of_organization(period_events), period_events.c.ledger_id == ledger_id),
    {},
    {"number": ("number",)},
)
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
    .join(
        transactions,
        and_(
            transactions.c.organization_id == accounts.c.organization_id,
            transactions.c.ledger_id == accounts.c.ledger_id,
        ),
    )
    .join(_left, true()),
    _outgoing_on,
    {},
    {"sequence": ("sequence",)},
)
entries_of_account = Listing(
    EntryRow,
    _entry,
    lambda account_id: and_(of_organization(entries), entries.c.account_id == account_id, _any),
    _entry_fields,
    {"sequence": ("sequence",), "effective_at": ("effective_at", "sequence")},
)
lots_of_account = Listing(
    LotRow,
    _lot,
    lambda account_id: and_(
        of_organization(credit_lots),
        credit_lots.c.account_id == account_id,
        credit_lots.c.number > literal_column("0"),  # as the index by time of expiry has it
    ),
    {"state": _lot_state},
    {"expires_at": ("expires_at", "number")},
)
movements_of_lot = Listing(
    LotMovementRow,
    _movement,
    lambda lot_id: and_(of_organization(lot_movements), lot_movements.c.lot_id == lot_id),
    {},
    {"sequence": ("sequence",)},
)
entries_of_ledger = Listing(
    EntryRow,
    _entry,
    lambda ledger_id: and_(of_organization(entries), entries.c.ledger_id == ledger_id, _any),
    _entry_fields,
    {
        "sequence": ("transaction_sequence", "line"),
        "effective_at": ("effective_at", "transaction_sequence", "line"),
    },
)
templates_of_ledger = Listing(
    TemplateRow,
    _template,
    lambda ledger_id: and_(
        of_organization(transaction_templates),
        transaction_templates.c.ledger_id == ledger_id,
        _newest,
    ),
    {},
    {"code": ("code",)},
)
versions_of_template = Listing(
    TemplateRow,
    _template,
    lambda template_id: and_(
        of_organization(transaction_templates), transaction_templates.c.template_id == template_id
    ),
    {},
    {"version": ("version",)},
)
external_accounts_of_ledger = Listing(
    ExternalAccountRow,
    _external_account,
    lambda ledger_id: and_(
        of_organization(external_accounts), external_accounts.c.ledger_id == ledger_id
    ),
    {},
    {"created_at": ("external_account_id",)},
)
external_accounts_of_account = Listing(
    ExternalAccountRow,
    _external_account,
    lambda account_id: and_(
        of_organization(external_accounts),
        external_accounts.c.account_id == account_id,
        external_accounts.c.last_line >= literal_column("0"),  # as the index has it
    ),
    {},
    {"created_at": ("external_account_id",)},
)
import_profiles_of_ledger = Listing(
    ImportProfileRow,
    _columns(ImportProfileRow, import_profiles),
    lambda ledger_id: and_(
        of_organization(import_profiles), import_profiles.c.ledger_id == ledger_id
    ),
    {},
    {"name": ("name",)},
)
imports_of_external_account = Listing(
    ImportRow,
    _import,
    lambda external_account_id: and_(
        of_organization(statement_imports),
        statement_imports.c.external_account_id == external_account_id,
        statement_imports.c.lines_read >= literal_column("0"),  # as the index has it
    ),
    {},
    {"created_at": ("import_id",)},
)
statements_of_external_account = Listing(
    ExternalStatementRow,
    _external_statement,
    lambda external_account_id: and_(
        of_organization(external_statements),
        external_statements.c.external_account_id == external_account_id,
        external_statements.c.number > literal_column("0"),  # as the index has it
    ),
    {},
    {"number": ("number",)},
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
statements_of_import = Listing(
    ExternalStatementRow,
    _external_statement,
    lambda import_id: and_(
        of_organization(external_statements),
        external_statements.c.import_id == import_id,
        external_statements.c.number > literal_column("0"),  # as the index has it
    ),
    {},
    {"number": ("number",)},
)
lines_of_external_account = Listing(
    StatementLineRow,
    _line,
    lambda external_account_id: and_(
        of_organization(statement_lines),
        statement_lines.c.external_account_id == external_account_id,
        statement_lines.c.number > literal_column("0"),  # as the index by date has it
    ),
    {
        "booked_on": statement_lines.c.booked_on,
        "amount": statement_lines.c.amount,
        "currency": statement_lines.c.currency,
        "reference": statement_lines.c.reference,
        "end_to_end_id": statement_lines.c.end_to_end_id,
    },
    {"number": ("number",), "booked_on": ("booked_on", "number")},
)
lines_of_statement = Listing(
    StatementLineRow,
    _placed_line,
    lambda statement_id: and_(
        _places.c.organization_id == bindparam("organization", type_=Uuid),
        of_organization(statement_lines),
        _places.c.external_statement_id == statement_id,
    ),
    {},
    {"position": ("position",)},
)
_entry_of_statement = _entry.join(
    account_statements,
    and_(
        account_statements.c.organization_id == entries.c.organization_id,
        account_statements.c.account_id == entries.c.account_id,
    ),
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
        _any,
    ),
    {},
    {"effective_at": ("effective_at", "sequence")},
)
adjustments_of_statement = Listing(
    EntryRow,
    _entry_of_statement.join(
        _previous,
        and_(
            _previous.c.organization_id == account_statements.c.organization_id,
            _previous.c.account_id == account_statements.c.account_id,
            _previous.c.number == account_statements.c.previous_number,
        ),
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
_settled_entry = _entry.join(
    settlement_entries,
    and_(
        settlement_entries.c.organization_id == entries.c.organization_id,
        settlement_entries.c.account_id == entries.c.account_id,
        settlement_entries.c.sequence == entries.c.sequence,
    ),
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
