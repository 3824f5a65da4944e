"""Does a database keep its promises? Every check of `invariants` over all of it, and a digest.

This is the one place that reads every organization's books at once: a row that was moved from one
tenant to another can only be missed, and met, by whoever sees both. Nothing of it is reachable from
the API; it is for the operator at the shell and for tests that have just broken something.

One REPEATABLE READ, read-only transaction sees one moment of the books, so a live server may go on
posting beside it. Statements aggregate inside the database and return violations only, so memory
is bounded here by `limit` and there by work_mem, beyond which sorts and hashes go to temporary
files. Indexes are not used: what they say of a table is one more thing that may be broken, and
whole-table scans with hash joins take time in proportion to the rows. Only the content of each
statement is looked up through them, in the end, when it is made anew to compare its hash.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import islice
from typing import Any
from uuid import UUID

import psycopg
from psycopg.conninfo import make_conninfo

from app.ledger.statements.statements import (
    ContentHash,
    Line,
    Statement,
    adjustment_record,
    line_record,
    statement_record,
)
from app.store.audit.invariants import CONTENT, INVARIANT_OF, PASSES, statement
from app.store.statements import statements

SESSION: dict[str, str] = {
    "role": "ledgers_reader",
    "timezone": "UTC",
    "datestyle": "ISO",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
WHOLE_TABLES: dict[str, str] = {
    "enable_indexscan": "off",
    "enable_indexonlyscan": "off",
    "enable_bitmapscan": "off",
    "enable_nestloop": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "work_mem": "64MB",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be. `invariant` is its number in the design's list."""

    invariant: int
    name: str
    organization_id: UUID
    ledger_id: UUID | None
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at and what was found; `complete` unless more was found than is listed."""

    organizations: int
    ledgers: int
    accounts: int
    transactions: int
    entries: int
    violations: tuple[Violation, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class Digest:
    """The fingerprint of all that a ledger had recorded up to and including a moment."""

    organization_id: UUID
    ledger_id: UUID
    upto: datetime
    transactions: int
    sha256: str


def verify(
    url: str, *, progress: Callable[[str, int, int], None] | None = None, limit: int = 100
) -> Report:
    """Check the whole database at a PostgreSQL URL; at most `limit` violations of each name.

    `progress` is told each pass before it runs: its title, its place from 0, how many there are.
    """
    with reading(url, WHOLE_TABLES) as connection:
        return check(connection, progress=progress, limit=limit)


def check(
    connection: psycopg.Connection[Any],
    *,
    progress: Callable[[str, int, int], None] | None = None,
    limit: int = 100,
) -> Report:
    """The same in a transaction that is open, over the tables as it sees them."""
    ((organizations, ledgers, accounts, transactions, entries),) = connection.execute(_COUNTS)
    violations: list[Violation] = []
    complete = True
    for place, one in enumerate(PASSES):
        if progress is not None:
            progress(one.title, place, len(PASSES))
        found: dict[str, int] = {}
        for name, *rest in connection.execute(statement(one), {"limit": limit + 1}):
            found[name] = found.get(name, 0) + 1
            if found[name] > limit:
                complete = False
            else:
                violations.append(Violation(INVARIANT_OF[name], name, *rest))
    broken = list(islice(_broken_statements(connection), limit + 1))
    complete = complete and len(broken) <= limit
    violations += broken[:limit]
    if progress is not None:
        progress("done", len(PASSES), len(PASSES))
    return Report(
        organizations, ledgers, accounts, transactions, entries, tuple(violations), complete
    )


def _broken_statements(connection: psycopg.Connection[Any]) -> Iterator[Violation]:
    """The statements whose entries and labels do not have the hash that they were given."""
    for name in ("enable_indexscan", "enable_nestloop"):
        connection.execute(f"SET LOCAL {name} = on")
    with connection.cursor(name="statements") as cursor:
        for *row, organization_id in cursor.execute(statements.ALL):
            statement = Statement._make(row)
            if _content_of(connection, organization_id, statement) != statement.content_hash:
                yield Violation(
                    CONTENT.invariant,
                    CONTENT.name,
                    organization_id,
                    statement.ledger_id,
                    f"statement {statement.account_id}/{statement.number}",
                    CONTENT.detail,
                )


def _content_of(
    connection: psycopg.Connection[Any], organization_id: UUID, statement: Statement
) -> bytes:
    content = ContentHash()
    given = {"organization": organization_id, **statements.given(statement), "rows": None}
    if statement.previous_version is not None:
        adjustments = {**given, "since": statement.previous_version}
        for line in _lines(connection, statements.ADJUSTMENTS, adjustments):
            content.add(adjustment_record(statement, line))
    for line in _lines(connection, statements.LINES, {**given, **statements.BEGINNING}):
        content.add(line_record(statement, line))
    content.add(statement_record(statement))
    return content.value()


def _lines(
    connection: psycopg.Connection[Any], query: str, given: dict[str, Any]
) -> Iterator[Line]:
    with connection.cursor(name="lines") as cursor:
        cursor.itersize = 10_000
        for row in cursor.execute(query, given):
            yield Line._make(row[: len(Line._fields)])


def digest(
    url: str, organization_id: UUID, ledger_id: UUID, upto: datetime | None = None
) -> Digest:
    """Fingerprint what a ledger recorded by `upto` (default: by now). The same for ever.

    SHA-256 over each row as PostgreSQL's binary record: every field is preceded by its type and
    length, so no two contents give the same bytes. Only what can never change goes in: of labels
    that were corrected their first values, and the corrections. A moment and not a number of
    transactions is the limit, because a hold that is settled later adds events and entries to an
    early transaction. Raises LookupError where the organization has no such ledger.
    """
    with reading(url, {}) as connection:
        this = {"organization": organization_id, "ledger": ledger_id}
        for (last_recorded_at,) in connection.execute(_LAST_RECORDED_AT, this):
            moment = upto or last_recorded_at
            total, transactions = sha256(), 0
            for kind, record in _records(connection, {**this, "upto": moment}):
                total.update(record)
                transactions += kind == "transaction"
            return Digest(organization_id, ledger_id, moment, transactions, total.hexdigest())
    raise LookupError(f"organization {organization_id} has no ledger {ledger_id}")


def _records(
    connection: psycopg.Connection[Any], parameters: dict[str, Any]
) -> Iterator[tuple[str, bytes]]:
    for kind, query in _RECORDED.items():
        with connection.cursor(name=kind) as cursor:
            cursor.itersize = 10_000
            for (record,) in cursor.execute(query, parameters):
                yield kind, record


@contextmanager
def reading(url: str, settings: dict[str, str]) -> Iterator[psycopg.Connection[Any]]:
    """One read-only snapshot as the reader's role, ended when the block ends."""
    options = " ".join(f"-c {name}={value}" for name, value in {**SESSION, **settings}.items())
    with psycopg.connect(
        make_conninfo(url, application_name="ledgers verify", options=options)
    ) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield connection
        connection.rollback()


_COUNTS = """
    SELECT (SELECT count(*) FROM organizations), (SELECT count(*) FROM ledgers),
        (SELECT count(*) FROM accounts), (SELECT count(*) FROM transactions),
        (SELECT count(*) FROM entries)
"""

_LAST_RECORDED_AT = """
    SELECT last_recorded_at FROM ledgers
    WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s
"""

_RECORDED = {
    "transaction": """
        SELECT record_send(row('transaction'::text, t.sequence, t.transaction_id,
            CASE WHEN first.description IS NULL THEN t.description
                ELSE first.description ->> 'before' END,
            t.external_id, coalesce(first.metadata -> 'before', t.metadata), t.effective_at,
            t.created_at))
        FROM transactions t
        LEFT JOIN LATERAL (
            SELECT (array_agg(changes -> 'description' ORDER BY number)
                    FILTER (WHERE changes ? 'description'))[1] AS description,
                (array_agg(changes -> 'metadata' ORDER BY number)
                    FILTER (WHERE changes ? 'metadata'))[1] AS metadata
            FROM transaction_events v
            WHERE v.organization_id = t.organization_id AND v.ledger_id = t.ledger_id
                AND v.transaction_sequence = t.sequence
        ) first ON true
        WHERE t.organization_id = %(organization)s AND t.ledger_id = %(ledger)s
            AND t.created_at <= %(upto)s
        ORDER BY t.sequence
    """,
    "terms": """
        SELECT record_send(row('terms'::text, sequence, reason, posts_at, expires_at,
            reverses_sequence))
        FROM transactions
        WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s
            AND created_at <= %(upto)s
            AND num_nonnulls(reason, posts_at, expires_at, reverses_sequence) > 0
        ORDER BY sequence
    """,
    "event": """
        SELECT record_send(row('event'::text, transaction_sequence, number, kind, idempotency_key,
            fingerprint, description, recorded_at))
        FROM transaction_events
        WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s
            AND recorded_at <= %(upto)s
        ORDER BY transaction_sequence, number
    """,
    "correction": """
        SELECT record_send(row('correction'::text, transaction_sequence, number, changes))
        FROM transaction_events
        WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s
            AND recorded_at <= %(upto)s AND changes IS NOT NULL
        ORDER BY transaction_sequence, number
    """,
    "entry": """
        SELECT record_send(row('entry'::text, e.transaction_sequence, e.line, e.event, e.account_id,
            e.sequence, a.normal_balance, a.currency, a.exponent, e.direction, e.effect, e.amount,
            e.posted_debits, e.posted_credits, e.pending_debits, e.pending_credits, e.effective_at,
            e.recorded_at, e.metadata))
        FROM entries e
        LEFT JOIN accounts a ON a.organization_id = e.organization_id
            AND a.account_id = e.account_id
        WHERE e.organization_id = %(organization)s AND e.ledger_id = %(ledger)s
            AND e.recorded_at <= %(upto)s
        ORDER BY e.transaction_sequence, e.line
    """,
    "lot": """
        SELECT record_send(row('lot'::text, v.transaction_sequence, v.account_id, v.number,
            v.lot_id, v.code, v.amount, v.expires_at, v.breakage_account_id))
        FROM credit_lots v
        JOIN transactions t ON t.organization_id = v.organization_id
            AND t.ledger_id = v.ledger_id AND t.sequence = v.transaction_sequence
        WHERE v.organization_id = %(organization)s AND v.ledger_id = %(ledger)s
            AND t.created_at <= %(upto)s
        ORDER BY v.account_id, v.number
    """,
    "movement": """
        SELECT record_send(row('movement'::text, m.account_id, m.sequence, m.lot_id, m.kind,
            m.amount))
        FROM lot_movements m
        JOIN entries e ON e.organization_id = m.organization_id
            AND e.account_id = m.account_id AND e.sequence = m.sequence
        WHERE e.organization_id = %(organization)s AND e.ledger_id = %(ledger)s
            AND e.recorded_at <= %(upto)s
        ORDER BY m.account_id, m.sequence, m.lot_id
    """,
}
