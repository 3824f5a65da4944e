"""MT940, SWIFT's customer statement message, and the many dialects of it that banks send.

The package mt-940 knows how the fields are written, dialects included, and it reads them here. That
fields become statements is our own business: the package's would merge two lines of which the
second lacks its type, would let go of fields that it does not know, and takes a text that happens
to be a path for the file there.

Lines are read as UTF-8, or where one is not, as ISO 8859-1: the standard has neither, banks send
both.
"""

import re
from contextlib import suppress
from dataclasses import replace
from datetime import date

from mt940 import tags
from mt940.models import Transactions
from mt940.options import Options
from mt940.processors import transaction_details_post_processor

from app.api.reconciliation.formats.reading import (
    Books,
    Lines,
    TextLines,
    begun,
    checked,
    clean,
    day_of,
    ended,
    full_year,
    malformed,
    minor_units,
    refuse_other_account,
)
from app.ledger.reconciliation.outside import MAX_TEXT_LENGTH, Line, Statement

MAX_FIELD_LINES = 100
MAX_LINES_BEFORE = 20
UNTOLD = {"NONREF", "NOTPROVIDED"}
STATED = ("20", "25", "25P", "28", "28C", "60F", "60M", "61", "62F", "62M", "86")
PASSED = ("13", "13D", "21", "34", "34F", "64", "65", "90", "90C", "90D", "NS")
"""Fields that say nothing of what is stored."""

KNOWN = (*STATED, *PASSED)

DETAILS = {
    "businessCode": "transaction_code",
    "postingText": "posting_text",
    "primaNota": "prima_nota",
    "counterpartyBank": "applicant_bin",
    "counterpartyAccount": "applicant_iban",
    "mandate": "additional_position_reference",
    "creditor": "applicant_creditor_id",
    "onBehalfOf": "deviate_applicant",
}
"""Names in a line's details, by those of mt-940."""

_FIELD = re.compile(r":([0-9]{2}[A-Z]?|NS):", re.ASCII)
_ENVELOPE = re.compile(r"-}?\s*|-?\}?\{[1-5]:.*")
_LINE, _BALANCE = tags.Statement().re, tags.FinalOpeningBalance().re
_DETAILS = tags.TransactionDetails()
_OPTIONS = Transactions(options=Options(applicant_iban=True, gvc_leading_text=True))


class SwiftReader:
    """Reads one file of MT940 messages, each of which is a statement."""

    def __init__(self, books: Books) -> None:
        self.statements: list[Statement] = []
        self.skipped = 0
        self._books = books
        self._text = TextLines("iso-8859-1")
        self._tag: str | None = None
        self._at = 0  # the line on which the field in hand begins
        self._field: list[str] = []
        self._statement: Statement | None = None  # the one in hand, until it is closed
        self._exponent: int | None = None
        self._pending: Line | None = None  # a line that may yet have details
        self._open = False  # whether the block of fields was begun in braces, and not ended

    def feed(self, data: bytes) -> Lines:
        for line in self._text.feed(data):
            yield from self._take(line)

    def end(self) -> Lines:
        for line in self._text.feed(b"", final=True):
            yield from self._take(line)
        yield from self._end_field()
        yield from self._end_line()
        place = (self._text.number + 1, 1)
        if self._open:
            malformed("The message is cut short: its block 4 has no end (-}).", *place)
        if self._statement is not None:
            malformed("The statement is cut short: it has no closing balance (:62F:).", *place)
        if not self.statements:
            malformed("There is no statement: no field :20: was found.", *place)

    # ---- fields ----------------------------------------------------------------------------------

    def _take(self, raw: str) -> Lines:
        number, line = self._text.number, _as_sent(raw)
        start = _FIELD.match(line)
        if start is not None:
            yield from self._end_field()
            if start[1] not in KNOWN:
                malformed(f"MT940 has no field :{start[1]}:.", number, 1)
            self._tag, self._at, self._field = start[1], number, [line[start.end() :]]
        elif not line.strip():
            return
        elif _ENVELOPE.fullmatch(line):
            yield from self._end_field()
            self._open = "{4:" in line
        elif self._tag is not None and not line.startswith(":"):
            self._field.append(line)
            if len(self._field) > MAX_FIELD_LINES:
                malformed(f"A field has up to {MAX_FIELD_LINES} lines.", number, 1)
        elif self.statements or number > MAX_LINES_BEFORE or line.startswith(":"):
            malformed("This is no field of MT940, such as :61:.", number, 1)

    def _end_field(self) -> Lines:
        tag, self._tag = self._tag, None
        if tag is None or tag in PASSED:
            return
        text = "\n".join(self._field).rstrip()
        if tag == "20":
            yield from self._end_line()
            self._begin(text)
            return
        if tag == "86":
            if self._pending is not None:
                self._pending = self._with_details(self._pending, text)
            return
        yield from self._end_line()
        statement = self._statement
        if statement is None:
            malformed(f"The field :{tag}: stands outside of a statement.", self._at, 1)
        if tag.startswith("25"):
            refuse_other_account(self._books, text.split("\n")[0], self._at, 5)
        elif tag.startswith("28"):
            self._name(statement, text)
        elif tag.startswith("60"):
            statement.opening_balance = self._balance(statement, text)
        elif tag == "61":
            self._pending = self._movement(text)
        else:
            statement.closing_balance = self._balance(statement, text)
            ended(statement, (self._at, 1))
            self._statement = None

    def _begin(self, text: str) -> None:
        if self._statement is not None:
            malformed("The statement before this has no closing balance (:62F:).", self._at, 1)
        reference = clean(text, (self._at, 5))
        self._statement = Statement(self._books.currency, reference)
        self._exponent = None
        begun(self.statements, self._statement, (self._at, 1))

    def _name(self, statement: Statement, text: str) -> None:
        """A statement's number and page tell it from others with the reference of the account."""
        number = clean(text, (self._at, 5))
        statement.reference = " ".join(filter(None, (statement.reference, number))) or None

    def _balance(self, statement: Statement, text: str) -> int:
        match = _BALANCE.fullmatch(text) if text.isascii() else None
        if match is None:
            malformed("A balance is written as C260131EUR1234,56.", self._at, 6)
        currency = match["currency"].upper()
        exponent = self._books.exponent_of(currency)
        if exponent is None:
            malformed("This is no currency of ISO 4217.", self._at, 13)
        if self._exponent is not None and statement.currency != currency:
            malformed("Opening and closing balance are in two currencies.", self._at, 13)
        statement.currency, self._exponent = currency, exponent
        self._date(match["year"], match["month"], match["day"], 7)
        amount = self._amount(match["amount"], exponent, 16)
        return amount if match["status"].upper() == "C" else -amount

    def _movement(self, text: str) -> Line:
        if self._exponent is None or self._statement is None:
            malformed("The statement has no opening balance (:60F:).", self._at, 1)
        first, *more = text.split("\n")
        match = _LINE.fullmatch("\n".join((first, " ".join(more))) if more else first)
        if match is None or not first[:30].isascii():
            malformed(
                "A movement is written as 2601310131C1234,56NTRFreference//bank's.", self._at, 5
            )
        value_on = self._date(match["year"], match["month"], match["day"], 5)
        booked_on = self._booked_on(value_on, match["entry_month"], match["entry_day"])
        amount = self._amount(match["amount"], self._exponent, match.start("amount") + 5)
        if amount == 0:
            malformed("A line of zero moves nothing.", self._at, match.start("amount") + 5)
        mark = match["status"].upper()
        comes_in = mark in ("C", "RD")
        place = (self._at, 5)
        customer = clean(match["customer_reference"], place)
        details = {"transactionType": match["id"]} if match["id"] else {}
        if mark.startswith("R"):
            details["reversal"] = True
        return Line(
            booked_on=booked_on,
            amount=amount if comes_in else -amount,
            currency=self._statement.currency,
            value_on=value_on,
            reference=_told(clean(match["bank_reference"], place)),
            end_to_end_id=_told(customer),
            description=clean(match["extra_details"], place),
            details=details or None,
            source_line=self._at,
        )

    def _with_details(self, line: Line, text: str) -> Line:
        """What :86: says: parts of it where it is in parts, else all of it is the description."""
        place = (self._at, 5)
        whole = clean(text, place)
        told = {"transaction_details": text}
        told = transaction_details_post_processor(_OPTIONS, _DETAILS, told, dict(told))
        if "transaction_details" in told:
            return replace(line, description=_joined(line.description, whole))
        purpose = clean(
            "".join(filter(None, (told.get("purpose"), told.get("additional_purpose")))), place
        )
        parts = {
            name: value
            for name, key in DETAILS.items()
            if (value := clean(told.get(key), place)) is not None
        }
        return replace(
            line,
            end_to_end_id=_told(clean(told.get("end_to_end_reference"), place))
            or line.end_to_end_id,
            counterparty=clean(told.get("applicant_name"), place),
            description=_joined(line.description, purpose),
            details={**(line.details or {}), **parts, "text": whole},
        )

    def _end_line(self) -> Lines:
        line, self._pending = self._pending, None
        if line is not None:
            yield len(self.statements), checked(line, (line.source_line or 1, 5))

    # ---- what stands in fields -------------------------------------------------------------------

    def _amount(self, text: str, exponent: int, column: int) -> int:
        try:
            return minor_units(text.replace(",", ".", 1), exponent, zeros=True)
        except ValueError as fault:
            malformed(f"This is not an amount: {fault}.", self._at, column)

    def _date(self, year: str, month: str, day: str, column: int) -> date:
        try:
            return day_of(full_year(int(year)), int(month), int(day))
        except ValueError as fault:
            malformed(f"This is not a date: {fault}.", self._at, column)

    def _booked_on(self, value_on: date, month: str | None, day: str | None) -> date:
        """The day of booking, which has no year: that which is nearest to the value date."""
        if not (month or "").strip() or not (day or "").strip():
            return value_on
        days = []
        for year in (value_on.year - 1, value_on.year, value_on.year + 1):
            with suppress(ValueError):
                days.append(day_of(year, int(month or 0), int(day or 0)))
        if not days:
            malformed("This is not a date: there is no such day.", self._at, 11)
        return min(days, key=lambda one: abs(one - value_on))


def _as_sent(raw: str) -> str:
    try:
        return raw.encode("iso-8859-1").decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        return raw


def _told(text: str | None) -> str | None:
    return None if text is None or text.upper() in UNTOLD else text


def _joined(*texts: str | None) -> str | None:
    joined = " ".join(text for text in texts if text)
    return joined[:MAX_TEXT_LENGTH] or None
