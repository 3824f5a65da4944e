"""A ledger on its way out of a database, and into another one.

`TABLES` has every table with rows of a ledger, in the order in which they can be inserted. What is
not of one ledger stays: the organization, and API keys but for the names of those that closed
periods, imported statements or reconciled them.

Rows travel as lines: JSON objects without the organization, with amounts in texts. PostgreSQL
writes and reads them, so nothing is lost on the way: a line that was read again is the same line.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal
from sqlalchemy import Column, Numeric, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from app.store.audit.verify import WHOLE_TABLES, check
from app.store.audit.verify_proofs import Checkpoint, check_proofs
from app.store.database import connection_info
from app.store.tables import metadata

FETCH_ROWS = 2000
UNLIMITED = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "10s",
}

Connection = psycopg.Connection[Any]

_OF_LEDGER = "r.ledger_id = %(ledger)s"
_OF_ACCOUNT = """
    r.account_id IN (SELECT account_id FROM accounts
        WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s)
"""
_OF_STATEMENT = """
    r.external_account_id IN (SELECT external_account_id FROM external_accounts
        WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s)
    AND r.external_statement_id IN (SELECT external_statement_id FROM external_statements
        WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s)
"""
_OF_RECONCILIATION = """
    r.reconciliation_id IN (SELECT reconciliation_id FROM reconciliations
        WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s)
"""


@dataclass(frozen=True, slots=True)
class Portable:
    """A table of a ledger: when a row `r` belongs to it, and in what order its rows are taken."""

    name: str
    order: str
    belongs: str = _OF_LEDGER

    @property
    def columns(self) -> Sequence[Column[Any]]:
        """All but the organization's."""
        columns = metadata.tables[self.name].columns
        return [column for column in columns if column.name != "organization_id"]


TABLES = (
    Portable("ledgers", "r.ledger_id"),
    Portable("currencies", "r.code"),
    Portable("accounts", "r.account_id"),
    Portable("velocity_limits", "r.account_id, r.name", _OF_ACCOUNT),
    Portable("transaction_templates", "r.code, r.version"),
    Portable("period_events", "r.number"),
    Portable("transactions", "r.sequence"),
    Portable("transaction_events", "r.transaction_sequence, r.number"),
    Portable("entries", "r.transaction_sequence, r.line"),
    Portable("template_uses", "r.transaction_sequence"),
    Portable("account_totals", "r.account_id, r.level, r.span, r.sequence", _OF_ACCOUNT),
    Portable("credit_lots", "r.account_id, r.number"),
    Portable("lot_movements", "r.account_id, r.sequence, r.lot_id", _OF_ACCOUNT),
    Portable("external_accounts", "r.external_account_id"),
    Portable("import_profiles", "r.name"),
    Portable("statement_imports", "r.import_id"),
    Portable("external_statements", "r.external_account_id, r.number"),
    Portable("statement_lines", "r.external_account_id, r.number", _OF_STATEMENT),
    Portable("statement_line_repeats", "r.external_statement_id, r.position", _OF_STATEMENT),
    Portable("reconciliations", "r.reconciliation_id"),
    Portable("reconciliation_runs", "r.run_id"),
    Portable("reconciliation_matches", "r.match_id"),
    Portable("reconciliation_match_lines", "r.match_id, r.number", _OF_RECONCILIATION),
    Portable("reconciliation_match_entries", "r.match_id, r.sequence", _OF_RECONCILIATION),
    Portable(
        "reconciliation_rejections",
        "r.reconciliation_id, r.number, r.sequence",
        _OF_RECONCILIATION,
    ),
    Portable("reconciliation_discrepancies", "r.discrepancy_id"),
    Portable("reconciliation_events", "r.reconciliation_id, r.number", _OF_RECONCILIATION),
    Portable("account_statements", "r.account_id, r.number"),
    Portable("statement_schedules", "r.schedule_id"),
    Portable("settlements", "r.account_id, r.number"),
    Portable("settlement_entries", "r.account_id, r.sequence, r.round", _OF_ACCOUNT),
    Portable("revisions", "r.number"),
    Portable("blocks", "r.number"),
)

STAYING = {
    "organizations": "a ledger goes to another one",
    "api_keys": "secrets stay; the names that are referred to are in the manifest",
    "api_key_ledgers": "who may see the ledger is for its new organization to say",
}
"""The other tables, and why they stay."""


class NotRestored(Exception):
    """An export cannot be restored; nothing was changed. The message says why."""


# ---- out -----------------------------------------------------------------------------------------


def homes_of(connection: Connection, ledger_id: UUID) -> list[UUID]:
    """The organizations that have a ledger of that id."""
    rows = connection.execute(
        "SELECT organization_id FROM ledgers WHERE ledger_id = %s ORDER BY 1", (ledger_id,)
    )
    return [organization_id for (organization_id,) in rows]


def name_of(connection: Connection, this: Mapping[str, UUID]) -> str:
    """A ledger's name."""
    ((name,),) = connection.execute(
        "SELECT name FROM ledgers WHERE organization_id = %(organization)s"
        " AND ledger_id = %(ledger)s",
        this,
    )
    return str(name)


def count(connection: Connection, table: Portable, this: Mapping[str, UUID]) -> int:
    """How many rows of a table are a ledger's."""
    ((rows,),) = connection.execute(f"SELECT count(*) {_rows_of(table)}", this)
    return int(rows)


def lines(connection: Connection, table: Portable, this: Mapping[str, UUID]) -> Iterator[str]:
    """A ledger's rows of a table, a line each."""
    pairs = ", ".join(f"'{c.name}', {_plain(c)}" for c in table.columns)
    for (line,) in _stream(connection, table, f"jsonb_build_object({pairs})::text", this):
        yield line


def records(
    connection: Connection, table: Portable, this: Mapping[str, UUID]
) -> Iterator[tuple[Any, ...]]:
    """A ledger's rows of a table, column by column: ids, totals and JSON as texts."""
    as_text = {
        column.name
        for column in table.columns
        if isinstance(column.type, Uuid | JSONB) or is_total(column)
    }
    chosen = ", ".join(
        f"r.{column.name}" + ("::text" if column.name in as_text else "")
        for column in table.columns
    )
    yield from _stream(connection, table, chosen, this)


def is_total(column: Column[Any]) -> bool:
    """Whether a column is of amounts that may be too long for the decimals of other programs."""
    return isinstance(column.type, Numeric) and (column.type.precision or 0) > 38


def api_key_names(connection: Connection, this: Mapping[str, UUID]) -> list[dict[str, Any]]:
    """The API keys that a ledger's rows name: id, name, mode and time of creation."""
    rows = connection.execute(_API_KEYS, this)
    return [
        {"id": str(key_id), "name": name, "mode": mode, "created_at": created_at.isoformat()}
        for key_id, name, mode, created_at in rows
    ]


def newest_checkpoint(connection: Connection, this: Mapping[str, UUID]) -> tuple[int, bytes] | None:
    """The number and hash of a ledger's newest block."""
    row: tuple[int, bytes] | None = connection.execute(
        "SELECT number, hash FROM blocks WHERE organization_id = %(organization)s"
        " AND ledger_id = %(ledger)s ORDER BY number DESC LIMIT 1",
        this,
    ).fetchone()
    return row


def schema_version(connection: Connection) -> str:
    """The last migration of the database."""
    ((version,),) = connection.execute("SELECT version_num FROM alembic_version")
    return str(version)


def _stream(
    connection: Connection, table: Portable, chosen: str, this: Mapping[str, UUID]
) -> Iterator[tuple[Any, ...]]:
    with connection.cursor(name=f"export_{table.name}") as cursor:
        cursor.itersize = FETCH_ROWS
        query = f"SELECT {chosen} {_rows_of(table)} ORDER BY {table.order}"
        yield from cursor.execute(query, this)


def _rows_of(table: Portable) -> str:
    return f"FROM {table.name} r WHERE r.organization_id = %(organization)s AND {table.belongs}"


def _plain(column: Column[Any]) -> str:
    return f"r.{column.name}" + ("::text" if isinstance(column.type, Numeric) else "")


_API_KEYS = """
    SELECT api_key_id, name, mode, created_at FROM api_keys
    WHERE organization_id = %(organization)s AND api_key_id IN (
        SELECT api_key_id FROM period_events
        WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s
        UNION SELECT api_key_id FROM statement_imports
        WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s
        UNION SELECT api_key_id FROM reconciliations
        WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s
        UNION SELECT api_key_id FROM reconciliation_runs
        WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s
        UNION SELECT v.api_key_id FROM reconciliation_events v
        JOIN reconciliations USING (organization_id, reconciliation_id)
        WHERE v.organization_id = %(organization)s AND ledger_id = %(ledger)s
    )
    ORDER BY api_key_id
"""

# ---- in ------------------------------------------------------------------------------------------


@contextmanager
def restoring(url: str, organization_id: UUID, ledger_id: UUID) -> Iterator["Restoration"]:
    """One transaction that a ledger is restored in; committed when the block ends.

    Raises NotRestored where the organization is missing, has such a ledger or is being given it.
    """
    info = connection_info(url, statement_seconds=60, **UNLIMITED)
    with psycopg.connect(info) as connection:
        connection.execute("SET LOCAL ledgers.restoring = 'on'")
        this = {"organization": organization_id, "ledger": ledger_id}
        ((is_alone,),) = connection.execute(_BE_ALONE, this)
        if not is_alone:
            raise NotRestored("another import of this ledger is under way; wait for what it says")
        ((is_there, is_taken),) = connection.execute(_TARGET, this)
        if not is_there:
            raise NotRestored(f"there is no organization {organization_id}")
        if is_taken:
            raise NotRestored("the organization has this ledger already")
        try:
            yield Restoration(connection, this)
        except psycopg.DataError as fault:
            raise NotRestored(f"a line is not a row of its table: {_first_line(fault)}") from fault
        except psycopg.IntegrityError as fault:
            raise NotRestored(f"a row must not be: {_first_line(fault)}") from fault


@dataclass(frozen=True, slots=True)
class Restoration:
    """The transaction. What it inserts is the ledger's, or refused."""

    connection: Connection
    this: Mapping[str, UUID]

    def add_api_keys(self, keys: Sequence[Mapping[str, Any]]) -> None:
        """Make the names of API keys known, as keys that nobody has and that are revoked."""
        for key in keys:
            secret = sha256(secrets.token_bytes(32)).digest()
            self.connection.execute(_INSERT_API_KEY, {**self.this, **key, "secret": secret})

    def insert(self, table: Portable, some: Sequence[str]) -> None:
        """Insert lines. All lines of a transaction's entries must come at once.

        Raises NotRestored, psycopg.Error.
        """
        names = ", ".join(column.name for column in table.columns)
        cursor = self.connection.execute(
            f"INSERT INTO {table.name} (organization_id, {names})"  # noqa: S608
            f" SELECT %(organization)s, {', '.join(f'r.{c.name}' for c in table.columns)}"
            " FROM unnest(%(lines)s::text[]) WITH ORDINALITY AS l (line, place)"
            f" CROSS JOIN LATERAL jsonb_populate_record(NULL::{table.name}, l.line::jsonb) r"
            f" WHERE {table.belongs} ORDER BY l.place",
            {**self.this, "lines": list(some)},
        )
        if cursor.rowcount != len(some):
            raise NotRestored(f"rows of {table.name} are not of this ledger")

    def check(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Refuse what breaks an invariant, or is not as it was sealed. Raises NotRestored.

        For the invariants temporary views stand before the tables: they see the ledger alone.
        """
        self.connection.execute("SAVEPOINT without_views")
        for statement in _views(self.this):
            self.connection.execute(statement)
        for name, value in {**WHOLE_TABLES, "enable_indexscan": "on"}.items():
            self.connection.execute(f"SET LOCAL {name} = '{value}'")
        found = list(check(self.connection, limit=3).violations)
        self.connection.execute("ROLLBACK TO without_views")
        only = self.this["organization"], self.this["ledger"]
        found += check_proofs(self.connection, checkpoints, only=only, limit=3).violations
        if found:
            first = found[0]
            raise NotRestored(f"{first.name}: {first.subject}: {first.detail}")


def _views(this: Mapping[str, UUID]) -> Iterator[Composed]:
    own = {table.name: table.belongs for table in TABLES}
    for name in metadata.tables:
        condition = own.get(name, "true").replace("FROM ", "FROM public.")
        yield SQL(
            "CREATE TEMPORARY VIEW {view} AS SELECT * FROM public.{table} r"
            " WHERE r.organization_id = {organization} AND {condition}"
        ).format(
            view=Identifier(name),
            table=Identifier(name),
            organization=Literal(this["organization"]),
            condition=SQL(condition.replace("%(", "{").replace(")s", "}")).format(
                organization=Literal(this["organization"]), ledger=Literal(this["ledger"])
            ),
        )


def _first_line(fault: psycopg.Error) -> str:
    return str(fault).partition("\n")[0]


_BE_ALONE = """
    SELECT pg_try_advisory_xact_lock(hashtextextended(
        concat(%(organization)s::uuid, %(ledger)s::uuid), 10
    ))
"""
_TARGET = """
    SELECT EXISTS (SELECT FROM organizations WHERE organization_id = %(organization)s),
        EXISTS (SELECT FROM ledgers
            WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s)
"""

_INSERT_API_KEY = """
    INSERT INTO api_keys (organization_id, api_key_id, name, mode, scopes, ledger_restricted,
        secret_hash, hint, created_at, expires_at, revoked_at)
    VALUES (%(organization)s, %(id)s, %(name)s, %(mode)s, '{}', true, %(secret)s, 'restored',
        %(created_at)s, NULL, clock_timestamp())
    ON CONFLICT (organization_id, api_key_id) DO NOTHING
"""
