"""Credit lots through HTTP: opened, spent, reserved, expired by themselves, and shown."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from app.store.audit.verify import verify
from tests.api.market import Market
from tests.api.test_administration import ARCHIVE, CLOSE
from tests.api.test_due import soon
from tests.api.test_limits import limit, used
from tests.api.test_worker import Workers
from tests.api_client import Json, open_api

LATER, LATEST = "2100-01-01T00:00:00Z", "2100-02-01T00:00:00Z"

LOTS = """
query ($id: ID!, $state: [CreditLotState!], $first: Int, $after: String) {
  account(id: $id) {
    lots(state: $state, first: $first, after: $after) {
      pageInfo { hasNextPage endCursor }
      nodes {
        id code state amount remaining spent expired expiresAt
        account { name } breakageAccount { name }
        openedBy { sequence amount transaction { sequence } lot { code } }
        lastRefusal { code message attempts refusedAt nextAttemptAt }
        movements {
          nodes {
            kind amount lot { code }
            entry { sequence amount direction lotMovements { amount lot { code } } }
            transaction {
              sequence status description idempotencyKey effectiveAt createdAt
              history { kind idempotencyKey }
            }
          }
        }
      }
    }
  }
}
"""

REFUSED = """
mutation ($input: PostTransactionInput!) {
  postTransaction(input: $input) {
    __typename
    ... on PostTransactionSuccess { replayed }
    ... on UserError { code message path retryable }
    ... on LotNotPossible { reason account { name } }
  }
}
"""


class Shop(Market):
    """A market whose wallet begins with nothing, and an account for what expires."""

    @classmethod
    async def opened(cls, api: Any) -> "Shop":
        shop = await cls.open(api)
        assert isinstance(shop, Shop)
        await shop.post("empty", "wallet", "cash", 100)
        await shop.account("breakage")
        return shop

    def top_up_input(self, key: str, amount: int, expires_at: str, **more: Any) -> Json:
        posting = self.posting(key, "cash", "wallet", amount, **more)
        posting["entries"][1]["lot"] = {
            "expiresAt": expires_at,
            "breakageAccountId": self["breakage"],
            "code": key,
        }
        return posting

    async def top_up(self, key: str, amount: int, expires_at: str, **more: Any) -> Json:
        answer = await self.api.answer(
            REFUSED, **self.top_up_input(key, amount, expires_at, **more)
        )
        assert answer == {"__typename": "PostTransactionSuccess", "replayed": False}
        return answer

    async def lots(self, **variables: Any) -> list[Json]:
        data = await self.api.run(LOTS, {"id": self["wallet"], **variables})
        lots: list[Json] = data["account"]["lots"]["nodes"]
        return lots

    async def until_lots(self, reached: Callable[[list[Json]], bool]) -> list[Json]:
        """Wait until the server has done by itself what makes this hold of the lots."""
        async with asyncio.timeout(60):
            while not reached(lots := await self.lots()):
                await asyncio.sleep(0.02)
        return lots


def short(lots: list[Json]) -> list[tuple[str, str, str, str, str]]:
    return [
        (lot["code"], lot["state"], lot["remaining"], lot["spent"], lot["expired"]) for lot in lots
    ]


def none_open(lots: list[Json]) -> bool:
    return all(lot["state"] != "OPEN" for lot in lots)


@pytest_asyncio.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    """On a server that looks for due work all the time."""
    async with open_api(database_url, due_poll_seconds=0.02) as api:
        yield await Shop.opened(api)


@pytest_asyncio.fixture
async def idle(database_url: str) -> AsyncIterator[Shop]:
    """On a server that leaves due work alone."""
    async with open_api(database_url, due_work=False) as api:
        yield await Shop.opened(api)


async def test_what_an_open_lot_needs(idle: Shop) -> None:
    """While a lot is open its breakage account stays, and so does its ledger."""
    await idle.top_up("gift", 100, LATEST)
    await idle.top_up("promotion", 100, LATER)
    ledger, breakage = idle.ledger, idle["breakage"]
    before = await idle.state()
    for mutation, field, identity in (
        (CLOSE, "accountId", breakage),
        (ARCHIVE, "ledgerId", ledger),
    ):
        answer = await idle.api.answer(mutation, **{field: identity})
        del answer["message"]
        assert answer == {
            "__typename": "LotsRemain",
            "code": "LOTS_REMAIN",
            "path": ["input", field],
            "retryable": False,
            "openLots": 2,
        }
    assert await idle.state() == before
    await idle.post("purchase", "wallet", "shop", 200)
    assert (await idle.api.answer(CLOSE, accountId=breakage))["account"]["status"] == "CLOSED"
    assert (await idle.api.answer(ARCHIVE, ledgerId=ledger))["ledger"]["archivedAt"] is not None


async def test_lots_race_the_closing_of_their_breakage_account(idle: Shop) -> None:
    """Whichever comes first, no lot is left that expires to a closed account."""
    for number in range(8):
        top_ups = [idle.top_up_input(f"{number}/{n}", 1, LATER) for n in range(4)]
        close, *opened = await asyncio.gather(
            idle.api.answer(CLOSE, accountId=idle["breakage"]),
            *(idle.api.answer(REFUSED, **one) for one in top_ups),
        )
        open_lots = await idle.lots(state=["OPEN"])
        successes = [one for one in opened if one["__typename"] == "PostTransactionSuccess"]
        assert len(open_lots) == len(successes)
        assert (close["__typename"] == "LotsRemain") == bool(open_lots)
        if open_lots:
            await idle.post(f"spent {number}", "wallet", "shop", len(open_lots))
        await idle.account("breakage")


async def test_all_is_shown(idle: Shop, database_url: str) -> None:
    """A lot shows what it was, what is left, and each entry and transaction that took from it."""
    await idle.top_up("gift", 100, LATEST)
    await idle.top_up("promotion", 50, LATER)
    await idle.post("purchase", "wallet", "shop", 60)
    promotion, gift = await idle.lots()
    assert short([promotion, gift]) == [
        ("promotion", "SPENT", "0", "50", "0"),
        ("gift", "OPEN", "90", "10", "0"),
    ]
    assert promotion["movements"]["nodes"] == [
        {
            "kind": "SPENT",
            "amount": "50",
            "lot": {"code": "promotion"},
            "entry": {
                "sequence": "5",
                "amount": "60",
                "direction": "DEBIT",
                "lotMovements": [
                    {"amount": "10", "lot": {"code": "gift"}},
                    {"amount": "50", "lot": {"code": "promotion"}},
                ],
            },
            "transaction": promotion["movements"]["nodes"][0]["transaction"],
        }
    ]
    assert promotion["movements"]["nodes"][0]["transaction"]["idempotencyKey"] == "purchase"
    del gift["movements"]
    assert gift == {
        "id": gift["id"],
        "code": "gift",
        "state": "OPEN",
        "amount": "100",
        "remaining": "90",
        "spent": "10",
        "expired": "0",
        "expiresAt": "2100-02-01T00:00:00.000000Z",
        "account": {"name": "wallet"},
        "breakageAccount": {"name": "breakage"},
        "openedBy": {
            "sequence": "3",
            "amount": "100",
            "transaction": {"sequence": "3"},
            "lot": {"code": "gift"},
        },
        "lastRefusal": None,
    }
    query = "query ($id: ID!) { node(id: $id) { id ... on CreditLot { code } } }"
    shown = await idle.api.run(query, {"id": gift["id"]})
    assert shown == {"node": {"id": gift["id"], "code": "gift"}}
    stranger = await idle.api.stranger()
    assert await stranger.run(query, {"id": gift["id"]}) == {"node": None}
    assert short(await idle.lots(state=["OPEN"])) == [("gift", "OPEN", "90", "10", "0")]
    assert short(await idle.lots(state=[])) == []
    first = await idle.api.run(LOTS, {"id": idle["wallet"], "first": 1})
    after = first["account"]["lots"]["pageInfo"]["endCursor"]
    assert [lot["code"] for lot in await idle.lots(after=after)] == ["gift"]
    assert verify(database_url).violations == ()


@pytest.mark.parametrize(
    ("change", "code", "reason", "path"),
    [
        ({"status": "PENDING"}, "VALIDATION_FAILED", None, "entries.1.lot"),
        ({"code": " "}, "VALIDATION_FAILED", None, "entries.1.lot.code"),
        ({"to": "nonsense"}, "VALIDATION_FAILED", None, "entries.1.lot.breakageAccountId"),
        ({"to": f"acct_{1:032x}"}, "ACCOUNT_NOT_FOUND", None, "entries.1.lot.breakageAccountId"),
        ({"at": 0}, "LOT_NOT_POSSIBLE", "NOT_ON_NORMAL_SIDE", "entries.0.direction"),
        (
            {"to": "wallet"},
            "LOT_NOT_POSSIBLE",
            "BREAKAGE_IS_SAME_ACCOUNT",
            "entries.1.lot.breakageAccountId",
        ),
        (
            {"to": "euros"},
            "LOT_NOT_POSSIBLE",
            "BREAKAGE_IN_OTHER_CURRENCY",
            "entries.1.lot.breakageAccountId",
        ),
        (
            {"expires": "2026-01-01T00:00:00Z"},
            "LOT_NOT_POSSIBLE",
            "EXPIRES_TOO_EARLY",
            "entries.1.lot.expiresAt",
        ),
    ],
)
async def test_lots_that_are_refused(
    idle: Shop, change: dict[str, Any], code: str, reason: str | None, path: str
) -> None:
    """What makes no lot is refused with its reason and field; nothing changes."""
    before = await idle.state()
    to = str(change.get("to", "breakage"))
    lot = {
        "expiresAt": change.get("expires", LATER),
        "breakageAccountId": idle.accounts.get(to, to),
        "code": change.get("code"),
    }
    debit, credit = ("wallet", "shop") if "at" in change else ("cash", "wallet")
    posting = idle.posting("key", debit, credit, 40, status=change.get("status", "POSTED"))
    posting["entries"][change.get("at", 1)]["lot"] = lot
    answer = await idle.api.answer(REFUSED, **posting)
    assert (answer["code"], answer["path"]) == (code, ["input", *path.split(".")])
    if reason is not None:
        assert (answer["reason"], answer["account"]) == (reason, {"name": "wallet"})
    assert await idle.state() == before
    assert await idle.lots() == []


async def test_a_lot_is_content(idle: Shop) -> None:
    """The same lot under the same key replays and opens nothing; another one is a conflict."""
    await idle.top_up("gift", 40, LATER)
    again = await idle.api.answer(REFUSED, **idle.top_up_input("gift", 40, LATER))
    assert again["replayed"] is True
    other = await idle.api.answer(REFUSED, **idle.top_up_input("gift", 40, LATEST))
    assert other["code"] == "IDEMPOTENCY_CONFLICT"
    dry = await idle.api.answer(REFUSED, **idle.top_up_input("dry", 40, LATER, dryRun=True))
    assert dry["replayed"] is False
    assert short(await idle.lots()) == [("gift", "OPEN", "40", "0", "0")]


async def test_expires_by_itself(shop: Shop, database_url: str) -> None:
    """At its time what is left goes to the breakage account, effective then, without a key."""
    await shop.top_up("gift", 40, soon(1.5))
    await shop.post("purchase", "wallet", "shop", 15)
    (gift,) = await shop.until_lots(none_open)
    assert short([gift]) == [("gift", "EXPIRED", "0", "15", "25")]
    expiry = gift["movements"]["nodes"][1]
    assert (expiry["kind"], expiry["amount"]) == ("EXPIRED", "25")
    transaction = expiry["transaction"]
    assert transaction["createdAt"] >= gift["expiresAt"]
    del transaction["createdAt"]
    assert transaction == {
        "sequence": "5",
        "status": "POSTED",
        "description": "Expired credit gift",
        "idempotencyKey": None,
        "effectiveAt": gift["expiresAt"],
        "history": [{"kind": "LOT_EXPIRED", "idempotencyKey": None}],
    }
    assert await shop.balances("wallet") == (0, 0, 0, 0)
    assert await shop.balances("breakage") == (25, 0, 25, 25)
    assert verify(database_url).violations == ()


async def test_expired_though_nobody_has_looked(idle: Shop, database_url: str) -> None:
    """What comes after a lot's time finds it expired, even before the server's own turn."""
    expires_at = datetime.now(UTC) + timedelta(seconds=0.3)
    await idle.top_up("gift", 40, expires_at.isoformat())
    await idle.post("money", "cash", "wallet", 10)
    while datetime.now(UTC) <= expires_at:
        await asyncio.sleep(0.02)
    assert short(await idle.lots()) == [("gift", "OPEN", "40", "0", "0")]
    answer = await idle.post("purchase", "wallet", "shop", 11)
    assert (answer["code"], answer["available"]) == ("INSUFFICIENT_FUNDS", "10")
    assert short(await idle.lots()) == [("gift", "EXPIRED", "0", "0", "40")]
    assert (await idle.post("purchase", "wallet", "shop", 10))["replayed"] is False
    assert await idle.balances("breakage") == (40, 0, 40, 40)
    assert verify(database_url).violations == ()


async def test_velocity_limits_count_an_expiry(idle: Shop, database_url: str) -> None:
    """And refuse none, also where only the expiry brings the breakage account into the batch."""
    expires_at = datetime.now(UTC) + timedelta(seconds=0.5)
    posting = idle.top_up_input("gift", 40, expires_at.isoformat())
    posting["entries"][1]["lot"]["breakageAccountId"] = idle["cash"]
    assert (await idle.api.answer(REFUSED, **posting))["replayed"] is False
    await idle.post("money", "cash", "wallet", 10)
    # Of each 100 went out already, as the wallet was emptied into cash.
    await limit(idle, "cash", maximumAmount="100")
    await limit(idle, "wallet", maximumAmount="145")
    while datetime.now(UTC) <= expires_at:
        await asyncio.sleep(0.02)
    assert (await idle.post("purchase", "wallet", "shop", 5))["replayed"] is False
    assert short(await idle.lots()) == [("gift", "EXPIRED", "0", "0", "40")]
    assert await used(idle, "cash") == [("140", "2")]
    assert await used(idle, "wallet") == [("145", "3")]
    answer = await idle.post("another", "wallet", "shop", 1)
    assert (answer["code"], answer["usedAmount"]) == ("VELOCITY_EXCEEDED", "145")
    assert verify(database_url).violations == ()


async def test_what_holds_reserve_expires_when_they_end(shop: Shop, database_url: str) -> None:
    """What is reserved stays past its time, is settled from, and the rest expires at the end."""
    await shop.top_up("gift", 40, soon(1.5))
    hold = await shop.hold("hold", "wallet", "shop", 30)
    await shop.until_lots(lambda lots: lots[0]["expired"] != "0")
    assert short(await shop.lots()) == [("gift", "OPEN", "30", "0", "10")]
    await shop.settle(hold, "part", entries=shop.move("wallet", "shop", 12), final=False)
    assert short(await shop.lots()) == [("gift", "OPEN", "18", "12", "10")]
    await shop.void(hold, "void")
    assert short(await shop.until_lots(none_open)) == [("gift", "EXPIRED", "0", "12", "28")]
    assert await shop.balances("wallet") == (0, 0, 0, 0)
    assert await shop.balances("breakage") == (28, 0, 28, 28)
    assert verify(database_url).violations == ()


async def test_refused_and_tried_again(shop: Shop, database_url: str) -> None:
    """An expiry that a rule refuses says why, and goes through when it is tried again."""
    await shop.top_up("gift", 40, soon(1.5))
    await shop.set("breakage", "freeze")
    (gift,) = await shop.until_lots(lambda lots: lots[0]["lastRefusal"] is not None)
    refusal = gift["lastRefusal"]
    assert (refusal["code"], refusal["message"], refusal["attempts"]) == (
        "ACCOUNT_NOT_OPEN",
        "The account is frozen.",
        1,
    )
    assert (gift["state"], gift["remaining"]) == ("OPEN", "40")
    await shop.set("breakage", "unfreeze")
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE credit_lots SET due_at = now()")
    (gift,) = await shop.until_lots(none_open)
    assert gift["lastRefusal"] is None
    transaction = gift["movements"]["nodes"][0]["transaction"]
    # It did not happen when it was due but when it went through.
    assert transaction["effectiveAt"] == transaction["createdAt"]
    assert verify(database_url).violations == ()


async def test_an_expiry_may_be_taken_back(shop: Shop, database_url: str) -> None:
    """The reversal of an expiry, out of goodwill, gives back money that does not expire."""
    await shop.top_up("gift", 40, soon(0.3))
    await shop.until_lots(none_open)
    query = """query ($id: ID!) { ledger(id: $id) {
      transactions(first: 100) { nodes { id idempotencyKey description } } } }"""
    data = await shop.api.run(query, {"id": shop.ledger})
    (expiry,) = (
        node for node in data["ledger"]["transactions"]["nodes"] if node["idempotencyKey"] is None
    )
    answer = await shop.reverse(expiry["id"], "goodwill")
    assert answer["transaction"]["reverses"] == {"id": expiry["id"]}
    assert await shop.balances("wallet") == (40, 0, 40, 40)
    assert short(await shop.lots()) == [("gift", "EXPIRED", "0", "0", "40")]
    assert verify(database_url).violations == ()


async def test_spending_races_the_expiry(database_url: str) -> None:
    """However clients, holds and servers meet the expiries, every cent is spent or expired once."""
    async with (
        open_api(database_url, due_poll_seconds=0.02) as api,
        open_api(database_url, due_poll_seconds=0.02) as other_api,
    ):
        shop = await Shop.opened(api)
        twin = Shop()
        twin.api = replace(api, server=other_api.server, http=other_api.http)
        twin.ledger, twin.accounts = shop.ledger, shop.accounts
        for number in range(20):
            await shop.top_up(f"lot {number}", 30, soon(0.8 + number * 0.06))

        async def press(client: int) -> int:
            spent, home = 0, (shop, twin)[client % 2]
            for number in range(12):
                key = f"{client} {number}"
                if number % 3:
                    answer = await home.post(key, "wallet", "shop", 3)
                    spent += 3 if "transaction" in answer else 0
                    continue
                answer = await home.post(key, "wallet", "shop", 5, status="PENDING")
                if "transaction" in answer:
                    part = home.move("wallet", "shop", 2)
                    hold = answer["transaction"]["id"]
                    await home.settle(hold, f"{key} settled", entries=part, final=client % 3 > 0)
                    spent += 2
                    if client % 3 == 0:
                        await home.void(hold, f"{key} void")
            return spent

        spent = sum(await asyncio.gather(*(press(client) for client in range(8))))
        lots = await shop.until_lots(none_open)
        assert await shop.balances("wallet") == (0, 0, 0, 0)
        expired = sum(int(lot["expired"]) for lot in lots)
        assert sum(int(lot["spent"]) for lot in lots) == spent
        assert (spent + expired, (await shop.balances("breakage"))[0]) == (600, expired)
    assert verify(database_url).violations == ()


async def test_killed_while_lots_fall_due(idle: Shop, database_url: str, tmp_path: Path) -> None:
    """However workers are killed while lots fall due, each expires exactly once."""
    workers, chance = Workers(database_url, tmp_path), random.Random(5)
    try:
        await workers.start()
        await workers.until_one_works()
        for number in range(60):
            await idle.top_up(f"lot {number}", 7, soon(0.3 + number * 0.03))
        for _ in range(4):
            await asyncio.sleep(chance.uniform(0.1, 0.6))
            await workers.kill(workers.running[0])
            await workers.start()
        lots = await idle.until_lots(lambda lots: len(lots) == 50 and none_open(lots))
        assert {short([lot])[0][1:] for lot in lots} == {("EXPIRED", "0", "0", "7")}
        async with asyncio.timeout(60):
            while (await idle.balances("wallet"))[0]:
                await asyncio.sleep(0.02)
    finally:
        for process in list(workers.running):
            await workers.kill(process)
    assert await idle.balances("breakage") == (420, 0, 420, 420)
    with psycopg.connect(database_url) as connection:
        counted = connection.execute(
            "SELECT count(*) FROM transaction_events WHERE kind = 'lot_expired'"
        ).fetchall()
    assert counted == [(60,)]
    assert verify(database_url).violations == ()
