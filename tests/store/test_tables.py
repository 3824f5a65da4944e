"""The tables are the one description of storage: migrations agree, and every key is a tenant's."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pkgutil import iter_modules

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Table, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from app.store import tables
from app.store.database import KEYED_PLANS, connection_info
from app.store.tables import metadata, organizations

COLUMNS = """
    SELECT relname, attnum, attname, format_type(atttypid, atttypmod), attnotnull,
        pg_get_expr(adbin, adrelid), attidentity, attgenerated, collname
    FROM pg_attribute
    JOIN pg_class ON pg_class.oid = attrelid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    LEFT JOIN pg_collation ON pg_collation.oid = attcollation
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND attnum > 0
        AND relname <> 'alembic_version'
    ORDER BY relname, attnum
"""
CONSTRAINTS = """
    SELECT relname, conname, pg_get_constraintdef(pg_constraint.oid)
    FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
    WHERE relnamespace = current_schema()::regnamespace AND contype <> 'n'
        AND relname <> 'alembic_version'
    ORDER BY relname, conname, contype
"""
INDEXES = """
    SELECT tablename, indexname, replace(indexdef, schemaname || '.', '') FROM pg_indexes
    WHERE schemaname = current_schema() AND tablename <> 'alembic_version'
    ORDER BY tablename, indexname
"""
STORAGE = """
    SELECT relname, relpersistence, reloptions FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
        AND relname <> 'alembic_version'
    ORDER BY relname
"""
UNIQUE_KEYS = """
    SELECT indexrelid::regclass::text, attname
    FROM pg_index
    JOIN pg_class ON pg_class.oid = indrelid
    LEFT JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
    WHERE relnamespace = 'public'::regnamespace AND indisunique AND relname <> 'alembic_version'
"""
MANY_ACCOUNTS = """
    WITH organization AS (
        INSERT INTO organizations VALUES (gen_random_uuid(), 'Young', now()) RETURNING *
    ), ledger AS (
        INSERT INTO ledgers
        SELECT organization_id, gen_random_uuid(), 'Young', NULL, 'test', '{}', now(), NULL, 0,
            now()
        FROM organization RETURNING *
    ), currency AS (
        INSERT INTO currencies SELECT organization_id, ledger_id, 'USD', 2 FROM ledger RETURNING *
    )
    INSERT INTO accounts
    SELECT organization_id, gen_random_uuid(), ledger_id, 'Account ' || number, NULL, NULL, 'debit',
        code, exponent, 'open', NULL, 0, '{}', now(), 0, 0, 0, 0, 0
    FROM currency, generate_series(1, 3000) number
"""
INDEXES_OF_FOREIGN_KEYS = """
    SELECT conname, confrelid::regclass::text, conindid::regclass::text,
        (SELECT array_agg(attname::text ORDER BY place)
        FROM unnest(confkey) WITH ORDINALITY AS key (number, place)
        JOIN pg_attribute ON attrelid = confrelid AND attnum = number)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype = 'f'
"""
FOREIGN_KEYS = """
    SELECT conname, here.attname, there.attname
    FROM pg_constraint
    JOIN pg_attribute here ON here.attrelid = conrelid AND here.attnum = conkey[1]
    JOIN pg_attribute there ON there.attrelid = confrelid AND there.attnum = confkey[1]
    WHERE connamespace = 'public'::regnamespace AND contype = 'f'
"""


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.begin() as connection:
        yield connection


def rows(url: str, statement: str, schema: str = "public") -> Sequence[tuple[object, ...]]:
    with psycopg.connect(url, options=f"-c search_path={schema}") as connection:
        return connection.execute(statement).fetchall()


def test_alembic_finds_nothing_to_migrate(database_url: str) -> None:
    """A migrated database lacks nothing of the tables and has nothing beside them."""
    with connected(database_url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize(
    "catalogue",
    [COLUMNS, CONSTRAINTS, INDEXES, STORAGE],
    ids=["columns", "constraints", "indexes", "storage"],
)
def test_migrations_make_what_the_tables_say(catalogue: str, database_url: str) -> None:
    """Made from the tables, a schema is the migrated one to the letter: checks, conditions, all."""
    with connected(database_url) as connection:
        connection.exec_driver_sql("CREATE SCHEMA declared")
        connection.exec_driver_sql("SET search_path = declared")
        metadata.create_all(connection, checkfirst=False)
    declared = rows(database_url, catalogue, "declared")
    assert rows(database_url, catalogue) == declared
    assert len(declared) >= len(metadata.tables)


def test_every_unique_key_begins_with_the_organization(database_url: str) -> None:
    """Primary keys and unique indexes are of a tenant, so the tables can be distributed by it."""
    keys = rows(database_url, UNIQUE_KEYS)
    assert {first for _, first in keys} == {"organization_id"}
    primary = {f"{table}_pkey" for table in metadata.tables}
    assert primary <= {name for name, _ in keys}


def test_every_foreign_key_begins_with_the_organization(database_url: str) -> None:
    """No row can refer to another tenant's."""
    keys = rows(database_url, FOREIGN_KEYS)
    assert {(here, there) for _, here, there in keys} == {("organization_id", "organization_id")}
    declared = {
        str(key.name) for table in metadata.tables.values() for key in table.foreign_key_constraints
    }
    assert {name for name, _, _ in keys} == declared


def test_young_foreign_keys_are_checked_by_their_own_index(database_url: str) -> None:
    """Without statistics too a reference is looked up by its whole key, not by part of it."""
    info = connection_info(database_url, statement_seconds=5, **KEYED_PLANS)
    with psycopg.connect(info, autocommit=True) as connection:
        connection.execute("SET ROLE NONE")
        connection.execute(MANY_ACCOUNTS)
        for name, table, index, columns in connection.execute(INDEXES_OF_FOREIGN_KEYS).fetchall():
            matches = " AND ".join(f"{c} = ${n}" for n, c in enumerate(columns, 1))
            check = f"EXPLAIN (FORMAT JSON) EXECUTE {name} ({', '.join(['NULL'] * len(columns))})"
            connection.execute(f"PREPARE {name} AS SELECT FROM ONLY {table} WHERE {matches}")
            (((plan,),),) = connection.execute(check).fetchall()
            assert (name, plan["Plan"]["Index Name"]) == (name, index)


def test_every_table_belongs_to_an_organization() -> None:
    """Every table has the organization as the first column of its primary key."""
    for table in metadata.tables.values():
        assert table.primary_key.columns.keys()[0] == "organization_id"
    assert organizations.primary_key.columns.keys() == ["organization_id"]


def test_every_table_has_its_name() -> None:
    """The package names all tables as the database does, and none as one of its own modules."""
    named = {name: value for name, value in vars(tables).items() if isinstance(value, Table)}
    assert named == dict(metadata.tables)
    assert named.keys().isdisjoint(module.name for module in iter_modules(tables.__path__))
