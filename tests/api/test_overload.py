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
