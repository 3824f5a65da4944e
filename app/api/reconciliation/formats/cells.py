"""CSV as an import profile declares it: nothing of a file's form is guessed.

The csv module cuts records, strictly. It pulls lines, which come piece by piece: when it has no
more within a record, it is given that record again from its start, once as many lines again have
come. So nothing is read more than about twice, however small the pieces are.
"""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any

from app.api.reconciliation.formats.reading import (
    MAX_LINE_CHARACTERS,
    Books,
    Lines,
    TextLines,
    checked,
    clean,
    day_of,
    ended,
    full_year,
    malformed,
    minor_units,
)
from app.ledger.reconciliation.outside import MAX_TEXT_LENGTH, Line, Statement
from app.ledger.refusals import ValidationFailed

ENCODINGS = {
    "UTF_8": "utf-8-sig",
    "UTF_16": "utf-16",
    "ISO_8859_1": "iso-8859-1",
    "ISO_8859_15": "iso-8859-15",
    "WINDOWS_1252": "windows-1252",
}
MAX_COLUMNS = 500
MAX_ROWS_OUTSIDE = 1000
MAX_PATTERN = 40
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_TOKENS = {
    "YYYY": r"(?P<year>[0-9]{4})",
    "YY": r"(?P<short>[0-9]{2})",
    "MMM": r"(?P<name>[A-Za-z]{3})",
    "MM": r"(?P<month>[0-9]{2})",
    "M": r"(?P<month>[0-9]{1,2})",
    "DD": r"(?P<day>[0-9]{2})",
    "D": r"(?P<day>[0-9]{1,2})",
}
_TOKEN_NAMES = {token: {"Y": "year", "M": "month", "D": "day"}[token[0]] for token in _TOKENS}
_TOKEN = re.compile("|".join(_TOKENS))
_PLACE = re.compile(r"#([1-9][0-9]{0,2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Profile:
    """How CSV files are read. `definition` is what a client declared, all fields filled in.

    Raises ValidationFailed where it contradicts itself.
    """

    definition: Mapping[str, Any]
    read_day: Callable[[str], date] = field(init=False)

    def __post_init__(self) -> None:
        told = self.definition
        _one_character(told, "delimiter", "decimalSeparator")
        for name in ("quote", "thousandsSeparator"):
            if told[name] is not None:
                _one_character(told, name)
        separators = [told["decimalSeparator"], told["thousandsSeparator"]]
        if separators[0] == separators[1] or any(
            one and one in "0123456789+-" for one in separators
        ):
            raise _wrong(
                "Digits, signs and separators are told apart by what they are.", "decimalSeparator"
            )
        if told["quote"] == told["delimiter"]:
            raise _wrong("A quote is not the delimiter.", "quote")
        for name in ("skipRows", "footerRows"):
            if not 0 <= told[name] <= MAX_ROWS_OUTSIDE:
                raise _wrong(f"{name} is from 0 to {MAX_ROWS_OUTSIDE}.", name)
        self._check_columns()
        object.__setattr__(self, "read_day", day_reader(told["dateFormat"]))

    def _check_columns(self) -> None:
        columns = self.definition["columns"]
        for name, told in columns.items():
            for text in told if isinstance(told, list) else [told]:
                if text is None:
                    continue
                if not text.strip() or len(text) > MAX_TEXT_LENGTH:
                    raise _wrong("A column is named by its header, or as #3.", "columns", name)
                if not self.definition["header"] and _PLACE.fullmatch(text) is None:
                    raise _wrong("Without a header, columns are #1, #2 …", "columns", name)
        has = {name for name in ("amount", "debit", "credit", "indicator") if columns[name]}
        if has not in ({"amount"}, {"amount", "indicator"}, {"debit", "credit"}):
            raise _wrong(
                "There is an amount, or an amount with an indicator, or a debit and a credit.",
                "columns",
            )
        if (columns["indicator"] is None) != (self.definition["indicator"] is None):
            raise _wrong("An indicator has a column, and two words.", "indicator")
        words = self.definition["indicator"]
        if words is not None and words["debit"] == words["credit"]:
            raise _wrong("The two words of an indicator differ.", "indicator")


class CsvReader:
    """Reads one CSV file, which is one statement. Columns of failures are cells."""

    def __init__(self, profile: Profile, books: Books) -> None:
        told = profile.definition
        self.statements = [Statement(books.currency)]
        self.skipped = 0
        self._told = told
        self._books = books
        self._read_day = profile.read_day
        self._read_number = number_reader(told["decimalSeparator"], told["thousandsSeparator"])
        self._text = TextLines(ENCODINGS[told["encoding"]], told["delimiter"], told["encoding"])
        self._lines: deque[str] = deque()
        self._taken: list[str] = []
        self._characters = 0
        self._wanted = 1
        self._number = 0  # of the last line of the last record
        self._records = csv.reader(
            iter(self._pull, None),
            delimiter=told["delimiter"],
            quotechar=told["quote"],
            quoting=csv.QUOTE_NONE if told["quote"] is None else csv.QUOTE_MINIMAL,
            strict=True,
        )
        self._to_skip = told["skipRows"]
        self._held: deque[tuple[int, list[str]]] = deque()
        self._width: int | None = None
        self._headers: list[str | None] = []
        self._has_line = False
        self._at: dict[str, list[int]] = {}
        self._first: tuple[int, int] | None = None  # balance and amount
        self._last: tuple[int, int] | None = None

    def feed(self, data: bytes) -> Lines:
        self._take(self._text.feed(data))
        if len(self._lines) >= self._wanted:
            yield from self._read()

    def end(self) -> Lines:
        self._take(self._text.feed(b"", final=True))
        yield from self._read()
        if self._lines:
            malformed("A quoted cell does not end.", self._number + 1, self._wrong_cell())
        if self._told["header"] and self._width is None:
            malformed("There is no row of headers.", self._text.number + 1, 1)
        if len(self._held) < self._told["footerRows"]:
            malformed("There are fewer rows than the footer has.", self._text.number + 1, 1)
        if not self._has_line and not self._told.get("mayBeEmpty"):
            malformed(
                "There is no line in this file; where that is fine, its profile has mayBeEmpty.",
                self._text.number + 1,
                1,
            )
        statement = self.statements[0]
        if self._first is not None and self._last is not None:
            oldest, newest = self._first, self._last
            if self._told["newestFirst"]:
                oldest, newest = newest, oldest
            statement.opening_balance = oldest[0] - oldest[1]
            statement.closing_balance = newest[0]
        ended(statement, (self._text.number, 1))

    # ---- records ---------------------------------------------------------------------------------

    def _take(self, lines: Iterator[str]) -> None:
        for line in lines:
            if self._to_skip:
                self._to_skip -= 1
                self._number += 1
            else:
                self._lines.append(line + "\n")

    def _pull(self) -> str:
        if not self._lines:
            raise _NeedsMore
        line = self._lines.popleft()
        self._taken.append(line)
        self._characters += len(line)
        if len(self._taken) > 1 and self._characters > MAX_LINE_CHARACTERS:
            malformed(
                f"A row has up to {MAX_LINE_CHARACTERS} characters; does a quoted cell not end?",
                self._number + 1,
                self._wrong_cell(),
            )
        return line

    def _read(self) -> Lines:
        self._wanted = 1
        while self._lines:
            self._characters = 0
            try:
                record = next(self._records)
            except _NeedsMore:
                self._lines.extendleft(reversed(self._taken))
                self._wanted = 2 * len(self._taken)
                self._taken.clear()
                return
            except csv.Error:
                malformed(
                    "A quoted cell ends before its delimiter; are delimiter and quote right?",
                    self._number + 1,
                    self._wrong_cell(),
                )
            number = self._number + 1
            self._number += len(self._taken)
            self._taken.clear()
            if not any(cell and not cell.isspace() for cell in record):
                continue
            self._held.append((number, record))
            if len(self._held) > self._told["footerRows"]:
                yield from self._row(*self._held.popleft())

    def _wrong_cell(self) -> int:
        """The cell of the record in hand that does not end, or not well."""
        delimiter, quote = self._told["delimiter"], self._told["quote"]
        cell, is_quoted, after_quote, is_new = 1, False, False, True
        for character in "".join(self._taken or self._lines):
            if is_quoted:
                is_quoted, after_quote = character != quote, character == quote
            elif character == delimiter:
                cell, is_new, after_quote = cell + 1, True, False
            elif character == quote and (is_new or after_quote):
                is_quoted, is_new, after_quote = True, False, False
            elif after_quote and character != "\n":
                break
            else:
                is_new = False
        return cell

    # ---- rows ------------------------------------------------------------------------------------

    def _row(self, number: int, record: list[str]) -> Lines:
        if len(record) > MAX_COLUMNS:
            malformed(f"A row has up to {MAX_COLUMNS} cells.", number, MAX_COLUMNS + 1)
        if self._width is None:
            self._width = len(record)
            self._find_columns(number, record)
            if self._told["header"]:
                return
        for cell, text in enumerate(record, 1):
            if cell > self._width and text.strip():
                malformed(f"There are {self._width} columns; this is one more.", number, cell)
        self._has_line = True
        yield 1, self._line(number, record)

    def _find_columns(self, number: int, record: list[str]) -> None:
        headers = [clean(text, (number, cell)) for cell, text in enumerate(record, 1)]
        if self._told["header"]:
            self._headers = headers
        for name, told in self._told["columns"].items():
            texts = told if isinstance(told, list) else [told]
            self._at[name] = [
                self._find_column(number, headers, text) for text in texts if text is not None
            ]

    def _find_column(self, number: int, headers: Sequence[str | None], text: str) -> int:
        place = _PLACE.fullmatch(text)
        if place is not None:
            if int(place[1]) > len(headers):
                malformed(f"There is no column {text}.", number, len(headers))
            return int(place[1]) - 1
        if headers.count(text) != 1:
            found = "are two columns" if text in headers else "is no column"
            malformed(f"There {found} of the header {text!r}.", number, 1)
        return headers.index(text)

    def _line(self, number: int, record: Sequence[str]) -> Line:
        def text(name: str) -> str | None:
            texts = [self._cell(number, record, place) for place in self._at[name]]
            return " ".join(one for one in texts if one) or None

        currency = text("currency") or self._books.currency
        exponent = self._books.exponent_of(currency)
        if exponent is None:
            malformed("This is no currency of ISO 4217.", number, self._at["currency"][0] + 1)
        amount = self._amount(number, record, exponent)
        booked_on = self._day(number, record, "bookedOn")
        if booked_on is None:
            malformed("There is no date.", number, self._at["bookedOn"][0] + 1)
        balance = self._number_at(number, record, "balance", self._books_exponent)
        if balance is not None and currency == self._books.currency:
            self._last = (balance, amount)
            self._first = self._first or self._last
        return checked(
            Line(
                booked_on=booked_on,
                amount=amount,
                currency=currency,
                value_on=self._day(number, record, "valueOn"),
                reference=text("reference"),
                end_to_end_id=text("endToEndId"),
                counterparty=text("counterparty"),
                description=text("description"),
                details=None if balance is None else {"balance": str(balance)},
                source_line=number,
            ),
            (number, 1),
        )

    @property
    def _books_exponent(self) -> int:
        return self._books.exponent_of(self._books.currency) or 0

    def _cell(self, number: int, record: Sequence[str], place: int) -> str | None:
        if place >= len(record):
            header = self._headers[place] if place < len(self._headers) else None
            column = f"#{place + 1}" if header is None else repr(header)
            malformed(
                f"There are {len(record)} cells; that of the column {column} is missing.",
                number,
                place + 1,
            )
        text = clean(record[place], (number, place + 1))
        if text is not None and len(text) > MAX_TEXT_LENGTH:
            malformed(f"A cell has up to {MAX_TEXT_LENGTH} characters.", number, place + 1)
        return text

    def _day(self, number: int, record: Sequence[str], name: str) -> date | None:
        for place in self._at[name]:
            text = self._cell(number, record, place)
            if text is not None:
                try:
                    return self._read_day(text)
                except ValueError as fault:
                    malformed(f"This is not a date: {fault}.", number, place + 1)
        return None

    def _number_at(
        self, number: int, record: Sequence[str], name: str, exponent: int
    ) -> int | None:
        for place in self._at[name]:
            text = self._cell(number, record, place)
            if text is not None:
                try:
                    return self._read_number(text, exponent)
                except ValueError as fault:
                    malformed(f"This is not an amount: {fault}.", number, place + 1)
        return None

    def _amount(self, number: int, record: Sequence[str], exponent: int) -> int:
        if self._at["debit"]:
            amount = self._of_two_columns(number, record, exponent)
            place = self._at["debit"][0]
        else:
            place = self._at["amount"][0]
            told = self._number_at(number, record, "amount", exponent)
            if told is None:
                malformed("There is no amount.", number, place + 1)
            amount = told
            if self._at["indicator"]:
                amount *= self._indicated(number, record, amount)
        if amount == 0:
            malformed("A line of zero moves nothing.", number, place + 1)
        return -amount if self._told["reversed"] else amount

    def _of_two_columns(self, number: int, record: Sequence[str], exponent: int) -> int:
        credit = self._number_at(number, record, "credit", exponent) or 0
        debit = self._number_at(number, record, "debit", exponent) or 0
        if self._told["negativeDebits"]:
            debit = -debit
        for name, told in (("credit", credit), ("debit", debit)):
            if told < 0:
                malformed("This has another sign.", number, self._at[name][0] + 1)
        if credit and debit:
            malformed("A line is a debit or a credit.", number, self._at["debit"][0] + 1)
        return credit - debit

    def _indicated(self, number: int, record: Sequence[str], amount: int) -> int:
        (place,) = self._at["indicator"]
        if amount < 0:
            malformed(
                "Beside an indicator an amount has no sign.", number, self._at["amount"][0] + 1
            )
        word, words = self._cell(number, record, place), self._told["indicator"]
        if word not in words.values():
            malformed(
                f"The indicator is {words['debit']!r} or {words['credit']!r}.", number, place + 1
            )
        return 1 if word == words["credit"] else -1


class _NeedsMore(Exception):
    """The rest of a record has not come yet."""


def number_reader(decimal: str, thousands: str | None) -> Callable[[str, int], int]:
    """What reads an amount so written into minor units. It raises ValueError."""
    whole = r"[0-9]+"
    if thousands is not None:
        whole = rf"[0-9]{{1,3}}(?:{re.escape(thousands)}[0-9]{{3}})+|[0-9]+"
    form = re.compile(rf"([+-]?)({whole})(?:{re.escape(decimal)}([0-9]+))?([+-]?)", re.ASCII)

    def read(text: str, exponent: int) -> int:
        match = form.fullmatch(text.replace("\u2212", "-"))
        if match is None or (match[1] and match[4]):
            raise ValueError("it is not written as the profile says")
        digits = match[2] if thousands is None else match[2].replace(thousands, "")
        decimals = "" if match[3] is None else f".{match[3]}"
        return minor_units(f"{match[1] or match[4]}{digits}{decimals}", exponent)

    return read


def day_reader(pattern: str) -> Callable[[str], date]:
    """What reads days written in a pattern such as DD.MM.YYYY; a last * stands for any rest.

    Raises ValidationFailed for a pattern that does not tell day, month and year once each.
    """
    form, is_open = pattern.removesuffix("*"), pattern.endswith("*")
    expression, end = "", 0
    for token in _TOKEN.finditer(form):
        expression += re.escape(form[end : token.start()]) + _TOKENS[token[0]]
        end = token.end()
    expression += re.escape(form[end:]) + (".*" if is_open else "")
    names = [_TOKEN_NAMES[token] for token in _TOKEN.findall(form)]
    between = _TOKEN.sub("", form)
    if (
        sorted(names) != ["day", "month", "year"]
        or re.search(r"[A-Za-z0-9*]", between)
        or len(pattern) > MAX_PATTERN
    ):
        raise _wrong(
            "A date has one each of YYYY or YY, MM, M or MMM, and DD or D, with signs between.",
            "dateFormat",
        )
    compiled = re.compile(expression, re.ASCII | re.DOTALL)

    @lru_cache(maxsize=4096)
    def read(text: str) -> date:
        match = compiled.fullmatch(text)
        if match is None:
            raise ValueError(f"it is not written as {pattern}")
        told = match.groupdict()
        year = int(told["year"]) if told.get("year") else full_year(int(told["short"]))
        name = told.get("name")
        if name is not None and name.upper() not in _MONTHS:
            raise ValueError("there is no such month")
        month = _MONTHS.index(name.upper()) + 1 if name else int(told["month"])
        return day_of(year, month, int(told["day"]))

    return read


def _one_character(told: Mapping[str, Any], *names: str) -> None:
    for name in names:
        text = told[name]
        if len(text) != 1 or text in "\r\n\0" or text.isalnum():
            raise _wrong(f"{name} is one character, neither letter nor digit.", name)


def _wrong(message: str, *path: str) -> ValidationFailed:
    return ValidationFailed(message=message, path=("input", "definition", *path))
