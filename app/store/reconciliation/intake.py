"""Statements on their way in: staged line by line, then stored by one transaction or not at all.

Lines are copied into a temporary table as they are read, however long that takes, and nobody sees
them. What follows is one transaction under the external account's lock:

1. a file, or a list of rows, whose content was stored before is recognised by its digest, and
   nothing is stored;
2. every line is given its fingerprint (`app/ledger/reconciliation`). Those that the account has
   already, or has earlier in the same file, are repeats: only the place is kept at which they
   stand. The others are numbered on from the account's last line;
3. statements, lines and repeats are inserted, and the import is completed.

So of two imports of one account the second sees all that the first has stored; there is no way to
store a line twice, and a unique violation would be a fault.

Whoever reads a file has its advisory lock until the session ends, from before the import's row is
there. Whoever gets that lock therefore knows the reader to be gone, whichever process and machine
it was in, and may say that the import has failed (`sweep`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
import psycopg
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from app.ledger.accounts.state import Scope
from app.ledger.reconciliation.outside import (
    FailureCode,
    ImportFailed,
    ImportStatus,
    Line,
    Statement,
)
from app.store.database import Connection, Database, Unavailable, tenancy, within
from app.store.reconciliation.outside import lock_external_account
from app.store.rows import ExternalAccountRow, ImportRow

PATIENCE_SECONDS = 600.0
"""How long one step of a file's import may take: a million lines are indexed by one statement."""

_STAGE = """
    CREATE TEMPORARY TABLE staged_lines (
        statement int4, position int8, source_line int8, booked_on date, value_on date,
        amount numeric, currency text, reference text, end_to_end_id text, counterparty text,
        description text, details jsonb, identity bytea
    );
    CREATE TEMPORARY TABLE placed_lines (
        statement int4, position int8, occurrence int4, fingerprint bytea, is_new bool, number int8
    )
"""
_UNSTAGE = "DROP TABLE staged_lines, placed_lines"
_COPY = """
    COPY staged_lines (statement, position, source_line, booked_on, value_on, amount, currency,
        reference, end_to_end_id, counterparty, description, details, identity) FROM STDIN
"""

_PLACE = """
    WITH occurring AS (
        SELECT statement, position, identity, (row_number() OVER (
            PARTITION BY statement, identity ORDER BY position))::int4 AS occurrence
        FROM staged_lines
    ), marked AS (
        SELECT statement, position, occurrence,
            sha256(identity || int4send(occurrence)) AS fingerprint
        FROM occurring
    ), judged AS (
        SELECT m.*, l.number AS known, l.number IS NULL AND row_number() OVER (
            PARTITION BY m.fingerprint ORDER BY m.statement, m.position) = 1 AS is_new
        FROM marked m
        LEFT JOIN statement_lines l ON l.organization_id = %(organization)s
            AND l.external_account_id = %(external_account)s AND l.fingerprint = m.fingerprint
            AND l.number > 0
    ), numbered AS (
        SELECT j.*, CASE WHEN is_new THEN %(last_line)s::int8 + row_number() OVER (
            PARTITION BY is_new ORDER BY statement, position) END AS new_number
        FROM judged j
    )
    INSERT INTO placed_lines (statement, position, occurrence, fingerprint, is_new, number)
    SELECT statement, position, occurrence, fingerprint, is_new, coalesce(known,
        first_value(new_number) OVER (PARTITION BY fingerprint ORDER BY statement, position))
    FROM numbered
"""

_INSERT_STATEMENTS = """
    INSERT INTO external_statements (organization_id, external_statement_id, ledger_id,
        external_account_id, import_id, number, reference, currency, from_date, through_date,
        opening_balance, closing_balance, line_count, line_total, known_count, created_at)
    SELECT %(organization)s, s.id, %(ledger)s, %(external_account)s, %(import)s,
        %(last_statement)s::int8 + s.place, s.reference, s.currency,
        coalesce(s.from_date, least(t.first, s.through_date)),
        coalesce(s.through_date, greatest(t.last, s.from_date)),
        s.opening_balance, s.closing_balance, coalesce(t.lines, 0), coalesce(t.total, 0),
        coalesce(t.known, 0), clock_timestamp()
    FROM unnest(%(ids)s::uuid[], %(references)s::text[], %(currencies)s::text[],
        %(from_dates)s::date[], %(through_dates)s::date[], %(opening)s::numeric[],
        %(closing)s::numeric[]) WITH ORDINALITY
        AS s (id, reference, currency, from_date, through_date, opening_balance, closing_balance,
            place)
    LEFT JOIN (
        SELECT l.statement, count(*) AS lines, count(*) FILTER (WHERE NOT p.is_new) AS known,
            min(l.booked_on) AS first, max(l.booked_on) AS last,
            sum(l.amount) FILTER (
                WHERE l.currency = (%(currencies)s::text[])[l.statement]) AS total
        FROM staged_lines l JOIN placed_lines p USING (statement, position)
        GROUP BY l.statement
    ) t ON t.statement = s.place
"""

_INSERT_LINES = """
    INSERT INTO statement_lines (organization_id, external_account_id, number,
        external_statement_id, position, source_line, booked_on, value_on, amount, currency,
        reference, end_to_end_id, counterparty, description, details, fingerprint, occurrence)
    SELECT %(organization)s, %(external_account)s, p.number, (%(ids)s::uuid[])[l.statement],
        l.position, l.source_line, l.booked_on, l.value_on, l.amount, l.currency, l.reference,
        l.end_to_end_id, l.counterparty, l.description, l.details, p.fingerprint, p.occurrence
    FROM placed_lines p JOIN staged_lines l USING (statement, position)
    WHERE p.is_new
    ORDER BY p.number
"""

_INSERT_REPEATS = """
    INSERT INTO statement_line_repeats (organization_id, external_statement_id, position,
        external_account_id, number)
    SELECT %(organization)s, (%(ids)s::uuid[])[statement], position, %(external_account)s, number
    FROM placed_lines WHERE NOT is_new
"""

_COUNT_ON = """
    UPDATE external_accounts SET last_statement = last_statement + %(statements)s,
        last_line = last_line + %(new)s
    WHERE organization_id = %(organization)s AND external_account_id = %(external_account)s
"""

_IMPORT_COLUMNS = ", ".join(ImportRow._fields)
_INSERT_IMPORT = f"""
    INSERT INTO statement_imports (organization_id, import_id, ledger_id, external_account_id,
        api_key_id, format, source_name, definition, status, bytes_total, bytes_read, lines_read,
        lines_new, lines_known, lines_skipped, created_at)
    VALUES (%(organization)s, %(import)s, %(ledger)s, %(external_account)s, %(api_key)s, %(format)s,
        %(source_name)s, %(definition)s, 'importing', %(bytes_total)s, 0, 0, 0, 0, 0,
        clock_timestamp())
    RETURNING {_IMPORT_COLUMNS}
"""  # noqa: S608  nothing from outside comes near it
_FIND_CONTENT = f"""
    SELECT {_IMPORT_COLUMNS} FROM statement_imports
    WHERE organization_id = %(organization)s AND external_account_id = %(external_account)s
        AND content_hash = %(content_hash)s AND status = 'completed'
"""  # noqa: S608
_END = f"""
    UPDATE statement_imports SET status = %(status)s, content_hash = %(content_hash)s,
        original_import_id = %(original)s, lines_new = %(new)s,
        lines_known = %(known)s, lines_skipped = %(skipped)s, bytes_read = %(bytes_read)s,
        lines_read = %(lines_read)s, finished_at = clock_timestamp()
    WHERE organization_id = %(organization)s AND import_id = %(import)s AND status = 'importing'
    RETURNING {_IMPORT_COLUMNS}
"""  # noqa: S608
_FAIL = f"""
    UPDATE statement_imports SET status = 'failed', failure_code = %(code)s,
        failure_message = %(message)s, failure_line = %(line)s, failure_column = %(column)s,
        bytes_read = %(bytes_read)s, lines_read = %(lines_read)s, finished_at = clock_timestamp()
    WHERE organization_id = %(organization)s AND import_id = %(import)s AND status = 'importing'
    RETURNING {_IMPORT_COLUMNS}
"""  # noqa: S608
_PROGRESS = """
    UPDATE statement_imports SET bytes_read = %(bytes_read)s, lines_read = %(lines_read)s
    WHERE organization_id = %(organization)s AND import_id = %(import)s AND status = 'importing'
"""

_NULL = r"\N"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})

_LOCK_KEY = "hashtextextended({}::text, 9)"
_HOLD = f"SELECT pg_advisory_lock({_LOCK_KEY.format('%(import)s')})"
_UNDER_WAY = "SELECT organization_id, import_id FROM statement_imports WHERE status = 'importing'"
_SWEEP = f"""
    UPDATE statement_imports SET status = 'failed', failure_code = %(code)s,
        failure_message = %(message)s, finished_at = clock_timestamp()
    WHERE organization_id = %(organization)s AND import_id = %(import)s AND status = 'importing'
        AND pg_try_advisory_xact_lock({_LOCK_KEY.format("import_id")})
"""  # noqa: S608
LOST = "The server that read it has ended before it was done; send it again."


@dataclass(frozen=True, slots=True)
class NewImport:
    """What is to come in: for which account, by which key, as what."""

    scope: Scope
    api_key_id: UUID
    external_account_id: UUID
    format: str
    source_name: str | None = None
    definition: Mapping[str, Any] | None = None
    bytes_total: int | None = None


@dataclass(slots=True)
class Read:
    """How much of a file was read."""

    bytes: int = 0
    lines: int = 0
    skipped: int = 0


async def import_rows(
    connection: Connection,
    new: NewImport,
    statement: Statement,
    lines: Sequence[Line],
    content_hash: bytes,
) -> tuple[ImportRow, bool]:
    """Store one statement with these lines; the import, and whether it was stored before.

    Raises ExternalAccountNotFound, LedgerArchived.
    """
    account = await lock_external_account(connection, new.scope, new.external_account_id)
    found = await _find_content(connection, new, content_hash)
    if found is not None:
        return found, True
    row = await _insert_import(connection, new, account, uuid7())
    await connection.execute(_STAGE)
    await _copy(connection, copied((1, place, line) for place, line in enumerate(lines, 1)))
    done = await _store(connection, new, account, row.import_id, [statement])
    await connection.execute(_UNSTAGE)
    read = Read(lines=len(lines))
    return await _end(connection, new, row.import_id, read, content_hash, lines=done), False


@dataclass(slots=True)
class Intake:
    """One file on its way in, on a connection of its own. Closing it gives up what is not stored.

    `read` is for whoever reads to keep up; `show_progress` makes it visible.
    """

    database: Database
    new: NewImport
    account: ExternalAccountRow
    row: ImportRow
    connection: Connection
    read: Read = field(default_factory=Read)

    @classmethod
    async def begin(cls, database: Database, new: NewImport) -> "Intake":
        """Begin an import that everybody can see from now on.

        Raises ExternalAccountNotFound, LedgerArchived, Unavailable.
        """
        with _answering():
            connection = await database.connect(patience=PATIENCE_SECONDS)
        try:
            with _answering(), within(connection, PATIENCE_SECONDS):
                await sweep(connection)
                import_id = uuid7()
                await connection.execute(_HOLD, {"import": import_id})
                async with connection.transaction():
                    account = await lock_external_account(
                        connection, new.scope, new.external_account_id
                    )
                    row = await _insert_import(connection, new, account, import_id)
                await connection.execute(_STAGE)
        except BaseException:
            await connection.close()
            raise
        return cls(database, new, account, row, connection)

    async def stage(self, lines: bytes) -> None:
        """Add lines, as `copied` has them. Raises Unavailable."""
        with _answering(), within(self.connection, PATIENCE_SECONDS):
            await _copy(self.connection, lines)

    async def show_progress(self) -> None:
        """Let others see how much was read."""
        async with self.database.writing() as connection:
            await connection.execute(_PROGRESS, {**self._this, **self._counted})

    async def store(self, statements: Sequence[Statement], content_hash: bytes) -> ImportRow:
        """Store all that was staged, unless the same file was stored before.

        Raises ExternalAccountNotFound, LedgerArchived, Unavailable.
        """
        new, connection = self.new, self.connection
        with _answering(), within(connection, PATIENCE_SECONDS):
            async with connection.transaction():
                account = await lock_external_account(
                    connection, new.scope, new.external_account_id
                )
                import_id = self.row.import_id
                found = await _find_content(connection, new, content_hash)
                if found is not None:
                    return await _end(
                        connection,
                        new,
                        import_id,
                        self.read,
                        content_hash,
                        original=found.import_id,
                    )
                await connection.execute("ANALYZE staged_lines")
                done = await _store(connection, new, account, import_id, statements)
                return await _end(connection, new, import_id, self.read, content_hash, lines=done)

    async def fail(self, failure: ImportFailed) -> ImportRow | None:
        """Say why nothing of it is stored; None where that was said already."""
        async with self.database.writing() as connection:
            cursor = await connection.execute(
                _FAIL,
                {
                    **self._this,
                    **self._counted,
                    "code": failure.code.value,
                    "message": failure.message,
                    "line": failure.line,
                    "column": failure.column,
                },
            )
            found = await cursor.fetchone()
        return None if found is None else ImportRow._make(found)

    async def close(self) -> None:
        """End the session, and with it the lock and what was staged."""
        with suppress(psycopg.Error):
            await self.connection.close()

    @property
    def _this(self) -> dict[str, Any]:
        return {"import": self.row.import_id, **tenancy(self.new.scope)}

    @property
    def _counted(self) -> dict[str, int]:
        return {"bytes_read": self.read.bytes, "lines_read": self.read.lines}


def copied(lines: Iterable[tuple[int, int, Line]]) -> bytes:
    """Lines as COPY takes them, each with its statement's number in the file and its place there.

    This is work: where the lines are many, it belongs on a thread.
    """
    return "".join(
        "\t".join(
            _NULL if value is None else value
            for value in (
                str(statement),
                str(position),
                None if line.source_line is None else str(line.source_line),
                line.booked_on.isoformat(),
                None if line.value_on is None else line.value_on.isoformat(),
                str(line.amount),
                line.currency,
                _escaped(line.reference),
                _escaped(line.end_to_end_id),
                _escaped(line.counterparty),
                _escaped(line.description),
                None if line.details is None else _escaped(orjson.dumps(line.details).decode()),
                f"\\\\x{line.identity().hex()}\n",
            )
        )
        for statement, position, line in lines
    ).encode()


def _escaped(text: str | None) -> str | None:
    return text if text is None else text.translate(_ESCAPES)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except psycopg.OperationalError as fault:
        raise Unavailable("The database did not answer; try again later.") from fault


async def sweep(connection: Connection) -> None:
    """Let imports fail whose reader is gone; of all tenants, for any of them may be told of it."""
    cursor = await connection.execute(_UNDER_WAY)
    for organization_id, import_id in await cursor.fetchall():
        await connection.execute(
            _SWEEP,
            {
                "organization": organization_id,
                "import": import_id,
                "code": FailureCode.INTERRUPTED.value,
                "message": LOST,
            },
        )


async def sweep_all(database: Database) -> None:
    """The same, where a server starts."""
    async with database.writing() as connection:
        await sweep(connection)


async def _insert_import(
    connection: Connection,
    new: NewImport,
    account: ExternalAccountRow,
    import_id: UUID,
) -> ImportRow:
    cursor = await connection.execute(
        _INSERT_IMPORT,
        {
            "organization": new.scope.organization_id,
            "import": import_id,
            "ledger": account.ledger_id,
            "external_account": account.external_account_id,
            "api_key": new.api_key_id,
            "format": new.format,
            "source_name": new.source_name,
            "definition": None if new.definition is None else Jsonb(new.definition),
            "bytes_total": new.bytes_total,
        },
    )
    return ImportRow._make((await cursor.fetchall())[0])


async def _find_content(
    connection: Connection, new: NewImport, content_hash: bytes
) -> ImportRow | None:
    cursor = await connection.execute(
        _FIND_CONTENT,
        {
            "external_account": new.external_account_id,
            "content_hash": content_hash,
            **tenancy(new.scope),
        },
    )
    found = await cursor.fetchone()
    return None if found is None else ImportRow._make(found)


async def _copy(connection: Connection, lines: bytes) -> None:
    async with connection.cursor().copy(_COPY) as copy:
        await copy.write(lines)


async def _store(
    connection: Connection,
    new: NewImport,
    account: ExternalAccountRow,
    import_id: UUID,
    statements: Sequence[Statement],
) -> tuple[int, int]:
    """Insert what is staged; how many lines are new, and how many are repeats."""
    ids = [uuid7() for _ in statements]
    parameters = {
        "import": import_id,
        "ledger": account.ledger_id,
        "external_account": account.external_account_id,
        "last_statement": account.last_statement,
        "last_line": account.last_line,
        "ids": ids,
        "references": [statement.reference for statement in statements],
        "currencies": [statement.currency for statement in statements],
        "from_dates": [statement.from_date for statement in statements],
        "through_dates": [statement.through_date for statement in statements],
        "opening": [statement.opening_balance for statement in statements],
        "closing": [statement.closing_balance for statement in statements],
        "statements": len(statements),
        **tenancy(new.scope),
    }
    await connection.execute(_PLACE, parameters)
    await connection.execute("ANALYZE placed_lines")
    await connection.execute(_INSERT_STATEMENTS, parameters)
    inserted = await connection.execute(_INSERT_LINES, parameters)
    repeated = await connection.execute(_INSERT_REPEATS, parameters)
    await connection.execute(_COUNT_ON, {**parameters, "new": inserted.rowcount})
    return inserted.rowcount, repeated.rowcount


async def _end(
    connection: Connection,
    new: NewImport,
    import_id: UUID,
    read: Read,
    content_hash: bytes,
    *,
    lines: tuple[int, int] = (0, 0),
    original: UUID | None = None,
) -> ImportRow:
    """Complete an import; with an `original`, say that this one has stored the same before."""
    status = ImportStatus.COMPLETED if original is None else ImportStatus.RECOGNISED
    cursor = await connection.execute(
        _END,
        {
            "import": import_id,
            "status": status.value,
            "content_hash": content_hash,
            "original": original,
            "new": lines[0],
            "known": lines[1],
            "skipped": read.skipped,
            "bytes_read": read.bytes,
            "lines_read": read.lines,
            **tenancy(new.scope),
        },
    )
    return ImportRow._make((await cursor.fetchall())[0])
