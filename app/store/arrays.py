"""Columns of rows as PostgreSQL's array literals, one text a column.

psycopg dumps a list of anything by looking at every element, several times; the writer knows what
its columns are. (Of a batch's CPU in Python this was two fifths.)
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import orjson

Element = Callable[[Any], str]
"""One value as an element of an array literal."""

uuid: Callable[[UUID], str] = attrgetter("hex")
number: Callable[[int], str] = str
word: Callable[[str], str] = str
"""A text of ours without blanks and signs, such as an enumeration's value."""


def text(value: str | None) -> str:
    """Any text, quoted."""
    if value is None:
        return "NULL"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def json(value: Any) -> str:
    """A value as JSON; None is NULL, and not JSON's null."""
    return "NULL" if value is None else text(orjson.dumps(value).decode())


def optional_number(value: int | None) -> str:
    return "NULL" if value is None else str(value)


def binary(value: bytes | None) -> str:
    return "NULL" if value is None else f'"\\\\x{value.hex()}"'


def moment(value: datetime | None) -> str:
    return "NULL" if value is None else value.isoformat()


def array(element: Element, values: Iterable[Any]) -> str:
    """One column."""
    return "{" + ",".join(map(element, values)) + "}"


def arrays(elements: Sequence[Element], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    """The columns of the rows."""
    columns = list(zip(*rows, strict=True)) or [()] * len(elements)
    return [array(*column) for column in zip(elements, columns, strict=True)]
