"""Statement files through the route: every format, whole or not at all."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.api.test_outside import LINES, Bank
from tests.api_client import Api, Json

SAMPLES = Path(__file__).parent.parent / "data" / "statements"
SAVE = """
mutation ($input: SaveImportProfileInput!) {
  saveImportProfile(input: $input) {
    __typename
    ... on SaveImportProfileSuccess { importProfile { name definition } }
    ... on UserError { code message path }
  }
}
"""
DELETE = """
mutation ($input: DeleteImportProfileInput!) {
  deleteImportProfile(input: $input) { __typename }
}
"""
IMPORTS = """
query ($id: ID!) {
  externalAccount(id: $id) {
    imports { nodes {
      id status format sourceName bytesRead bytesTotal linesRead linesNew linesKnown linesSkipped
      failure { code message line column } original { id } finishedAt
    } }
    statements { nodes { number } }
    lines { nodes { number } }
  }
}
"""
COLUMNS = {"bookedOn": "Date", "amount": "Amount", "description": "Text"}
PLAIN: Json = {"columns": COLUMNS}


class Office(Bank):
    """A bank whose files come in by the route."""

    async def profile(self, name: str = "plain", **definition: Any) -> Json:
        answer = await self.api.answer(
            SAVE, ledgerId=self.ledger, name=name, definition=PLAIN | definition
        )
        assert answer["__typename"] == "SaveImportProfileSuccess", answer
        saved: Json = answer["importProfile"]["definition"]
        return saved

    async def upload(
        self, content: bytes, headers: Json | None = None, **parameters: str
    ) -> httpx.Response:
        return await self.api.http.post(
            "/statements/import",
            params={"externalAccountId": self.external, "format": "CSV", **parameters},
            content=content,
            headers={"Authorization": f"Bearer {self.api.token}", **(headers or {})},
        )

    async def csv(self, text: str, profile: str = "plain", **parameters: str) -> Json:
        response = await self.upload(text.encode(), profile=profile, **parameters)
        answer: Json = response.json()
        return answer

    async def imports(self) -> list[Json]:
        data = await self.api.run(IMPORTS, {"id": self.external})
        nodes: list[Json] = data["externalAccount"]["imports"]["nodes"]
        return nodes

    async def nothing_is_stored(self) -> None:
        data = (await self.api.run(IMPORTS, {"id": self.external}))["externalAccount"]
        assert (data["statements"]["nodes"], data["lines"]["nodes"]) == ([], [])


@pytest_asyncio.fixture
async def office(api: Api) -> Office:
    office = await Office.open(api)
    assert isinstance(office, Office)
    office.external = await office.tie()
    await office.profile()
    return office


async def test_a_csv_file_becomes_a_statement(office: Office) -> None:
    """Its lines are those of the file, and the import says how many there are."""
    text = 'Date,Amount,Text\n2026-03-01,12.50,"a, ""b"""\n2026-03-02,-2.50,c\n\n'
    answer = await office.csv(text, name="march.csv")
    (done,) = await office.imports()
    assert answer == {
        "import": {
            "id": done["id"],
            "status": "COMPLETED",
            "linesRead": 2,
            "linesNew": 2,
            "linesKnown": 0,
            "linesSkipped": 0,
            "statements": [
                {
                    "id": answer["import"]["statements"][0]["id"],
                    "number": 1,
                    "reference": None,
                    "currency": "USD",
                    "from": "2026-03-01",
                    "through": "2026-03-02",
                    "openingBalance": None,
                    "closingBalance": None,
                    "lineCount": 2,
                    "knownCount": 0,
                    "lineTotal": "1000",
                    "difference": None,
                    "balanced": None,
                }
            ],
        },
        "recognised": False,
    }
    size = str(len(text.encode()))
    assert done == {
        "id": done["id"],
        "status": "COMPLETED",
        "format": "CSV",
        "sourceName": "march.csv",
        "bytesRead": size,
        "bytesTotal": size,
        "linesRead": "2",
        "linesNew": "2",
        "linesKnown": "0",
        "linesSkipped": "0",
        "failure": None,
        "original": None,
        "finishedAt": done["finishedAt"],
    }
    lines = (await office.api.run(LINES, {"id": office.external}))["externalAccount"]["lines"]
    assert [(one["bookedOn"], one["amount"], one["description"]) for one in lines["nodes"]] == [
        ("2026-03-01", "1250", 'a, "b"'),
        ("2026-03-02", "-250", "c"),
    ]


async def test_the_same_file_is_recognised(office: Office) -> None:
    """Sent twice, and several times at once, it is stored once; by another profile it is another."""
    text = "Date,Amount,Text\n2026-03-01,1,a\n2026-03-01,1,a\n"
    answers = await asyncio.gather(*(office.csv(text) for _ in range(3)))
    answers.append(await office.csv(text))
    done = [one["import"] for one in answers if one["import"]["status"] == "COMPLETED"]
    again = [one["import"] for one in answers if one["import"]["status"] == "RECOGNISED"]
    assert (len(done), len(again)) == (1, 3)
    assert {one["original"] for one in again} == {done[0]["id"]}
    assert all(one["statements"] == done[0]["statements"] for one in again)
    await office.profile("other", reversed=True)
    other = (await office.csv(text, "other"))["import"]
    assert (other["status"], other["linesNew"]) == ("COMPLETED", 2)


async def test_overlapping_files_are_recognised_line_by_line(office: Office) -> None:
    """What an earlier file had is known, and new lines beside it are stored."""
    head = "Date,Amount,Text\n"
    await office.csv(head + "2026-03-01,1,a\n2026-03-02,2,b\n2026-03-02,2,b\n")
    answer = (await office.csv(head + "2026-03-02,2,b\n2026-03-02,2,b\n2026-03-03,3,c\n"))["import"]
    assert (answer["linesNew"], answer["linesKnown"]) == (1, 2)
    assert answer["statements"][0]["lineTotal"] == "700"


MALFORMED = {
    "no such day": ("Date,Amount,Text\n2026-03-01,1,a\n2026-02-30,1,a\n", 3, 1),
    "no date": ("Date,Amount,Text\n,1,a\n", 2, 1),
    "no amount": ("Date,Amount,Text\n2026-03-01,,a\n", 2, 2),
    "not an amount": ("Date,Amount,Text\n2026-03-01,1e3,a\n", 2, 2),
    "too many decimals": ("Date,Amount,Text\n2026-03-01,1.005,a\n", 2, 2),
    "thousands": ("Date,Amount,Text\n2026-03-01,1.000,a\n", 2, 2),
    "zero": ("Date,Amount,Text\n2026-03-01,0.00,a\n", 2, 2),
    "huge": (f"Date,Amount,Text\n2026-03-01,{'9' * 40},a\n", 2, 2),
    "one cell too many": ("Date,Amount,Text\n2026-03-01,1,a,b\n", 2, 4),
    "one cell too few": ("Date,Amount,Text\n2026-03-01,1\n", 2, 3),
    "no such header": ("Date,Betrag,Text\n2026-03-01,1,a\n", 1, 1),
    "header twice": ("Date,Amount,Text,Text\n2026-03-01,1,a,b\n", 1, 1),
    "nothing": ("", 1, 1),
    "a quote that does not end": ('Date,Amount,Text\n2026-03-01,1,"a\n2026-03-02,2,b\n', 2, 3),
    "text behind a quote": ('Date,Amount,Text\n2026-03-01,"1"2,a\n', 2, 2),
    "a NUL": ("Date,Amount,Text\n2026-03-01,1,a\0b\n", 2, 3),
    "a control character": ("Date,Amount,Text\n2026-03-01,1,a\x1bb\n", 2, 3),
    "a cell of 10 MB": (f"Date,Amount,Text\n2026-03-01,1,{'x' * 10_000_000}\n", 2, 3),
    "a quoted cell of many lines": (
        'Date,Amount,Text\n2026-03-01,1,"' + "x\n" * 100_000 + '"\n',
        2,
        3,
    ),
    "a long cell": (f"Date,Amount,Text\n2026-03-01,1,{'x' * 5000}\n", 2, 3),
    "many cells": ("Date,Amount,Text" + ",x" * 600 + "\n", 1, 501),
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_csv_names_line_and_cell(office: Office, case: str) -> None:
    """Nothing of it is stored, and the import says where the mistake is."""
    text, line, column = MALFORMED[case]
    response = await office.upload(text.encode(), profile="plain")
    assert response.status_code == 422
    failure = response.json()["import"]["failure"]
    assert (failure["code"], failure["line"], failure["column"]) == ("MALFORMED", line, column), (
        failure
    )
    (failed,) = await office.imports()
    assert (failed["status"], failed["failure"]["message"]) == ("FAILED", failure["message"])
    await office.nothing_is_stored()
