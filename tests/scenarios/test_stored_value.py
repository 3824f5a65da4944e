"""Stored value, through HTTP only: a shop's gift cards and its promotional credit.

Anna buys a gift card of 50.00. The shop adds 10.00 of promotional credit, which expires sooner. She
spends 15.00, gives part of it back, lets a hotel hold an amount, and what is left of the promotion
expires. At the end of the month the shop's numbers add up: what it owes to card holders, what it
earned, what it gave away, and what came back to it because it was never used.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest_asyncio

from app.store.audit.verify import verify
from tests.api_client import Api, Json, open_api

GIFT_EXPIRES = "2099-12-31T23:00:00Z"

POST = """
mutation ($input: PostTransactionInput!) {
  postTransaction(input: $input) {
    ... on PostTransactionSuccess { transaction { id } }
    ... on UserError { code message }
  }
}
"""

SETTLE = """
mutation ($input: SettleTransactionInput!) {
  settleTransaction(input: $input) {
    ... on SettleTransactionSuccess { transaction { status } }
    ... on UserError { code message }
  }
}
"""

REVERSE = """
mutation ($input: ReverseTransactionInput!) {
  reverseTransaction(input: $input) {
    ... on ReverseTransactionSuccess { transaction { id } }
    ... on UserError { code message }
  }
}
"""

CARD = """
query ($id: ID!) {
  account(id: $id) {
    balances { posted { amount } available { amount } }
    lots {
      nodes {
        code state amount remaining spent expired expiresAt
        openedBy { transaction { description } }
        movements { nodes { kind amount transaction { description effectiveAt } } }
      }
    }
  }
}
"""

MONTH = """
query ($id: ID!, $end: DateTime!) {
  ledger(id: $id) {
    accounts { nodes { name balances(asOf: $end) { posted { amount } } } }
    trialBalance(asOf: $end) { currency { code } debits credits }
  }
}
"""


class Shop:
    """The shop's books, and what a program that keeps them would send."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.accounts: dict[str, str] = {}

    async def open(self) -> "Shop":
        self.ledger = await self.api.ledger("Shop")
        for name, normal, more in (
            ("bank", "DEBIT", {}),
            ("marketing", "DEBIT", {}),
            ("card of Anna", "CREDIT", {"availableFloor": "0"}),
            ("sales", "CREDIT", {}),
            ("breakage", "CREDIT", {}),
        ):
            self.accounts[name] = await self.api.account(
                self.ledger, name=name, normalBalance=normal, currency="EUR", **more
            )
        return self

    def entry(self, name: str, direction: str, amount: int, **more: Any) -> Json:
        account = self.accounts[name]
        return {"accountId": account, "direction": direction, "amount": str(amount), **more}

    async def post(self, what: str, *entries: Json, **more: Any) -> str:
        answer = await self.api.answer(
            POST,
            ledgerId=self.ledger,
            idempotencyKey=what,
            description=what,
            entries=list(entries),
            **more,
        )
        return str(answer["transaction"]["id"])

    async def top_up(self, what: str, source: str, amount: int, expires_at: str) -> None:
        lot = {
            "expiresAt": expires_at,
            "breakageAccountId": self.accounts["breakage"],
            "code": what,
        }
        await self.post(
            what,
            self.entry(source, "DEBIT", amount),
            self.entry("card of Anna", "CREDIT", amount, lot=lot),
        )

    async def spend(self, what: str, amount: int, **more: Any) -> str:
        return await self.post(
            what,
            self.entry("card of Anna", "DEBIT", amount),
            self.entry("sales", "CREDIT", amount),
            **more,
        )

    async def card(self) -> tuple[str, str, dict[str, Json]]:
        """Posted, available, and the lots by code."""
        account = (await self.api.run(CARD, {"id": self.accounts["card of Anna"]}))["account"]
        balances = account["balances"]
        lots = {lot["code"]: lot for lot in account["lots"]["nodes"]}
        return balances["posted"]["amount"], balances["available"]["amount"], lots

    async def month(self, end: datetime) -> dict[str, int]:
        """What the accounts come to at a moment."""
        data = (await self.api.run(MONTH, {"id": self.ledger, "end": end.isoformat()}))["ledger"]
        (line,) = data["trialBalance"]
        assert line["debits"] == line["credits"]
        return {
            account["name"]: int(account["balances"]["posted"]["amount"])
            for account in data["accounts"]["nodes"]
        }


@pytest_asyncio.fixture
async def shop(database_url: str) -> Any:
    async with open_api(database_url, due_poll_seconds=0.02) as api:
        yield await Shop(api).open()


def left(lot: Json) -> tuple[str, str, str, str]:
    return lot["state"], lot["remaining"], lot["spent"], lot["expired"]


async def test_stored_value(shop: Shop, database_url: str) -> None:
    """Anna's card from the first top-up to the end of the month."""
    promotion_ends = datetime.now(UTC) + timedelta(seconds=4)
    await shop.top_up("gift card", "bank", 5000, GIFT_EXPIRES)
    await shop.top_up("promotion", "marketing", 1000, promotion_ends.isoformat())

    # 3.00 of a purchase are promotional credit, though the gift card is older.
    await shop.spend("coffee", 300)
    _, _, lots = await shop.card()
    assert (left(lots["promotion"]), left(lots["gift card"])) == (
        ("OPEN", "700", "300", "0"),
        ("OPEN", "5000", "0", "0"),
    )

    # A refund comes back as money that does not expire.
    beans = await shop.spend("beans", 200)
    refund = [shop.entry("card of Anna", "DEBIT", 150), shop.entry("sales", "CREDIT", 150)]
    await shop.api.answer(
        REVERSE,
        transactionId=beans,
        idempotencyKey="refund",
        entries=refund,
        description="refund of beans",
    )
    posted, available, lots = await shop.card()
    assert (posted, available) == ("5650", "5650")
    assert left(lots["promotion"]) == ("OPEN", "500", "500", "0")

    # A hotel holds 4.00: reserved from the promotion, which takes nothing yet.
    room = await shop.spend("hotel", 400, status="PENDING", reason="AUTHORIZATION")
    posted, available, lots = await shop.card()
    assert (posted, available) == ("5650", "5250")
    assert left(lots["promotion"]) == ("OPEN", "500", "500", "0")

    # The promotion ends: what the hotel does not hold is gone by itself.
    async with asyncio.timeout(60):
        while (await shop.card())[2]["promotion"]["expired"] == "0":
            await asyncio.sleep(0.05)
    posted, available, lots = await shop.card()
    assert (posted, available) == ("5550", "5150")
    assert left(lots["promotion"]) == ("OPEN", "400", "500", "100")

    # The hotel takes 2.50 and lets go of the rest, which had expired meanwhile.
    part = [shop.entry("card of Anna", "DEBIT", 250), shop.entry("sales", "CREDIT", 250)]
    answer = await shop.api.answer(
        SETTLE, transactionId=room, idempotencyKey="hotel, paid", entries=part, final=True
    )
    assert answer == {"transaction": {"status": "POSTED"}}
    async with asyncio.timeout(60):
        while (await shop.card())[2]["promotion"]["state"] == "OPEN":
            await asyncio.sleep(0.05)
    posted, available, lots = await shop.card()
    assert (posted, available) == ("5150", "5150")
    promotion = lots["promotion"]
    assert left(promotion) == ("EXPIRED", "0", "750", "250")
    assert left(lots["gift card"]) == ("OPEN", "5000", "0", "0")

    # Everything that ever left the promotion is there, with the transaction behind it.
    assert promotion["openedBy"]["transaction"]["description"] == "promotion"
    moves = promotion["movements"]["nodes"]
    assert [(m["kind"], m["amount"], m["transaction"]["description"]) for m in moves] == [
        ("SPENT", "300", "coffee"),
        ("SPENT", "200", "beans"),
        ("EXPIRED", "100", "Expired credit promotion"),
        ("SPENT", "250", "hotel"),
        ("EXPIRED", "150", "Expired credit promotion"),
    ]
    assert moves[2]["transaction"]["effectiveAt"] == promotion["expiresAt"]

    # Just before and right at the promotion's end, and at the end of the month.
    before = await shop.month(promotion_ends - timedelta(microseconds=1))
    assert before == {
        "bank": 5000,
        "marketing": 1000,
        "card of Anna": 5650,
        "sales": 350,
        "breakage": 0,
    }
    after = await shop.month(promotion_ends)
    assert after == {**before, "card of Anna": 5550, "breakage": 100}
    month = await shop.month(datetime.now(UTC))
    assert month == {**before, "card of Anna": 5150, "sales": 600, "breakage": 250}
    # What came in (card and promotion) is owed, earned or was never used.
    assert month["bank"] + month["marketing"] == 6000
    assert month["card of Anna"] + month["sales"] + month["breakage"] == 6000
    # Of what the shop owes, the gift card will expire, and the refund never.
    assert int(lots["gift card"]["remaining"]) + 150 == month["card of Anna"]
    assert verify(database_url).violations == ()
