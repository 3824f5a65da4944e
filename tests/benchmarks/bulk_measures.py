"""A thousand postings in one mutation, beside COPY of the very rows that they became."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from tests.benchmarks.load import KEY, write_bodies
from tests.benchmarks.measuring import Group, Ratio, Sample, Variant
from tests.benchmarks.posting_measures import posting, random_pairs
from tests.benchmarks.processes import cpu_seconds
from tests.benchmarks.stage import Stage

POST_MANY = """
mutation PostMany($input: PostTransactionsInput!) {
  postTransactions(input: $input) {
    __typename
    ... on PostTransactionsSuccess {
      results {
        __typename
        ... on PostTransactionSuccess { transaction { id sequence } }
        ... on UserError { code message }
      }
    }
    ... on UserError { code message }
  }
}
"""
SUCCESS = '"PostTransactionSuccess"'
POSTINGS = 1000
BODIES = 5
CHUNKS = 20

RATIOS = (Ratio("bulk_vs_copy", 0.2, "postTransactions of 1,000 c1", "COPY of the same rows"),)

SEQUENCES = {
    "transactions": "sequence",
    "transaction_events": "transaction_sequence",
    "entries": "transaction_sequence",
}
"""The tables that a posting adds rows to, in order, and their column that orders them."""


@contextmanager
def bulk_groups(stage: Stage) -> Iterator[list[Group]]:
    bodies = write_bodies(
        stage.postgres.directory / "bulk.json",
        [
            {
                "query": POST_MANY,
                "variables": {
                    "input": {
                        "mode": "ATOMIC",
                        "transactions": [
                            posting(stage.ledger_id, debited, credited, f"{KEY}-{number}")
                            for number, (debited, credited) in enumerate(pairs)
                        ],
                    }
                },
            }
            for pairs in _parts(random_pairs(stage.account_ids, BODIES * POSTINGS))
        ],
    )
    target = stage.target(bodies, SUCCESS, POSTINGS)
    with psycopg.connect(stage.database_url) as connection:
        connection.execute("CREATE SCHEMA copied")
        for table in SEQUENCES:
            connection.execute(
                SQL("CREATE TABLE copied.{name} (LIKE public.{name} INCLUDING ALL)").format(
                    name=Identifier(table)
                )
            )
    yield [
        Group(
            title="Bulk: 1,000 postings in one mutation, beside COPY of the rows they became",
            note=(
                "random pairs, ATOMIC, one connection; COPY into tables with the same columns,"
                " checks and indexes (no foreign keys or triggers), from text at hand, one commit"
                " per 1,000 postings"
            ),
            variants=[
                Variant(
                    "postTransactions of 1,000 c1",
                    lambda seconds: stage.post(target, 1, seconds),
                    "postings/s",
                ),
                Variant("COPY of the same rows", lambda _: _copy(stage), "postings/s"),
            ],
            ratios=RATIOS,
        )
    ]


def _parts(pairs: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    for start in range(0, len(pairs), POSTINGS):
        yield pairs[start : start + POSTINGS]


def _copy(stage: Stage) -> Sample:
    """Copy the latest rows into empty tables, in chunks of as many postings as a request."""
    with psycopg.connect(stage.database_url) as connection:
        connection.execute(
            "TRUNCATE copied.transactions, copied.transaction_events, copied.entries"
        )
        ((last,),) = connection.execute("SELECT max(sequence) FROM transactions")
        postings = min(CHUNKS, int(last) // POSTINGS) * POSTINGS
        chunks = [
            {table: _rows(connection, table, start, start + POSTINGS) for table in SEQUENCES}
            for start in range(int(last) - postings, int(last), POSTINGS)
        ]
        connection.commit()
        before = cpu_seconds(stage.postgres.pid)
        started = time.perf_counter()
        for chunk in chunks:
            for table, rows in chunk.items():
                statement = SQL("COPY copied.{} FROM STDIN").format(Identifier(table))
                with connection.cursor() as cursor, cursor.copy(statement) as copy:
                    copy.write(rows)
            connection.commit()
        seconds = time.perf_counter() - started
        after = cpu_seconds(stage.postgres.pid)
    return Sample(
        rate=postings / seconds,
        work=postings,
        postgres_cpu=None if before is None or after is None else after - before,
    )


def _rows(connection: psycopg.Connection, table: str, after: int, upto: int) -> bytes:
    with connection.cursor() as cursor, cursor.copy(_select(table, after, upto)) as copy:
        return b"".join(bytes(block) for block in copy)


def _select(table: str, after: int, upto: int) -> Composed:
    return SQL(
        "COPY (SELECT * FROM {table} WHERE {column} > {after} AND {column} <= {upto}"
        " ORDER BY {column}) TO STDOUT"
    ).format(
        table=Identifier(table),
        column=Identifier(SEQUENCES[table]),
        after=Literal(after),
        upto=Literal(upto),
    )
