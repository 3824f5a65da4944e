"""External accounts and statements as rows: what outside parties say of our money."""

import asyncio
import random
from typing import Any

import pytest
import pytest_asyncio

from tests.api.market import Market
from tests.api_client import Api, Json

CREATE = """
mutation ($input: CreateExternalAccountInput!) {
  createExternalAccount(input: $input) {
    __typename
    ... on CreateExternalAccountSuccess {
      externalAccount {
        id name kind identification inverted metadata account { id name }
      }
    }
    ... on UserError { code message path retryable }
  }
}
"""
UPDATE = """
mutation ($input: UpdateExternalAccountInput!) {
  updateExternalAccount(input: $input) {
    __typename
    ... on UpdateExternalAccountSuccess {
      externalAccount { id name kind identification inverted metadata }
    }
    ... on UserError { code message path }
  }
}
"""
IMPORT = """
mutation ($input: ImportStatementInput!) {
  importStatement(input: $input) {
    __typename
    ... on ImportStatementSuccess {
      recognised
      import { id status format linesRead linesNew linesKnown failure { code } }
      statement {
        id number reference currency { code exponent } from through openingBalance closingBalance
        lineCount knownCount lineTotal difference balanced import { id }
        lines {
          nodes { id number bookedOn valueOn amount decimal currency { code } reference
            endToEndId counterparty description details sourceLine statement { number } }
        }
      }
    }
    ... on UserError { code message path }
  }
}
"""
LINES = """
query ($id: ID!, $filter: StatementLineFilter, $orderBy: StatementLineOrder) {
  externalAccount(id: $id) {
    lines(first: 100, filter: $filter, orderBy: $orderBy) {
      nodes { number bookedOn amount reference description statement { number } }
    }
    statements { nodes { number lineCount knownCount lineTotal difference } }
    imports { nodes { id status } }
  }
}
"""


class Bank(Market):
    """A market with an external account that tells of its cash."""

    external: str
    """The id of the external account."""

    async def tie(self, account: str = "cash", **more: Any) -> str:
        answer = await self.api.answer(
            CREATE, **{"accountId": self[account], "name": "Giro", "kind": "BANK", **more}
        )
        assert answer["__typename"] == "CreateExternalAccountSuccess", answer
        made: str = answer["externalAccount"]["id"]
        return made

    async def import_rows(self, lines: list[Json], **more: Any) -> Json:
        return await self.api.answer(
            IMPORT, **{"externalAccountId": self.external, "lines": lines, **more}
        )

    async def imported(self, lines: list[Json], **more: Any) -> Json:
        answer = await self.import_rows(lines, **more)
        assert answer["__typename"] == "ImportStatementSuccess", answer
        return answer

    async def told(self, **variables: Any) -> Json:
        data = await self.api.run(LINES, {"id": self.external, **variables})
        told: Json = data["externalAccount"]
        return told


def line(day: int, amount: int, **more: Any) -> Json:
    return {"bookedOn": f"2026-03-{day:02}", "amount": str(amount), **more}


@pytest_asyncio.fixture
async def bank(api: Api) -> Bank:
    bank = await Bank.open(api)
    assert isinstance(bank, Bank)
    bank.external = await bank.tie()
    return bank


async def test_an_external_account_is_tied_and_renamed(bank: Bank) -> None:
    """It shows what it was made with, in its account and its ledger too."""
    made = await bank.api.answer(
        CREATE,
        accountId=bank["cash"],
        name="Acquirer",
        kind="ACQUIRER",
        identification="NL91ABNA0417164300",
        inverted=True,
        metadata={"a": 1},
    )
    shown = made["externalAccount"]
    assert shown == {
        "id": shown["id"],
        "name": "Acquirer",
        "kind": "ACQUIRER",
        "identification": "NL91ABNA0417164300",
        "inverted": True,
        "metadata": {"a": 1},
        "account": {"id": bank["cash"], "name": "cash"},
    }
    changed = await bank.api.answer(
        UPDATE, externalAccountId=shown["id"], name="PSP", kind="PARTNER", identification=None
    )
    assert changed["externalAccount"] == {
        "id": shown["id"],
        "name": "PSP",
        "kind": "PARTNER",
        "identification": None,
        "inverted": True,
        "metadata": {"a": 1},
    }
    data = await bank.api.run(
        """
        query ($account: ID!, $ledger: ID!, $id: ID!) {
          account(id: $account) { externalAccounts { nodes { id } } }
          ledger(id: $ledger) { externalAccounts { nodes { id } } }
          node(id: $id) { ... on ExternalAccount { name } }
        }
        """,
        {"account": bank["cash"], "ledger": bank.ledger, "id": shown["id"]},
    )
    both = {"nodes": [{"id": bank.external}, {"id": shown["id"]}]}
    assert data == {
        "account": {"externalAccounts": both},
        "ledger": {"externalAccounts": both},
        "node": {"name": "PSP"},
    }


async def test_rows_become_a_statement(bank: Bank) -> None:
    """Lines are numbered and shown as they were sent; balances are checked against them."""
    answer = await bank.imported(
        [
            line(2, 1000, reference="A1", counterparty="Ann", endToEndId="E1"),
            line(1, -250, valueOn="2026-03-05", description="fee", details={"code": "X"}),
            line(3, 77, currency="JPY"),
        ],
        reference="2026/3",
        openingBalance="100",
        closingBalance="851",
    )
    assert answer["recognised"] is False
    assert answer["import"] == {
        "id": answer["import"]["id"],
        "status": "COMPLETED",
        "format": "ROWS",
        "linesRead": "3",
        "linesNew": "3",
        "linesKnown": "0",
        "failure": None,
    }
    statement = answer["statement"]
    lines = statement.pop("lines")["nodes"]
    assert statement == {
        "id": statement["id"],
        "number": "1",
        "reference": "2026/3",
        "currency": {"code": "USD", "exponent": 2},
        "from": "2026-03-01",
        "through": "2026-03-03",
        "openingBalance": "100",
        "closingBalance": "851",
        "lineCount": "3",
        "knownCount": "0",
        "lineTotal": "750",
        "difference": "-1",
        "balanced": False,
        "import": {"id": answer["import"]["id"]},
    }
    assert [
        (one["number"], one["amount"], one["decimal"], one["currency"]["code"]) for one in lines
    ] == [("1", "1000", "10.00", "USD"), ("2", "-250", "-2.50", "USD"), ("3", "77", "77", "JPY")]
    assert lines[1] == {
        "id": f"line_{bank.external[5:]}_2",
        "number": "2",
        "bookedOn": "2026-03-01",
        "valueOn": "2026-03-05",
        "amount": "-250",
        "decimal": "-2.50",
        "currency": {"code": "USD"},
        "reference": None,
        "endToEndId": None,
        "counterparty": None,
        "description": "fee",
        "details": {"code": "X"},
        "sourceLine": None,
        "statement": {"number": "1"},
    }


async def test_the_same_rows_are_recognised(bank: Bank) -> None:
    """Sent again, and twice at once, a statement is stored once."""
    rows = [line(1, 5), line(1, 5), line(2, 7, reference="R")]
    answers = await asyncio.gather(*(bank.imported(rows) for _ in range(4)))
    answers.append(await bank.imported(rows))
    assert sorted(answer["recognised"] for answer in answers) == [False, True, True, True, True]
    assert len({answer["import"]["id"] for answer in answers}) == 1
    told = await bank.told()
    assert [one["number"] for one in told["lines"]["nodes"]] == ["1", "2", "3"]
    assert len(told["imports"]["nodes"]) == 1


@pytest.mark.parametrize("seed", range(5))
async def test_overlapping_statements_store_each_line_once(bank: Bank, seed: int) -> None:
    """Whichever windows of a list come in, in whichever order, each of its lines is there once."""
    chance = random.Random(seed)
    texts = [None, "a", "b"]
    days = [
        [
            line(
                day,
                chance.choice([5, -5, 7]),
                description=chance.choice(texts),
                reference=chance.choice([None, None, "R", "S"]),
            )
            for _ in range(chance.randint(0, 6))
        ]
        for day in range(1, 13)
    ]
    windows = [(0, 12)] if seed == 0 else [(start, start + 4) for start in range(0, 12, 3)]
    windows += [
        (start, min(12, start + chance.randint(1, 6)))
        for start in (chance.randrange(12) for _ in range(4))
    ]
    chance.shuffle(windows)
    for number, (start, end) in enumerate(windows):
        rows = [row for day in days[start:end] for row in day]
        answer = await bank.imported(rows, reference=f"window {number}")
        statement = answer["statement"]
        assert statement["lineTotal"] == str(sum(int(row["amount"]) for row in rows))
        assert statement["lineCount"] == str(len(rows))
        shown = [(one["bookedOn"], one["amount"]) for one in statement["lines"]["nodes"]]
        assert shown == [(row["bookedOn"], row["amount"]) for row in rows][:50]
    stored = (await bank.told())["lines"]["nodes"]
    expected = [row for day in days for row in day]
    names = ("bookedOn", "amount", "reference", "description")
    assert sorted(([one[name] for name in names] for one in stored), key=str) == sorted(
        ([row[name] for name in names] for row in expected), key=str
    )
