"""ISO 20022: camt.053 (BankToCustomerStatement), camt.054 (…DebitCreditNotification).

Elements are found by their local names, for versions differ in their namespace and in few things
else: since .08 the status of an entry has a code of its own, and a party a level more.

An entry (Ntry) is what the balance moves by, so it is a line; what a batch consists of (TxDtls) is
kept in the line's details. Its mark (CdtDbtInd) says how it moves the account whether it reverses
another (RvslInd) or not.
"""

import re
from datetime import date
from typing import Any

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
    refuse_other_account,
)
from app.api.reconciliation.formats.trees import Element, Place, Tree, XmlSource
from app.ledger.reconciliation.outside import (
    MAX_REFERENCE_LENGTH,
    MAX_TEXT_LENGTH,
    Line,
    Statement,
    StatementFormat,
)

MAX_PARTS_CHARACTERS = 200_000
"""What the parts of a batch may come to; where there are more, `partCount` still counts them."""

UNTOLD = {"NOTPROVIDED", "NONREF"}
CONTAINERS = {
    StatementFormat.CAMT_053: ("BkToCstmrStmt", "Stmt"),
    StatementFormat.CAMT_054: ("BkToCstmrDbtCdtNtfctn", "Ntfctn"),
}
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", re.ASCII)
OPENING, CLOSING = ("OPBD", "PRCD"), ("CLBD",)


class CamtReader:
    """Reads one file, of any version, of one of both kinds."""

    def __init__(self, kind: StatementFormat, books: Books) -> None:
        self.statements: list[Statement] = []
        self.skipped = 0
        self._books = books
        self._kind = kind
        self._message, self._container = CONTAINERS[kind]
        self._tree = Tree(self._begin, self._take)
        self._source = XmlSource(self._tree)
        self._lines: list[tuple[int, Line]] = []
        self._statement: Statement | None = None
        self._created_on: date | None = None
        self._currency: str | None = None
        self._has_opening = False
        self._has_account = False
        self._found = False
        self._parts: list[dict[str, str]] = []
        self._parts_characters = 0
        self._part_count = 0

    def feed(self, data: bytes) -> Lines:
        self._source.feed(data)
        yield from self._emptied()

    def end(self) -> Lines:
        self._source.feed(b"", final=True)
        yield from self._emptied()
        if not self._found:
            malformed(f"This is no {self._kind.value}: there is no {self._message}.", 1, 1)
        if not self.statements:
            malformed(f"There is no {self._container} in the {self._message}.", 1, 1)

    def _emptied(self) -> Lines:
        lines, self._lines = self._lines, []
        yield from lines

    # ---- elements --------------------------------------------------------------------------------

    def _begin(self, element: Element, parents: list[str]) -> None:
        if parents == [] and element.name == "html":
            malformed("This is a web page.", *element.place)
        if element.name == self._message:
            self._found = True
        elif element.name == self._container and parents[-1:] == [self._message]:
            self._statement = Statement(self._books.currency)
            self._created_on, self._currency = None, None
            self._has_opening, self._has_account = False, False
            begun(self.statements, self._statement, element.place)
        elif element.name == "Ntry":
            self._parts, self._parts_characters, self._part_count = [], 0, 0

    def _take(self, element: Element, parents: list[str]) -> bool:
        if parents[-1:] == [self._message] and element.name == self._container:
            if not self._has_account:
                malformed("There is no account (Acct): whose statement is it?", *element.place)
            if self._statement is not None:
                ended(self._statement, element.place)
            self._statement = None
            return True
        if parents[-2:] == [self._message, self._container] and self._statement is not None:
            self._take_part(self._statement, element)
            return True
        if element.name == "TxDtls" and parents[-2:] == ["Ntry", "NtryDtls"]:
            self._take_transaction(element, self._tree.open[-2])
            return True
        return parents[-1:] == [self._message] or not parents

    def _take_part(self, statement: Statement, element: Element) -> None:
        match element.name:
            case "Id":
                statement.reference = self._text(element, MAX_REFERENCE_LENGTH)
            case "CreDtTm":
                self._created_on = self._day(element)
            case "FrToDt":
                statement.from_date = self._day(element.find("FrDtTm") or element.find("FrDt"))
                statement.through_date = self._day(element.find("ToDtTm") or element.find("ToDt"))
            case "Acct":
                self._take_account(statement, element)
            case "Bal":
                self._take_balance(statement, element)
            case "Ntry":
                line = self._entry(element)
                if line is not None:
                    self._lines.append((len(self.statements), line))

    def _take_account(self, statement: Statement, element: Element) -> None:
        self._has_account = True
        told = element.text_at("Id", "IBAN") or element.text_at("Id", "Othr", "Id")
        refuse_other_account(self._books, told, *element.place)
        currency = element.text_at("Ccy")
        if currency is not None:
            self._exponent(currency, element.place)
            statement.currency = self._currency = currency

    def _take_balance(self, statement: Statement, element: Element) -> None:
        kind = element.text_at("Tp", "CdOrPrtry", "Cd")
        if kind not in (*OPENING, *CLOSING):
            return
        amount, currency = self._amount(element)
        if self._currency not in (None, currency):
            malformed("The statement's balances are in two currencies.", *element.place)
        statement.currency = self._currency = currency
        if kind in CLOSING:
            statement.closing_balance = amount
        elif kind == "OPBD" or not self._has_opening:
            self._has_opening = kind == "OPBD"
            statement.opening_balance = amount

    def _take_transaction(self, part: Element, entry: Element) -> None:
        self._part_count += 1
        if self._parts_characters < MAX_PARTS_CHARACTERS:
            comes_in = (part.text_at("CdtDbtInd") or entry.text_at("CdtDbtInd")) == "CRDT"
            told = {name: text for name, text in self._told(part, comes_in).items() if text}
            self._parts.append(told)
            self._parts_characters += sum(len(name) + len(text) for name, text in told.items())

    def _entry(self, entry: Element) -> Line | None:
        status = entry.text_at("Sts", "Cd") or entry.text_at("Sts") or "BOOK"
        if status != "BOOK":
            self.skipped += 1
            return None
        amount, currency = self._amount(entry)
        if amount == 0:
            malformed("A line of zero moves nothing.", *entry.place)
        value_on = self._day(entry.find("ValDt"))
        booked_on = self._day(entry.find("BookgDt")) or value_on or self._created_on
        if booked_on is None:
            malformed("The entry has no date.", *entry.place)
        told = self._parts[0] if self._part_count == 1 else {}
        return checked(
            Line(
                booked_on=booked_on,
                amount=amount,
                currency=currency,
                value_on=value_on,
                reference=self._reference(entry.find("AcctSvcrRef"))
                or told.get("servicerReference")
                or self._reference(entry.find("NtryRef")),
                end_to_end_id=told.get("endToEndId"),
                counterparty=told.get("counterparty"),
                description=told.get("description")
                or self._text(entry.find("AddtlNtryInf"), MAX_TEXT_LENGTH),
                details=self._details(entry, told) or None,
                source_line=entry.place[0],
            ),
            entry.place,
        )

    def _details(self, entry: Element, told: dict[str, str]) -> dict[str, Any]:
        details: dict[str, Any] = {}
        code = entry.find("BkTxCd")
        if code is not None:
            domain = [
                code.text_at("Domn", "Cd"),
                code.text_at("Domn", "Fmly", "Cd"),
                code.text_at("Domn", "Fmly", "SubFmlyCd"),
            ]
            kind = "/".join(one for one in domain if one) or code.text_at("Prtry", "Cd")
            if kind:
                details["bankTransactionCode"] = clean(kind, code.place)
        if entry.text_at("RvslInd") in ("true", "1"):
            details["reversal"] = True
        if "counterpartyAccount" in told:
            details["counterpartyAccount"] = told["counterpartyAccount"]
        if self._part_count > 1:
            details["parts"] = self._parts
            details["partCount"] = self._part_count
        return details

    def _told(self, part: Element, comes_in: bool) -> dict[str, str | None]:
        """What is said of one transaction of an entry."""
        other = "Dbtr" if comes_in else "Cdtr"
        party = part.find("RltdPties", other)
        name = party and (party.find("Nm") or party.find("Pty", "Nm"))
        account = part.find("RltdPties", f"{other}Acct", "Id")
        texts = [self._text(one, MAX_TEXT_LENGTH) for one in part.all("RmtInf", "Ustrd")]
        texts = texts or [
            self._text(one, MAX_TEXT_LENGTH)
            for one in part.all("RmtInf", "Strd", "CdtrRefInf", "Ref")
        ]
        description = " ".join(text for text in texts if text)[:MAX_TEXT_LENGTH]
        money = part.find("Amt") or part.find("AmtDtls", "TxAmt", "Amt")
        return {
            "amount": self._text(money, MAX_REFERENCE_LENGTH),
            "currency": None if money is None else money.text_at("@Ccy"),
            "servicerReference": self._reference(part.find("Refs", "AcctSvcrRef")),
            "endToEndId": self._reference(part.find("Refs", "EndToEndId")),
            "counterparty": self._text(name or None, MAX_TEXT_LENGTH),
            "counterpartyAccount": None
            if account is None
            else clean(account.text_at("IBAN") or account.text_at("Othr", "Id"), account.place),
            "description": description or self._text(part.find("AddtlTxInf"), MAX_TEXT_LENGTH),
        }

    # ---- what stands in elements -----------------------------------------------------------------

    def _amount(self, holder: Element) -> tuple[int, str]:
        money = holder.find("Amt")
        currency = None if money is None else money.text_at("@Ccy")
        if money is None or currency is None:
            malformed("There is no amount with its currency (Amt, Ccy).", *holder.place)
        exponent = self._exponent(currency, money.place)
        try:
            amount = minor_units(money.text.strip(), exponent, zeros=True)
        except ValueError as fault:
            malformed(f"This is not an amount: {fault}.", *money.place)
        mark = holder.text_at("CdtDbtInd")
        if amount < 0 or mark not in ("CRDT", "DBIT"):
            malformed("An amount has no sign, and CdtDbtInd is CRDT or DBIT.", *money.place)
        return (amount if mark == "CRDT" else -amount), currency

    def _exponent(self, currency: str, place: Place) -> int:
        exponent = self._books.exponent_of(currency)
        if exponent is None:
            malformed("This is no currency of ISO 4217.", *place)
        return exponent

    def _day(self, element: Element | None) -> date | None:
        """The day of a date or a time, as it is written; None where there is none."""
        if element is None:
            return None
        text = element.text_at("Dt") or element.text_at("DtTm") or element.text.strip()
        if not text:
            return None
        match = _DATE.match(text)
        try:
            return day_of(*map(int, match.groups() if match else (0, 0, 0)))
        except ValueError:
            malformed("This is not a date such as 2026-01-31.", *element.place)

    def _text(self, element: Element | None, longest: int) -> str | None:
        text = None if element is None else clean(element.text, element.place)
        if text is not None and len(text) > longest and element is not None:
            malformed(f"This text has up to {longest} characters.", *element.place)
        return text

    def _reference(self, element: Element | None) -> str | None:
        text = self._text(element, MAX_REFERENCE_LENGTH)
        return None if text in UNTOLD else text
