"""Statements being made and read.

A statement is not a copy: its row has what the period began and ended with, and its lines are
looked up among the entries, which stay. What is in it follows from the account's version that it
was made at, so it can be read page by page, each page from whatever snapshot is at hand.

Making one takes no lock while it reads. One snapshot gives the ledger's sequence and the account's
version of the same moment; then all entries up to that version are read and hashed, in pages, while
others post. Only then is the account locked, for as long as it takes to see that its last statement
is still the one that the new one follows, and to add the row. If it is not, all is done over. So
numbers are in order of versions, and no posting waits for a long statement.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import BigInteger, Select, column, false, select

from app.ledger.accounts.balances import Balances
from app.ledger.accounts.state import Scope
from app.ledger.refusals import AccountNotFound, LedgerArchived, StatementKeyTaken
from app.ledger.statements.statements import (
    POSTED_EFFECTS,
    ContentHash,
    CreateStatement,
    Line,
    Statement,
    adjustment_record,
    line_record,
    statement_record,
)
from app.store import rows
from app.store.accounts.administration import lock_account
from app.store.accounts.history import PastBalances, balances_at_each
from app.store.database import Connection, Database, Row, Snapshot, Unavailable, tenancy
from app.store.reading import Listing, Names, Page
from app.store.tables.columns import Moment, Total

PAGE = 500
ATTEMPTS = 5
_NOTHING = PastBalances(Balances(), 0)

Read = Callable[[str, Mapping[str, Any]], Awaitable[Sequence[Row]]]
"""Runs a statement within a tenant."""


async def create_statement(database: Database, command: CreateStatement) -> tuple[Statement, bool]:
    """State a period; also whether that had been done before, by the key or by the schedule.

    Raises ValidationFailed, AccountNotFound, StatementKeyTaken, LedgerArchived, Unavailable.
    """
    for _ in range(ATTEMPTS):
        snapshot = database.snapshot(command.scope)
        try:
            found = await _made_before(snapshot.rows, command)
            if found is not None:
                return found, True
            statement, last = await _draft(snapshot, command)
        finally:
            await snapshot.close()
        async with database.writing() as connection:
            if await _store(connection, command, statement, last):
                return statement, False
    raise Unavailable("Many statements of the account are being made; send the same again.")


async def _made_before(read: Read, command: CreateStatement) -> Statement | None:
    sought = {
        "account": command.account_id,
        "from_at": command.from_at,
        "to_at": command.to_at,
        "key": command.idempotency_key,
        **tenancy(command.scope),
    }
    found: Sequence[Row] = ()
    if command.scheduled:
        found = await read(_SCHEDULED, sought)
    elif command.idempotency_key is not None:
        found = await read(_OF_KEY, sought)
    if not found:
        return None
    statement = Statement._make(found[0])
    this = (statement.account_id, statement.from_at, statement.to_at)
    if this != (command.account_id, command.from_at, command.to_at):
        raise StatementKeyTaken(statement_id=statement.statement_id)
    return statement


async def _draft(snapshot: Snapshot, command: CreateStatement) -> tuple[Statement, int]:
    """The statement as it stands at this moment, and the number of the account's last one."""
    found = await snapshot.rows(
        _PRESENT, {"account": command.account_id, "from_at": command.from_at}
    )
    if not found:
        raise AccountNotFound
    facts: dict[str, Any] = dict(zip(_FACTS, found[0], strict=True))
    now, archived, last = (facts.pop(name) for name in ("now", "archived", "last_number"))
    command.check_over(now)
    if archived:
        raise LedgerArchived(path=("input", "accountId"))
    edges = (command.from_at, command.to_at)
    points = await balances_at_each(snapshot, [command.account_id], edges)
    opening, closing = (
        point.balances for point in points.get(command.account_id, (_NOTHING, _NOTHING))
    )
    statement = Statement(
        statement_id=command.statement_id,
        account_id=command.account_id,
        number=last + 1,
        from_at=command.from_at,
        to_at=command.to_at,
        opening_debits=opening.posted_debits,
        opening_credits=opening.posted_credits,
        closing_debits=closing.posted_debits,
        closing_credits=closing.posted_credits,
        line_count=0,
        content_hash=b"",
        scheduled=command.scheduled,
        created_at=now,
        **facts,
    )
    return await _hashed(snapshot.rows, statement), last


async def _hashed(read: Read, statement: Statement) -> Statement:
    """The statement with the count and the hash of its entries, which must add up."""
    content = ContentHash()
    async for page in adjustments(read, statement):
        for line in page:
            content.add(adjustment_record(statement, line))
    count, totals = 0, (statement.opening_debits, statement.opening_credits)
    async for page in lines(read, statement):
        for line in page:
            content.add(line_record(statement, line))
        count, totals = page[-1].position, (page[-1].debits, page[-1].credits)
    if totals != (statement.closing_debits, statement.closing_credits):
        raise RuntimeError("the entries of the period do not lead from its opening to its closing")
    statement = statement._replace(line_count=count)
    content.add(statement_record(statement))
    return statement._replace(content_hash=content.value())


async def _store(
    connection: Connection, command: CreateStatement, statement: Statement, last: int
) -> bool:
    """Add the row, unless another statement has come between."""
    await lock_account(connection, command.scope, command.account_id)
    parameters = {
        "organization": command.scope.organization_id,
        "account": command.account_id,
        "ledger": statement.ledger_id,
        "key": command.idempotency_key,
    }
    cursor = await connection.execute(_LAST, parameters)
    ((number, is_taken),) = await cursor.fetchall()
    if number != last or is_taken:
        return False
    await connection.execute(
        _INSERT,
        {
            **statement._asdict(),
            "organization_id": command.scope.organization_id,
            "idempotency_key": command.idempotency_key,
        },
    )
    return True


async def lines(read: Read, statement: Statement) -> AsyncIterator[Sequence[Line]]:
    """All lines of a statement, page by page; no page is empty."""
    parameters = {**given(statement), **BEGINNING, "rows": PAGE}
    while True:
        page = [Line._make(row[:-1]) for row in await read(LINES, parameters)]
        if page:
            yield page
        if len(page) < PAGE:
            return
        parameters |= _behind(page[-1])


async def adjustments(read: Read, statement: Statement) -> AsyncIterator[Sequence[Line]]:
    """All adjustments of a statement, page by page; no page is empty."""
    if statement.previous_version is None:
        return
    parameters = {
        **given(statement),
        "since": statement.previous_version,
        "rows": PAGE,
    }
    while True:
        page = [Line._make(row) for row in await read(ADJUSTMENTS, parameters)]
        if page:
            yield page
        if len(page) < PAGE:
            return
        parameters["since"] = page[-1].sequence


def reading(database: Database, scope: Scope) -> Read:
    """A way to read whose every statement has a snapshot of its own, so that none is held long."""

    async def read(statement: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        snapshot = database.snapshot(scope)
        try:
            return await snapshot.rows(statement, parameters)
        finally:
            await snapshot.close()

    return read


class StatementLines(Listing[Line]):
    """The lines of statements by page. A cursor has the totals so far, so no page adds them up."""

    async def fetch(
        self,
        snapshot: Any,
        parents: Sequence[UUID],
        page: Page,
        names: Names = None,  # noqa: ARG002  lines are read whole
    ) -> Sequence[Sequence[Line]]:
        """One page of each statement."""
        parameters: dict[str, Any] = {**BEGINNING, "ids": list(parents), "rows": page.limit}
        if page.after is not None:
            parameters |= dict(zip(BEGINNING, page.after, strict=True))
        found: dict[UUID, list[Line]] = {parent: [] for parent in parents}
        for row in await snapshot.rows(LINES_OF_STATEMENTS, parameters):
            found[row[-1]].append(Line._make(row[:-1]))
        return [found[parent] for parent in parents]


_place = select(
    column("effective_at", Moment),
    column("sequence", BigInteger),
    column("position", BigInteger),
    column("debits", Total),
    column("credits", Total),
)
statement_lines = StatementLines(
    Line,
    cast("Select[Any]", _place),
    lambda _: false(),
    {},
    {"position": ("effective_at", "sequence", "position", "debits", "credits")},
)


def given(statement: Statement) -> dict[str, Any]:
    """What LINES and ADJUSTMENTS have to know of a statement."""
    return {
        "ledger": statement.ledger_id,
        "account": statement.account_id,
        "from_at": statement.from_at,
        "to_at": statement.to_at,
        "account_version": statement.account_version,
        "known_at": statement.known_at,
        "opening_debits": statement.opening_debits,
        "opening_credits": statement.opening_credits,
    }


BEGINNING: Mapping[str, Any] = {
    "after_at": None,
    "after_sequence": None,
    "after_position": None,
    "after_debits": None,
    "after_credits": None,
}


def _behind(line: Line) -> dict[str, Any]:
    place = (line.effective_at, line.sequence, line.position, line.debits, line.credits)
    return dict(zip(BEGINNING, place, strict=True))


_EFFECTS = ", ".join(f"'{effect}'" for effect in POSTED_EFFECTS)

# What a transaction was called at a moment is what its first later correction found, or else what
# it is called now.
_TOLD = """
    JOIN transactions t ON t.organization_id = e.organization_id AND t.ledger_id = e.ledger_id
        AND t.sequence = e.transaction_sequence
    LEFT JOIN LATERAL (
        SELECT v.changes -> 'description' ->> 'before' AS description, true AS is_found
        FROM transaction_events v
        WHERE v.organization_id = t.organization_id AND v.ledger_id = t.ledger_id
            AND v.transaction_sequence = t.sequence AND v.changes ? 'description'
            AND v.recorded_at > s.known_at
        ORDER BY v.number LIMIT 1
    ) before ON true
"""
_ENTRY = """
    e.sequence, e.effective_at, e.recorded_at, t.transaction_id, t.external_id,
    CASE WHEN before.is_found THEN before.description ELSE t.description END AS description,
    e.direction, e.amount
"""
_ONE = """
    (SELECT %(account)s::uuid AS account_id, %(from_at)s::timestamptz AS from_at,
        %(to_at)s::timestamptz AS to_at, %(account_version)s::int8 AS account_version,
        %(known_at)s::timestamptz AS known_at, %(opening_debits)s::numeric AS opening_debits,
        %(opening_credits)s::numeric AS opening_credits, NULL::uuid AS statement_id)
"""
_STORED = """
    (SELECT s.* FROM account_statements s
    WHERE s.organization_id = %(organization)s AND s.statement_id = ANY(%(ids)s::uuid[]))
"""

# The condition on amounts, and none that is bare on sequences, as in `accounts/history.py`.
_LINES = f"""
    SELECT {_ENTRY}, e.position, e.debits, e.credits, s.statement_id
    FROM {{statements}} s
    CROSS JOIN LATERAL (
        SELECT p.*, coalesce(%(after_position)s::int8, 0) + row_number() OVER lines AS position,
            coalesce(%(after_debits)s::numeric, s.opening_debits) + sum(
                CASE p.direction WHEN 'debit' THEN p.amount ELSE 0 END) OVER lines AS debits,
            coalesce(%(after_credits)s::numeric, s.opening_credits) + sum(
                CASE p.direction WHEN 'credit' THEN p.amount ELSE 0 END) OVER lines AS credits
        FROM (
            SELECT e.* FROM entries e
            WHERE e.organization_id = %(organization)s AND e.account_id = s.account_id
                AND e.effective_at >= s.from_at AND e.effective_at < s.to_at AND e.amount > 0
                AND (e.effective_at, e.sequence) > (
                    coalesce(%(after_at)s::timestamptz, '-infinity'),
                    coalesce(%(after_sequence)s::int8, 0))
                AND e.sequence + 0 <= s.account_version AND e.effect IN ({_EFFECTS})
            ORDER BY e.effective_at, e.sequence
            LIMIT %(rows)s
        ) p
        WINDOW lines AS (ORDER BY p.effective_at, p.sequence ROWS UNBOUNDED PRECEDING)
    ) e
    {_TOLD}
    ORDER BY s.statement_id, e.position
"""  # noqa: S608  all of it is ours
LINES = _LINES.format(statements=_ONE)
"""The lines of one statement, stored or not, as `Line` and a NULL."""

LINES_OF_STATEMENTS = _LINES.format(statements=_STORED)
"""A page of each of the statements, as `Line` and the statement's id."""

ADJUSTMENTS = f"""
    SELECT {_ENTRY}, 0::int8, 0::numeric, 0::numeric
    FROM {_ONE} s
    CROSS JOIN LATERAL (
        SELECT e.* FROM entries e
        WHERE e.organization_id = %(organization)s AND e.account_id = s.account_id
            AND e.sequence > %(since)s AND e.sequence <= s.account_version
            AND e.effective_at < s.from_at AND e.effect IN ({_EFFECTS})
        ORDER BY e.sequence
        LIMIT %(rows)s
    ) e
    {_TOLD}
    ORDER BY e.sequence
"""  # noqa: S608  all of it is ours
"""The adjustments of one statement, as `Line`, behind the sequence `since`."""

_COLUMNS = f"""
    {", ".join(f"s.{name}" for name in rows.STORED_OF_STATEMENT)}, a.normal_balance, a.currency,
    a.exponent, a.external_id, p.content_hash, p.account_version
"""
_JOINS = """
    JOIN accounts a ON a.organization_id = s.organization_id AND a.account_id = s.account_id
    LEFT JOIN account_statements p ON p.organization_id = s.organization_id
        AND p.account_id = s.account_id AND p.number = s.previous_number
"""
ALL = f"SELECT {_COLUMNS}, s.organization_id FROM account_statements s {_JOINS}"  # noqa: S608
"""All statements of all organizations, as `Statement` and the organization's id."""

_SCHEDULED = f"""
    SELECT {_COLUMNS} FROM account_statements s {_JOINS}
    WHERE s.organization_id = %(organization)s AND s.account_id = %(account)s AND s.scheduled
        AND s.from_at = %(from_at)s AND s.to_at = %(to_at)s
"""  # noqa: S608  all of it is ours
_OF_KEY = f"""
    SELECT {_COLUMNS}
    FROM account_statements s {_JOINS}
    JOIN accounts wanted ON wanted.organization_id = s.organization_id
        AND wanted.account_id = %(account)s AND wanted.ledger_id = s.ledger_id
    JOIN ledgers l ON l.organization_id = s.organization_id AND l.ledger_id = s.ledger_id
        AND l.mode = %(mode)s AND (NOT %(restricted)s OR l.ledger_id = ANY(%(ledgers)s))
    WHERE s.organization_id = %(organization)s AND s.idempotency_key = %(key)s
"""  # noqa: S608  all of it is ours

_FACTS = (
    *("now", "archived", "last_number", "ledger_id", "ledger_sequence", "known_at"),
    *("organization_name", "ledger_name", "account_name", "account_version", "normal_balance"),
    *("currency", "exponent", "external_id", "previous_number", "previous_hash"),
    "previous_version",
)
_PRESENT = """
    SELECT clock_timestamp(), l.archived_at IS NOT NULL, coalesce((
            SELECT max(s.number) FROM account_statements s
            WHERE s.organization_id = a.organization_id AND s.account_id = a.account_id
        ), 0), l.ledger_id, l.last_sequence, l.last_recorded_at, o.name, l.name, a.name, a.version,
        a.normal_balance, a.currency, a.exponent, a.external_id, p.number, p.content_hash,
        p.account_version
    FROM accounts a
    JOIN ledgers l ON l.organization_id = a.organization_id AND l.ledger_id = a.ledger_id
        AND l.mode = %(mode)s AND (NOT %(restricted)s OR l.ledger_id = ANY(%(ledgers)s))
    JOIN organizations o ON o.organization_id = a.organization_id
    LEFT JOIN LATERAL (
        SELECT s.number, s.content_hash, s.account_version FROM account_statements s
        WHERE s.organization_id = a.organization_id AND s.account_id = a.account_id
            AND s.to_at = %(from_at)s
        ORDER BY s.number DESC LIMIT 1
    ) p ON true
    WHERE a.organization_id = %(organization)s AND a.account_id = %(account)s
"""
_LAST = """
    SELECT coalesce((
            SELECT max(s.number) FROM account_statements s
            WHERE s.organization_id = %(organization)s AND s.account_id = %(account)s
        ), 0), EXISTS (
            SELECT FROM account_statements s
            WHERE s.organization_id = %(organization)s AND s.ledger_id = %(ledger)s
                AND s.idempotency_key = %(key)s
        )
"""
_WRITTEN = ("organization_id", *rows.STORED_OF_STATEMENT, "idempotency_key")
_INSERT = f"""
    INSERT INTO account_statements ({", ".join(_WRITTEN)})
    VALUES ({", ".join(f"%({name})s" for name in _WRITTEN)})
"""  # noqa: S608  all of it is ours
