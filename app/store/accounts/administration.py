"""Ledgers and accounts being opened, changed and closed. Each function is one transaction's work.

Every write is lock, read, decide, write here too, and the locks are the writer's: the ledgers' rows
first, then the accounts', each in order of key. So nothing here can race a posting, an archiving or
another creation in the same ledger, and a unique violation would be a fault.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import (
    ColumnElement,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from app.ledger.accounts.administration import (
    Change,
    CreateAccount,
    CreateLedger,
    closed,
    refuse_ceiling_below,
    refuse_floor_above,
)
from app.ledger.accounts.balances import Balances, Direction
from app.ledger.accounts.periods import MovePeriod, moves
from app.ledger.accounts.state import Account, AccountStatus, Limits, Scope
from app.ledger.refusals import (
    AccountNotFound,
    ExternalIdTaken,
    LedgerArchived,
    LedgerNotFound,
    LotsRemain,
    PendingTransactionsRemain,
    Refusal,
    ValidationFailed,
)
from app.store.database import Connection, sql, tenancy
from app.store.reading import of_organization, visible
from app.store.rows import AccountRow, LedgerRow
from app.store.tables import accounts, credit_lots, currencies, ledgers, period_events, transactions
from app.store.tables.columns import Moment

_ledger_columns = [ledgers.c[name] for name in LedgerRow._fields]
_account_columns = [accounts.c[name] for name in AccountRow._fields]
_this_ledger = ledgers.c.ledger_id == bindparam("id", type_=ledgers.c.ledger_id.type)
_this_account = accounts.c.account_id == bindparam("id", type_=accounts.c.account_id.type)
_clock = func.clock_timestamp()


async def create_ledger(connection: Connection, command: CreateLedger) -> LedgerRow:
    """Open a ledger."""
    cursor = await connection.execute(
        _INSERT_LEDGER,
        {
            "organization_id": command.scope.organization_id,
            "ledger_id": command.ledger_id,
            "name": command.name,
            "description": command.description,
            "mode": command.scope.mode.value,
            "metadata": Jsonb(command.metadata),
        },
    )
    return LedgerRow._make((await cursor.fetchall())[0])


async def change_ledger(connection: Connection, ledger_id: UUID, change: Change) -> LedgerRow:
    """Give a ledger other labels. Raises LedgerNotFound, LedgerArchived."""
    ledger = await lock_ledger(connection, change.scope, ledger_id)
    if ledger.archived_at is not None:
        raise LedgerArchived
    if not change.changes:
        return ledger
    cursor = await connection.execute(
        _update(ledgers, _this_ledger, _ledger_columns, tuple(change.changes)),
        {"id": ledger_id, **tenancy(change.scope), **_values(change.changes)},
    )
    return LedgerRow._make((await cursor.fetchall())[0])


async def archive_ledger(connection: Connection, scope: Scope, ledger_id: UUID) -> LedgerRow:
    """Take no more writes; archiving twice changes nothing.

    Raises LedgerNotFound, PendingTransactionsRemain, LotsRemain.
    """
    ledger = await lock_ledger(connection, scope, ledger_id)
    if ledger.archived_at is not None:
        return ledger
    parameters = {"id": ledger_id, **tenancy(scope)}
    cursor = await connection.execute(_COUNT_PENDING, parameters)
    pending = (await cursor.fetchall())[0][0]
    if pending:
        raise PendingTransactionsRemain(pending_transactions=pending)
    cursor = await connection.execute(_COUNT_OPEN_LOTS, parameters)
    open_lots = (await cursor.fetchall())[0][0]
    if open_lots:
        raise LotsRemain(path=("input", "ledgerId"), open_lots=open_lots)
    cursor = await connection.execute(_ARCHIVE_LEDGER, parameters)
    return LedgerRow._make((await cursor.fetchall())[0])


async def move_period(connection: Connection, command: MovePeriod) -> LedgerRow:
    """Close or reopen a ledger's past. Raises LedgerNotFound, LedgerArchived, ValidationFailed."""
    ledger = await lock_ledger(connection, command.scope, command.ledger_id)
    if ledger.archived_at is not None:
        raise LedgerArchived
    parameters = {"id": command.ledger_id, **tenancy(command.scope)}
    cursor = await connection.execute(_READ_CLOCK, parameters)
    clock, last_recorded_at = (await cursor.fetchall())[0]
    now = max(clock, last_recorded_at + timedelta(microseconds=1))
    if not moves(command, ledger.closed_through, now):
        return ledger
    parameters |= {"new_closed_through": command.through, "new_last_recorded_at": now}
    await connection.execute(
        _INSERT_PERIOD_EVENT,
        {
            **parameters,
            "kind": command.kind.value,
            "reason": command.reason,
            "api_key_id": command.api_key_id,
        },
    )
    cursor = await connection.execute(_MOVE_PERIOD, parameters)
    return LedgerRow._make((await cursor.fetchall())[0])


async def create_accounts(
    connection: Connection, commands: Sequence[CreateAccount]
) -> list[AccountRow]:
    """Open accounts, all or none, in the order given.

    Raises the refusal of the first that is refused, with its place in the path. One is a batch of
    one.
    """
    scope = commands[0].scope
    ledgers_found = await _lock_ledgers(connection, scope, {c.ledger_id for c in commands})
    exponents = await _read_exponents(connection, commands)
    taken = await _read_taken(connection, commands)
    for command in commands:
        try:
            _refuse_account(command, ledgers_found, exponents, taken)
        except Refusal as refusal:
            raise refusal.under(*command.place) from None
        exponents[command.ledger_id, command.currency] = command.exponent
        if command.external_id is not None:
            taken.add((command.ledger_id, command.external_id))
    cursor = connection.cursor()
    await cursor.executemany(_ENSURE_CURRENCY, [_account_values(c) for c in commands])
    await cursor.executemany(
        _INSERT_ACCOUNT, [_account_values(c) for c in commands], returning=True
    )
    return [AccountRow._make((await result.fetchall())[0]) async for result in cursor.results()]


def _refuse_account(
    command: CreateAccount,
    ledgers_found: Mapping[UUID, LedgerRow],
    exponents: Mapping[tuple[UUID, str], int],
    taken: AbstractSet[tuple[UUID, str]],
) -> None:
    if command.ledger_id not in ledgers_found:
        raise LedgerNotFound
    if ledgers_found[command.ledger_id].archived_at is not None:
        raise LedgerArchived
    exponent = exponents.get((command.ledger_id, command.currency), command.exponent)
    if exponent != command.exponent:
        raise ValidationFailed(
            message=f"This ledger already counts {command.currency} with exponent {exponent}.",
            path=("input", "exponent"),
        )
    if command.external_id is not None and (command.ledger_id, command.external_id) in taken:
        raise ExternalIdTaken(
            message="Another account of this ledger has this external id.",
            external_id=command.external_id,
        )


async def change_account(connection: Connection, account_id: UUID, change: Change) -> AccountRow:
    """Give an account other labels or other limits.

    Raises AccountNotFound, LedgerArchived, InsufficientFunds, CeilingExceeded.
    """
    row, account = await lock_account(connection, change.scope, account_id)
    changes = dict(change.changes)
    if "available_floor" in changes:
        refuse_floor_above(account, changes["available_floor"])
        changes["floor_version"] = account.version
    if "balance_ceiling" in changes:
        refuse_ceiling_below(account, changes["balance_ceiling"])
        changes["ceiling_version"] = account.version
    if "entry_maximum" in changes:
        changes["maximum_version"] = account.version
    if not changes:
        return row
    return await update_account(connection, change.scope, account_id, changes)


async def change_status(
    connection: Connection,
    scope: Scope,
    account_id: UUID,
    decide: Callable[[Account], AccountStatus],
) -> AccountRow:
    """Freeze or unfreeze an account, as `decide` says. Raises its refusals too."""
    _, account = await lock_account(connection, scope, account_id)
    return await update_account(connection, scope, account_id, {"status": decide(account).value})


async def close_account(connection: Connection, scope: Scope, account_id: UUID) -> AccountRow:
    """Close an account for good.

    Raises AccountNotFound, LedgerArchived, AccountNotEmpty, LotsRemain.

    A lot that is being opened to expire there waits for the ledger's lock, and finds it closed.
    """
    _, account = await lock_account(connection, scope, account_id)
    parameters = {"id": account_id, **tenancy(scope)}
    cursor = await connection.execute(_COUNT_EXPIRING_TO_ACCOUNT, parameters)
    status = closed(account, (await cursor.fetchall())[0][0])
    return await update_account(connection, scope, account_id, {"status": status.value})


async def _lock_ledgers(
    connection: Connection, scope: Scope, ledger_ids: Iterable[UUID]
) -> Mapping[UUID, LedgerRow]:
    cursor = await connection.execute(
        _LOCK_LEDGERS, {"ids": sorted(set(ledger_ids)), **tenancy(scope)}
    )
    rows = map(LedgerRow._make, await cursor.fetchall())
    return {row.ledger_id: row for row in rows}


async def lock_ledger(connection: Connection, scope: Scope, ledger_id: UUID) -> LedgerRow:
    """A ledger, locked. Raises LedgerNotFound."""
    found = await _lock_ledgers(connection, scope, [ledger_id])
    if ledger_id not in found:
        raise LedgerNotFound
    return found[ledger_id]


async def lock_account(
    connection: Connection, scope: Scope, account_id: UUID
) -> tuple[AccountRow, Account]:
    """Lock an account and its ledger. Raises AccountNotFound, LedgerArchived."""
    parameters = {"id": account_id, **tenancy(scope)}
    home = await (await connection.execute(_LEDGER_OF_ACCOUNT, parameters)).fetchone()
    if home is None:
        raise AccountNotFound
    ledger = await lock_ledger(connection, scope, home[0])
    if ledger.archived_at is not None:
        raise LedgerArchived(path=("input", "accountId"))
    cursor = await connection.execute(_LOCK_ACCOUNT, parameters)
    row = AccountRow._make((await cursor.fetchall())[0])
    return row, account_of(scope.organization_id, row)


async def _read_exponents(
    connection: Connection, commands: Sequence[CreateAccount]
) -> dict[tuple[UUID, str], int]:
    cursor = await connection.execute(
        _READ_EXPONENTS,
        {"ids": [c.ledger_id for c in commands], **tenancy(commands[0].scope)},
    )
    return {(ledger_id, code): exponent for ledger_id, code, exponent in await cursor.fetchall()}


async def _read_taken(
    connection: Connection, commands: Sequence[CreateAccount]
) -> set[tuple[UUID, str]]:
    cursor = await connection.execute(
        _READ_TAKEN,
        {
            "ids": [c.ledger_id for c in commands],
            "external_ids": [c.external_id for c in commands if c.external_id is not None],
            **tenancy(commands[0].scope),
        },
    )
    return {(ledger_id, external_id) for ledger_id, external_id in await cursor.fetchall()}


async def update_account(
    connection: Connection, scope: Scope, account_id: UUID, changes: Mapping[str, Any]
) -> AccountRow:
    """Write columns of a locked account."""
    cursor = await connection.execute(
        _update(accounts, _this_account, _account_columns, tuple(changes)),
        {"id": account_id, **tenancy(scope), **_values(changes)},
    )
    return AccountRow._make((await cursor.fetchall())[0])


def account_of(organization_id: UUID, row: AccountRow) -> Account:
    """An account as decisions see it."""
    return Account(
        organization_id,
        row.account_id,
        row.ledger_id,
        row.currency,
        row.exponent,
        Direction(row.normal_balance),
        AccountStatus(row.status),
        row.available_floor,
        row.version,
        Balances(row.posted_debits, row.posted_credits, row.pending_debits, row.pending_credits),
        Limits(row.balance_ceiling, row.entry_maximum),
    )


def _account_values(command: CreateAccount) -> dict[str, Any]:
    return {
        "organization_id": command.scope.organization_id,
        "account_id": command.account_id,
        "ledger_id": command.ledger_id,
        "name": command.name,
        "description": command.description,
        "external_id": command.external_id,
        "normal_balance": command.normal_balance.value,
        "currency": command.currency,
        "exponent": command.exponent,
        "available_floor": command.available_floor,
        "balance_ceiling": command.balance_ceiling,
        "entry_maximum": command.entry_maximum,
        "metadata": Jsonb(command.metadata),
    }


def _values(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"new_{name}": Jsonb(value) if name == "metadata" else value
        for name, value in changes.items()
    }


def _update(table: Table, this: Any, columns: Any, names: tuple[str, ...]) -> str:
    new = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
    return sql(update(table).where(of_organization(table), this).values(new).returning(*columns))


def bound(table: Table, *names: str) -> dict[str, Any]:
    """Parameters named as these columns are."""
    return {name: bindparam(name, type_=table.c[name].type) for name in names}


def among(column: Any, parameter: str) -> Any:
    """Whether a column is one of a parameter's values."""
    return column == any_(bindparam(parameter, type_=ARRAY(column.type)))


_zero: ColumnElement[int] = literal_column("0")
_INSERT_LEDGER = sql(
    insert(ledgers)
    .values(
        {
            **bound(
                ledgers, "organization_id", "ledger_id", "name", "description", "mode", "metadata"
            ),
            "created_at": _clock,
            "last_recorded_at": _clock,
            "last_sequence": _zero,
        }
    )
    .returning(*_ledger_columns)
)
_LOCK_LEDGERS = sql(
    select(*_ledger_columns)
    .where(visible(ledgers), among(ledgers.c.ledger_id, "ids"))
    .order_by(ledgers.c.ledger_id)
    .with_for_update(key_share=True)
)
_COUNT_PENDING = sql(
    select(func.count())
    .select_from(transactions)
    .where(
        of_organization(transactions),
        transactions.c.ledger_id == bindparam("id", type_=ledgers.c.ledger_id.type),
        transactions.c.status == literal_column("'pending'"),
    )
)
_open_lots = (
    select(func.count())
    .select_from(credit_lots)
    .where(of_organization(credit_lots), credit_lots.c.remaining > _zero)
)
_COUNT_OPEN_LOTS = sql(_open_lots.where(credit_lots.c.ledger_id == bindparam("id", type_=Uuid)))
_COUNT_EXPIRING_TO_ACCOUNT = sql(
    _open_lots.where(credit_lots.c.breakage_account_id == bindparam("id", type_=Uuid))
)
_ARCHIVE_LEDGER = sql(
    update(ledgers)
    .where(of_organization(ledgers), _this_ledger)
    .values(archived_at=_clock)
    .returning(*_ledger_columns)
)
_READ_CLOCK = sql(
    select(_clock, ledgers.c.last_recorded_at).where(of_organization(ledgers), _this_ledger)
)
_MOVE_PERIOD = _update(
    ledgers, _this_ledger, _ledger_columns, ("closed_through", "last_recorded_at")
)
_INSERT_PERIOD_EVENT = sql(
    insert(period_events).from_select(
        [column.name for column in period_events.columns],
        select(
            bindparam("organization", type_=Uuid),
            bindparam("id", type_=Uuid),
            func.coalesce(func.max(period_events.c.number), _zero) + literal_column("1"),
            bindparam("kind", type_=Text),
            bindparam("new_closed_through", type_=Moment),
            bindparam("reason", type_=Text),
            bindparam("api_key_id", type_=Uuid),
            bindparam("new_last_recorded_at", type_=Moment),
        ).where(
            of_organization(period_events),
            period_events.c.ledger_id == bindparam("id", type_=Uuid),
        ),
    )
)
_READ_EXPONENTS = sql(
    select(currencies.c.ledger_id, currencies.c.code, currencies.c.exponent).where(
        of_organization(currencies), among(currencies.c.ledger_id, "ids")
    )
)
_READ_TAKEN = sql(
    select(accounts.c.ledger_id, accounts.c.external_id).where(
        of_organization(accounts),
        among(accounts.c.ledger_id, "ids"),
        among(accounts.c.external_id, "external_ids"),
    )
)
_ENSURE_CURRENCY = sql(
    upsert(currencies)
    .values(
        {
            **bound(currencies, "organization_id", "ledger_id", "exponent"),
            "code": bindparam("currency", type_=currencies.c.code.type),
        }
    )
    .on_conflict_do_nothing()
)
_INSERT_ACCOUNT = sql(
    insert(accounts)
    .values(
        {
            **bound(
                accounts,
                "organization_id",
                "account_id",
                "ledger_id",
                "name",
                "description",
                "external_id",
                "normal_balance",
                "currency",
                "exponent",
                "available_floor",
                "balance_ceiling",
                "entry_maximum",
                "metadata",
            ),
            "floor_version": _zero,
            "version": _zero,
            "posted_debits": _zero,
            "posted_credits": _zero,
            "pending_debits": _zero,
            "pending_credits": _zero,
            "status": literal_column("'open'"),
            "created_at": _clock,
        }
    )
    .returning(*_account_columns)
)
_LEDGER_OF_ACCOUNT = sql(select(accounts.c.ledger_id).where(visible(accounts), _this_account))
_LOCK_ACCOUNT = sql(
    select(*_account_columns)
    .where(of_organization(accounts), _this_account)
    .with_for_update(key_share=True)
)
