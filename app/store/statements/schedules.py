"""Schedules of statements: kept, and done when they are due.

A schedule says which month is next, and when that is over: `due_at`. Doing a step of it states up
to `STEP` more accounts, in order of id, and no more when `STEP_SECONDS` are over, for what else is
due must not wait long; then it moves `stated_through` on, or the month, when no
account is left. Whoever is killed between has stated some accounts more than the schedule says;
that they are stated again is ruled out by the unique key of scheduled statements, by which the
statement that is there is found. So each account has one statement a month, whoever tries, and all
months that were missed follow one another.

An account is stated for a month if it was opened before the month's end, or has entries from before
that (a history that was loaded), and if it is closed, only for a month in which it has entries.
"""

from collections.abc import Sequence
from datetime import date, datetime
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from app.ledger.accounts.state import Mode, Scope
from app.ledger.refusals import AccountNotFound, LedgerArchived, StatementScheduleNotFound
from app.ledger.statements.schedules import CreateStatementSchedule, beginning, following, zone_of
from app.ledger.statements.statements import CreateStatement
from app.store.accounts.administration import lock_ledger
from app.store.database import Connection, Database, Unavailable, tenancy
from app.store.rows import StatementScheduleRow
from app.store.statements.statements import create_statement

STEP = 100
STEP_SECONDS = 2.0

log = structlog.get_logger(__name__)


class DueSchedule(NamedTuple):
    """A schedule whose next month is over."""

    due_at: datetime
    organization_id: UUID
    schedule_id: UUID
    mode: str
    time_zone: str
    next_month: date


async def create_schedule(
    connection: Connection, command: CreateStatementSchedule
) -> StatementScheduleRow:
    """Keep a schedule. Raises LedgerNotFound, LedgerArchived, AccountNotFound."""
    ledger = await lock_ledger(connection, command.scope, command.ledger_id)
    if ledger.archived_at is not None:
        raise LedgerArchived
    if command.account_ids is not None:
        cursor = await connection.execute(
            _KNOWN_ACCOUNTS,
            {
                "organization": command.scope.organization_id,
                "ledger": command.ledger_id,
                "ids": list(command.account_ids),
            },
        )
        known = {account_id for (account_id,) in await cursor.fetchall()}
        for place, account_id in enumerate(command.account_ids):
            if account_id not in known:
                raise AccountNotFound(path=("input", "accountIds", str(place)))
    metadata = command.account_metadata
    cursor = await connection.execute(
        _INSERT,
        {
            "organization": command.scope.organization_id,
            "schedule": command.schedule_id,
            "ledger": command.ledger_id,
            "time_zone": command.time_zone,
            "account_ids": None if command.account_ids is None else list(command.account_ids),
            "external_id_prefix": command.external_id_prefix,
            "account_metadata": None if metadata is None else Jsonb(metadata),
            "month": command.starting_from,
            "due_at": _end_of(command.starting_from, command.time_zone),
        },
    )
    return StatementScheduleRow._make((await cursor.fetchall())[0])


async def delete_schedule(
    connection: Connection, scope: Scope, schedule_id: UUID
) -> StatementScheduleRow:
    """State no more months; what was stated stays. Deleting twice changes nothing.

    Raises StatementScheduleNotFound.
    """
    this = {"schedule": schedule_id, **tenancy(scope)}
    await connection.execute(_DELETE, this)
    cursor = await connection.execute(_READ, this)
    found = await cursor.fetchall()
    if not found:
        raise StatementScheduleNotFound
    return StatementScheduleRow._make(found[0])


async def run_step(database: Database, connection: Connection, due: DueSchedule) -> int:
    """State some more accounts of the month; return how many could not be.

    Raises Unavailable. The connection is the schedule's own, in autocommit mode.
    """
    scope = Scope(due.organization_id, Mode(due.mode))
    period = (
        beginning(due.next_month, zone_of(due.time_zone)),
        _end_of(due.next_month, due.time_zone),
    )
    this: dict[str, Any] = {
        "organization": due.organization_id,
        "schedule": due.schedule_id,
        "due_at": due.due_at,
    }
    cursor = await connection.execute(
        _NEXT_ACCOUNTS, {**this, "from_at": period[0], "to_at": period[1], "step": STEP}
    )
    account_ids = [account_id for (account_id,) in await cursor.fetchall()]
    stated, failed = await _state(database, scope, account_ids, period)
    if stated:
        await connection.execute(_MOVE_ON, {**this, "stated_through": account_ids[stated - 1]})
    if stated == len(account_ids) < STEP:
        month = following(due.next_month)
        await connection.execute(
            _NEXT_MONTH, {**this, "month": month, "next_due_at": _end_of(month, due.time_zone)}
        )
    return failed


async def _state(
    database: Database,
    scope: Scope,
    account_ids: Sequence[UUID],
    period: tuple[datetime, datetime],
) -> tuple[int, int]:
    """State accounts in order; return how many come before the first without, how many failed."""
    stated, failed = len(account_ids), 0
    end = monotonic() + STEP_SECONDS
    for place, account_id in enumerate(account_ids):
        if place and monotonic() >= end:
            return min(stated, place), failed
        try:
            await create_statement(
                database, CreateStatement(scope, uuid7(), account_id, *period, scheduled=True)
            )
        except Unavailable:
            raise
        except Exception as fault:  # noqa: BLE001  it must not keep others from their statements
            stated, failed = min(stated, place), failed + 1
            log.error("statement_failed", account=str(account_id), fault=type(fault).__name__)  # noqa: TRY400  its message may quote values
    return stated, failed


def _end_of(month: date, time_zone: str) -> datetime:
    return beginning(following(month), zone_of(time_zone))


_COLUMNS = ", ".join(f"s.{name}" for name in StatementScheduleRow._fields)

FIND_DUE_SCHEDULES = """
    SELECT s.due_at, s.organization_id, s.schedule_id, l.mode, s.time_zone, s.next_month
    FROM statement_schedules s
    JOIN ledgers l ON l.organization_id = s.organization_id AND l.ledger_id = s.ledger_id
        AND l.archived_at IS NULL
    WHERE s.due_at IS NOT NULL AND s.due_at <= statement_timestamp()
        AND (s.due_at, s.organization_id, s.schedule_id) > (%s, %s, %s)
    ORDER BY s.due_at, s.organization_id, s.schedule_id
    LIMIT %s
"""
NEXT_DUE_SCHEDULE = """
    SELECT s.due_at FROM statement_schedules s
    JOIN ledgers l ON l.organization_id = s.organization_id AND l.ledger_id = s.ledger_id
        AND l.archived_at IS NULL
    WHERE s.due_at IS NOT NULL ORDER BY s.due_at LIMIT 1
"""
_KNOWN_ACCOUNTS = """
    SELECT a.account_id FROM accounts a
    WHERE a.organization_id = %(organization)s AND a.ledger_id = %(ledger)s
        AND a.account_id = ANY(%(ids)s::uuid[])
"""
_INSERT = f"""
    INSERT INTO statement_schedules AS s (organization_id, schedule_id, ledger_id, time_zone,
        account_ids, external_id_prefix, account_metadata, starting_from, next_month, due_at,
        created_at)
    VALUES (%(organization)s, %(schedule)s, %(ledger)s, %(time_zone)s, %(account_ids)s,
        %(external_id_prefix)s, %(account_metadata)s, %(month)s, %(month)s, %(due_at)s,
        clock_timestamp())
    RETURNING {_COLUMNS}
"""  # noqa: S608  all of it is ours
_VISIBLE = """
    s.organization_id = %(organization)s AND s.schedule_id = %(schedule)s AND EXISTS (
        SELECT FROM ledgers l
        WHERE l.organization_id = s.organization_id AND l.ledger_id = s.ledger_id
            AND l.mode = %(mode)s AND (NOT %(restricted)s OR l.ledger_id = ANY(%(ledgers)s))
    )
"""
_READ = f"SELECT {_COLUMNS} FROM statement_schedules s WHERE {_VISIBLE}"  # noqa: S608  ours
_DELETE = f"""
    UPDATE statement_schedules s SET deleted_at = clock_timestamp(), due_at = NULL
    WHERE {_VISIBLE} AND s.deleted_at IS NULL
"""  # noqa: S608  all of it is ours
_NEXT_ACCOUNTS = """
    SELECT a.account_id
    FROM statement_schedules s
    JOIN accounts a ON a.organization_id = s.organization_id AND a.ledger_id = s.ledger_id
    WHERE s.organization_id = %(organization)s AND s.schedule_id = %(schedule)s
        AND s.due_at = %(due_at)s
        AND (s.stated_through IS NULL OR a.account_id > s.stated_through)
        AND (s.account_ids IS NULL OR a.account_id = ANY(s.account_ids))
        AND (s.external_id_prefix IS NULL OR starts_with(a.external_id, s.external_id_prefix))
        AND (s.account_metadata IS NULL OR a.metadata @> s.account_metadata)
        AND (a.created_at < %(to_at)s OR EXISTS (
            SELECT FROM entries e
            WHERE e.organization_id = a.organization_id AND e.account_id = a.account_id
                AND e.effective_at < %(to_at)s AND e.amount > 0
        ))
        AND (a.status <> 'closed' OR EXISTS (
            SELECT FROM entries e
            WHERE e.organization_id = a.organization_id AND e.account_id = a.account_id
                AND e.effective_at >= %(from_at)s AND e.effective_at < %(to_at)s AND e.amount > 0
        ))
    ORDER BY a.account_id
    LIMIT %(step)s
"""
_MOVE_ON = """
    UPDATE statement_schedules SET stated_through = %(stated_through)s
    WHERE organization_id = %(organization)s AND schedule_id = %(schedule)s
        AND due_at = %(due_at)s
"""
_NEXT_MONTH = """
    UPDATE statement_schedules
    SET stated_through = NULL, next_month = %(month)s, due_at = %(next_due_at)s
    WHERE organization_id = %(organization)s AND schedule_id = %(schedule)s
        AND due_at = %(due_at)s
"""
