"""Readers by themselves: samples of every format, in pieces of any size, and hostile files."""

import csv
import io
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.reconciliation.formats.camt import CamtReader
from app.api.reconciliation.formats.cells import CsvReader, Profile
from app.api.reconciliation.formats.ofx import OfxReader
from app.api.reconciliation.formats.reading import Books, Reader
from app.api.reconciliation.formats.swift import SwiftReader
from app.ledger.reconciliation.outside import (
    FailureCode,
    ImportFailed,
    Line,
    Statement,
    StatementFormat,
)
from app.ledger.refusals import ValidationFailed

SAMPLES = Path(__file__).parent.parent / "data" / "statements"
EXPONENTS = {"EUR": 2, "USD": 2, "JPY": 0, "BHD": 3}
DEFAULTS: dict[str, Any] = {
    "encoding": "UTF_8",
    "delimiter": ",",
    "quote": '"',
    "skipRows": 0,
    "header": True,
    "footerRows": 0,
    "decimalSeparator": ".",
    "thousandsSeparator": None,
    "dateFormat": "YYYY-MM-DD",
    "indicator": None,
    "reversed": False,
    "negativeDebits": False,
    "newestFirst": False,
    "mayBeEmpty": False,
}
NO_COLUMNS: dict[str, Any] = dict.fromkeys(
    (
        *("bookedOn", "valueOn", "amount", "debit", "credit", "indicator", "currency"),
        *("reference", "endToEndId", "counterparty", "description", "balance"),
    )
)

Read = tuple[list[Statement], list[tuple[int, Line]]]
MARCH_1, MARCH_2 = date(2026, 3, 1), date(2026, 3, 2)


def books(currency: str = "EUR", identification: str | None = None) -> Books:
    return Books(UUID(int=1), currency, EXPONENTS.get, identification)


def read(reader: Reader, content: bytes, piece: int = 65_536) -> Read:
    lines: list[tuple[int, Line]] = []
    for start in range(0, len(content), piece):
        lines += reader.feed(content[start : start + piece])
    lines += reader.end()
    return reader.statements, lines


def reader_of(name: str, identification: str | None = None) -> Reader:
    match name.partition(".")[2], name[:7]:
        case "ofx", _:
            return OfxReader(books("USD", identification))
        case "sta", _:
            return SwiftReader(books("EUR", identification))
        case _, "camt053":
            return CamtReader(StatementFormat.CAMT_053, books("EUR", identification))
        case _:
            return CamtReader(StatementFormat.CAMT_054, books("EUR", identification))


def failure_of(reader: Reader, content: bytes, piece: int = 65_536) -> ImportFailed:
    with pytest.raises(ImportFailed) as failed:
        read(reader, content, piece)
    return failed.value


def profile(columns: dict[str, Any], **more: Any) -> Profile:
    return Profile({**DEFAULTS, **more, "columns": {**NO_COLUMNS, **columns}})


SIMPLE = {"bookedOn": "#1", "amount": "#2", "description": ["#3"]}


# ---- samples -------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 7, 65_536])
def test_mt940_with_structured_details(piece: int) -> None:
    """The parts of field 86 are told apart, and plain text is the description."""
    statements, lines = read(SwiftReader(books()), (SAMPLES / "german.sta").read_bytes(), piece)
    assert statements == [Statement("EUR", "STARTUMSE 00001/001", None, None, 1000_00, 1200_50)]
    text = (
        "166?00GUTSCHRIFT?10931?20EREF+E2E-1?21SVWZ+Invoice 12?30COBADEFF?31DE893704?32ANN EXAMPLE"
    )
    assert lines == [
        (
            1,
            Line(
                booked_on=MARCH_1,
                amount=250_50,
                currency="EUR",
                value_on=MARCH_1,
                reference="BANK1",
                end_to_end_id="E2E-1",
                counterparty="ANN EXAMPLE",
                description="more Invoice 12",
                details={
                    "transactionType": "NTRF",
                    "businessCode": "166",
                    "postingText": "GUTSCHRIFT",
                    "primaNota": "931",
                    "counterpartyBank": "COBADEFF",
                    "counterpartyAccount": "DE893704",
                    "text": text,
                },
                source_line=5,
            ),
        ),
        (
            1,
            Line(
                booked_on=MARCH_2,
                amount=-50_00,
                currency="EUR",
                value_on=MARCH_2,
                description="plain text over two lines",
                details={"transactionType": "NMSC"},
                source_line=8,
            ),
        ),
    ]


@pytest.mark.parametrize("piece", [1, 7, 65_536])
def test_mt940_in_envelopes(piece: int) -> None:
    """Several messages are several statements; reversals and years are understood."""
    statements, lines = read(SwiftReader(books()), (SAMPLES / "plain.sta").read_bytes(), piece)
    assert statements == [
        Statement("EUR", "ING 12/1", None, None, -10_00, 987_05),
        Statement("EUR", "ING 13/1", None, None, 987_05, 987_05),
    ]
    assert [
        (number, one.booked_on, one.value_on, one.amount, one.reference, one.description)
        for number, one in lines
    ] == [
        (1, MARCH_2, MARCH_2, 5, "REF-1", "/EREF/E2E-77//NAME/Café Zürich/"),
        (1, date(2026, 3, 3), MARCH_2, 1000_00, "REF-2", None),
        (1, date(2027, 1, 2), date(2026, 12, 31), -3_00, "REF-3", None),
    ]
    assert statements[0].opening_balance is not None
    total = sum(one.amount for _, one in lines)
    assert statements[0].opening_balance + total == 987_05


@pytest.mark.parametrize("piece", [1, 13, 65_536])
@pytest.mark.parametrize("name", ["camt053.02.xml", "camt053.08.xml", "camt054.08.xml"])
def test_camt(name: str, piece: int) -> None:
    """Versions and namespaces differ, what is read does not; a notification has no balances."""
    reader = reader_of(name)
    statements, lines = read(reader, (SAMPLES / name).read_bytes(), piece)
    balances = (None, None) if "054" in name else (1000_00, 1200_50)
    assert statements == [Statement("EUR", "S1", MARCH_1, MARCH_2, *balances)]
    assert reader.skipped == 1
    first = lines[0][1].source_line
    assert first is not None
    assert lines == [
        (
            1,
            Line(
                booked_on=MARCH_1,
                amount=250_50,
                currency="EUR",
                value_on=MARCH_1,
                reference="B1",
                end_to_end_id="E1",
                counterparty="Ann",
                description="Invoice 12",
                details={
                    "bankTransactionCode": "PMNT/RCDT/ESCT",
                    "counterpartyAccount": "NL1",
                },
                source_line=first,
            ),
        ),
        (
            1,
            Line(
                booked_on=MARCH_2,
                amount=-50_00,
                currency="EUR",
                details={
                    "parts": [
                        {"amount": "20", "currency": "EUR"},
                        {"amount": "30", "currency": "EUR"},
                    ],
                    "partCount": 2,
                },
                source_line=first + 2,
            ),
        ),
    ]


@pytest.mark.parametrize("piece", [1, 13, 65_536])
@pytest.mark.parametrize(("name", "at"), [("sgml.ofx", 12), ("xml.ofx", 7)])
def test_ofx(name: str, at: int, piece: int) -> None:
    """SGML and XML say the same."""
    statements, lines = read(reader_of(name), (SAMPLES / name).read_bytes(), piece)
    assert statements == [Statement("USD", None, MARCH_1, MARCH_2, None, 1200_50)]
    assert lines == [
        (
            1,
            Line(
                booked_on=MARCH_1,
                amount=250_50,
                currency="USD",
                reference="F1",
                counterparty="Ann & Co",
                details={"transactionType": "CREDIT"},
                source_line=at,
            ),
        ),
        (
            1,
            Line(
                booked_on=MARCH_2,
                amount=-50_00,
                currency="USD",
                reference="F2",
                details={"transactionType": "DEBIT"},
                source_line=at + 2,
            ),
        ),
    ]


def test_ofx_with_an_empty_element() -> None:
    """Banks send some, without an end."""
    content = (SAMPLES / "sgml.ofx").read_bytes().replace(b"<FITID>F2", b"<MEMO>\n<FITID>F2")
    _, lines = read(OfxReader(books("USD")), content)
    assert [line.reference for _, line in lines] == ["F1", "F2"]


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("german.sta", "1234567"),
        ("plain.sta", "nl91 abna 0417 1643 00"),
        ("camt053.08.xml", "DE89 3704 0044 0532 0130 00"),
        ("sgml.ofx", "99"),
        ("xml.ofx", "4111"),
    ],
)
def test_a_statement_of_another_account_is_refused(name: str, own: str) -> None:
    """What a file calls its account is compared with the identification, if there is one."""
    content = (SAMPLES / name).read_bytes()
    assert read(reader_of(name, own), content)[0]
    failure = failure_of(reader_of(name, "DE00"), content)
    assert failure.code is FailureCode.OTHER_ACCOUNT
    assert failure.line is not None


@pytest.mark.parametrize(
    "name", sorted(one.name for one in SAMPLES.glob("*.*") if one.suffix != ".md")
)
def test_a_file_cut_short_is_refused(name: str) -> None:
    """Wherever it is cut before its end, nothing but a failure comes of it."""
    content = (SAMPLES / name).read_bytes().rstrip()
    if name == "plain.sta":
        content = content[: content.index(b"-}\n{1")]
    closing = content.rindex(b":62F:") if name.endswith("sta") else len(content) - 1
    for end in range(0, closing, 11):
        assert failure_of(reader_of(name), content[:end]).code is FailureCode.MALFORMED, end


# ---- hostile files -------------------------------------------------------------------------------

STMT = b"<Document><BkToCstmrStmt><Stmt><Acct/>"
NTRY = (
    b'<Ntry><Amt Ccy="EUR">1</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts>'
    b"<BookgDt><Dt>2026-03-01</Dt></BookgDt>"
)
END = b"</Stmt></BkToCstmrStmt></Document>"
LAUGHS = (
    b'<?xml version="1.0"?>\n<!DOCTYPE lolz [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (n, b"&%c;" % (n - 1) * 10) for n in range(98, 107))
    + b"]>\n<Document>&j;</Document>"
)
HOSTILE_XML = {
    "entities in entities": (LAUGHS, 2),
    "an external entity": (
        b'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Document>&x;</Document>',
        1,
    ),
    "an external document type": (b'<!DOCTYPE d SYSTEM "http://127.0.0.1/d.dtd"><Document/>', 1),
    "an unknown entity": (STMT + b"<Id>&x;</Id>" + END, 1),
    "depth": (b"<a>" * 100_000, 1),
    "a tag that does not end": (b"<" + b"a" * 2_000_000, 1),
    "a comment that does not end": (b"<a><!--" + b"x" * 2_000_000, 1),
    "a long text": (STMT + b"<Id>" + b"x" * 2_000_000 + b"</Id>" + END, 1),
    "elements without end": (STMT + NTRY + b"<x/>" * 200_000 + b"</Ntry>" + END, 1),
    "attributes": (
        STMT + b"<Id " + b" ".join(b'a%d=""' % n for n in range(60_000)) + b"/>" + END,
        1,
    ),
    "no account": (b"<Document><BkToCstmrStmt>\n<Stmt>" + NTRY + b"</Ntry>" + END, 2),
    "no statement": (b"<Document><BkToCstmrStmt></BkToCstmrStmt></Document>", 1),
    "an end that is missing": (STMT + b"\n" + NTRY + b"</Stmt>", 2),
    "a zip archive": (b"PK\x03\x04" + b"\0" * 100, 1),
    "gzip": (b"\x1f\x8b\x08" + b"\0" * 100, 1),
    "a PDF": (b"%PDF-1.7\n", 1),
    "not UTF-8": (STMT + b"<Id>\xff</Id>" + END, 1),
    "an unknown encoding": (b'<?xml version="1.0" encoding="x-none"?><a/>', 1),
    "nothing": (b"", 1),
    "a web page": (b"<html><body>Log in</body></html>", 1),
    "another message": ((SAMPLES / "camt054.08.xml").read_bytes(), 1),
    "no date": (STMT + NTRY.replace(b"2026-03-01", b"") + b"</Ntry>" + END, 1),
    "no such day": (STMT + NTRY.replace(b"03-01", b"02-30") + b"</Ntry>" + END, 1),
    "a sign": (STMT + NTRY.replace(b">1<", b">-1<") + b"</Ntry>" + END, 1),
    "an exponent": (STMT + NTRY.replace(b">1<", b">1e9<") + b"</Ntry>" + END, 1),
    "decimals": (STMT + NTRY.replace(b">1<", b">1.005<") + b"</Ntry>" + END, 1),
    "zero": (STMT + NTRY.replace(b">1<", b">0<") + b"</Ntry>" + END, 1),
    "no mark": (STMT + NTRY.replace(b"CRDT", b"") + b"</Ntry>" + END, 1),
    "no currency": (STMT + NTRY.replace(b' Ccy="EUR"', b"") + b"</Ntry>" + END, 1),
    "an unknown currency": (STMT + NTRY.replace(b"EUR", b"XYZ") + b"</Ntry>" + END, 1),
    "a control character": (STMT + NTRY + b"<AddtlNtryInf>\xc2\x85</AddtlNtryInf></Ntry>" + END, 1),
}


@pytest.mark.parametrize("case", HOSTILE_XML)
def test_hostile_xml_is_refused(case: str) -> None:
    """With the line named, and before it could grow."""
    content, line = HOSTILE_XML[case]
    failure = failure_of(CamtReader(StatementFormat.CAMT_053, books()), content)
    assert (failure.code, failure.line) == (FailureCode.MALFORMED, line), failure
    assert failure.column is not None


def test_layout_between_elements_is_no_text() -> None:
    """However much of it there is in all."""
    content = STMT + (NTRY + b"</Ntry>" + b"\n " * 5000) * 20 + END
    _, lines = read(CamtReader(StatementFormat.CAMT_053, books()), content)
    assert len(lines) == 20


def test_a_statement_may_have_no_entry() -> None:
    """Of an account where nothing happened."""
    reader = CamtReader(StatementFormat.CAMT_053, books())
    assert read(reader, STMT + END) == ([Statement("EUR")], [])


def test_a_zero_after_the_decimals_is_exact() -> None:
    """ISO 20022 has five decimals, of which a currency may use two."""
    content = STMT + NTRY.replace(b">1<", b">1.05000<") + b"</Ntry>" + END
    _, lines = read(CamtReader(StatementFormat.CAMT_053, books()), content)
    assert [line.amount for _, line in lines] == [105]


def test_a_batch_of_many_parts_stays_small() -> None:
    """Its parts are kept up to a size, and counted to the end."""
    part = b"<TxDtls><Refs><EndToEndId>E</EndToEndId></Refs><RmtInf><Ustrd>" + b"x" * 1000
    part += b"</Ustrd></RmtInf></TxDtls>"
    content = STMT + NTRY + b"<NtryDtls>" + part * 20_000 + b"</NtryDtls></Ntry>" + END
    _, lines = read(CamtReader(StatementFormat.CAMT_053, books()), content)
    details: Any = lines[0][1].details
    assert (details["partCount"], len(details["parts"])) == (20_000, 196)


HEAD = b":20:A\n:25:1\n:28C:1/1\n:60F:C260301EUR0,00\n"
HOSTILE_MT940 = {
    "nothing": (b"", 1),
    "garbage": (b"hello\n" * 30, 21),
    "a message cut short": (b"{1:F01}{2:O940}{4:\n" + HEAD + b":62F:C260301EUR0,0", 7),
    "no closing balance": (HEAD + b":61:2603010301C5,00NTRFA//B\n", 6),
    "a statement within another": (HEAD + b":20:B\n", 5),
    "a line without its balance": (b":20:A\n:61:2603010301C5,00NTRFA//B\n:62F:C260301EUR5,00\n", 2),
    "an unknown field": (HEAD + b":6I:2603010301C5,00NTRFA//B\n", 5),
    "a known field misspelled": (HEAD + b":63:2603010301C5,00NTRFA//B\n", 5),
    "no such day": (HEAD + b":61:2602300230C5,00NTRFA//B\n:62F:C260301EUR5,00\n", 5),
    "two commas": (HEAD + b":61:2603010301C5,0,0NTRFA//B\n:62F:C260301EUR5,00\n", 5),
    "too many decimals": (HEAD + b":61:2603010301C5,005NTRFA//B\n:62F:C260301EUR5,00\n", 5),
    "no mark": (HEAD + b":61:26030103015,00NTRFA//B\n:62F:C260301EUR5,00\n", 5),
    "a bad balance": (b":20:A\n:60F:X260301EUR0,00\n", 2),
    "an unknown currency": (b":20:A\n:60F:C260301XYZ0,00\n", 2),
    "two currencies": (HEAD + b":62F:C260301USD0,00\n", 5),
    "a field of many lines": (HEAD + b":86:" + b"x\n" * 1000, 105),
    "a long line": (HEAD + b":86:" + b"x" * 10_000_000, 5),
    "UTF-16": (HEAD.decode().encode("utf-16") * 10, 21),
    "a path": (b"/etc/passwd", 2),
    "a control character": (
        HEAD + b":61:2603010301C5,00NTRFA//B\n:86:a\x1b\n:62F:C260301EUR5,00\n",
        6,
    ),
}


@pytest.mark.parametrize("case", HOSTILE_MT940)
def test_hostile_mt940_is_refused(case: str) -> None:
    """With the line named; no field is passed over."""
    content, line = HOSTILE_MT940[case]
    failure = failure_of(SwiftReader(books()), content)
    assert (failure.code, failure.line) == (FailureCode.MALFORMED, line), failure


OFX = (SAMPLES / "sgml.ofx").read_bytes()
HOSTILE_OFX = {
    "nothing": b"",
    "garbage": b"hello\n" * 1000,
    "garbage between tags": OFX.replace(b"<BANKTRANLIST>", b"hello<BANKTRANLIST>").replace(
        b"</BANKACCTFROM>\r\n", b"</BANKACCTFROM> x "
    ),
    "a misspelled tag": OFX.replace(b"<TRNAMT>-50", b"<trnamt>-50"),
    "no amount": OFX.replace(b"<TRNAMT>-50.00", b""),
    "no date": OFX.replace(b"<DTPOSTED>20260302", b""),
    "no currency": OFX.replace(b"<CURDEF>USD", b""),
    "a bad date": OFX.replace(b"<DTPOSTED>20260302", b"<DTPOSTED>20260230"),
    "a bad amount": OFX.replace(b"-50.00", b"-50.0.0"),
    "an end of nothing": OFX.replace(b"</BANKTRANLIST>", b"</X></BANKTRANLIST>"),
    "crossed ends": OFX.replace(b"</BANKTRANLIST><LEDGERBAL>", b"<LEDGERBAL>"),
    "a tag without end": OFX + b"<" + b"A" * 1_000_000,
    "a long text": OFX.replace(b"<MEMO>", b"<MEMO>" + b"x" * 1_000_000),
    "depth": b"OFXHEADER:100\n\n<OFX>" + b"<A>" * 100_000,
    "not in its encoding": OFX.replace(b"<MEMO>", b"<MEMO>\x81"),
    "no statement": b"OFXHEADER:100\n\n<OFX></OFX>",
    "a zip archive": b"PK\x03\x04" + b"\0" * 100,
    "entities in XML": (SAMPLES / "xml.ofx")
    .read_bytes()
    .replace(b"<OFX>", b'<!DOCTYPE d [<!ENTITY a "b">]><OFX>', 1),
}


@pytest.mark.parametrize("case", HOSTILE_OFX)
def test_hostile_ofx_is_refused(case: str) -> None:
    """With line and column named; no tag is passed over."""
    failure = failure_of(OfxReader(books("USD")), HOSTILE_OFX[case])
    assert failure.code is FailureCode.MALFORMED
    assert failure.line is not None
    assert failure.column is not None


@pytest.mark.parametrize(
    ("encoding", "content", "place"),
    [
        ("UTF_8", "2026-03-01,1,é\n".encode("latin-1"), (1, 3)),
        ("UTF_8", b"2026-03-01,1,a\n" * 9000 + b"2026-03-01,1,\xe9\n", (9001, 3)),
        ("UTF_8", "2026-03-01,1,é\n".encode("utf-16"), (1, 1)),
        ("UTF_16", "2026-03-01,1,é\n".encode(), (1, 1)),
        ("WINDOWS_1252", b"2026-03-01,1,\x81\n", (1, 3)),
        ("ISO_8859_1", "2026-03-01,1,€\n".encode("windows-1252"), (1, 3)),
    ],
)
def test_a_wrong_encoding_is_refused(encoding: str, content: bytes, place: tuple[int, int]) -> None:
    """Where it shows, the line and the cell are named."""
    reader = CsvReader(profile(SIMPLE, header=False, encoding=encoding), books())
    failure = failure_of(reader, content)
    assert (failure.line, failure.column) == place, failure


# ---- CSV by profiles -----------------------------------------------------------------------------


def amounts(content: str, columns: dict[str, Any], **more: Any) -> list[int]:
    reader = CsvReader(profile(columns, **more), books())
    return [line.amount for _, line in read(reader, content.encode())[1]]


def test_amounts_are_read_as_they_are_declared() -> None:
    """Separators, signs, two columns, indicators and reversed signs."""
    one = {"bookedOn": "#1", "amount": "#2"}
    german = {"header": False, "delimiter": ";", "decimalSeparator": ",", "thousandsSeparator": "."}
    text = "2026-03-01;1.234.567,89\n2026-03-01;-0,5\n2026-03-01;12-\n2026-03-01;\u22121,00\n"
    assert amounts(text, one, **german) == [1234567_89, -50, -12_00, -1_00]
    assert amounts(text, one, **german, reversed=True) == [-1234567_89, 50, 12_00, 1_00]
    two = {"bookedOn": "#1", "debit": "#2", "credit": "#3"}
    assert amounts("2026-03-01,1.00,\n2026-03-01,0.00,2\n", two, header=False) == [-100, 200]
    assert amounts("2026-03-01,-1.00,\n", two, header=False, negativeDebits=True) == [-100]
    marked = {**one, "indicator": "#3"}
    words = {"debit": "S", "credit": "H"}
    text = "2026-03-01,1,S\n2026-03-01,2,H\n"
    assert amounts(text, marked, header=False, indicator=words) == [-100, 200]


@pytest.mark.parametrize(
    ("content", "columns", "more", "column"),
    [
        ("2026-03-01,1,2\n", {"debit": "#2", "credit": "#3"}, {}, 2),
        ("2026-03-01,-1,\n", {"debit": "#2", "credit": "#3"}, {}, 2),
        ("2026-03-01,1,\n", {"debit": "#2", "credit": "#3"}, {"negativeDebits": True}, 2),
        (
            "2026-03-01,1,X\n",
            {"amount": "#2", "indicator": "#3"},
            {"indicator": {"debit": "D", "credit": "C"}},
            3,
        ),
        (
            "2026-03-01,-1,D\n",
            {"amount": "#2", "indicator": "#3"},
            {"indicator": {"debit": "D", "credit": "C"}},
            2,
        ),
        ("2026-03-01,12.34,\n", {"amount": "#2"}, {"thousandsSeparator": " "}, 0),
        ("2026-03-01,1 23,\n", {"amount": "#2"}, {"thousandsSeparator": " "}, 2),
        ("2026-03-01,1,XXZ\n", {"amount": "#2", "currency": "#3"}, {}, 3),
        ("2026-03-01,1,\n", {"amount": "#9"}, {}, 3),
    ],
)
def test_what_is_not_as_declared_is_refused(
    content: str, columns: dict[str, Any], more: dict[str, Any], column: int
) -> None:
    """With the cell named; 0 stands for what is well."""
    reader = CsvReader(profile({"bookedOn": "#1", **columns}, header=False, **more), books())
    if column:
        failure = failure_of(reader, content.encode())
        assert (failure.line, failure.column) == (1, column), failure
    else:
        assert len(read(reader, content.encode())[1]) == 1


@pytest.mark.parametrize(
    ("pattern", "text", "day"),
    [
        ("DD.MM.YYYY", "01.03.2026", MARCH_1),
        ("MM/DD/YY", "03/01/26", MARCH_1),
        ("MM/DD/YY", "03/01/99", date(1999, 3, 1)),
        ("D.M.YYYY", "1.3.2026", MARCH_1),
        ("DD-MMM-YYYY", "01-mar-2026", MARCH_1),
        ("YYYYMMDD", "20260301", MARCH_1),
        ("YYYY-MM-DD*", "2026-03-01 12:30:00", MARCH_1),
        ("DD.MM.YYYY", "1.3.2026", None),
        ("DD.MM.YYYY", "01.13.2026", None),
        ("DD-MMM-YYYY", "01-mrz-2026", None),
        ("YYYY-MM-DD", "2026-03-01T00:00", None),
        ("YYYY-MM-DD", "\u0662026-03-01", None),
    ],
)
def test_dates_are_read_as_they_are_declared(pattern: str, text: str, day: date | None) -> None:
    """One pattern reads one way of writing."""
    reader = CsvReader(profile(SIMPLE, header=False, dateFormat=pattern), books())
    content = f"{text},1,\n".encode()
    if day is None:
        assert (failure_of(reader, content).line, reader.statements[0].from_date) == (1, None)
    else:
        assert [line.booked_on for _, line in read(reader, content)[1]] == [day]


@pytest.mark.parametrize(
    ("columns", "more"),
    [
        ({"bookedOn": "#1"}, {}),
        ({**SIMPLE, "debit": "#3"}, {}),
        ({**SIMPLE, "indicator": "#3"}, {}),
        ({**SIMPLE, "amount": " "}, {}),
        ({**SIMPLE, "amount": "Amount"}, {"header": False}),
        (SIMPLE, {"indicator": {"debit": "D", "credit": "C"}}),
        (
            {**SIMPLE, "indicator": "#3"},
            {"indicator": {"debit": "D", "credit": "D"}},
        ),
        (SIMPLE, {"delimiter": ""}),
        (SIMPLE, {"delimiter": "ab"}),
        (SIMPLE, {"delimiter": "\n"}),
        (SIMPLE, {"delimiter": '"'}),
        (SIMPLE, {"decimalSeparator": "1"}),
        (SIMPLE, {"thousandsSeparator": "."}),
        (SIMPLE, {"skipRows": -1}),
        (SIMPLE, {"footerRows": 1001}),
        (SIMPLE, {"dateFormat": "YYYY-MM"}),
        (SIMPLE, {"dateFormat": "DD.MM.YYYY YY"}),
        (SIMPLE, {"dateFormat": "%d.%m.%Y"}),
        (SIMPLE, {"dateFormat": "(a+)+YYYYMMDD"}),
    ],
)
def test_a_profile_that_contradicts_itself_is_refused(
    columns: dict[str, Any], more: dict[str, Any]
) -> None:
    """Before any file is read by it."""
    with pytest.raises(ValidationFailed) as refused:
        profile(columns, **more)
    assert refused.value.path[:2] == ("input", "definition")


def test_rows_around_the_lines_and_a_balance() -> None:
    """What stands before and after is left out; the balance column makes both balances."""
    text = (
        'Account "Giro"\nas of today\nDate,Amount,Balance\n2026-03-02,5,115\n\n,,\n'
        "2026-03-01,10,110\nTotal,15,\n"
    )
    columns = {"bookedOn": "Date", "amount": "Amount", "balance": "Balance"}
    reader = CsvReader(profile(columns, skipRows=2, footerRows=1, newestFirst=True), books())
    statements, lines = read(reader, text.encode(), 3)
    assert statements == [Statement("EUR", None, None, None, 100_00, 115_00)]
    assert [(line.amount, line.source_line) for _, line in lines] == [(5_00, 4), (10_00, 7)]


TEXTS = st.text(
    st.characters(codec="latin-1", exclude_categories=("Cc", "Zs", "Cf")) | st.just(" "),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.dates(date(1980, 1, 1), date(2079, 12, 31)),
            st.integers(-(10**12), 10**12).filter(bool),
            TEXTS,
            TEXTS,
        ),
        max_size=20,
    ),
    encoding=st.sampled_from([("UTF_8", "utf-8"), ("UTF_16", "utf-16"), ("ISO_8859_1", "latin-1")]),
    delimiter=st.sampled_from(",;\t|"),
    quote=st.sampled_from("\"'"),
    decimal=st.sampled_from(".,"),
    thousands=st.sampled_from([None, " ", "'"]),
    day=st.sampled_from([("DD.MM.YYYY", "%d.%m.%Y"), ("MM/DD/YY", "%m/%d/%y")]),
    form=st.sampled_from(["signed", "reversed", "columns", "indicator"]),
    around=st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 2)),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    piece=st.integers(1, 50),
)
def test_what_was_written_by_a_profile_is_read_by_it(
    rows: list[tuple[date, int, str, str]],
    encoding: tuple[str, str],
    delimiter: str,
    quote: str,
    decimal: str,
    thousands: str | None,
    day: tuple[str, str],
    form: str,
    around: tuple[int, bool, int],
    end: str,
    piece: int,
) -> None:
    """CSV that Python writes of random lines reads back equal, whatever the profile."""
    skipped, header, footer = around

    def shown(amount: int) -> str:
        whole = f"{abs(amount) // 100:,}".replace(",", thousands or "")
        return f"{'-' if amount < 0 else ''}{whole}{decimal}{abs(amount) % 100:02}"

    def cells(amount: int) -> list[str]:
        match form:
            case "columns":
                return [shown(-amount), ""] if amount < 0 else ["", shown(amount)]
            case "indicator":
                return [shown(abs(amount)), "S" if amount < 0 else "H"]
        return [shown(-amount if form == "reversed" else amount), ""]

    written = io.StringIO()
    writer = csv.writer(written, delimiter=delimiter, quotechar=quote, lineterminator=end)
    written.write(f"junk{quote}{end}" * skipped)
    if header:
        writer.writerow(["date", "one", "two", "reference", "text"])
    for booked_on, amount, reference, text in rows:
        writer.writerow([booked_on.strftime(day[1]), *cells(amount), reference, text])
    for _ in range(footer):
        writer.writerow(["end", "", "", "", ""])
    columns: dict[str, Any] = {"bookedOn": "#1", "reference": "#4", "description": ["#5"]}
    columns |= {"debit": "#2", "credit": "#3"} if form == "columns" else {"amount": "#2"}
    columns |= {"indicator": "#3"} if form == "indicator" else {}
    read_by = profile(
        columns,
        encoding=encoding[0],
        delimiter=delimiter,
        quote=quote,
        skipRows=skipped,
        header=header,
        footerRows=footer,
        decimalSeparator=decimal,
        thousandsSeparator=thousands,
        dateFormat=day[0],
        indicator={"debit": "S", "credit": "H"} if form == "indicator" else None,
        reversed=form == "reversed",
        mayBeEmpty=not rows,
    )
    content = written.getvalue().encode(encoding[1])
    _, lines = read(CsvReader(read_by, books()), content, piece)
    assert [
        (line.booked_on, line.amount, line.reference, line.description) for _, line in lines
    ] == [
        (booked_on, amount, plain(reference), plain(text))
        for booked_on, amount, reference, text in rows
    ]


def plain(text: str) -> str | None:
    return " ".join(text.split()) or None
