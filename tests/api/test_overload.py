"""Back-pressure as clients see it: a typed refusal that may be retried, and nothing changed."""

import asyncio

import pytest_asyncio

from tests.api.market import Market
from tests.api_client import Api

OVERLOADED = {
    "__typename": "Overloaded",
    "code": "OVERLOADED",
    "message": "Too much is waiting to be written; send the same again a little later.",
    "path": ["input"],
    "retryable": True,
}


@pytest_asyncio.fixture
async def market(api: Api) -> Market:
    return await Market.open(api, money=0)


async def test_overloaded_and_sent_again(market: Market) -> None:
    """Beyond the bound a posting is refused at once; the same key posts when there is room."""
    writer = market.api.server.writer
    writer._queue.max_entries = 8  # noqa: SLF001
    async with market.api.server.database.writing() as connection:
        await connection.execute("SELECT FROM ledgers FOR NO KEY UPDATE")
        first = asyncio.ensure_future(market.post("first", "cash", "wallet", 1))
        await asyncio.sleep(0.1)
        taken = [asyncio.ensure_future(market.post(f"k{n}", "cash", "wallet", 1)) for n in range(2)]
        await asyncio.sleep(0.1)
        refused = await market.post("more", "cash", "wallet", 1)
        assert refused == OVERLOADED
    for answer in [await first, *await asyncio.gather(*taken)]:
        assert answer["__typename"] == "PostTransactionSuccess"
    assert await market.balances("wallet") == (3, 0, 3, 3)
    again = await market.post("more", "cash", "wallet", 1)
    assert (again["__typename"], again["replayed"]) == ("PostTransactionSuccess", False)
    assert await market.balances("wallet") == (4, 0, 4, 4)


BATCH = """
mutation ($input: PostTransactionsInput!) {
  postTransactions(input: $input) {
    __typename
    ... on PostTransactionsSuccess {
      results {
        __typename
        ... on PostTransactionSuccess { replayed transaction { sequence } }
        ... on UserError { code message path retryable }
      }
    }
  }
}
"""


async def test_a_batch_larger_than_its_room(market: Market) -> None:
    """An independent batch waits for its own, in order; again, all of it is replayed."""
    market.api.server.writer._queue.max_entries = 8  # noqa: SLF001
    batch = {
        "mode": "INDEPENDENT",
        "transactions": [market.posting(f"k{n}", "cash", "wallet", 1) for n in range(50)],
    }
    for replayed in (False, True):
        answer = await market.api.answer(BATCH, **batch)
        assert answer["results"] == [
            {
                "__typename": "PostTransactionSuccess",
                "replayed": replayed,
                "transaction": {"sequence": str(number)},
            }
            for number in range(1, 51)
        ]
    assert await market.balances("wallet") == (50, 0, 50, 50)


async def test_a_batch_among_others(market: Market) -> None:
    """Where others of the organization take the room, a batch is refused what none is left for."""
    market.api.server.writer._queue.max_entries = 4  # noqa: SLF001
    batch = {
        "mode": "INDEPENDENT",
        "transactions": [market.posting(f"k{n}", "cash", "wallet", 1) for n in range(2)],
    }
    async with market.api.server.database.writing() as connection:
        await connection.execute("SELECT FROM ledgers FOR NO KEY UPDATE")
        others = []
        for number in range(2):  # the first is taken, the second waits
            others.append(asyncio.ensure_future(market.post(f"o{number}", "cash", "wallet", 1)))
            await asyncio.sleep(0.1)
        answer = await market.api.answer(BATCH, **batch)
    assert answer["results"] == [
        OVERLOADED | {"path": ["input", "transactions", str(number)]} for number in range(2)
    ]
    await asyncio.gather(*others)
    assert await market.balances("wallet") == (2, 0, 2, 2)
