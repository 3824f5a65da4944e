"""A statement as a PDF that looks like a bank's.

It is laid out before it is drawn: texts are cut into lines by the widths of the font's own letters,
rows fill pages, and only then is it known how many pages there are. The columns of amounts are as
wide as the widest of them; where an amount is so long that little would be left for descriptions,
all of the table is set smaller.

The letters are DejaVu Sans, which has those of Latin, Greek, Cyrillic, Armenian, Georgian and
Hebrew, and many signs. What it does not have (Chinese, Japanese and Korean, most scripts of India)
is shown as U+FFFD; letters that join or run from right to left are set one by one, in the order in
which they are stored. The JSON and the CSV hold every text as it is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple

from fpdf import FPDF
from fpdf.fonts import TTFFont

from app.ledger.statements.statements import (
    Line,
    Record,
    Statement,
    adjustment_record,
    line_record,
    statement_record,
)

WIDTH, HEIGHT, MARGIN = 210.0, 297.0, 18.0
BODY = WIDTH - 2 * MARGIN
FIRST_TOP, NEXT_TOP, BOTTOM = 101.0, 34.0, HEIGHT - 26.0
TABLE_SIZES = (8.5, 8.0, 7.5, 7.0, 6.5, 6.0, 5.5, 5.0, 4.5)
LEAST_DESCRIPTION = 40.0
GAP = 3.0
MILLIMETRES = 25.4 / 72
INK, FAINT, RULE, SHADE = (28, 32, 38), (105, 112, 122), (190, 196, 204), (244, 246, 248)
MISSING = "\N{REPLACEMENT CHARACTER}"
REGULAR, BOLD = "", "B"


class _Row(NamedTuple):
    """A row of the table: what stands in it, line by line, and how it is set."""

    date: str
    description: Sequence[str]
    details: Sequence[str]
    debit: str
    credit: str
    balance: str
    style: str
    height: float


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where the columns of the table end on the right, and how large they are set."""

    size: float
    description: float
    description_width: float
    debit: float
    credit: float
    balance: float


def as_pdf(statement: Statement, adjustments: Sequence[Line], lines: Sequence[Line]) -> bytes:
    """The PDF file. It takes a while: not for the event loop."""
    return _Drawing(statement, adjustments, lines).draw()


class _Drawing:
    """One statement on its way to paper."""

    def __init__(
        self, statement: Statement, adjustments: Sequence[Line], lines: Sequence[Line]
    ) -> None:
        self._statement = statement
        self._facts = statement_record(statement)
        self._adjustments = [adjustment_record(statement, line) for line in adjustments]
        self._lines = [line_record(statement, line) for line in lines]
        self._pdf = pdf = FPDF(unit="mm", format="A4")
        pdf.set_auto_page_break(False)
        for style, font in ((REGULAR, "DejaVuSans.ttf"), (BOLD, "DejaVuSans-Bold.ttf")):
            pdf.add_font("DejaVu", style, str(files("app.api.statements") / "fonts" / font))
        pdf.set_title(f"Account statement {statement.number}")
        pdf.set_author(statement.organization_name)
        pdf.set_creation_date(statement.created_at)
        pdf.set_line_width(0.2)
        self._widths: dict[str, Mapping[str, float]] = {}

    def draw(self) -> bytes:
        """Lay out all pages, then draw them."""
        columns = self._columns()
        pages = list(_paged(self._rows(columns), columns))
        for number, rows in enumerate(pages, 1):
            self._pdf.add_page()
            if number == 1:
                self._first_heading()
                top = FIRST_TOP
            else:
                self._next_heading()
                top = NEXT_TOP
            self._table(rows, columns, top)
            self._foot(number, len(pages))
        return bytes(self._pdf.output())

    # ---- laid out --------------------------------------------------------------------------------

    def _columns(self) -> _Columns:
        amounts = [record["amount"] for record in (*self._adjustments, *self._lines)]
        amounts += [self._facts["debits"], self._facts["credits"]]
        balances = [record["balance"] for record in self._lines]
        balances += [self._facts[edge]["balance"] for edge in ("opening", "closing")]
        amount, balance = (
            max(len(_grouped(text)) for text in texts) for texts in (amounts, balances)
        )
        for size in TABLE_SIZES:
            digit = self._width("0", BOLD, size)
            date = self._width("0000-00-00", BOLD, size) + GAP
            wide = (max(digit * amount, digit * 8), max(digit * balance, digit * 9))
            left = BODY - date - 2 * wide[0] - wide[1] - 3 * GAP
            if left >= LEAST_DESCRIPTION:
                break
        right = WIDTH - MARGIN
        return _Columns(
            size,
            MARGIN + date,
            left,
            right - wide[1] - wide[0] - 2 * GAP,
            right - wide[1] - GAP,
            right,
        )

    def _rows(self, columns: _Columns) -> Iterator[_Row]:
        facts = self._facts
        if facts["previous"] is not None and self._adjustments:
            number = facts["previous"]["number"]
            yield self._row(
                columns,
                description=f"Adjustments to earlier periods since statement {number}",
                style=BOLD,
            )
            for record in self._adjustments:
                yield self._entry(columns, record)
        yield self._row(
            columns,
            date=_day(facts["from"]),
            description="Opening balance",
            balance=facts["opening"]["balance"],
            style=BOLD,
        )
        for record in self._lines:
            yield self._entry(columns, record)
        yield self._row(
            columns,
            description="Total",
            debit=facts["debits"],
            credit=facts["credits"],
            style=BOLD,
        )
        yield self._row(
            columns,
            date=_day(facts["to"]),
            description="Closing balance",
            balance=facts["closing"]["balance"],
            style=BOLD,
        )

    def _entry(self, columns: _Columns, record: Record) -> _Row:
        side = {record["direction"].lower(): record["amount"]}
        reference = record["externalId"]
        return self._row(
            columns,
            date=_day(record["effectiveAt"]),
            description=record["description"] or "",
            details=[*([reference] if reference else []), record["transactionId"]],
            balance=record.get("balance", ""),
            **side,
        )

    def _row(
        self,
        columns: _Columns,
        *,
        date: str = "",
        description: str = "",
        details: Sequence[str] = (),
        debit: str = "",
        credit: str = "",
        balance: str = "",
        style: str = REGULAR,
    ) -> _Row:
        told = list(self._wrapped(description, style, columns.size, columns.description_width))
        smaller = [
            line
            for text in details
            for line in self._wrapped(text, REGULAR, columns.size - 1.5, columns.description_width)
        ]
        if not description and smaller:
            told = []
        height = len(told) * _step(columns.size) + len(smaller) * _step(columns.size - 1.5) + 2.2
        amounts = (_grouped(debit), _grouped(credit), _grouped(balance))
        return _Row(date, told, smaller, *amounts, style, max(height, _step(columns.size) + 2.2))

    def _wrapped(self, text: str, style: str, size: float, width: float) -> Iterator[str]:
        """A text in lines of at most the width, broken at blanks or else anywhere."""
        for paragraph in self._shown(text, style).splitlines() or [""]:
            line = ""
            for word in paragraph.split():
                longer = f"{line} {word}" if line else word
                if self._width(longer, style, size) <= width:
                    line = longer
                    continue
                if line:
                    yield line
                line = word
                while self._width(line, style, size) > width:
                    fitting = self._fitting(line, style, size, width)
                    yield line[:fitting]
                    line = line[fitting:]
            yield line

    def _fitting(self, text: str, style: str, size: float, width: float) -> int:
        taken = 0.0
        for place, letter in enumerate(text):
            taken += self._width(letter, style, size)
            if taken > width:
                return max(place, 1)
        return len(text)

    def _clipped(self, text: str, style: str, size: float, width: float) -> str:
        text = " ".join(self._shown(text, style).split())
        if self._width(text, style, size) <= width:
            return text
        return text[: self._fitting(text, style, size, width - self._width("…", style, size))] + "…"

    def _shown(self, text: str, style: str) -> str:
        """The text with the letters that the font has."""
        known = self._letters(style)
        return "".join(
            letter if letter in known or letter in "\n\t\r" else MISSING for letter in text
        ).replace("\t", " ")

    def _width(self, text: str, style: str, size: float) -> float:
        widths = self._letters(style)
        return sum(widths.get(letter, 600.0) for letter in text) * size * MILLIMETRES / 1000

    def _letters(self, style: str) -> Mapping[str, float]:
        """The letters of a font, and how wide they are in thousandths of its size."""
        found = self._widths.get(style)
        if found is None:
            font = self._pdf.fonts[f"dejavu{style}"]
            assert isinstance(font, TTFFont)
            found = self._widths[style] = _letters_of(font)
        return found

    # ---- drawn -----------------------------------------------------------------------------------

    def _first_heading(self) -> None:
        statement, facts = self._statement, self._facts
        self._text(MARGIN, 24, statement.organization_name, BOLD, 16, width=BODY - 60)
        self._text(MARGIN, 30, statement.ledger_name, REGULAR, 9, ink=FAINT, width=BODY - 60)
        self._text(WIDTH - MARGIN, 24, "Account statement", BOLD, 13, right=True)
        self._text(
            WIDTH - MARGIN, 30, f"Number {statement.number}", REGULAR, 9, ink=FAINT, right=True
        )
        self._rule(34)
        left: list[tuple[str, str]] = [
            ("Account", statement.account_name),
            ("Account id", facts["accountId"]),
            ("Reference", statement.external_id or "–"),  # noqa: RUF001
            ("Currency", statement.currency),
        ]
        right = [
            ("From", _moment(facts["from"])),
            ("Until before", _moment(facts["to"])),
            ("Made at", _moment(facts["knownAt"])),
            ("Ledger sequence", facts["ledgerSequence"]),
        ]
        for column, pairs, label in ((MARGIN, left, 22.0), (MARGIN + BODY * 0.6, right, 28.0)):
            width = (BODY * 0.6 if column == MARGIN else BODY * 0.4) - label - GAP
            for place, (name, value) in enumerate(pairs):
                height = 42 + place * 5.6
                self._text(column, height, name, REGULAR, 8, ink=FAINT)
                self._text(column + label, height, value, REGULAR, 8, width=width)
        self._summary(66)

    def _summary(self, top: float) -> None:
        facts, quarter = self._facts, BODY / 4
        figures = [
            ("Opening balance", facts["opening"]["balance"], REGULAR),
            ("Total debits", facts["debits"], REGULAR),
            ("Total credits", facts["credits"], REGULAR),
            ("Closing balance", facts["closing"]["balance"], BOLD),
        ]
        self._pdf.set_fill_color(*SHADE)
        self._pdf.rect(MARGIN, top, BODY, 19, style="F")
        widest = max(self._width(_grouped(amount), BOLD, 1) for _, amount, _ in figures)
        size = min(11.0, (quarter - 5) / widest)
        for place, (name, amount, style) in enumerate(figures):
            right = MARGIN + (place + 1) * quarter - 4
            self._text(right, top + 7, name, REGULAR, 8, ink=FAINT, right=True)
            self._text(right, top + 14, _grouped(amount), style, size, right=True)

    def _next_heading(self) -> None:
        statement = self._statement
        self._text(MARGIN, 18, statement.account_name, BOLD, 9, width=BODY - 62)
        number = f"Account statement, number {statement.number}"
        self._text(WIDTH - MARGIN, 18, number, REGULAR, 8, ink=FAINT, right=True)
        self._rule(21)

    def _table(self, rows: Sequence[_Row], columns: _Columns, top: float) -> None:
        """In the order in which it is read, so that extracted text has it too."""
        heading = f"Description (amounts in {self._statement.currency})"
        shown = self._clipped(heading, BOLD, columns.size, columns.description_width)
        head = _Row("Date", [shown], [], "Debit", "Credit", "Balance", BOLD, 0)
        self._row_at(head, columns, top - 3)
        self._rule(top - 1)
        for row in rows:
            self._row_at(row, columns, top + _step(columns.size))
            top += row.height
            self._rule(top)

    def _row_at(self, row: _Row, columns: _Columns, baseline: float) -> None:
        first, smaller = baseline, columns.size - 1.5
        texts = [(line, row.style, columns.size, INK) for line in row.description]
        texts += [(line, REGULAR, smaller, FAINT) for line in row.details]
        self._text(MARGIN, first, row.date, row.style, columns.size)
        for place, (line, style, size, ink) in enumerate(texts or [("", REGULAR, smaller, INK)]):
            self._text(columns.description, baseline, line, style, size, ink=ink)
            following = texts[place + 1][2] if place + 1 < len(texts) else size
            baseline += _step(following)
            if place == 0:
                for right, amount in (
                    (columns.debit, row.debit),
                    (columns.credit, row.credit),
                    (columns.balance, row.balance),
                ):
                    self._text(right, first, amount, row.style, columns.size, right=True)

    def _foot(self, number: int, pages: int) -> None:
        statement = self._statement
        self._rule(HEIGHT - 21)
        hashed = f"SHA-256 {statement.content_hash.hex()}"
        self._text(MARGIN, HEIGHT - 16.5, hashed, REGULAR, 6.5, ink=FAINT)
        self._text(MARGIN, HEIGHT - 13, self._facts["id"], REGULAR, 6.5, ink=FAINT)
        page = f"Page {number} of {pages}"
        self._text(WIDTH - MARGIN, HEIGHT - 16.5, page, REGULAR, 8, right=True)

    def _text(
        self,
        x: float,
        y: float,
        text: str,
        style: str,
        size: float,
        *,
        ink: tuple[int, int, int] = INK,
        right: bool = False,
        width: float | None = None,
    ) -> None:
        if not text:
            return
        text = (
            self._shown(text, style) if width is None else self._clipped(text, style, size, width)
        )
        self._pdf.set_font("DejaVu", style, size)
        self._pdf.set_text_color(*ink)
        self._pdf.text(x - self._width(text, style, size) if right else x, y, text)

    def _rule(self, y: float) -> None:
        self._pdf.set_draw_color(*RULE)
        self._pdf.line(MARGIN, y, WIDTH - MARGIN, y)


def _paged(rows: Iterable[_Row], columns: _Columns) -> Iterator[list[_Row]]:
    """Rows in pages. A row goes on the next page where it does not fit; one is never cut."""
    page: list[_Row] = []
    room = BOTTOM - FIRST_TOP
    for whole in rows:
        for row in _pieces(whole, columns):
            if row.height > room and page:
                yield page
                page, room = [], BOTTOM - NEXT_TOP
            page.append(row)
            room -= row.height
    yield page


def _pieces(row: _Row, columns: _Columns) -> Iterator[_Row]:
    """A row that is longer than a page goes on in others, without its amounts."""
    most = int((BOTTOM - FIRST_TOP) / _step(columns.size)) - 3
    while len(row.description) > most:
        height = most * _step(columns.size) + 2.2
        yield row._replace(description=row.description[:most], details=(), height=height)
        left = row.height - most * _step(columns.size)
        row = row._replace(
            date="",
            description=row.description[most:],
            debit="",
            credit="",
            balance="",
            height=left,
        )
    yield row


def _letters_of(font: TTFFont) -> Mapping[str, float]:
    return {chr(code): float(font.cw[code]) for code in font.cmap}


def _step(size: float) -> float:
    """From one line to the next."""
    return size * MILLIMETRES * 1.32


def _grouped(amount: str) -> str:
    """An amount with its thousands apart: 1,234,567.89."""
    if not amount:
        return ""
    whole, point, fraction = amount.partition(".")
    return ("-0" if whole == "-0" else f"{int(whole):,}") + point + fraction


def _day(moment: str) -> str:
    return moment[:10]


def _moment(moment: str) -> str:
    return f"{moment[:10]} {moment[11:19]} UTC"
