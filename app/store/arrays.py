"""Columns of rows as PostgreSQL's arrays in binary, one parameter a column.

psycopg dumps a list of anything by looking at every element, several times, and writes texts that
PostgreSQL has to read again; the writer knows what its columns are. So a row here is a tuple of
elements that are encoded already: each is its length in four bytes, then the value as its type's
receive function wants it. What recurs in a batch (moments, words, amounts) is encoded once.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from struct import Struct
from typing import Any
from uuid import UUID

import orjson

UUIDS, TEXTS, BYTES, NUMBERS = 2950, 25, 17, 1700
INT4S, INT8S, MOMENTS, JSONS, BOOLEANS = 23, 20, 1184, 3802, 16
"""What a column holds: the types' object ids, the same in every PostgreSQL."""

NAMES = {
    UUIDS: "uuid",
    TEXTS: "text",
    BYTES: "bytea",
    NUMBERS: "numeric",
    INT4S: "int4",
    INT8S: "int8",
    MOMENTS: "timestamptz",
    JSONS: "jsonb",
    BOOLEANS: "bool",
}

NULL = b"\xff\xff\xff\xff"
_TRUE, _FALSE = b"\x00\x00\x00\x01\x01", b"\x00\x00\x00\x01\x00"
_LENGTH = Struct(">i").pack
_NUMERIC = Struct(">ihhHH").pack
_ARRAY = Struct(">iiIii").pack
_EMPTY = Struct(">iiI").pack
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NEGATIVE = 0x4000
_UUID_LENGTH = 16 << 128

int4: Callable[[int], bytes] = partial(Struct(">ii").pack, 4)
int8: Callable[[int], bytes] = partial(Struct(">iq").pack, 8)


def uuid(value: UUID) -> bytes:
    return (value.int | _UUID_LENGTH).to_bytes(20, "big")


def binary(value: bytes | None) -> bytes:
    return NULL if value is None else _LENGTH(len(value)) + value


def text(value: str | None) -> bytes:
    return NULL if value is None else binary(value.encode())


def boolean(value: bool) -> bytes:
    return _TRUE if value else _FALSE


def json(value: Any) -> bytes:
    """A value as jsonb, version 1; None is NULL, and not JSON's null."""
    return NULL if value is None else binary(b"\x01" + orjson.dumps(value))


@lru_cache(1024)
def word(value: str) -> bytes:
    """A text of a few, such as an enumeration's value."""
    return text(value)


@lru_cache(1024)
def moment(value: datetime | None) -> bytes:
    """A timestamptz: microseconds since 2000."""
    return NULL if value is None else int8((value - _EPOCH) // _MICROSECOND)


@lru_cache(4096)
def number(value: int) -> bytes:
    """A whole numeric of any size: digits of base 10,000, the weight of the first one, the sign."""
    left, digits = abs(value), b""
    while left:
        left, digit = divmod(left, 10_000)
        digits = digit.to_bytes(2, "big") + digits
    count = len(digits) // 2
    sign = _NEGATIVE if value < 0 else 0
    return _NUMERIC(8 + len(digits), count, count - 1, sign, 0) + digits


def single(element: bytes) -> bytes:
    """A parameter that is no array."""
    return element[4:]


def array(kind: int, elements: Sequence[bytes]) -> bytes:
    """One column."""
    if not elements:
        return _EMPTY(0, 0, kind)
    return _ARRAY(1, 0, kind, len(elements), 1) + b"".join(elements)


def given(kinds: Sequence[int]) -> str:
    """SQL of the rows of such columns, with %s for each.

    They are unnested side by side and not in FROM, where each fills a store of its own first.
    """
    return "SELECT " + ", ".join(f"unnest(%s::{NAMES[kind]}[])" for kind in kinds)


def arrays(kinds: Sequence[int], rows: Iterable[tuple[bytes, ...]]) -> list[bytes]:
    """The columns of the rows."""
    columns = list(zip(*rows, strict=True)) or [()] * len(kinds)
    return [array(*column) for column in zip(kinds, columns, strict=True)]
