"""Statement files through the route: every format, whole or not at all."""

import asyncio
import gzip
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import pytest_asyncio

from app.api.reconciliation import imports
from app.store.identity import Permission
from app.store.reconciliation.intake import LOST, sweep_all
from tests.api.test_outside import CREATE, LINES, Bank
from tests.api_client import Api, Json, open_api

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
        self, content: bytes, headers: Json | None = None, **parameters: Any
    ) -> httpx.Response:
        return await self.api.http.post(
            "/statements/import",
            params={"externalAccountId": self.external, "format": "CSV", **parameters},
            content=content,
            headers={"Authorization": f"Bearer {self.api.token}", **(headers or {})},
        )

    async def csv(self, text: str, profile: str = "plain", **parameters: Any) -> Json:
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
    """Sent twice, and several times at once, it is stored once; by another profile, once more."""
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
    "no line": ("Date,Amount,Text\n", 2, 1),
    "no line but the blank": ("Date,Amount,Text\n\n,,\n", 4, 1),
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


@pytest.mark.parametrize(
    ("sample", "kind", "currency", "lines", "balanced"),
    [
        ("german.sta", "MT940", "EUR", 2, [True]),
        ("plain.sta", "MT940", "EUR", 3, [True, True]),
        ("camt053.02.xml", "CAMT_053", "EUR", 2, [True]),
        ("camt053.08.xml", "CAMT_053", "EUR", 2, [True]),
        ("camt054.08.xml", "CAMT_054", "EUR", 2, [None]),
        ("sgml.ofx", "OFX", "USD", 2, [None]),
        ("xml.ofx", "OFX", "USD", 2, [None]),
    ],
)
async def test_every_format_comes_in(
    office: Office, sample: str, kind: str, currency: str, lines: int, balanced: list[bool | None]
) -> None:
    """Its statements are checked against their balances, and shown; a second time it is known."""
    account = await office.api.account(office.ledger, currency=currency)
    made = await office.api.answer(CREATE, accountId=account, name="Bank", kind="BANK")
    office.external = made["externalAccount"]["id"]
    content = (SAMPLES / sample).read_bytes()
    answer = (await office.upload(content, format=kind, name=sample)).json()["import"]
    assert (answer["status"], answer["linesNew"]) == ("COMPLETED", lines)
    assert [one["balanced"] for one in answer["statements"]] == balanced
    assert answer["linesSkipped"] == (1 if "camt" in sample else 0)
    again = (await office.upload(content, format=kind)).json()
    assert (again["recognised"], again["import"]["statements"]) == (True, answer["statements"])
    total = sum(one["lineCount"] for one in answer["statements"])
    assert total == lines
    shown = await office.told()
    assert [one["lineCount"] for one in shown["statements"]["nodes"]] == [
        str(one["lineCount"]) for one in answer["statements"]
    ]


async def test_gzip_is_unpacked(office: Office) -> None:
    """Of one member or several; the file is known again when it comes unpacked."""
    head, rest = b"Date,Amount,Text\n", b"2026-03-01,1,a\n" * 3000
    packed = gzip.compress(head) + gzip.compress(rest)
    headers = {"Content-Encoding": "gzip"}
    answer = (await office.upload(packed, headers, profile="plain")).json()["import"]
    assert (answer["status"], answer["linesNew"]) == ("COMPLETED", 3000)
    again = (await office.upload(head + rest, profile="plain")).json()
    assert again["recognised"] is True
    first, _ = await office.imports()
    assert (first["bytesRead"], first["bytesTotal"]) == (str(len(packed)), str(len(packed)))


async def test_a_body_that_is_mostly_nothing_is_refused(office: Office) -> None:
    """Long before it is as large as a file may be."""
    packed = gzip.compress(b"Date,Amount,Text\n" + b"\n" * 20_000_000)
    response = await office.upload(packed, {"Content-Encoding": "gzip"}, profile="plain")
    assert response.status_code == 413
    failure = response.json()["import"]["failure"]
    assert failure["message"] == "The body unpacks to more than 100 times its size."
    await office.nothing_is_stored()


@pytest.mark.parametrize(
    ("packed", "code"),
    [
        (gzip.compress(b"Date,Amount,Text\n" + b"2026-03-01,1,a\n" * 1_000_000), "TOO_LARGE"),
        (gzip.compress(bytes(200_000_000)), "MALFORMED"),
        (gzip.compress(b"Date,Amount,Text\n2026-03-01,1,a\n")[:-9], "MALFORMED"),
        (b"Date,Amount,Text\n2026-03-01,1,a\n", "MALFORMED"),
    ],
    ids=["too much", "a bomb", "cut short", "not gzip"],
)
async def test_hostile_gzip_is_refused(database_url: str, packed: bytes, code: str) -> None:
    """As soon as it is more than a file may be, or is no gzip."""
    async with open_api(database_url, max_import_bytes=1_000_000) as api:
        office = await Office.open(api)
        assert isinstance(office, Office)
        office.external = await office.tie()
        await office.profile()
        response = await office.upload(packed, {"Content-Encoding": "gzip"}, profile="plain")
        assert response.status_code == (413 if code == "TOO_LARGE" else 422)
        assert response.json()["import"]["failure"]["code"] == code
        await office.nothing_is_stored()


@pytest.mark.parametrize(
    ("parameters", "headers", "status", "code"),
    [
        ({"format": "ROWS"}, {}, 400, "BAD_REQUEST"),
        ({"format": "XLSX"}, {}, 400, "BAD_REQUEST"),
        ({}, {}, 400, "BAD_REQUEST"),
        ({"profile": "none"}, {}, 400, "BAD_REQUEST"),
        ({"profile": "a\0"}, {}, 400, "BAD_REQUEST"),
        ({"profile": "plain", "format": "OFX"}, {}, 400, "BAD_REQUEST"),
        ({"profile": "plain", "more": "1"}, {}, 400, "BAD_REQUEST"),
        ({"profile": "plain", "name": ""}, {}, 400, "BAD_REQUEST"),
        ({"profile": "plain", "externalAccountId": "xacc_1"}, {}, 400, "BAD_REQUEST"),
        (
            {"profile": "plain", "externalAccountId": f"xacc_{'0' * 32}"},
            {},
            404,
            "EXTERNAL_ACCOUNT_NOT_FOUND",
        ),
        ({"profile": "plain"}, {"Authorization": ""}, 401, "UNAUTHENTICATED"),
        ({"profile": "plain"}, {"Content-Type": "multipart/form-data"}, 415, None),
        ({"profile": "plain"}, {"Content-Encoding": "br"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ({"profile": "plain"}, {"Content-Length": "99999999999"}, 413, "PAYLOAD_TOO_LARGE"),
    ],
)
async def test_what_is_no_import_leaves_none(
    office: Office, parameters: Json, headers: Json, status: int, code: str | None
) -> None:
    """Refused before anything is read; no import is there to be seen."""
    response = await office.upload(b"x", headers, **parameters)
    assert response.status_code == status
    assert response.json()["error"]["code"] == (code or "UNSUPPORTED_MEDIA_TYPE")
    assert await office.imports() == []


async def test_a_read_key_imports_nothing(office: Office) -> None:
    """A file needs the scope write."""
    reader = await office.api.with_key(Permission.READ)
    office.api, api = reader, office.api
    response = await office.upload(b"x", profile="plain")
    assert (response.status_code, response.json()["error"]["code"]) == (403, "FORBIDDEN")
    office.api = api
    assert await office.imports() == []


async def test_other_tenants_see_nothing(office: Office) -> None:
    """Neither external account nor import nor line of another organization can be reached."""
    await office.csv("Date,Amount,Text\n2026-03-01,1,a\n")
    (done,) = await office.imports()
    stranger = await office.api.stranger()
    ids = [office.external, done["id"], f"line_{office.external[5:]}_1"]
    data = await stranger.run("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ids})
    assert data == {"nodes": [None, None, None]}
    seen = await office.api.run("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ids})
    assert [one["id"] for one in seen["nodes"]] == ids


async def test_an_archived_ledger_takes_no_statements(office: Office) -> None:
    """Neither files nor rows nor new external accounts."""
    await office.api.run(
        "mutation ($id: ID!) { archiveLedger(input: {ledgerId: $id}) { __typename } }",
        {"id": office.ledger},
    )
    response = await office.upload(b"Date,Amount,Text\n", profile="plain")
    assert (response.status_code, response.json()["error"]["code"]) == (422, "LEDGER_ARCHIVED")
    rows = await office.import_rows([])
    assert (rows["code"], rows["path"]) == ("LEDGER_ARCHIVED", ["input", "externalAccountId"])


async def test_a_deleted_profile_reads_nothing_more(office: Office) -> None:
    """What was imported by it stays; deleting it twice changes nothing."""
    await office.csv("Date,Amount,Text\n2026-03-01,1,a\n")
    for _ in range(2):
        answer = await office.api.answer(DELETE, ledgerId=office.ledger, name="plain")
        assert answer["__typename"] == "DeleteImportProfileSuccess"
    response = await office.upload(b"x", profile="plain")
    assert response.status_code == 400
    assert [one["status"] for one in await office.imports()] == ["COMPLETED"]


class Stream:
    """A body that comes when it is told to, at one ASGI application."""

    def __init__(self, office: Office) -> None:
        self.messages: asyncio.Queue[Json] = asyncio.Queue()
        self.sent: list[Json] = []
        query = f"externalAccountId={office.external}&format=CSV&profile=plain"
        self.task = asyncio.create_task(
            office.api.server.application()(
                {
                    "type": "http",
                    "method": "POST",
                    "path": "/statements/import",
                    "query_string": query.encode(),
                    "headers": [(b"authorization", f"Bearer {office.api.token}".encode())],
                },
                self.messages.get,
                self._send,
            )
        )

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    def feed(self, body: bytes, *, more: bool = True) -> None:
        self.messages.put_nowait({"type": "http.request", "body": body, "more_body": more})


async def until(office: Office, reached: Any) -> Json:
    async with asyncio.timeout(60):
        while not (imports := await office.imports()) or not reached(imports[-1]):
            await asyncio.sleep(0.02)
    return imports[-1]


async def test_progress_is_seen_while_a_file_comes(office: Office) -> None:
    """How much was read is shown, and no line before all of them are stored."""
    stream = Stream(office)
    stream.feed(b"Date,Amount,Text\n")
    await until(office, lambda one: one["status"] == "IMPORTING")
    rows = b"2026-03-01,1,a\n" * 100
    async with asyncio.timeout(60):
        while (seen := (await office.imports())[-1])["linesRead"] == "0":
            stream.feed(rows)
            await asyncio.sleep(0.05)
    assert int(seen["bytesRead"]) == 17 + 15 * int(seen["linesRead"])
    await office.nothing_is_stored()
    stream.feed(b"", more=False)
    await stream.task
    assert stream.sent[0]["status"] == 200
    done = await until(office, lambda one: one["status"] == "COMPLETED")
    assert int(done["linesNew"]) >= int(seen["linesRead"])


async def test_a_client_that_hangs_up_leaves_a_failure(office: Office) -> None:
    """Nothing of the file is stored."""
    stream = Stream(office)
    stream.feed(b"Date,Amount,Text\n2026-03-01,1,a\n")
    stream.messages.put_nowait({"type": "http.disconnect"})
    await stream.task
    failed = await until(office, lambda one: one["status"] == "FAILED")
    assert failed["failure"]["code"] == "INTERRUPTED"
    await office.nothing_is_stored()


async def test_a_client_may_go_after_its_last_byte(office: Office) -> None:
    """What has come as a whole is stored; who hung up finds it, or is told of it another time."""
    stream = Stream(office)
    stream.feed(b"Date,Amount,Text\n2026-03-01,1,a\n", more=False)
    stream.messages.put_nowait({"type": "http.disconnect"})
    await stream.task
    (done,) = await office.imports()
    assert (done["status"], done["linesNew"]) == ("COMPLETED", "1")
    again = await office.csv("Date,Amount,Text\n2026-03-01,1,a\n")
    assert (again["recognised"], again["import"]["original"]) == (True, done["id"])


async def test_the_rest_of_a_refused_file_is_taken(office: Office) -> None:
    """The answer goes first; who listens only after its last byte has a connection until then."""
    stream = Stream(office)
    stream.feed(b"Date,Amount,Text\n2026-03-01,1,a\nwrong,1,b\n")
    await until(office, lambda one: one["status"] == "FAILED")
    async with asyncio.timeout(60):
        while len(stream.sent) < 2:
            await asyncio.sleep(0.02)
    assert (stream.sent[0]["status"], stream.sent[1]["more_body"]) == (422, True)
    for _ in range(3):
        stream.feed(b"2026-03-01,1,c\n" * 1000)
    assert len(stream.sent) == 2
    stream.feed(b"2026-03-01,1,c\n", more=False)
    await stream.task
    assert stream.messages.empty()
    assert stream.sent[2:] == [{"type": "http.response.body", "body": b"", "more_body": False}]
    await office.nothing_is_stored()


@pytest.mark.parametrize("bound", ["silence", "time", "bytes"])
async def test_not_for_ever(office: Office, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """Who falls silent, sends too long or too much is not waited for."""
    monkeypatch.setattr(imports, "SILENCE_SECONDS", 0.1 if bound == "silence" else 60.0)
    monkeypatch.setattr(imports, "LINGER_SECONDS", 0.1 if bound == "time" else 60.0)
    stream = Stream(office)
    stream.feed(b"nonsense\n1\n")
    if bound == "bytes":
        many = office.api.server.settings.max_import_bytes // 2
        for _ in range(4):
            stream.feed(bytes(many))
    await stream.task
    assert stream.sent[0]["status"] == 422
    assert stream.messages.qsize() == (2 if bound == "bytes" else 0)


async def test_a_file_may_be_empty_where_its_profile_says_so(office: Office) -> None:
    """A bank that had nothing to tell: a statement without a line."""
    await office.profile("quiet", mayBeEmpty=True)
    answer = await office.csv("Date,Amount,Text\n", profile="quiet")
    (statement,) = answer["import"]["statements"]
    assert (answer["import"]["status"], statement["lineCount"]) == ("COMPLETED", 0)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"Date,Amount,Text\n2026-03-01,1\n",
            "There are 2 cells; that of the column 'Text' is missing.",
        ),
        (b"Date,Amount,Text\n2026-03-01,1,\xff\n", "This is not text in UTF_8."),
    ],
)
async def test_what_is_wrong_is_named_as_users_name_it(
    office: Office, content: bytes, told: str
) -> None:
    """A column by its header, an encoding as the profile has it."""
    response = await office.upload(content, profile="plain")
    assert response.json()["import"]["failure"]["message"] == told


async def test_a_server_that_ends_leaves_a_failure(office: Office) -> None:
    """The task is cancelled, and says so."""
    stream = Stream(office)
    stream.feed(b"Date,Amount,Text\n2026-03-01,1,a\n")
    await until(office, lambda one: one["status"] == "IMPORTING")
    stream.task.cancel()
    await asyncio.wait({stream.task})
    failed = await until(office, lambda one: one["status"] == "FAILED")
    assert failed["failure"]["code"] == "INTERRUPTED"
    await office.nothing_is_stored()


async def test_a_killed_server_leaves_nothing_that_is_importing(
    office: Office, database_url: str
) -> None:
    """The next import, and the next start of a server, say that it failed; not those that live."""
    living = Stream(office)
    living.feed(b"Date,Amount,Text\n")
    alive = await until(office, lambda one: one["status"] == "IMPORTING")
    killed = Stream(office)
    killed.feed(b"Date,Amount,Text\n")
    async with asyncio.timeout(60):
        while len(await office.imports()) < 2:
            await asyncio.sleep(0.02)
    dead = (await office.imports())[-1]
    with psycopg.connect(database_url, autocommit=True) as connection:
        # As if its server had been killed: the session is gone, and nobody says so.
        gone = connection.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_locks WHERE locktype = 'advisory'"
            " AND ((classid::int8 << 32) | objid::int8) = hashtextextended(%s::uuid::text, 9)",
            [dead["id"][4:]],
        ).fetchall()
    assert gone == [(True,)]
    await sweep_all(office.api.server.database)
    first, second = await office.imports()
    assert (first["id"], first["status"]) == (alive["id"], "IMPORTING")
    assert (second["status"], second["failure"]["message"]) == ("FAILED", LOST)
    living.feed(b"2026-03-01,1,a\n", more=False)
    killed.feed(b"2026-03-01,1,a\n", more=False)
    await asyncio.wait({living.task, killed.task})
    assert [one["status"] for one in await office.imports()] == ["COMPLETED", "FAILED"]
    assert killed.sent[0]["status"] == 503
