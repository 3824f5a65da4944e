"""What the readers have in common: what they give, how they refuse, and how text becomes exact."""

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import NoReturn, Protocol
from uuid import UUID

from app.ledger.amounts import MAX_AMOUNT
from app.ledger.reconciliation.outside import FailureCode, ImportFailed, Line, Statement
from app.ledger.refusals import ValidationFailed

MAX_LINE_CHARACTERS = 65_536
MAX_STATEMENTS = 10_000
MAX_DIGITS = 60

Lines = Iterator[tuple[int, Line]]
"""Lines with the number of their statement, from 1."""

_NUMBER = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]*))?", re.ASCII)
_ENDS = re.compile(r"\r\n|\r|\n")
_LAYOUT = re.compile(r"[\t\r\n ]+")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_ARCHIVES = {b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "compressed", b"%PDF": "a PDF"}


@dataclass(frozen=True, slots=True)
class Books:
    """What a reader must know of the external account.

    `exponent_of` says how many decimals a currency has, or None for one that is unknown.
    """

    ledger_id: UUID
    currency: str
    exponent_of: Callable[[str], int | None]
    identification: str | None = None


class Reader(Protocol):
    """Reads one file. `statements` grows as they begin, and each is filled in until it ends.

    Raises ImportFailed.
    """

    statements: list[Statement]
    skipped: int
    """Entries that are not booked yet, or never will be: their statement says so."""

    def feed(self, data: bytes) -> Lines:
        """Read a piece."""
        ...

    def end(self) -> Lines:
        """Read what is left; the file is over."""
        ...


def malformed(message: str, line: int | None = None, column: int | None = None) -> NoReturn:
    raise ImportFailed(FailureCode.MALFORMED, message, line, column)


def minor_units(text: str, exponent: int, *, zeros: bool = False) -> int:
    """Exact minor units of a decimal such as "-12.34". Raises ValueError with what is wrong.

    `zeros`: more decimals than the currency has are taken if they are zeros.
    """
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > MAX_DIGITS:
        raise ValueError("digits are wanted")
    sign, whole, decimals = match[1], match[2], match[3] or ""
    if zeros and len(decimals) > exponent:
        decimals = decimals[:exponent] + decimals[exponent:].rstrip("0")
    if len(decimals) > exponent:
        raise ValueError(f"the currency has {exponent} decimals")
    amount = int(whole + decimals.ljust(exponent, "0"))
    if amount > MAX_AMOUNT:
        raise ValueError("an amount is at most 10^36 minor units")
    return -amount if sign == "-" else amount


def clean(text: str | None, place: tuple[int | None, int | None]) -> str | None:
    """A text of a line on one line, or None for an empty one."""
    if not text:
        return None
    if _UNPRINTABLE.search(text):
        malformed("This text holds control characters; is the encoding right?", *place)
    return _LAYOUT.sub(" ", text).strip() or None


def checked(line: Line, place: tuple[int | None, int | None]) -> Line:
    """The line, if one could be so."""
    try:
        line.check()
    except ValidationFailed as refusal:
        malformed(refusal.message, *place)
    return line


def begun(statements: list[Statement], statement: Statement, place: tuple[int, int]) -> int:
    """Add a statement and give its number."""
    if len(statements) >= MAX_STATEMENTS:
        malformed(f"A file has up to {MAX_STATEMENTS} statements.", *place)
    statements.append(statement)
    return len(statements)


def ended(statement: Statement, place: tuple[int, int]) -> None:
    """Check a statement that has all it says."""
    try:
        statement.check()
    except ValidationFailed as refusal:
        malformed(refusal.message, *place)


def refuse_other_account(books: Books, told: str | None, line: int, column: int) -> None:
    """Refuse a statement of another account than the one it is imported for.

    Spaces and case do not count; a currency behind the number, or a bank's code and a slash before
    it, need not be part of the identification.
    """
    if books.identification is None or told is None:
        return
    wanted, given = _plain(books.identification), _plain(told)
    alike = {given, given.rpartition("/")[2], re.sub(r"[A-Z]{3}$", "", given)}
    if wanted not in alike:
        raise ImportFailed(
            FailureCode.OTHER_ACCOUNT,
            "This statement is of another account than the identification says.",
            line,
            column,
        )


def _plain(identification: str) -> str:
    return re.sub(r"\s", "", identification).upper()


def day_of(year: int, month: int, day: int) -> date:
    """A day. Raises ValueError where there is none such."""
    try:
        return date(year, month, day)
    except ValueError:
        raise ValueError("there is no such day") from None


def full_year(two_digits: int) -> int:
    """The year of which these are the last digits, from 1980 to 2079."""
    return two_digits + (2000 if two_digits < 80 else 1900)


@dataclass(slots=True)
class TextLines:
    """Cuts bytes into lines of text, whatever ends them, and counts them.

    With a `delimiter`, the column of a failure is the cell that this tells, not the character.
    `called` is what users call the encoding.
    """

    encoding: str
    delimiter: str | None = None
    called: str | None = None
    number: int = 0
    _decoder: codecs.IncrementalDecoder = field(init=False)
    _rest: str = ""
    _begun: bool = False

    def __post_init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder(self.encoding)("strict")

    def feed(self, data: bytes, *, final: bool = False) -> Iterator[str]:
        """The lines that end in this piece, each without its end. Raises ImportFailed."""
        if not self._begun and data:
            refuse_archive(data)
            self._begun = True
        try:
            text, wrong = self._decoder.decode(data, final), False
        except UnicodeDecodeError as fault:
            self._decoder.reset()
            text, wrong = fault.object[: fault.start].decode(self.encoding, "ignore"), True
        except UnicodeError:  # UTF-16 that does not begin with its byte order mark
            text, wrong = "", True
        text = self._rest + text
        held = ""
        if text.endswith("\r") and not final:  # its line feed may be in the next piece
            text, held = text[:-1], "\r"
        *lines, rest = _ENDS.split(text)
        self._rest = rest + held
        for line in lines:
            self.number += 1
            self._refuse_long(line, self.number)
            yield line
        if wrong:
            malformed(
                f"This is not text in {self.called or self.encoding}.",
                self.number + 1,
                self._column(self._rest),
            )
        self._refuse_long(self._rest, self.number + 1)
        if final and self._rest:
            self.number += 1
            last, self._rest = self._rest, ""
            yield last

    def _refuse_long(self, line: str, number: int) -> None:
        if len(line) > MAX_LINE_CHARACTERS:
            column = self._column(line[:MAX_LINE_CHARACTERS])
            malformed(f"A line has up to {MAX_LINE_CHARACTERS} characters.", number, column)

    def _column(self, before: str) -> int:
        return (before.count(self.delimiter) if self.delimiter else len(before)) + 1


def refuse_archive(data: bytes) -> None:
    """Refuse what is no text at all, with a word that helps."""
    for magic, kind in _ARCHIVES.items():
        if data.startswith(magic):
            malformed(f"This is {kind}, not a statement; send what is in it.", 1, 1)
