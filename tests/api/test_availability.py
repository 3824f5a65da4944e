"""Why an account has available what it has: every term, and the transaction behind it."""

import pytest
import pytest_asyncio

from tests.api.market import Market
from tests.api_client import Api, Json

AVAILABILITY = """
query ($id: ID!, $first: Int, $after: String) {
  account(id: $id) {
    balances { posted { amount } available { amount } }
    availability {
      posted pendingOutgoing floor available
      holds(first: $first, after: $after) {
        reason amount postsAt expiresAt cursor transaction { id status }
      }
    }
  }
}
"""


@pytest_asyncio.fixture
async def market(api: Api) -> Market:
    return await Market.open(api)


async def availability(market: Market, name: str, **page: object) -> Json:
    data = await market.api.run(AVAILABILITY, {"id": market[name], **page})
    account = data["account"]
    shown: Json = account["availability"]
    assert shown["posted"] == account["balances"]["posted"]["amount"]
    assert shown["available"] == account["balances"]["available"]["amount"]
    assert int(shown["posted"]) - int(shown["pendingOutgoing"]) == int(shown["available"])
    return shown


async def test_every_term(market: Market) -> None:
    """Available is posted less the holds, each with its reason, times and what is left of it."""
    later = "2100-01-01T00:00:00.000000Z"
    payout = await market.hold("payout", "wallet", "cash", 30, reason="PAYOUT", postsAt=later)
    dispute = await market.hold(
        "dispute", "wallet", "cash", 25, reason="CHARGEBACK", expiresAt=later
    )
    plain = await market.hold("plain", "wallet", "shop", 5)
    await market.hold("income", "cash", "wallet", 70)
    done = await market.hold("done", "wallet", "shop", 3)
    await market.void(done, "void")
    await market.settle(payout, "part", entries=market.move("wallet", "cash", 10), final=False)
    shown = await availability(market, "wallet")
    for hold in shown["holds"]:
        hold.pop("cursor")
    assert shown == {
        "posted": "90",
        "pendingOutgoing": "50",
        "floor": "0",
        "available": "40",
        "holds": [
            {
                "reason": "PAYOUT",
                "amount": "20",
                "postsAt": later,
                "expiresAt": None,
                "transaction": {"id": payout, "status": "PENDING"},
            },
            {
                "reason": "CHARGEBACK",
                "amount": "25",
                "postsAt": None,
                "expiresAt": later,
                "transaction": {"id": dispute, "status": "PENDING"},
            },
            {
                "reason": None,
                "amount": "5",
                "postsAt": None,
                "expiresAt": None,
                "transaction": {"id": plain, "status": "PENDING"},
            },
        ],
    }
    cash = await availability(market, "cash")
    assert [hold["amount"] for hold in cash["holds"]] == ["20", "25"]
    assert (cash["floor"], cash["pendingOutgoing"]) == (None, "45")
    shop = await availability(market, "shop")
    assert (shop["pendingOutgoing"], shop["holds"]) == ("0", [])


async def test_both_sides(market: Market) -> None:
    """Of a hold with both sides of the account only what goes out counts, and all of it once."""
    entries = [*market.move("wallet", "cash", 10), *market.move("cash", "wallet", 4)]
    entries += market.move("wallet", "shop", 7)
    answer = await market.api.answer(
        "mutation ($input: PostTransactionInput!) { postTransaction(input: $input) {"
        " ... on PostTransactionSuccess { transaction { id } } } }",
        ledgerId=market.ledger,
        idempotencyKey="both",
        status="PENDING",
        entries=entries,
    )
    shown = await availability(market, "wallet")
    assert [(h["amount"], h["transaction"]["id"]) for h in shown["holds"]] == [
        ("17", answer["transaction"]["id"])
    ]


async def test_pages(market: Market) -> None:
    """Many holds are read page by page; each cursor leads on."""
    for number in range(5):
        await market.hold(f"h{number}", "wallet", "shop", number + 1)
    amounts, after = [], None
    while page := (await availability(market, "wallet", first=2, after=after))["holds"]:
        amounts.append([hold["amount"] for hold in page])
        after = page[-1]["cursor"]
    assert amounts == [["1", "2"], ["3", "4"], ["5"]]


@pytest.mark.parametrize("page", [{"first": 101}, {"first": -1}, {"after": "x"}])
async def test_pages_that_are_none(market: Market, page: Json) -> None:
    """Page sizes and cursors are checked as in every list."""
    body = (await market.api.send(AVAILABILITY, {"id": market["wallet"], **page})).json()
    code = "INVALID_CURSOR" if "after" in page else "BAD_USER_INPUT"
    assert [error["extensions"]["code"] for error in body["errors"]] == [code]
