"""Bulk loading: a line in, a line out, by the very rules of the mutation, in constant memory."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier
from structlog.testing import capture_logs

from app.api.http import bulk
from app.api.http.json_lines import Lines
from app.ledger.accounts.state import Mode
from app.ledger.refusals import Overloaded
from app.store.audit.verify import verify
from app.store.identity import Permission, list_keys, revoke_key
from app.store.transactions.writer import Writer
from tests.api.market import Market
from tests.api_client import POST, Api, Json, open_api
from tests.test_serve import is_somebody_waiting

Message = MutableMapping[str, Any]
JSON_LINES = {"Content-Type": "application/jsonl"}


def lines_of(*values: Json | bytes | str) -> bytes:
    """A file of these lines."""
    return b"".join(_raw(value) + b"\n" for value in values)


def _raw(value: Json | bytes | str) -> bytes:
    if isinstance(value, dict):
        value = json.dumps(value)
    return value.encode() if isinstance(value, str) else value


async def send(
    api: Api,
    ledger: str,
    body: bytes | AsyncIterator[bytes],
    headers: Mapping[str, str] = JSON_LINES,
) -> httpx.Response:
    return await api.http.post(
        bulk.PATH,
        params={"ledgerId": ledger},
        content=body,
        headers={"Authorization": f"Bearer {api.token}", **headers},
    )


async def load(api: Api, ledger: str, *values: Json | bytes | str) -> tuple[list[Json], Json]:
    """Load a file whole, and return its answers and the summary."""
    response = await send(api, ledger, lines_of(*values))
    assert response.status_code == 200
    *answers, summary = map(json.loads, response.text.splitlines())
    assert "lines" in summary, summary
    return answers, summary


@dataclass
class Talk:
    """One request to the application, spoken turn by turn."""

    said: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    status: int = 0
    heard: bytes = b""
    is_over: bool = False
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def with_server(cls, api: Api, ledger: str) -> AsyncIterator["Talk"]:
        talk = cls()
        talk.listening.set()
        scope = {
            "type": "http",
            "method": "POST",
            "path": bulk.PATH,
            "query_string": f"ledgerId={ledger}".encode(),
            "headers": [
                (b"authorization", f"Bearer {api.token}".encode()),
                (b"content-type", b"application/jsonl"),
            ],
        }
        application = api.server.application()
        talk.task = asyncio.ensure_future(application(scope, talk.said.get, talk.hear))
        yield talk
        await talk.task

    async def hear(self, message: Message) -> None:
        await self.listening.wait()
        self.status = message.get("status", self.status)
        self.heard += message.get("body", b"")
        self.is_over = message["type"] == "http.response.body" and not message["more_body"]
        self.news.set()

    def say(self, *values: Json | bytes | str, more: bool = True) -> None:
        self.said.put_nowait({"type": "http.request", "body": lines_of(*values), "more_body": more})

    def hang_up(self) -> None:
        self.said.put_nowait({"type": "http.disconnect"})

    async def answers(self, count: int) -> list[Json]:
        """The first so many lines of the answer, once they are there."""
        while self.heard.count(b"\n") < count:
            self.news.clear()
            await self.news.wait()
        return [json.loads(line) for line in self.heard.splitlines()[:count]]

    async def all_answers(self) -> list[Json]:
        while not self.is_over:
            self.news.clear()
            await self.news.wait()
        return [json.loads(line) for line in self.heard.splitlines()]


async def test_answers_come_in_order(api: Api) -> None:
    """Good, refused, malformed and blank lines are answered in order; the books say the same."""
    market = await Market.open(api)
    answers, summary = await load(
        api,
        market.ledger,
        market.posting("a", "wallet", "shop", 60),
        market.posting("b", "wallet", "shop", 60),
        "",
        "{",
        market.posting("c", "wallet", "shop", 40),
        "   ",
        market.posting("d", "cash", "wallet", 5, status="PENDING"),
        "[1]",
    )
    assert [answer["line"] for answer in answers] == [1, 2, 4, 5, 7, 8]
    assert summary == {"lines": 8, "posted": 3, "replayed": 0, "refused": 3}
    posted = [answer["transaction"] for answer in answers if "transaction" in answer]
    shown = (await market.state())["ledger"]["transactions"]["nodes"]
    assert posted == [
        {name: transaction[name] for name in ("id", "sequence", "status")}
        for transaction in shown[1:]
    ]
    assert [(transaction["sequence"], transaction["status"]) for transaction in posted] == [
        ("2", "POSTED"),
        ("3", "POSTED"),
        ("4", "PENDING"),
    ]
    assert [answer["error"] for answer in answers if "error" in answer] == [
        {
            "code": "INSUFFICIENT_FUNDS",
            "message": "Available would be -20, below the account's floor of 0.",
            "path": ["input", "entries", "0", "amount"],
            "retryable": False,
        },
        {
            "code": "BAD_REQUEST",
            "message": "This is not JSON.",
            "path": ["input"],
            "retryable": False,
        },
        {
            "code": "BAD_USER_INPUT",
            "message": "Variable '$input' has invalid value: Expected value of type"
            " 'PostTransactionInput' to be an object, found: [1].",
            "path": ["input"],
            "retryable": False,
        },
    ]
    assert await market.balances("wallet") == (0, 5, 0, 5)
    assert await market.balances("shop") == (100, 0, 100, 100)


ODD: dict[str, Json] = {
    "as it should be": {},
    "an unknown field": {"colour": "red"},
    "an unknown field of an entry": {"entries": [{"colour": "red"}]},
    "an amount that is a number": {"amount": 5},
    "an amount that is a float": {"amount": 5.5},
    "an amount with a sign": {"amount": "+5"},
    "an amount of nothing": {"amount": "0"},
    "an amount below nothing": {"amount": "-5"},
    "an amount of 37 digits": {"amount": "1" + 36 * "0"},
    "an amount of 38 digits": {"amount": "1" + 37 * "0"},
    "no amount": {"amount": None},
    "a key that is a number": {"idempotencyKey": 5},
    "a key that is blank": {"idempotencyKey": " "},
    "a key that is null": {"idempotencyKey": None},
    "a key with a line break": {"idempotencyKey": "a\nb"},
    "a key that is too long": {"idempotencyKey": "k" * 256},
    "entries that are null": {"entries": None},
    "no entries": {"entries": []},
    "one entry, not in a list": {"entries": {}},
    "entries that are a text": {"entries": "all"},
    "a direction in small letters": {"direction": "debit"},
    "a direction that is a number": {"direction": 1},
    "an account's id that is a number": {"accountId": 7},
    "an account's id of another kind": {"accountId": f"ldgr_{'0' * 32}"},
    "an account of nobody": {"accountId": f"acct_{'0' * 32}"},
    "a ledger's id that is none": {"ledgerId": "books"},
    "a ledger's id that is null": {"ledgerId": None},
    "metadata that is a list": {"metadata": []},
    "metadata that is a text": {"metadata": "{}"},
    "metadata that is null": {"metadata": None},
    "metadata with NUL": {"metadata": {"a": "\0"}},
    "metadata with half a character": {"metadata": {"a": "\ud800"}},
    "metadata with a large number": {"metadata": {"a": 2**63}},
    "metadata with a larger number": {"metadata": {"a": 2**64}},
    "metadata that is large": {"metadata": {"a": "x" * 20_000}},
    "metadata that is deep": {"metadata": json.loads('{"a":' * 9 + "{}" + "}" * 9)},
    "a status in small letters": {"status": "posted"},
    "a status that it cannot have": {"status": "VOIDED"},
    "a status that is null": {"status": None},
    "a description with a tab": {"description": "a\tb"},
    "a description that is too long": {"description": "d" * 2001},
    "an external id that is blank": {"externalId": ""},
    "a time without offset": {"effectiveAt": "2026-01-31T12:00:00"},
    "a time that does not exist": {"effectiveAt": "2026-02-31T12:00:00Z"},
    "a time of long ago": {"effectiveAt": "1800-01-31T12:00:00Z"},
    "a time that is a number": {"effectiveAt": 5},
    "a condition with an unknown bound": {"condition": {"posted": {"above": "1"}}},
    "a condition with a number": {"condition": {"posted": {"gte": 1}}},
    "a condition that does not hold": {"condition": {"posted": {"lt": "0"}}},
    "a version that is a number": {"accountVersion": 1},
    "a version of another time": {"accountVersion": "77"},
    "entries that do not balance": {"amount": "6"},
}  # fmt: skip
OF_AN_ENTRY = {"amount", "direction", "accountId", "condition", "accountVersion"}


@pytest.mark.parametrize("oddity", ODD.values(), ids=ODD)
async def test_lines_are_read_as_graphql_reads_them(api: Api, oddity: Json) -> None:
    """A line is answered as the mutation answers the same input, with the same words."""
    market = await Market.open(api)

    odd = market.posting("odd", "cash", "wallet", 5)
    odd["entries"][0] |= {name: oddity[name] for name in oddity.keys() & OF_AN_ENTRY}
    odd |= {name: oddity[name] for name in oddity.keys() - OF_AN_ENTRY}
    before = await market.state()
    ((answer,), _) = await load(api, market.ledger, odd)
    after = await market.state()
    request = {"query": POST, "variables": {"input": odd}}
    response = await api.http.post(
        "/graphql",
        content=json.dumps(request).encode(),
        headers={"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"},
    )
    told = response.json()
    if "errors" in told:
        error = told["errors"][0]
        code = error["extensions"]["code"]
        assert answer["error"]["message"] == error["message"]
        assert answer["error"]["code"] == code
        place = re.match(r"Variable '\$input' has invalid value at (\S+): ", error["message"])
        printed = re.sub(r"\.(\d+)", r"[\1]", "".join(f".{p}" for p in answer["error"]["path"]))
        assert printed == f".input{place[1] if place else ''}"
        assert after == before
        return
    result = told["data"]["postTransaction"]
    if result["__typename"] == "PostTransactionSuccess":
        # The same content under the same key: GraphQL replays what the line posted.
        assert (answer["replayed"], result["replayed"]) == (False, True)
        assert answer["transaction"] == {
            name: result["transaction"][name] for name in ("id", "sequence", "status")
        }
    else:
        assert answer["error"] == {
            name: result[name] for name in ("code", "message", "path", "retryable")
        }
        assert after == before


@pytest.mark.parametrize(
    "query",
    [
        "",
        "ledgerId",
        "ledgerId=",
        "ledgerid=LEDGER",
        "ledgerId=LEDGER&ledgerId=LEDGER",
        "ledgerId=LEDGER&dryRun=true",
        "ledgerId=%FF",
        "&".join(["ledgerId=LEDGER"] * 50),
        "&".join(f"a{number}=1" for number in range(50)),
    ],
)
async def test_other_addresses(api: Api, query: str) -> None:
    """Whatever else the address says, much or little, is refused before a line is read."""
    market = await Market.open(api)
    before = await market.state()
    response = await api.http.post(
        f"{bulk.PATH}?{query.replace('LEDGER', market.ledger)}",
        content=lines_of(market.posting("line", "cash", "wallet", 5)),
        headers={"Authorization": f"Bearer {api.token}", **JSON_LINES},
    )
    assert (response.status_code, response.json()["error"]["code"]) == (400, "BAD_REQUEST")
    assert await market.state() == before


async def test_every_kind_of_answer_is_among_the_oddities(api: Api) -> None:
    """The comparison above meets inputs that GraphQL takes, refuses, and cannot read."""
    market = await Market.open(api)
    one = market.posting("one", "cash", "wallet", 5)
    answers, _ = await load(
        api,
        market.ledger,
        one | {"entries": one["entries"][0]},
        one | {"entries": [{**entry, "accountId": 7} for entry in one["entries"]]},
        one | {"metadata": None},
    )
    assert [answer.get("error", {}).get("code") for answer in answers] == [
        "VALIDATION_FAILED",
        "VALIDATION_FAILED",
        None,
    ]


async def test_ledger_is_that_of_the_address(api: Api) -> None:
    """A line may leave its ledger out; one for another ledger is refused, and so is a dry run."""
    market = await Market.open(api)
    other = await Market.open(api)
    silent = market.posting("silent", "cash", "wallet", 5)
    del silent["ledgerId"]
    before = await other.state()
    answers, summary = await load(
        api,
        market.ledger,
        silent,
        other.posting("other", "cash", "wallet", 5),
        market.posting("dry", "cash", "wallet", 5, dryRun=True),
        market.posting("wet", "cash", "wallet", 5, dryRun=False),
    )
    assert summary == {"lines": 4, "posted": 2, "replayed": 0, "refused": 2}
    assert [answer["error"] for answer in answers if "error" in answer] == [
        {
            "code": "VALIDATION_FAILED",
            "message": "All lines are for the ledger in the address.",
            "path": ["input", "ledgerId"],
            "retryable": False,
        },
        {
            "code": "VALIDATION_FAILED",
            "message": "What is loaded in bulk is recorded.",
            "path": ["input", "dryRun"],
            "retryable": False,
        },
    ]
    assert await other.state() == before
    assert await market.balances("wallet") == (110, 0, 110, 110)


async def test_loads_are_resumed_by_sending_them_again(api: Api) -> None:
    """What was posted is replayed, whatever came of it since; the rest is posted; once each."""
    market = await Market.open(api)
    file = [market.posting(f"{n}", "cash", "wallet", n + 1) for n in range(50)]
    file[7]["status"] = "PENDING"
    first, _ = await load(api, market.ledger, *file[:20], file[3])
    assert first[20] == {"line": 21, "transaction": first[3]["transaction"], "replayed": True}
    await market.void(first[7]["transaction"]["id"], "void")
    again, summary = await load(api, market.ledger, *file)
    assert summary == {"lines": 50, "posted": 30, "replayed": 20, "refused": 0}
    assert [answer["replayed"] for answer in again] == 20 * [True] + 30 * [False]
    assert again[7]["transaction"] == {**first[7]["transaction"], "status": "VOIDED"}
    assert [a["transaction"] for a in again[:7]] == [a["transaction"] for a in first[:7]]
    changed = market.posting("0", "cash", "wallet", 2)
    ((conflict,), _) = await load(api, market.ledger, changed)
    assert conflict["error"]["code"] == "IDEMPOTENCY_CONFLICT"
    total = 100 + sum(range(1, 51)) - 8
    assert await market.balances("wallet") == (total, 0, total, total)


async def test_whole_loads_are_refused(api: Api) -> None:
    """What would be refused for each line is refused at once, by a status and one error."""
    market = await Market.open(api)
    line = market.posting("line", "cash", "wallet", 5)
    strangers, readers = await api.stranger(), await api.with_key(Permission.READ)
    live = await api.with_key(mode=Mode.LIVE)
    before = await market.state()
    nobody = Api(api.server, api.http, api.organization_id, "ldg_test_no", api._numbers)  # noqa: SLF001
    for asking, ledger, headers, status, code in (
        (nobody, market.ledger, JSON_LINES, 401, "UNAUTHENTICATED"),
        (readers, market.ledger, JSON_LINES, 403, "FORBIDDEN"),
        (strangers, market.ledger, JSON_LINES, 404, "LEDGER_NOT_FOUND"),
        (live, market.ledger, JSON_LINES, 404, "LEDGER_NOT_FOUND"),
        (api, f"ldgr_{uuid4().hex}", JSON_LINES, 404, "LEDGER_NOT_FOUND"),
        (api, market["cash"], JSON_LINES, 400, "BAD_REQUEST"),
        (api, "", JSON_LINES, 400, "BAD_REQUEST"),
        (api, market.ledger, {"Content-Type": "application/json"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (api, market.ledger, JSON_LINES | {"Content-Encoding": "gzip"}, 415,
         "UNSUPPORTED_MEDIA_TYPE"),
    ):  # fmt: skip
        response = await send(asking, ledger, lines_of(line), headers)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
        assert response.headers["content-type"] == "application/jsonl"
    refused = await api.http.get(bulk.PATH, headers={"Authorization": f"Bearer {api.token}"})
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    unknown = await send(api, f"{market.ledger}&dryRun=true", b"")
    assert unknown.status_code == 400
    challenge = await send(nobody, market.ledger, b"")
    assert challenge.headers["www-authenticate"] == 'Bearer realm="ledgers"'
    assert await market.state() == before


@pytest.mark.parametrize("media", ["application/x-ndjson", "application/jsonl; charset=utf-8"])
async def test_media_types(api: Api, media: str) -> None:
    """Both names of JSON Lines are taken; an empty file is a file."""
    response = await send(api, await api.ledger(), b"", {"Content-Type": media})
    assert response.json() == {"lines": 0, "posted": 0, "replayed": 0, "refused": 0}


async def test_long_lines(database_url: str) -> None:
    """A line past the limit is refused as such, and those around it are posted."""
    async with open_api(database_url, max_body_bytes=1024) as api:
        market = await Market.open(api)
        longest = market.posting("longest", "cash", "wallet", 5, description="")
        longest["description"] = "d" * (1024 - len(json.dumps(longest)))
        longer = longest | {"description": longest["description"] + "d"}
        answers, summary = await load(
            api,
            market.ledger,
            longest,
            longer,
            b"x" * 100_000,
            market.posting("last", "cash", "wallet", 5),
        )
        assert summary == {"lines": 4, "posted": 2, "replayed": 0, "refused": 2}
        assert answers[1]["error"] == answers[2]["error"]
        assert answers[1]["error"] == {
            "code": "PAYLOAD_TOO_LARGE",
            "message": "A line may have 1024 bytes at most.",
            "path": ["input"],
            "retryable": False,
        }
        assert await market.balances("wallet") == (110, 0, 110, 110)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_chunks_end_anywhere(size: int) -> None:
    """Lines are the same however the bytes come, with a byte order mark and without a last feed."""
    text = b"\xef\xbb\xbfone\n\n1234567\n12345678\n" + b"x" * 50 + b"\r\nlast"
    lines = Lines(7)
    chunks = (text[start : start + size] for start in range(0, len(text), size))
    found = [line for chunk in chunks for line in lines.feed(chunk)]
    assert [*found, *lines.end()] == [b"one", b"", b"1234567", None, None, b"last"]
    assert list(lines.end()) == []


async def test_one_may_wait_for_each_answer(api: Api) -> None:
    """An answer comes while the body is still being sent."""
    market = await Market.open(api)
    async with Talk.with_server(api, market.ledger) as talk:
        for number in range(1, 4):
            talk.say(market.posting(f"{number}", "cash", "wallet", 5))
            answers = await talk.answers(number)
            assert answers[-1]["line"] == number
        talk.say(more=False)
        assert (await talk.all_answers())[3] == {
            "lines": 3,
            "posted": 3,
            "replayed": 0,
            "refused": 0,
        }


async def test_refused_lines_wait_for_those_before(api: Api, database_url: str) -> None:
    """A line that is refused at once is answered in its turn, after those still being posted."""
    market = await Market.open(api)
    with psycopg.connect(database_url) as blocker:
        blocker.execute("SELECT FROM ledgers FOR UPDATE")
        async with Talk.with_server(api, market.ledger) as talk:
            talk.say(market.posting("first", "cash", "wallet", 1))
            with psycopg.connect(database_url, autocommit=True) as watcher:
                while not is_somebody_waiting(watcher):
                    await asyncio.sleep(0.01)
            # The first is in a batch by itself, so the second will be in the next one.
            talk.say(market.posting("second", "cash", "wallet", 1), "{", more=False)
            while not talk.said.empty():
                await asyncio.sleep(0.01)
            assert talk.heard == b""
            blocker.rollback()
            answers = await talk.all_answers()
    assert [answer.get("line") for answer in answers] == [1, 2, 3, None]
    assert ["error" in answer for answer in answers] == [False, False, True, False]


async def test_clients_that_hang_up(api: Api) -> None:
    """What was read of a connection that was cut is finished; the same file goes on from there."""
    market = await Market.open(api)
    file = [market.posting(f"{n}", "cash", "wallet", 1) for n in range(30)]
    with capture_logs() as logs:
        async with Talk.with_server(api, market.ledger) as talk:
            talk.say(*file[:20], b'{"half')
            talk.hang_up()
    assert [(log["status"], log["errors"], log["posted"]) for log in logs] == [
        (200, ["BAD_REQUEST"], 20)
    ]
    assert await market.balances("wallet") == (120, 0, 120, 120)
    _, summary = await load(api, market.ledger, *file)
    assert summary == {"lines": 30, "posted": 10, "replayed": 20, "refused": 0}
    assert await market.balances("wallet") == (130, 0, 130, 130)


async def test_no_more_is_read_than_is_answered(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a client takes no answers, the body is left where it is once the window is full."""
    monkeypatch.setattr(bulk, "WINDOW_LINES", 10)
    market = await Market.open(api)
    async with Talk.with_server(api, market.ledger) as talk:
        talk.listening.clear()
        for number in range(30):
            talk.say(market.posting(f"{number}", "cash", "wallet", 1))
        talk.say(more=False)
        while (await market.balances("wallet"))[0] < 110:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        # Ten lines are in flight; one more chunk has been read, whose line waits for room.
        assert talk.said.qsize() == 20
        assert await market.balances("wallet") == (110, 0, 110, 110)
        talk.listening.set()
        answers = await talk.all_answers()
    assert [answer.get("line") for answer in answers] == [*range(1, 31), None]


async def test_bytes_fill_the_window_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few long lines fill the window as many short ones do."""
    monkeypatch.setattr(bulk, "WINDOW_BYTES", 1)
    market = await Market.open(api)
    async with Talk.with_server(api, market.ledger) as talk:
        talk.listening.clear()
        for number in range(5):
            talk.say(market.posting(f"{number}", "cash", "wallet", 1))
        while (await market.balances("wallet"))[0] < 101:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert talk.said.qsize() == 3
        talk.say(more=False)
        talk.listening.set()
        assert (await talk.all_answers())[-1]["posted"] == 5


async def test_clients_that_read_nothing_are_told(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sends without end before reading gets to the end, and is told in time, not never."""
    monkeypatch.setattr(bulk, "WINDOW_LINES", 10)
    async with open_api(database_url, execution_seconds=2) as api:
        market = await Market.open(api)
        file = [market.posting(f"{n}", "cash", "wallet", 1) for n in range(100)]
        async with Talk.with_server(api, market.ledger) as talk:
            talk.listening.clear()
            for line in file:
                talk.say(line)
            talk.say(more=False)
            while not talk.said.empty():
                await asyncio.sleep(0.01)
            talk.listening.set()
            *answers, last = await talk.all_answers()
        assert last == {
            "error": {
                "code": "EXECUTION_TIMEOUT",
                "message": "Answers were not read in time; read them while sending.",
                "path": [],
                "retryable": True,
            }
        }
        assert [answer["line"] for answer in answers] == list(range(1, len(answers) + 1))
        _, summary = await load(api, market.ledger, *file)
        assert summary["replayed"] == 10
        assert await market.balances("wallet") == (200, 0, 200, 200)


async def test_clients_that_say_nothing_are_told(database_url: str) -> None:
    """Each line has its time to come, and the whole load none."""
    async with open_api(database_url, execution_seconds=1) as api:
        market = await Market.open(api)
        async with Talk.with_server(api, market.ledger) as talk:
            talk.say(market.posting("a", "cash", "wallet", 1))
            answer, last = await talk.all_answers()
        assert (talk.status, answer["line"]) == (200, 1)
        assert last["error"]["message"] == "The next line took too long to come."
        assert last["error"]["retryable"] is True
        async with Talk.with_server(api, market.ledger) as talk:
            (last,) = await talk.all_answers()
        assert (talk.status, last["error"]["code"]) == (503, "EXECUTION_TIMEOUT")


async def test_keys_that_end_end_the_load(database_url: str) -> None:
    """A key that is revoked during a load posts no more lines; those before it stand."""
    async with open_api(database_url, principal_cache_seconds=0) as api:
        market = await Market.open(api)
        async with Talk.with_server(api, market.ledger) as talk:
            talk.say(market.posting("before", "cash", "wallet", 1))
            await talk.answers(1)
            async with api.server.database.writing() as connection:
                (key,) = await list_keys(connection, api.organization_id)
                await revoke_key(connection, api.organization_id, key.api_key_id)
            talk.say(market.posting("after", "cash", "wallet", 1))
            answer, last = await talk.all_answers()
        assert answer["transaction"]["sequence"] == "2"
        assert last["error"]["code"] == "UNAUTHENTICATED"
        with psycopg.connect(database_url) as owner:
            assert owner.execute("SELECT count(*) FROM transactions").fetchone() == (2,)


async def test_outages_end_the_load(database_url: str, server_url: str) -> None:
    """When the database goes away the load ends retryable; sent again, it goes on."""
    async with open_api(database_url) as api:
        market = await Market.open(api)
        file = [market.posting(f"{n}", "cash", "wallet", 1) for n in range(20)]
        name = str(conninfo_to_dict(database_url)["dbname"])
        allow = SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
        with psycopg.connect(server_url, autocommit=True) as owner:
            async with Talk.with_server(api, market.ledger) as talk:
                talk.say(*file[:10])
                await talk.answers(10)
                owner.execute(allow.format(Identifier(name), SQL("false")))
                owner.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    [name],
                )
                talk.say(*file[10:])
                *answers, last = await talk.all_answers()
            owner.execute(allow.format(Identifier(name), SQL("true")))
        assert len(answers) == 10
        assert (last["error"]["code"], last["error"]["retryable"]) == ("UNAVAILABLE", True)
        # Connections that were lost are found to be so one by one.
        while (await send(api, market.ledger, b"")).status_code == 503:
            await asyncio.sleep(0.05)
        _, summary = await load(api, market.ledger, *file)
        assert summary == {"lines": 20, "posted": 10, "replayed": 10, "refused": 0}
        assert await market.balances("wallet") == (120, 0, 120, 120)
    assert verify(database_url).violations == ()


async def test_busy_writers_are_waited_for(database_url: str) -> None:
    """A line for which the writer has no room yet is given to it again, in its turn."""
    async with open_api(database_url, max_waiting_entries=8) as api:
        market = await Market.open(api)
        file = [market.posting(f"{n}", "cash", "wallet", 1) for n in range(100)]
        answers, summary = await load(api, market.ledger, *file)
        assert summary == {"lines": 100, "posted": 100, "replayed": 0, "refused": 0}
        sequences = [int(answer["transaction"]["sequence"]) for answer in answers]
        assert sequences == list(range(2, 102))


async def test_busy_writers_are_waited_for_a_bounded_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is waited for a bounded time; then the load ends retryable."""
    async with open_api(database_url, execution_seconds=1) as api:
        market = await Market.open(api)

        def busy(*_: object) -> None:
            raise Overloaded

        monkeypatch.setattr(Writer, "submit", busy)
        response = await send(api, market.ledger, lines_of(market.posting("a", "cash", "shop", 1)))
        assert response.status_code == 503
        error = response.json()["error"]
        assert (error["code"], error["retryable"]) == ("OVERLOADED", True)


async def test_servers_that_end_say_so(api: Api) -> None:
    """A load that is cancelled, as by a server that has drained long enough, ends retryable."""
    market = await Market.open(api)
    async with Talk.with_server(api, market.ledger) as talk:
        talk.say(market.posting("a", "cash", "wallet", 1))
        await talk.answers(1)
        assert talk.task is not None
        talk.task.cancel()
        _, last = await talk.all_answers()
    assert (last["error"]["code"], last["error"]["retryable"]) == ("UNAVAILABLE", True)


async def test_faults_are_masked(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours ends the load without a word of what it was, but for the log."""
    market = await Market.open(api)

    def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(Writer, "submit", broken)
    with capture_logs() as logs:
        response = await send(
            api, market.ledger, lines_of(market.posting("a", "cash", "wallet", 1))
        )
    assert response.status_code == 500
    assert response.json()["error"] == {
        "code": "INTERNAL_SERVER_ERROR",
        "message": "Internal server error",
        "path": [],
        "retryable": False,
        "requestId": response.headers["x-request-id"],
    }
    assert [log["event"] for log in logs] == ["internal_error", "request"]
    assert "secret" not in str(logs)


async def test_loads_are_logged(api: Api) -> None:
    """A load is one line of the log, which counts, and quotes nothing."""
    market = await Market.open(api)
    with capture_logs() as logs:
        await load(api, market.ledger, market.posting("secret", "cash", "wallet", 1), "secret")
    (line,) = logs
    assert line.pop("duration_ms") > 0
    assert len(line.pop("request_id")) == 32
    assert line == {
        "event": "request",
        "log_level": "info",
        "operation": "bulk",
        "status": 200,
        "errors": ["BAD_REQUEST"],
        "lines": 2,
        "posted": 1,
        "replayed": 0,
        "refused": 1,
    }


async def test_many_lines_share_commits(api: Api) -> None:
    """A thousand lines take a few commits."""
    market = await Market.open(api)
    before = api.server.writer.batches
    file = [market.posting(f"{n}", "cash", "wallet", 1) for n in range(1000)]
    _, summary = await load(api, market.ledger, *file)
    assert summary["posted"] == 1000
    assert api.server.writer.batches - before < 20
