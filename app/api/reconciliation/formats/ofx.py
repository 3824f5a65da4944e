"""OFX, Open Financial Exchange: statements of bank and card accounts, 1.x in SGML or 2.x in XML.

What it says of balances is where the account stands at the end (LEDGERBAL); an opening balance it
does not know.
"""

import re
from datetime import date

from app.api.reconciliation.formats.reading import (
    Books,
    Lines,
    begun,
    checked,
    clean,
    day_of,
    ended,
    malformed,
    minor_units,
    refuse_archive,
    refuse_other_account,
)
from app.api.reconciliation.formats.trees import Element, Place, SgmlSource, Tree, XmlSource
from app.ledger.reconciliation.outside import MAX_TEXT_LENGTH, Line, Statement

MAX_HEADER_BYTES = 4096
STATEMENTS = ("STMTRS", "CCSTMTRS")
_DATE = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})(?:[0-9]{2,6}(?:\.[0-9]+)?)?\s*(?:\[.*\])?", re.ASCII
)
_CHARSETS = {"1252": "windows-1252", "8859-1": "iso-8859-1", "ISO-8859-1": "iso-8859-1"}


class OfxReader:
    """Reads one file of either kind."""

    def __init__(self, books: Books) -> None:
        self.statements: list[Statement] = []
        self.skipped = 0
        self._books = books
        self._tree = Tree(self._begin, self._take)
        self._source: XmlSource | SgmlSource | None = None
        self._header = b""
        self._lines: list[tuple[int, Line]] = []
        self._statement: Statement | None = None
        self._exponent: int | None = None

    def feed(self, data: bytes) -> Lines:
        if self._source is None:
            self._header += data
            self._open(final=False)
        else:
            self._source.feed(data)
        yield from self._emptied()

    def end(self) -> Lines:
        if self._source is None:
            self._open(final=True)
        assert self._source is not None
        self._source.feed(b"", final=True)
        yield from self._emptied()
        if self._tree.open:
            element = self._tree.open[-1]
            malformed(f"The file ends within <{element.name}>.", *element.place)
        if not self.statements:
            malformed("There is no statement of a bank or card account.", 1, 1)

    def _open(self, *, final: bool) -> None:
        """Choose by the header, which ends where the first tag begins that is not the prolog's."""
        header = self._header
        refuse_archive(header)
        start = header.find(b"<OFX")
        is_xml = header.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<?xml")
        if start < 0 and not is_xml:
            if final or len(header) > MAX_HEADER_BYTES:
                malformed("This is not OFX: there is no <OFX>.", 1, 1)
            return
        self._header = b""
        if is_xml or b"<?OFX" in header[:start]:
            self._source = XmlSource(self._tree)
            self._source.feed(header)
            return
        encoding = _encoding(header[:start])
        self._source = SgmlSource(self._tree, encoding)
        self._source.line += header[:start].count(b"\n") or header[:start].count(b"\r")
        self._source.feed(header[start:])

    def _emptied(self) -> Lines:
        lines, self._lines = self._lines, []
        yield from lines

    # ---- elements --------------------------------------------------------------------------------

    def _begin(self, element: Element, parents: list[str]) -> None:
        if not parents and (element.name != "OFX" or (self._tree.seen_root and self.statements)):
            malformed("There is one <OFX>, which holds all.", *element.place)
        if element.name in STATEMENTS:
            if self._statement is not None:
                malformed("A statement stands within a statement.", *element.place)
            self._statement, self._exponent = Statement(self._books.currency), None
            begun(self.statements, self._statement, element.place)

    def _take(self, element: Element, parents: list[str]) -> bool:
        statement = self._statement
        if statement is None:
            return not parents
        match element.name:
            case "STMTRS" | "CCSTMTRS":
                ended(statement, element.place)
                self._statement = None
            case "CURDEF":
                self._exponent = self._exponent_of(element.text.strip(), element.place)
                statement.currency = element.text.strip()
            case "BANKACCTFROM" | "CCACCTFROM":
                refuse_other_account(self._books, element.text_at("ACCTID"), *element.place)
            case "DTSTART" if parents[-1] == "BANKTRANLIST":
                statement.from_date = self._day(element)
            case "DTEND" if parents[-1] == "BANKTRANLIST":
                statement.through_date = self._day(element)
            case "LEDGERBAL":
                statement.closing_balance = self._amount(
                    element, element.find("BALAMT"), self._default_exponent(element)
                )
            case "STMTTRN":
                self._lines.append((len(self.statements), self._transaction(statement, element)))
            case _:
                return False
        return True

    def _transaction(self, statement: Statement, element: Element) -> Line:
        exponent, currency = self._default_exponent(element), statement.currency
        other = element.within("CURRENCY")
        if other is not None:
            currency = other.text_at("CURSYM") or ""
            exponent = self._exponent_of(currency, other.place)
        amount = self._amount(element, element.within("TRNAMT"), exponent)
        if amount == 0:
            malformed("A line of zero moves nothing.", *element.place)
        posted = element.within("DTPOSTED")
        if posted is None:
            malformed("The transaction has no date (DTPOSTED).", *element.place)
        available = element.within("DTAVAIL")
        details = {
            name: text
            for name, tag in DETAILS.items()
            if (text := self._text(element, tag)) is not None
        }
        return checked(
            Line(
                booked_on=self._day(posted),
                amount=amount,
                currency=currency,
                value_on=None if available is None else self._day(available),
                reference=self._text(element, "FITID"),
                counterparty=self._text(element, "NAME"),
                description=self._text(element, "MEMO"),
                details=details or None,
                source_line=element.place[0],
            ),
            element.place,
        )

    # ---- what stands in elements -----------------------------------------------------------------

    def _default_exponent(self, element: Element) -> int:
        if self._exponent is None:
            malformed("The statement does not say its currency (CURDEF).", *element.place)
        return self._exponent

    def _exponent_of(self, currency: str, place: Place) -> int:
        exponent = self._books.exponent_of(currency)
        if exponent is None:
            malformed("This is no currency of ISO 4217.", *place)
        return exponent

    def _amount(self, holder: Element, element: Element | None, exponent: int) -> int:
        if element is None:
            malformed(f"<{holder.name}> has no amount.", *holder.place)
        text = element.text.strip()
        if "." not in text:
            text = text.replace(",", ".", 1)
        try:
            return minor_units(text, exponent, zeros=True)
        except ValueError as fault:
            malformed(f"This is not an amount: {fault}.", *element.place)

    def _day(self, element: Element) -> date:
        match = _DATE.fullmatch(element.text.strip())
        if match is None:
            malformed("This is not a date: it is not written as 20260131.", *element.place)
        try:
            return day_of(int(match[1]), int(match[2]), int(match[3]))
        except ValueError as fault:
            malformed(f"This is not a date: {fault}.", *element.place)

    def _text(self, element: Element, tag: str) -> str | None:
        found = element.within(tag)
        text = None if found is None else clean(found.text, found.place)
        if text is not None and len(text) > MAX_TEXT_LENGTH and found is not None:
            malformed(f"A text has up to {MAX_TEXT_LENGTH} characters.", *found.place)
        return text


DETAILS = {
    "transactionType": "TRNTYPE",
    "checkNumber": "CHECKNUM",
    "referenceNumber": "REFNUM",
    "correctedId": "CORRECTFITID",
}


def _encoding(header: bytes) -> str:
    """As the header says: ENCODING is USASCII with a CHARSET, or UTF-8, or UNICODE."""
    told = dict(re.findall(rb"([A-Z]+)[:=]\"?([A-Za-z0-9-]+)", header))
    if told.get(b"ENCODING", b"").upper() in (b"UTF-8", b"UNICODE"):
        return "utf-8"
    charset = told.get(b"CHARSET", b"1252").decode()
    return _CHARSETS.get(charset.upper(), "windows-1252" if charset == "NONE" else "ascii")
