"""Statements never change: what they say, how they follow one another, and their files."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import pytest
from pypdf import PdfReader

from app.api.http.metrics import RequestCounts
from app.api.statements import downloads
from app.api.statements.files import safe
from tests.api_client import Api, Json

STATE = """
mutation ($input: CreateStatementInput!) {
  createStatement(input: $input) {
    __typename
    ... on CreateStatementSuccess { replayed statement { ...Told } }
    ... on StatementKeyTaken { statement { id } }
    ... on UserError { code path retryable }
  }
}
fragment Told on Statement {
  id number from to ledgerSequence accountVersion contentHash accountName scheduled
  opening { amount debits credits decimal }
  closing { amount debits credits decimal }
  totals { debits credits count }
  previous { id number closing { amount } }
  adjustments { nodes { sequence amount direction effectiveAt } }
  lines { nodes { position description runningBalance { amount } entry { sequence amount } } }
  lateAdjustments { nodes { sequence amount direction } }
  downloads { json csv pdf }
}
"""
READ = STATE[STATE.index("fragment") :] + "query ($id: ID!) { statement(id: $id) { ...Told } }"
UPDATE = """
mutation ($input: UpdateTransactionInput!) {
  updateTransaction(input: $input) { ... on UpdateTransactionSuccess { transaction { id } } }
}
"""
RENAME = """
mutation ($input: UpdateAccountInput!) {
  updateAccount(input: $input) { ... on UpdateAccountSuccess { account { id } } }
}
"""
JANUARY, FEBRUARY, MARCH = (f"2026-0{month}-01T00:00:00Z" for month in (1, 2, 3))


class Wallet:
    """A wallet with a cash account beside it, and how to move its money at a day of 2026."""

    def __init__(self, api: Api, ledger_id: str, cash: str, wallet: str) -> None:
        self.api, self.ledger_id, self.cash, self.wallet = api, ledger_id, cash, wallet

    @classmethod
    async def open(cls, api: Api, **fields: Any) -> "Wallet":
        ledger_id = await api.ledger()
        more = {k: v for k, v in fields.items() if k in ("currency", "exponent")}
        cash = await api.account(ledger_id, name="Cash", normalBalance="DEBIT", **more)
        wallet = await api.account(ledger_id, **{"name": "Ann's wallet", **fields})
        return cls(api, ledger_id, cash, wallet)

    async def pay_in(self, amount: int, day: str, **fields: Any) -> Json:
        return await self._post(self.cash, self.wallet, amount, day, fields)

    async def pay_out(self, amount: int, day: str, **fields: Any) -> Json:
        return await self._post(self.wallet, self.cash, amount, day, fields)

    async def _post(self, debit: str, credit: str, amount: int, day: str, fields: Json) -> Json:
        result = await self.api.post(
            self.ledger_id, debit, credit, amount, effectiveAt=f"2026-{day}T12:00:00Z", **fields
        )
        assert result["__typename"] == "PostTransactionSuccess", result
        return result

    async def state(self, start: str = JANUARY, end: str = FEBRUARY, **fields: Any) -> Json:
        answer = await self.api.answer(
            STATE, **{"accountId": self.wallet, "from": start, "to": end, **fields}
        )
        assert answer["__typename"] == "CreateStatementSuccess", answer
        statement: Json = answer["statement"]
        return statement

    async def read(self, statement: Json) -> Json:
        found: Json = (await self.api.run(READ, {"id": statement["id"]}))["statement"]
        return found

    async def file(self, statement: Json, kind: str) -> bytes:
        response = await self.api.http.get(
            statement["downloads"][kind], headers={"Authorization": f"Bearer {self.api.token}"}
        )
        assert response.status_code == 200, response.text
        return response.content


async def test_a_statement(api: Api) -> None:
    """It has the opening balance, the posted entries with the balance after each, the closing."""
    wallet = await Wallet.open(api)
    await wallet.pay_in(1000, "01-31", description="late in January")
    await wallet.pay_in(700, "02-01")
    await wallet.pay_out(300, "01-05", description="early in January")
    await wallet.pay_in(50, "01-10", status="PENDING")
    statement = await wallet.state()
    assert [
        (line["position"], line["description"], line["runningBalance"]["amount"])
        for line in statement["lines"]["nodes"]
    ] == [("1", "early in January", "-300"), ("2", "late in January", "700")]
    assert statement["opening"] == {
        "amount": "0", "debits": "0", "credits": "0", "decimal": "0.00",
    }  # fmt: skip
    assert statement["closing"] == {
        "amount": "700", "debits": "300", "credits": "1000", "decimal": "7.00",
    }  # fmt: skip
    assert statement["totals"] == {"debits": "300", "credits": "1000", "count": "2"}
    assert (statement["number"], statement["ledgerSequence"]) == ("1", "4")
    assert (statement["accountVersion"], statement["previous"]) == ("4", None)
    assert (await wallet.state(FEBRUARY, MARCH))["opening"]["amount"] == "700"


async def test_what_comes_later_is_listed_and_changes_nothing(api: Api) -> None:
    """Entries recorded later, new labels and new names leave a statement and its files as is."""
    wallet = await Wallet.open(api)
    first = await wallet.pay_in(1000, "01-10", description="as it was")
    statement = await wallet.state()
    files = {kind: await wallet.file(statement, kind) for kind in ("json", "csv")}
    await wallet.pay_in(5, "01-20")
    await wallet.pay_out(7, "01-02")
    await wallet.pay_in(9, "02-02")
    await api.answer(
        UPDATE,
        transactionId=first["transaction"]["id"],
        idempotencyKey="corrected",
        description="as it is",
    )
    await api.answer(RENAME, accountId=wallet.wallet, name="Another name")
    now = await wallet.read(statement)
    assert now["lateAdjustments"]["nodes"] == [
        {"sequence": "3", "amount": "7", "direction": "DEBIT"},
        {"sequence": "2", "amount": "5", "direction": "CREDIT"},
    ]
    assert {**now, "lateAdjustments": {"nodes": []}} == statement
    assert {kind: await wallet.file(statement, kind) for kind in files} == files
    again = await wallet.state()
    assert again["contentHash"] != statement["contentHash"]
    assert [line["description"] for line in again["lines"]["nodes"]] == [None, "as it is", None]
    assert (again["number"], again["accountName"]) == ("2", "Another name")


async def test_a_statement_follows_the_one_before(api: Api) -> None:
    """Its opening is the closing of the one before and the adjustments known between, listed."""
    wallet = await Wallet.open(api)
    await wallet.pay_in(1000, "01-10")
    january = await wallet.state()
    await wallet.pay_in(30, "01-20")
    await wallet.pay_out(10, "01-02")
    await wallet.pay_in(500, "02-02")
    february = await wallet.state(FEBRUARY, MARCH)
    assert february["previous"]["id"] == january["id"]
    assert [(e["direction"], e["amount"]) for e in february["adjustments"]["nodes"]] == [
        ("CREDIT", "30"),
        ("DEBIT", "10"),
    ]
    assert int(february["opening"]["amount"]) == int(january["closing"]["amount"]) + 30 - 10
    assert february["closing"]["amount"] == "1520"
    told = json.loads(await wallet.file(february, "json"))
    assert told["statement"]["previous"] == {"number": 1, "contentHash": january["contentHash"]}


async def test_the_hash_is_of_the_json_file(api: Api) -> None:
    """Whoever holds the JSON file computes the content hash from it, as documented."""
    wallet = await Wallet.open(api)
    await wallet.pay_in(1000, "01-10", description='Fünf "Brote" ☕\n=1+1', externalId="order 1")
    await wallet.state()
    await wallet.pay_in(30, "01-20")
    await wallet.pay_out(10, "02-02")
    statement = await wallet.state(FEBRUARY, MARCH)
    file = json.loads(await wallet.file(statement, "json"))
    digest = sha256()
    for record in [*file["adjustments"], *file["lines"], file["statement"]]:
        text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest.update(text.encode() + b"\n")
    assert digest.hexdigest() == file["contentHash"] == statement["contentHash"]
    assert len(file["adjustments"]) == len(file["lines"]) == 1


async def test_a_key_gives_the_first_statement(api: Api) -> None:
    """The same key and period is a replay; another period or account is refused."""
    wallet = await Wallet.open(api)
    first = await wallet.state(idempotencyKey="january")
    await wallet.pay_in(30, "01-20")
    fields = {"accountId": wallet.wallet, "from": JANUARY, "idempotencyKey": "january"}
    again = await api.answer(STATE, **fields, to=FEBRUARY)
    assert (again["replayed"], again["statement"]["id"]) == (True, first["id"])
    taken = await api.answer(STATE, **fields, to=MARCH)
    assert (taken["code"], taken["statement"]) == ("STATEMENT_KEY_TAKEN", {"id": first["id"]})
    other = await api.answer(STATE, **{**fields, "accountId": wallet.cash}, to=FEBRUARY)
    assert other["code"] == "STATEMENT_KEY_TAKEN"
    assert (await wallet.state())["number"] == "2"


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"to": JANUARY}, "VALIDATION_FAILED", ["input", "to"]),
        ({"to": "2126-01-01T00:00:00Z"}, "VALIDATION_FAILED", ["input", "to"]),
        ({"idempotencyKey": ""}, "VALIDATION_FAILED", ["input", "idempotencyKey"]),
        ({"accountId": "acct_" + "0" * 32}, "ACCOUNT_NOT_FOUND", ["input", "accountId"]),
        ({"accountId": "acct"}, "VALIDATION_FAILED", ["input", "accountId"]),
    ],
)
async def test_refusals(api: Api, fields: Json, code: str, path: list[str]) -> None:
    """What is no period of an account, or not over, is refused, and nothing is stated."""
    wallet = await Wallet.open(api)
    given = {"accountId": wallet.wallet, "from": JANUARY, "to": FEBRUARY, **fields}
    answer = await api.answer(STATE, **given)
    assert (answer.get("code"), answer.get("path")) == (code, path)
    count = "query ($id: ID!) { account(id: $id) { statements { nodes { id } } } }"
    assert (await api.run(count, {"id": wallet.wallet}))["account"]["statements"]["nodes"] == []


async def test_lines_come_in_pages(api: Api) -> None:
    """Balances and positions go on over pages, whatever the size of the totals."""
    wallet = await Wallet.open(api, currency="WEI", exponent=18)
    for number in range(5):
        await wallet.pay_in(10**36 - number, "01-10")
    statement = await wallet.state()
    query = """
        query ($id: ID!, $after: String) { statement(id: $id) { lines(first: 2, after: $after) {
            nodes { position runningBalance { amount } } pageInfo { hasNextPage endCursor }
        } } }
    """
    seen, after = [], None
    while True:
        data = await api.run(query, {"id": statement["id"], "after": after})
        page = data["statement"]["lines"]
        seen += [(n["position"], n["runningBalance"]["amount"]) for n in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    total, expected = 0, []
    for number in range(5):
        total += 10**36 - number
        expected.append((str(number + 1), str(total)))
    assert seen == expected


@pytest.mark.parametrize(
    ("currency", "exponent", "amount", "decimal"),
    [
        ("JPY", None, 1234, "1234"),
        ("USD", None, 1234, "12.34"),
        ("KWD", None, 1234, "1.234"),
        ("WEI", 18, 1234, "0.000000000000001234"),
    ],
)
async def test_files_have_the_same_figures(
    api: Api, currency: str, exponent: int | None, amount: int, decimal: str
) -> None:
    """JSON, CSV and PDF tell opening, entries, totals and closing in the currency's own digits."""
    more = {} if exponent is None else {"exponent": exponent}
    wallet = await Wallet.open(api, currency=currency, **more)
    await wallet.pay_out(amount, "01-10", externalId="order 7")
    statement = await wallet.state()
    file = json.loads(await wallet.file(statement, "json"))
    (line,) = file["lines"]
    assert (line["amount"], line["balance"]) == (decimal, f"-{decimal}")
    assert file["statement"]["closing"]["balance"] == f"-{decimal}"
    assert file["statement"]["debits"] == decimal
    rows = list(csv.DictReader(io.StringIO((await wallet.file(statement, "csv")).decode())))
    zero = file["statement"]["opening"]["balance"]
    assert [(row["row"], row["direction"], row["amount"], row["balance"]) for row in rows] == [
        ("opening", "", "", zero),
        ("entry", "DEBIT", decimal, f"-{decimal}"),
        ("total", "DEBIT", decimal, ""),
        ("total", "CREDIT", zero, ""),
        ("closing", "", "", f"-{decimal}"),
    ]
    text = text_of(await wallet.file(statement, "pdf"))
    for told in ("Opening balance", "Closing balance", "order 7", "Ann's wallet", "Testers"):
        assert told in text
    assert set(text.replace(",", "").split()) >= {decimal, f"-{decimal}", zero}
    assert f"SHA-256 {statement['contentHash']}" in text
    assert "Page 1 of 1" in text


async def test_a_pdf_of_many_pages(api: Api) -> None:
    """Long texts go on in lines and pages, each page is numbered, no figure is left out."""
    wallet = await Wallet.open(api, name="Ωμέγα, перевод, 日本")
    for number in range(40):
        await wallet.pay_in(
            100_000 + number, "01-10", description=f"{number} " + "word " * 40 + "x" * 200
        )
    statement = await wallet.state()
    file = await wallet.file(statement, "pdf")
    assert file == await wallet.file(statement, "pdf")
    pages = len(PdfReader(io.BytesIO(file)).pages)
    text = text_of(file)
    assert pages > 3
    assert all(f"Page {number} of {pages}" in text for number in range(1, pages + 1))
    assert {f"1,000.{number:02}" for number in range(40)} <= set(text.split())
    assert "Ωμέγα, перевод, \ufffd\ufffd" in text


async def test_a_pdf_has_a_limit(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement with more lines than the limit is refused as PDF, not as JSON or CSV."""
    monkeypatch.setattr(downloads, "MAX_PDF_LINES", 1)
    wallet = await Wallet.open(api)
    await wallet.pay_in(1, "01-10")
    statement = await wallet.state()
    await wallet.file(statement, "pdf")
    await wallet.pay_in(1, "01-10")
    statement = await wallet.state()
    key = {"Authorization": f"Bearer {api.token}"}
    refused = await api.http.get(statement["downloads"]["pdf"], headers=key)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["extensions"]["code"] == "STATEMENT_TOO_LONG"
    assert "content-disposition" not in refused.headers
    await wallet.file(statement, "json")


def text_of(file: bytes) -> str:
    """The texts of a PDF, with one blank between any two words."""
    pages = PdfReader(io.BytesIO(file)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain - text", "plain - text"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("\ttext", "'\ttext"),
        ("  =1", "  '=1"),
        ('"=1', "\"'=1"),
        ("a;=1", "a;'=1"),
        ("a\n@b", "a\n'@b"),
        ("＝1", "'＝1"),  # noqa: RUF001
    ],
)
def test_no_cell_is_a_formula(text: str, cell: str) -> None:
    """Texts that a spreadsheet would take for formulas have an apostrophe before them."""
    assert safe(text) == cell


async def test_the_csv_has_no_formulas(api: Api) -> None:
    """What clients write is neutralised in the file; a negative balance is a plain number."""
    wallet = await Wallet.open(api)
    await wallet.pay_out(1, "01-10", description="=cmd|'/C calc'!A0", externalId="@order")
    text = (await wallet.file(await wallet.state(), "csv")).decode()
    (entry,) = [row for row in csv.DictReader(io.StringIO(text)) if row["row"] == "entry"]
    assert (entry["description"], entry["externalId"], entry["balance"]) == (
        "'=cmd|'/C calc'!A0",
        "'@order",
        "-0.01",
    )


async def test_files_over_http(api: Api) -> None:
    """Files want the API key, have a name and a tag, and are seen by their tenant alone."""
    wallet = await Wallet.open(api, name="Ann & Bob: =wallet")
    statement = await wallet.state()
    path, key = statement["downloads"]["json"], {"Authorization": f"Bearer {api.token}"}
    response = await api.http.get(path, headers=key)
    assert response.headers["content-disposition"] == (
        'attachment; filename="statement-0001-ann-bob-wallet-2026-01-01-2026-02-01.json"'
    )
    tag = response.headers["etag"]
    assert tag == f'"{statement["contentHash"]}"'
    cached = await api.http.get(path, headers={**key, "If-None-Match": tag})
    assert (cached.status_code, cached.content) == (304, b"")
    head = await api.http.head(path, headers=key)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", tag)
    assert (await api.http.get(path)).status_code == 401
    assert (await api.http.post(path, headers=key)).status_code == 405
    stranger = await api.stranger()
    for unseen, token in (
        (path, stranger.token),
        ("/statements/stmt_" + "0" * 32 + ".json", api.token),
        (path.replace(".json", ".xml"), api.token),
        ("/statements/nothing", api.token),
    ):
        refused = await api.http.get(unseen, headers={"Authorization": f"Bearer {token}"})
        assert refused.status_code == 404
        assert refused.json()["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    assert (await stranger.run(READ, {"id": statement["id"]}))["statement"] is None


async def test_a_file_that_fails_midway_never_looks_whole(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that has begun and fails is left unfinished, and so is one whose client has gone."""
    wallet = await Wallet.open(api)
    await wallet.pay_in(1, "01-10")
    statement = await wallet.state()
    name = statement["downloads"]["json"].rpartition("/")[2]
    endpoint = api.server._downloads(RequestCounts())  # noqa: SLF001
    scope = {
        "type": "http",
        "method": "GET",
        "path_params": {"name": name},
        "headers": [(b"authorization", f"Bearer {api.token}".encode())],
    }

    async def sent(*incoming: str) -> list[Any]:
        waiting, messages = iter(incoming), []

        async def receive() -> Json:
            for kind in waiting:
                return {"type": kind}
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            messages.append(message)

        await endpoint(scope, receive, send)
        return messages

    whole = await sent("http.request")
    assert not whole[-1]["more_body"]
    assert [m.get("more_body") for m in await sent("http.disconnect")] == []

    async def failing(*_: Any) -> AsyncIterator[Any]:
        for page in range(2):
            if page == 0:
                raise RuntimeError
            yield []

    monkeypatch.setattr(downloads, "lines", failing)
    start, *parts = await sent("http.request")
    assert start["status"] == 200
    assert parts
    assert all(part["more_body"] for part in parts)
