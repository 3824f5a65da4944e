"""What others say of our money: accounts in their books, and the statements they send.

A line is known again, in another file or statement, by its identity and by how often the same has
come before it in its statement. Where the outside party gives a reference, the identity is that
with date, amount and currency; else it is all that the line says. A reference alone would not do:
some are constant ("NONREF", "SALARY"), and a fee may bear that of its payment. A line that is taken
for new though it is known shows up, for its reference is there twice; one that is taken for known
though it is new would be lost.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import date
from enum import Enum
from hashlib import sha256
from typing import Any
from uuid import UUID

from app.ledger.accounts.state import Scope
from app.ledger.amounts import MAX_AMOUNT
from app.ledger.refusals import Path, ValidationFailed
from app.ledger.transactions.commands import MAX_NAME_LENGTH, Metadata, check_metadata, check_text
from app.ledger.values import immutable

MAX_ROWS = 10_000
MAX_REFERENCE_LENGTH = 255
MAX_TEXT_LENGTH = 4000
MAX_DETAILS_BYTES = 262_144
EARLIEST, LATEST = date(1900, 1, 1), date(2199, 12, 31)

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class ExternalAccountKind(Enum):
    """Whose books an external account is in."""

    BANK = "bank"
    ACQUIRER = "acquirer"
    PARTNER = "partner"
    OTHER = "other"


class StatementFormat(Enum):
    """What a statement comes as; ROWS are those of a mutation."""

    CSV = "csv"
    CAMT_053 = "camt.053"
    CAMT_054 = "camt.054"
    MT940 = "mt940"
    OFX = "ofx"
    ROWS = "rows"


class ImportStatus(Enum):
    """How far a file has come."""

    IMPORTING = "importing"
    COMPLETED = "completed"
    RECOGNISED = "recognised"
    FAILED = "failed"


class FailureCode(Enum):
    """Why a file was not imported; nothing of it is stored."""

    MALFORMED = "malformed"
    OTHER_ACCOUNT = "other_account"
    TOO_LARGE = "too_large"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    FAULT = "fault"


@dataclass(eq=False)
class ImportFailed(Exception):
    """A file cannot be imported: why, and where in it, both from 1 (in CSV, column is the cell)."""

    code: FailureCode
    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.message


@immutable
class CreateExternalAccount:
    """Tie an account in an outside party's books to one of ours.

    `inverted`: what comes in there goes out of our account.
    """

    scope: Scope
    external_account_id: UUID
    account_id: UUID
    name: str
    kind: ExternalAccountKind
    identification: str | None = None
    inverted: bool = False
    metadata: Metadata = field(default_factory=dict)

    def check(self) -> None:
        """Raise ValidationFailed where the input is wrong."""
        check_labels({"name": self.name, "identification": self.identification}, self.metadata)


def check_labels(texts: Mapping[str, Any], metadata: Metadata) -> None:
    """Refuse a name or an identification that is blank or too long, and metadata past its size."""
    check_text("name", texts.get("name"), MAX_NAME_LENGTH)
    check_text("identification", texts.get("identification"), MAX_NAME_LENGTH)
    check_metadata(metadata, ("input", "metadata"))


def check_change(changes: Mapping[str, Any]) -> None:
    """Refuse new labels that an external account cannot have."""
    for name in ("name", "kind", "metadata"):
        if name in changes and changes[name] is None:
            raise ValidationFailed(message=f"{name} cannot be null.", path=("input", name))
    check_labels(changes, changes.get("metadata", {}))


@immutable
class Line:
    """One movement, as an outside party tells it.

    `amount` is in minor units of `currency`; positive came in there, negative went out.
    """

    booked_on: date
    amount: int
    currency: str
    value_on: date | None = None
    reference: str | None = None
    end_to_end_id: str | None = None
    counterparty: str | None = None
    description: str | None = None
    details: Mapping[str, Any] | None = None
    source_line: int | None = None

    def check(self, path: Path = ("input",)) -> None:
        """Raise ValidationFailed where no line could be so."""
        if not 1 <= abs(self.amount) <= MAX_AMOUNT:
            raise _wrong("The amount of a line is not zero, and at most 10^36.", path, "amount")
        for name, day in (("bookedOn", self.booked_on), ("valueOn", self.value_on)):
            if day is not None and not EARLIEST <= day <= LATEST:
                raise _wrong(f"{name} is from 1900 up to 2200.", path, name)
        for name, text, longest in (
            ("reference", self.reference, MAX_REFERENCE_LENGTH),
            ("endToEndId", self.end_to_end_id, MAX_REFERENCE_LENGTH),
            ("counterparty", self.counterparty, MAX_TEXT_LENGTH),
            ("description", self.description, MAX_TEXT_LENGTH),
        ):
            if text is None:
                continue
            if not text or len(text) > longest:
                raise _wrong(f"{name} has from 1 to {longest} characters.", path, name)
            if _UNPRINTABLE.search(text):
                raise _wrong(f"{name} must not hold control characters.", path, name)

        if (
            self.details is not None
            and len(_CANONICAL.encode(self.details).encode()) > MAX_DETAILS_BYTES
        ):
            raise _wrong(f"details has at most {MAX_DETAILS_BYTES} bytes.", path, "details")

    def identity(self) -> bytes:
        """SHA-256 of what the line is known again by, but for how often the same came before."""
        told: Sequence[Any] = (
            (self.reference,)
            if self.reference is not None
            else (
                None,
                self.value_on and self.value_on.isoformat(),
                self.end_to_end_id,
                self.counterparty,
                self.description,
                self.details,
            )
        )
        content = [self.booked_on.isoformat(), str(self.amount), self.currency, *told]
        return sha256(_CANONICAL.encode(content).encode()).digest()


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass(slots=True)
class Statement:
    """What a statement says beside its lines; balances in minor units of `currency`, signed.

    What is None was not said. A reader fills it in until the statement ends.
    """

    currency: str
    reference: str | None = None
    from_date: date | None = None
    through_date: date | None = None
    opening_balance: int | None = None
    closing_balance: int | None = None

    def check(self) -> None:
        """Raise ValidationFailed where no statement could be so."""
        check_text("reference", self.reference, MAX_REFERENCE_LENGTH)
        for name, day in (("from", self.from_date), ("through", self.through_date)):
            if day is not None and not EARLIEST <= day <= LATEST:
                raise _wrong(f"{name} is from 1900 up to 2200.", ("input",), name)
        if self.from_date and self.through_date and self.from_date > self.through_date:
            raise _wrong("A statement ends after it begins.", ("input",), "through")
        for name, balance in (
            ("openingBalance", self.opening_balance),
            ("closingBalance", self.closing_balance),
        ):
            if balance is not None and abs(balance) > MAX_AMOUNT:
                raise _wrong(f"{name} is at most 10^36 minor units.", ("input",), name)


def digest_of_rows(statement: Statement, lines: Sequence[Line]) -> bytes:
    """SHA-256 by which a list of rows is recognised as a whole."""
    content = [astuple(statement), [astuple(line) for line in lines]]
    return sha256(json.dumps(content, sort_keys=True, default=date.isoformat).encode()).digest()


def difference(opening: int | None, total: int, closing: int | None) -> int | None:
    """By how much opening balance and lines miss the closing balance; None where one is unsaid."""
    return None if opening is None or closing is None else opening + total - closing


def _wrong(message: str, path: Path, name: str) -> ValidationFailed:
    return ValidationFailed(message=message, path=(*path, name))
