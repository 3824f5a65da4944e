"""Columns in binary: PostgreSQL reads exactly what was written, at every edge of every type."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from uuid_utils.compat import uuid7

from app.store import arrays
from app.store.database import Database
from app.store.pipeline import Pipeline, numbered

DICE = random.Random(5)

NUMBERS = [
    *(DICE.randrange(10**digits) for digits in range(1, 61) for _ in range(5)),
    *(10**digits for digits in range(60)),
    *(10**digits - 1 for digits in range(60)),
]
NOW = datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)
MOMENTS = [
    *(NOW + timedelta(microseconds=DICE.randrange(-(10**15), 10**15)) for _ in range(50)),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]
TEXTS = ["", "NULL", '{"a,b"}', "\\", "'", "\t\r\n", "Zürich ₿ 🏦", "x" * 70_000, " "]

CASES: list[tuple[str, int, Any, Sequence[Any]]] = [
    ("uuid", arrays.UUIDS, arrays.uuid, [UUID(int=0), UUID(int=2**128 - 1), uuid4(), uuid7()]),
    ("text", arrays.TEXTS, arrays.text, [*TEXTS, None]),
    ("text", arrays.TEXTS, arrays.word, ["debit", "posted", "posted"]),
    ("bool", arrays.BOOLEANS, arrays.boolean, [True, False, True]),
    ("bytea", arrays.BYTES, arrays.binary, [b"", bytes(range(256)), b"\\x00", b"\x00" * 32, None]),
    ("numeric", arrays.NUMBERS, arrays.number, [*NUMBERS, *(-number for number in NUMBERS)]),
    ("int4", arrays.INT4S, arrays.int4, [0, 1, -1, 2**31 - 1, -(2**31)]),
    ("int8", arrays.INT8S, arrays.int8, [0, 1, -1, 2**32, 2**63 - 1, -(2**63)]),
    ("timestamptz", arrays.MOMENTS, arrays.moment, [*MOMENTS, None]),
    ("jsonb", arrays.JSONS, arrays.json, [{}, {"a": [1, "ü", None, {"b": 1.5}]}, {"n": 1}, None]),
]


async def test_postgresql_reads_what_was_written(database_url: str) -> None:
    database = Database(database_url, pool_size=1, statement_seconds=15)
    async with await database.connect() as connection:
        pipeline = Pipeline(connection)
        for type_, kind, element, values in CASES:
            column = arrays.array(kind, [element(value) for value in values])
            (rows,) = await pipeline.run((f"SELECT unnest($1::{type_}[])", [column]))
            assert [value for (value,) in rows] == list(values), type_


async def test_it_is_what_postgresql_itself_would_send(database_url: str) -> None:
    """But for numerics, of which it drops the last zeros, and the blanks in JSON."""
    database = Database(database_url, pool_size=1, statement_seconds=15)
    async with await database.connect() as connection:
        pipeline = Pipeline(connection)
        for type_, kind, element, values in CASES:
            column = arrays.array(kind, [element(value) for value in values if value is not None])
            ((row,),) = await pipeline.run((f"SELECT array_send($1::{type_}[])", [column]))
            assert row[0] == column or type_ in {"numeric", "jsonb"}, type_


async def test_no_rows_are_empty_columns(database_url: str) -> None:
    database = Database(database_url, pool_size=1, statement_seconds=15)
    async with await database.connect() as connection:
        columns = arrays.arrays((arrays.UUIDS, arrays.NUMBERS), [])
        ((row,),) = await Pipeline(connection).run(("SELECT $1::uuid[], $2::numeric[]", columns))
        assert row == ([], [])


async def test_rows_are_given_as_they_were(database_url: str) -> None:
    """A column of each type, side by side, in order, as many rows as there are; none are none."""
    kinds = [kind for _, kind, _, _ in CASES]
    places = range(max(len(values) for *_, values in CASES))
    given = [tuple(values[place % len(values)] for *_, values in CASES) for place in places]
    encoded = [
        tuple(case[2](value) for case, value in zip(CASES, row, strict=True)) for row in given
    ]
    statement = numbered(arrays.given(kinds))
    database = Database(database_url, pool_size=1, statement_seconds=15)
    async with await database.connect() as connection:
        pipeline = Pipeline(connection)
        rows, none = await pipeline.run(
            (statement, arrays.arrays(kinds, encoded)), (statement, arrays.arrays(kinds, []))
        )
        assert rows == given
        assert none == []
