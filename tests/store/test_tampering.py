"""Whatever a superuser changes of a sealed ledger is found: every column of every table, by name.

Nothing guards the database any more: triggers, constraints and unique indexes are gone. Each change
is made in a transaction that is rolled back after the checks have looked at it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from alembic import command
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Integer,
    LargeBinary,
    Numeric,
    Text,
    Uuid,
    create_engine,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.engine import make_url
from sqlmodel import SQLModel

from app.ledger.accounts.administration import SetVelocityLimit
from app.ledger.accounts.velocities import Window
from app.ledger.proofs import Header, header_hash, root_of
from app.store.accounts import velocities
from app.store.audit import sealing
from app.store.audit.portable import STAYING, TABLES
from app.store.audit.sealing import HEADER, REVISED, hashes_of, header_of
from app.store.audit.verify import WHOLE_TABLES, Violation, check
from app.store.audit.verify_proofs import Checkpoint, check_proofs, verify_proofs
from app.store.migrate import _config, migrate
from tests.conftest import empty_database

from .books import CREDIT, DEBIT, Books, write_books, writing
from .desk import reconcile_bank
from .test_verify import DISARM

BEFORE = "0011"
REFUSED = "what the schedule keeps of its last attempt; it decides nothing"
TOLD_ONCE = "nothing else tells it: it decides no amount and no match"
OUTSIDE = "what others say of our money: the outside party has the original"

NOT_COVERED: dict[str, str] = {
    "transactions.due_at": "when the schedule looks again; never, and too late, are found",
    "transactions.due_attempts": REFUSED,
    "transactions.refusal_code": REFUSED,
    "transactions.refusal_message": REFUSED,
    "transactions.refused_at": REFUSED,
    "credit_lots.due_at": "when the schedule looks again; never, and too early, are found",
    "credit_lots.due_attempts": REFUSED,
    "credit_lots.refusal_code": REFUSED,
    "credit_lots.refusal_message": REFUSED,
    "credit_lots.refused_at": REFUSED,
    "ledgers.last_recorded_at": "a clock that may be ahead of the last event; behind is found",
    "velocity_limits.counted_from": "where counting began; the usage since then is checked",
    "velocity_limits.counted_after": "where counting began; the usage since then is checked",
    "external_accounts.last_statement": "a counter of what others say",
    "external_accounts.last_line": "a counter of what others say",
    "reconciliations.time_zone": "where a day begins; one that does not exist is an error",
    "reconciliations.from_date": "found where a line or an entry is in the days no more, or anew",
    "reconciliations.examined_line": "found where a line of the days is behind it, or anew before",
    "reconciliation_rejections.number": "found where there is no such line",
    "reconciliation_rejections.sequence": "found where there is no such entry",
    "settlements.up_to": "found where an entry that it took is not before it",
    **dict.fromkeys(
        (
            *("reconciliations.name", "reconciliations.margin_days", "reconciliations.rules"),
            "reconciliations.counts",  # a figure more
            *("reconciliation_runs.requested_at", "reconciliation_runs.started_at"),
            "reconciliation_runs.finished_at",
            *("reconciliation_matches.score", "reconciliation_matches.days"),
            *("reconciliation_events.reason", "reconciliation_events.details"),
            *("account_statements.scheduled", "account_statements.idempotency_key"),
            *("account_statements.created_at", "settlements.open_from"),
        ),
        TOLD_ONCE,
    ),
    **{
        f"statement_schedules.{column.name}": TOLD_ONCE
        for column in SQLModel.metadata.tables["statement_schedules"].columns
    },
    **{
        f"{name}.{column.name}": OUTSIDE
        for name in (
            *("statement_imports", "external_statements", "statement_lines"),
            "statement_line_repeats",
        )
        for column in SQLModel.metadata.tables[name].columns
    },
}
"""The columns whose change may go unnoticed, each with the reason."""

CHANGES: dict[type, str] = {
    JSONB: """coalesce({0}, '{{}}') || '{{"tampered": 1}}'""",
    TIMESTAMP: "coalesce({0}, now()) + interval '1 microsecond'",
    Boolean: "NOT {0}",
    Uuid: "gen_random_uuid()",
    LargeBinary: "sha256(coalesce({0}, ''))",
    Date: "{0} + 1",
    Numeric: "coalesce({0}, 0) + 1",
    Integer: "coalesce({0}, 0) + 1",
    BigInteger: "coalesce({0}, 0) + 1",
    Text: "coalesce({0}, '') || 'x'",
}

MORE = """
    INSERT INTO transaction_templates
    VALUES ('{organization}', gen_random_uuid(), 1, '{ledger}', 'sale', NULL, '{{}}', now(), NULL,
        NULL);
    INSERT INTO template_uses VALUES ('{organization}', '{ledger}', 1, 'sale', 1, '{{"a": "1"}}');
    INSERT INTO external_accounts
    VALUES ('{organization}', gen_random_uuid(), '{ledger}', '{account}', 'Bank', 'bank', 'DE1',
        false, '{{}}', now(), 0, 0);
    INSERT INTO import_profiles
    VALUES ('{organization}', '{ledger}', 'csv', '{{"comma": ";"}}', now(), now());
"""


@pytest.fixture(scope="module")
def sealed(server_url: str, template: str) -> Iterator[tuple[str, Books]]:
    """The address of books with something in every table, sealed, and nothing that guards them."""
    name = "ledgers_tampering_" + template.rpartition("_")[2].partition("?")[0]
    origin = str(conninfo_to_dict(template)["dbname"])
    create = SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(origin))
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(create)
        url = make_conninfo(server_url, dbname=name)
        yield url, asyncio.run(_fill(url))
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


async def _fill(url: str) -> Books:
    books = await write_books(url)
    await reconcile_bank(url, books)
    main = books.main
    organization_id, wallet = main.scope.organization_id, main.accounts["wallet"]
    async with writing(url) as (database, writer):
        async with database.writing() as connection:
            limit = SetVelocityLimit(main.scope, wallet, "daily", Window(seconds=60), 10**6)
            await velocities.set_velocity_limit(connection, limit)
            await connection.execute(
                MORE.format(organization=organization_id, ledger=main.ledger_id, account=wallet)
            )
        async with await database.connect() as connection:
            assert await sealing.seal(connection, organization_id, main.ledger_id) > 20
            for amount in (1, 2, 3, 4):
                lines = (("cash", DEBIT, amount), ("wallet", CREDIT, amount))
                await writer.write(main.post(f"more {amount}", *lines))
                assert await sealing.seal(connection, organization_id, main.ledger_id) == 1
            for other in await sealing.unsealed(connection):
                await sealing.seal(connection, *other)
    with psycopg.connect(url) as connection:
        connection.execute(DISARM)
    return books


@contextmanager
def tampering(sealed: tuple[str, Books]) -> Iterator[psycopg.Connection[Any]]:
    """A superuser's session, of which nothing stays."""
    options = " ".join(f"-c {name}={value}" for name, value in WHOLE_TABLES.items())
    with psycopg.connect(sealed[0], options=f"-c timezone=UTC {options}") as connection:
        yield connection
        connection.rollback()


def found(
    connection: psycopg.Connection[Any], checkpoints: Sequence[Checkpoint] = ()
) -> list[Violation]:
    """What the proofs bring up; if nothing, what the invariants do."""
    violations = check_proofs(connection, checkpoints).violations
    return violations or list(check(connection).violations)


def names(violations: Sequence[Violation]) -> set[str]:
    return {violation.name for violation in violations}


def change_of(column: Column[Any]) -> str:
    kinds = (CHANGES[kind] for kind in CHANGES if isinstance(column.type, kind))
    return next(kinds).format(column.name)


COLUMNS = [
    (table.name, column)
    for table in TABLES
    for column in SQLModel.metadata.tables[table.name].columns
]


def test_what_is_not_covered_is_a_column() -> None:
    """The list names nothing that does not exist, and no table that stays."""
    assert NOT_COVERED.keys() <= {f"{name}.{column.name}" for name, column in COLUMNS}
    assert not STAYING.keys() & {name for name, _ in COLUMNS}


def test_untouched_it_is_whole(sealed: tuple[str, Books]) -> None:
    """Nothing is found where nothing was done, and nothing is left to be sealed."""
    with tampering(sealed) as connection:
        report = check_proofs(connection)
        assert report.violations == []
        assert check(connection).violations == ()
        ((events, revisions),) = connection.execute(
            "SELECT (SELECT count(*) FROM transaction_events), (SELECT count(*) FROM revisions)"
        )
        assert report.leaves == events + revisions
        assert (report.ledgers, report.blocks) == (7, 11)


@pytest.mark.parametrize(
    ("table", "column"), COLUMNS, ids=[f"{name}.{column.name}" for name, column in COLUMNS]
)
def test_every_changed_column_is_found(
    table: str, column: Column[Any], sealed: tuple[str, Books]
) -> None:
    """Another value in one column of one row: found, unless the list says why not."""
    if f"{table}.{column.name}" in NOT_COVERED:
        pytest.skip(NOT_COVERED[f"{table}.{column.name}"])
    with tampering(sealed) as connection:
        changed = connection.execute(
            f"UPDATE {table} SET {column.name} = {change_of(column)}"
            f" WHERE ctid = (SELECT min(ctid) FROM {table})"
        ).rowcount
        assert changed == 1
        assert found(connection)


OUTSIDE_TABLES = {
    "statement_schedules",
    *(name.partition(".")[0] for name, reason in NOT_COVERED.items() if reason == OUTSIDE),
}
GONE_UNSEEN = {
    "account_totals",  # those that are missing are added again from the entries
    "account_statements",  # the last of an account
    "reconciliation_rejections",
    "reconciliation_runs",  # that are not done yet
}


@pytest.mark.parametrize(
    "table",
    [t.name for t in TABLES if t.name not in OUTSIDE_TABLES | GONE_UNSEEN],
)
def test_every_deleted_row_is_found(table: str, sealed: tuple[str, Books]) -> None:
    """Any one row that is gone is missed; of blocks, one that others follow."""
    with tampering(sealed) as connection:
        rows = connection.execute(f"SELECT ctid FROM {table} ORDER BY ctid LIMIT 12").fetchall()
        assert rows
        for (row,) in rows:
            connection.execute("SAVEPOINT before")
            connection.execute(f"DELETE FROM {table} WHERE ctid = %s", (row,))
            if table == "blocks":
                ((followed,),) = connection.execute(_HOLES)
                assert followed == bool(found(connection))
            else:
                assert found(connection)
            connection.execute("ROLLBACK TO before")


_HOLES = "SELECT EXISTS (SELECT FROM blocks GROUP BY ledger_id HAVING max(number) <> count(*))"


@pytest.mark.parametrize("table", [t.name for t in TABLES if t.name not in OUTSIDE_TABLES])
def test_every_added_row_is_found(table: str, sealed: tuple[str, Books]) -> None:
    """A row that is there twice is one too many."""
    with tampering(sealed) as connection:
        connection.execute(f"INSERT INTO {table} SELECT * FROM {table} ORDER BY ctid LIMIT 1")
        assert found(connection)


def test_a_change_is_told_where_it_is(sealed: tuple[str, Books]) -> None:
    """By ledger, block, transaction and event; a revised row by its column."""
    main = sealed[1].main
    with tampering(sealed) as connection:
        connection.execute(
            "UPDATE transaction_events SET description = 'x'"
            " WHERE ledger_id = %s AND transaction_sequence = 4 AND number = 2",
            (main.ledger_id,),
        )
        connection.execute(
            "UPDATE accounts SET name = 'x', available_floor = 7 WHERE account_id = %s",
            (main.accounts["wallet"],),
        )
        told = [(v.name, v.ledger_id, v.subject, v.detail) for v in found(connection)]
    wallet = f"accounts {main.accounts['wallet']}"
    columns = "changed since its last revision: available_floor, name"
    assert told == [
        ("ROW_NOT_AS_REVISED", main.ledger_id, wallet, columns),
        ("EVENT_NOT_AS_SEALED", main.ledger_id, "event 4/2", "block 1 has no such leaf"),
        ("LEAVES_MISSING", main.ledger_id, "block 1", "1 of its leaves are in no table"),
    ]


def _reseal(connection: psycopg.Connection[Any], ledger_id: UUID, first: int) -> None:
    """Forge all blocks of a ledger from one on, so that they agree with each other again."""
    rows = connection.execute(
        f"SELECT b.leaf_hashes, {HEADER} FROM blocks b WHERE b.ledger_id = %s ORDER BY b.number",
        (ledger_id,),
    ).fetchall()
    hashes: dict[int, bytes] = {}
    for leaf_hashes, *columns in rows:
        old = header_of(ledger_id, columns)
        leaves = hashes_of(leaf_hashes)
        header = Header(
            ledger_id,
            old.number,
            old.first_leaf,
            old.leaves,
            old.revisions,
            old.transactions,
            old.last,
            root_of(leaves),
            hashes.get(old.number - 1),
            hashes.get(old.number & (old.number - 1)),
            old.sealed_at,
        )
        hashes[old.number] = header_hash(header.text())
        if old.number >= first:
            connection.execute(
                "UPDATE blocks SET root = %s, previous = %s, skip = %s, hash = %s"
                " WHERE ledger_id = %s AND number = %s",
                (
                    *(header.root, header.previous, header.skip, hashes[old.number]),
                    *(ledger_id, old.number),
                ),
            )


def _published(connection: psycopg.Connection[Any], ledger_id: UUID) -> list[Checkpoint]:
    rows = connection.execute(
        "SELECT number, hash FROM blocks WHERE ledger_id = %s ORDER BY number", (ledger_id,)
    )
    return [Checkpoint(ledger_id, number, kept) for number, kept in rows]


def test_a_forged_chain_is_found_by_a_checkpoint(sealed: tuple[str, Books]) -> None:
    """Who changes a leaf, its hash and every block from there on is found by what was published."""
    ledger_id = sealed[1].main.ledger_id
    with tampering(sealed) as connection:
        published = _published(connection, ledger_id)
        assert [checkpoint.block for checkpoint in published] == [1, 2, 3, 4, 5]
        assert check_proofs(connection, published).violations == []
        connection.execute(
            "UPDATE transaction_events SET description = 'x'"
            " WHERE ledger_id = %s AND transaction_sequence = 11",
            (ledger_id,),
        )
        leaf = sealing.event_leaves(
            "SELECT * FROM transaction_events"
            " WHERE ledger_id = %(ledger)s AND transaction_sequence = 11"
        )
        organization_id = sealed[1].main.scope.organization_id
        ((forged,),) = connection.execute(
            f"SELECT {sealing.HASHED} FROM ({leaf}) leaf",
            {"organization": organization_id, "ledger": ledger_id},
        )
        connection.execute(
            "UPDATE blocks SET leaf_hashes = %s WHERE ledger_id = %s AND number = 3",
            (forged, ledger_id),
        )
        assert names(found(connection)) == {"BLOCK_ROOT_WRONG"}
        connection.execute("SAVEPOINT half")
        _reseal(connection, ledger_id, 3)
        assert found(connection) == []
        wrong = check_proofs(connection, published).violations
        assert [(v.name, v.subject) for v in wrong] == [
            ("CHECKPOINT_WRONG", f"block {number}") for number in (3, 4, 5)
        ]
        assert check_proofs(connection, published[:2]).violations == []


def test_blocks_that_are_cut_off_are_found_by_a_checkpoint(sealed: tuple[str, Books]) -> None:
    """The chain alone cannot say how long it was; a checkpoint can."""
    ledger_id = sealed[1].main.ledger_id
    with tampering(sealed) as connection:
        published = _published(connection, ledger_id)
        connection.execute("DELETE FROM blocks WHERE ledger_id = %s AND number > 3", (ledger_id,))
        assert found(connection) == []
        assert names(found(connection, published[3:4])) == {"CHECKPOINT_MISSING"}


def test_a_limit_bounds_each_name(sealed: tuple[str, Books]) -> None:
    """No report is longer than asked for, and it says what it left out."""
    with tampering(sealed) as connection:
        connection.execute("UPDATE transaction_events SET description = 'x'")
        report = check_proofs(connection, limit=2)
    assert not report.complete
    assert [v.name for v in report.violations].count("EVENT_NOT_AS_SEALED") == 2


def test_progress_is_told_by_block(sealed: tuple[str, Books]) -> None:
    """How many of how many."""
    calls: list[tuple[int, int]] = []
    verify_proofs(sealed[0], progress=lambda *call: calls.append(call))
    assert calls == [(number, 11) for number in range(1, 12)]


TRIGGERS = """
    SELECT tgrelid::regclass::text, tgargs,
        ARRAY(SELECT attname::text FROM pg_attribute
            WHERE attrelid = tgrelid AND attnum = ANY (tgattr))
    FROM pg_trigger WHERE tgname LIKE '%\\_revised' AND tgenabled = 'O'
"""


def test_triggers_keep_what_the_list_says(database_url: str) -> None:
    """Tables, keys and columns of the migrations are those that are checked."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(TRIGGERS).fetchall()
    assert {
        name: tuple(tuple(part.decode().split()) for part in arguments.split(b"\0")[:2])
        for name, arguments, _ in rows
    } == REVISED
    assert {name: set(columns) for name, _, columns in rows} == {
        name: set(kept) for name, (_, kept) in REVISED.items()
    }


def test_older_books_are_revised_and_sealed(server_url: str) -> None:
    """What was there before the migration gets its first revisions, and is sealed as a whole."""
    with empty_database(server_url) as url:
        engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
        with engine.begin() as connection:
            command.upgrade(_config(connection), BEFORE)
        engine.dispose()
        books = asyncio.run(write_books(url))
        migrate(url)
        asyncio.run(_seal_all(url))
        report = verify_proofs(url)
        assert (report.violations, report.blocks) == ([], 7)
        with psycopg.connect(url) as reading:
            subjects = reading.execute(
                "SELECT subject, count(*), max(number) FROM revisions WHERE ledger_id = %s"
                " GROUP BY subject ORDER BY max(number)",
                (books.other.ledger_id,),
            ).fetchall()
        assert subjects == [
            ("ledgers", 1, 1),
            ("currencies", 2, 3),
            ("accounts", 4, 7),
            ("period_events", 2, 9),
        ]


async def _seal_all(url: str) -> None:
    async with writing(url) as (database, _), await database.connect() as connection:
        for ledger in await sealing.unsealed(connection):
            await sealing.seal(connection, *ledger)
