"""One answer is one moment of the books, however many postings commit while it is read."""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from app.store.database import Row, Snapshot
from tests.api_client import SETTLE, Api, Json

Act = Callable[[int], Awaitable[None]]


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Act], None]:
    """Has something done between any two statements of an operation, told how often it was."""
    run = Snapshot.rows

    def install(act: Act) -> None:
        times, busy = 0, False

        async def interrupted(
            self: Snapshot, statement: str, parameters: Mapping[str, Any]
        ) -> Sequence[Row]:
            nonlocal times, busy
            if self.statements and not busy:
                times, busy = times + 1, True
                await act(times)
                busy = False
            return await run(self, statement, parameters)

        monkeypatch.setattr(Snapshot, "rows", interrupted)

    return install


@dataclass(frozen=True)
class Books:
    """A ledger with five postings and a hold."""

    ledger: str
    cash: str
    wallet: str
    hold: str


@pytest_asyncio.fixture
async def books(api: Api) -> Books:
    """Small books."""
    ledger = await api.ledger()
    cash, wallet = await api.account(ledger, normalBalance="DEBIT"), await api.account(ledger)
    for _ in range(5):
        await api.post(ledger, cash, wallet, 10)
    hold = await api.post(ledger, wallet, cash, 3, status="PENDING")
    return Books(ledger, cash, wallet, hold["transaction"]["id"])


WHOLE = """
query ($id: ID!) {
  ledger(id: $id) {
    trialBalance { accounts debits credits pendingDebits pendingCredits }
    accounts(first: 4) { nodes {
      id version
      balances { version posted { debits credits } pending { debits credits } }
      known: balances(knownAt: "2190-01-01T00:00:00Z") { version posted { debits credits } }
      dated: balances(asOf: "2190-01-01T00:00:00Z") { version posted { debits credits } }
      entries(first: 30) { nodes {
        sequence direction amount balancesAfter { posted { debits credits } }
        transaction { status entries { account { id version } } }
      } }
      holds { nodes { id } }
    } }
    transactions(first: 100) { nodes { sequence status } }
  }
}
"""


def _agree(ledger: Json) -> None:
    """Assert that all of an answer is of one moment."""
    (line,) = ledger["trialBalance"]
    accounts = ledger["accounts"]["nodes"]
    versions = {account["id"]: account["version"] for account in accounts}
    assert line["accounts"] == len(accounts)
    assert line["debits"] == line["credits"]
    for side in ("debits", "credits"):
        assert int(line[side]) == sum(int(a["balances"]["posted"][side]) for a in accounts)
    for account in accounts:
        entries = account["entries"]["nodes"]
        assert [int(e["sequence"]) for e in entries] == list(range(1, len(entries) + 1))
        now = account["balances"]
        assert account["version"] == now["version"] == str(len(entries))
        for past in (account["known"], account["dated"]):
            assert past == {"version": now["version"], "posted": now["posted"]}
        if entries:
            assert entries[-1]["balancesAfter"]["posted"] == now["posted"]
        pending = [e for e in entries if e["transaction"]["status"] == "PENDING"]
        assert bool(pending) is bool(account["holds"]["nodes"])
        for entry in entries:
            for other in entry["transaction"]["entries"]:
                assert other["account"]["version"] == versions[other["account"]["id"]]
    sequences = [int(t["sequence"]) for t in ledger["transactions"]["nodes"]]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_an_answer_is_of_one_moment(
    api: Api, books: Books, between: Callable[[Act], None]
) -> None:
    """What is settled, posted and opened between its statements does not show in an answer."""
    before = (await api.run(WHOLE, {"id": books.ledger}))["ledger"]
    _agree(before)
    acts = 0

    async def act(number: int) -> None:
        nonlocal acts
        acts = number
        if number == 1:
            await api.answer(SETTLE, transactionId=books.hold, idempotencyKey="settle")
        elif number == 2:
            await api.account(books.ledger)
        else:
            await api.post(books.ledger, books.cash, books.wallet, 1)

    between(act)
    assert (await api.run(WHOLE, {"id": books.ledger}))["ledger"] == before
    assert acts >= 5
    after = (await api.run(WHOLE, {"id": books.ledger}))["ledger"]
    _agree(after)
    assert len(after["transactions"]["nodes"]) > len(before["transactions"]["nodes"])


async def test_what_follows_a_mutation_is_of_one_moment_too(
    api: Api, books: Books, between: Callable[[Act], None]
) -> None:
    """The answer of a mutation shows the books after its write, and they hold still meanwhile."""
    selection = WHOLE.split("ledger(id: $id)", 1)[1].rsplit("}", 1)[0]
    mutation = (
        "mutation ($input: UpdateLedgerInput!) { updateLedger(input: $input) {"
        f" ... on UpdateLedgerSuccess {{ ledger {selection} }} }} }}"
    )

    async def act(_: int) -> None:
        await api.post(books.ledger, books.cash, books.wallet, 1)

    between(act)
    for name in ("One", "Two"):
        result = await api.answer(mutation, ledgerId=books.ledger, name=name)
        _agree(result["ledger"])


async def test_reading_while_others_write(api: Api, books: Books) -> None:
    """Answers that are read while postings commit are each of one moment, later ones later."""

    async def write() -> None:
        for _ in range(20):
            await api.post(books.ledger, books.cash, books.wallet, 1)

    writing = asyncio.create_task(write())
    seen: list[int] = []
    while not writing.done() or len(seen) < 5:
        ledger = (await api.run(WHOLE, {"id": books.ledger}))["ledger"]
        _agree(ledger)
        seen.append(len(ledger["transactions"]["nodes"]))
    await writing
    assert seen == sorted(seen)


async def test_a_new_operation_sees_what_was_answered(api: Api, books: Books) -> None:
    """Whoever was told of a write finds it in whatever is read afterwards."""
    query = "query ($id: ID!) { account(id: $id) { version balances { posted { amount } } } }"
    for number in range(1, 20):
        await api.post(books.ledger, books.cash, books.wallet, 1)
        account = (await api.run(query, {"id": books.wallet}))["account"]
        assert account == {
            "version": str(6 + number),
            "balances": {"posted": {"amount": str(50 + number)}},
        }


async def test_nothing_read_outlives_its_answer(api: Api, books: Books) -> None:
    """Rows go with the operation, without a search for garbage, which is made seldom."""
    query = (
        "query ($id: ID!) { ledger(id: $id) { accounts { nodes { entries { nodes { id } } } } } }"
    )

    def rows() -> list[int]:
        kinds = Counter(type(thing).__name__ for thing in gc.get_objects())
        return [kinds[kind] for kind in ("LedgerRow", "AccountRow", "EntryRow")]

    gc.collect()
    gc.disable()
    try:
        of_others = rows()
        await api.run(query, {"id": books.ledger})
        assert rows() == of_others
    finally:
        gc.enable()
