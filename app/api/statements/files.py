"""A statement as a file, of records that are the same for all kinds of file.

JSON holds the records as they are hashed (see `app/ledger/statements`). CSV holds the same figures
for spreadsheets: opening, adjustments, entries, totals and closing, one a row.

A spreadsheet takes a cell for a formula when it begins with = + - @, a tab or a carriage return;
one that splits rows at semicolons or tabs instead of commas finds such beginnings inside of texts
too. So in a cell of text an apostrophe is put in front of each of these characters wherever a cell
may begin: at the start, and behind a comma, a semicolon, a bar, a tab or a line break. What was
there before is in the JSON. Amounts are plain numbers, such as -12.34, and are never touched.
"""

import csv
import io
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from app.ledger.statements.statements import (
    Line,
    Record,
    Statement,
    adjustment_record,
    canonical,
    line_record,
    statement_record,
)

Pages = AsyncIterator[Sequence[Line]]

COLUMNS = (
    *("row", "position", "effectiveAt", "recordedAt", "transactionId", "externalId"),
    *("description", "direction", "amount", "balance", "currency"),
)
_FORMULA = re.compile(r"(\A|[,;|\t\r\n])([\s\"']*)(?=[=+\-@＝＋－＠])")  # noqa: RUF001
_LAYOUT = re.compile(r"\A(?=[\t\r\n])")


async def as_json(statement: Statement, adjustments: Pages, lines: Pages) -> AsyncIterator[bytes]:
    """The JSON file, a page at a time."""
    yield (
        b'{"contentHash":"%s","statement":%s,"adjustments":['
        % (statement.content_hash.hex().encode(), canonical(statement_record(statement)))
    )
    async for part in _joined(
        adjustment_record(statement, line) async for line in _each(adjustments)
    ):
        yield part
    yield b'],"lines":['
    async for part in _joined(line_record(statement, line) async for line in _each(lines)):
        yield part
    yield b"]}\n"


async def as_csv(statement: Statement, adjustments: Pages, lines: Pages) -> AsyncIterator[bytes]:
    """The CSV file, a page at a time."""
    facts = statement_record(statement)
    yield _rows([COLUMNS, _edge("opening", facts["from"], facts["opening"], statement)])
    async for page in adjustments:
        yield _rows(
            _entry("adjustment", adjustment_record(statement, line), statement) for line in page
        )
    async for page in lines:
        yield _rows(_entry("entry", line_record(statement, line), statement) for line in page)
    yield _rows(
        [
            *(
                ("total", *[""] * 6, direction, facts[name], "", statement.currency)
                for direction, name in (("DEBIT", "debits"), ("CREDIT", "credits"))
            ),
            _edge("closing", facts["to"], facts["closing"], statement),
        ]
    )


def safe(text: str | None) -> str:
    """A text that no spreadsheet takes for a formula, however it splits the row."""
    return _FORMULA.sub(r"\1\2'", _LAYOUT.sub("'", text or ""))


def file_name(statement: Statement, kind: str) -> str:
    """Such as "statement-0003-wallet-of-ann-2026-01-01-2026-02-01.pdf", in ASCII."""
    name = re.sub(r"[^a-z0-9]+", "-", statement.account_name.lower())[:40].strip("-")
    days = (statement.from_at.date().isoformat(), statement.to_at.date().isoformat())
    return (
        "-".join(["statement", f"{statement.number:04}", *filter(None, [name]), *days]) + f".{kind}"
    )


async def _each(pages: Pages) -> AsyncIterator[Line]:
    async for page in pages:
        for line in page:
            yield line


async def _joined(records: AsyncIterator[Record]) -> AsyncIterator[bytes]:
    before, waiting, size = b"\n", [], 0
    async for record in records:
        waiting.append(before + canonical(record))
        before, size = b",\n", size + 1
        if size % 1000 == 0:
            yield b"".join(waiting)
            waiting.clear()
    yield b"".join(waiting)


def _entry(kind: str, record: Record, statement: Statement) -> Sequence[Any]:
    return (
        kind,
        record.get("position", ""),
        record["effectiveAt"],
        record["recordedAt"],
        record["transactionId"],
        safe(record["externalId"]),
        safe(record["description"]),
        record["direction"],
        record["amount"],
        record.get("balance", ""),
        statement.currency,
    )


def _edge(kind: str, moment: str, totals: Record, statement: Statement) -> Sequence[Any]:
    return (kind, "", moment, *[""] * 6, totals["balance"], statement.currency)


def _rows(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
