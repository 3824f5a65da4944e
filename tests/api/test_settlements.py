"""Settlement: what has gathered on an account is paid out once, and free again if undone."""

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from app.ledger.statements import settlements
from tests.api_client import Api, Json

SETTLE_ACCOUNT = """
mutation ($input: CreateSettlementInput!) {
  createSettlement(input: $input) {
    __typename
    ... on CreateSettlementSuccess { replayed settlement { ...Told } }
    ... on SettlementNotPossible { reason unsettledAmount unsettledCount account { id } }
    ... on UserError { code message path retryable }
  }
}
fragment Told on Settlement {
  id number upTo amount entryCount account { id } releasedBy { id }
  transaction {
    id status description externalId idempotencyKey
    entries { direction amount account { id } settledBy { id } }
  }
  entries { nodes { sequence amount direction settledBy { number } } }
}
"""
READ = (
    SETTLE_ACCOUNT[SETTLE_ACCOUNT.index("fragment") :]
    + "query ($id: ID!) { settlement(id: $id) { ...Told } }"
)
REVERSE = """
mutation ($input: ReverseTransactionInput!) {
  reverseTransaction(input: $input) {
    __typename
    ... on ReverseTransactionSuccess { transaction { id } }
    ... on TransactionNotReversible { reason }
    ... on UserError { code path }
  }
}
"""
UNSETTLED = """
query ($id: ID!) { account(id: $id) {
  unsettled { amount count } settlements { nodes { number amount } }
  entries { nodes { sequence settledBy { number } } }
} }
"""


def day(number: int) -> str:
    return f"2026-01-{number:02}T12:00:00Z"


class Shop:
    """A merchant's account with sales coming in from cash, and a bank that payouts go to."""

    def __init__(self, api: Api, ledger_id: str, accounts: Sequence[str]) -> None:
        self.api, self.ledger_id = api, ledger_id
        self.cash, self.merchant, self.bank = accounts
        self.keys = iter(range(1000))

    @classmethod
    async def open(cls, api: Api) -> "Shop":
        ledger_id = await api.ledger()
        cash = await api.account(ledger_id, name="Cash", normalBalance="DEBIT")
        merchant = await api.account(ledger_id, name="Merchant")
        bank = await api.account(ledger_id, name="Payouts")
        return cls(api, ledger_id, (cash, merchant, bank))

    async def sale(self, amount: int, on: int, **fields: Any) -> None:
        await self.api.post(
            self.ledger_id, self.cash, self.merchant, amount, effectiveAt=day(on), **fields
        )

    async def refund(self, amount: int, on: int) -> None:
        await self.api.post(self.ledger_id, self.merchant, self.cash, amount, effectiveAt=day(on))

    async def settle(self, up_to: int, **fields: Any) -> Json:
        return await self.api.answer(
            SETTLE_ACCOUNT,
            **{
                "accountId": self.merchant,
                "upTo": day(up_to),
                "counterpartAccountId": self.bank,
                "idempotencyKey": f"settlement {next(self.keys)}",
                **fields,
            },
        )

    async def reverse(self, settlement: Json, *parts: tuple[str, str, int]) -> Json:
        entries = [
            {"accountId": account, "direction": direction, "amount": str(amount)}
            for account, direction, amount in parts
        ]
        return await self.api.answer(
            REVERSE,
            transactionId=settlement["transaction"]["id"],
            idempotencyKey=f"undone {next(self.keys)}",
            entries=entries or None,
        )

    async def unsettled(self) -> tuple[str, str]:
        account = (await self.api.run(UNSETTLED, {"id": self.merchant}))["account"]
        return account["unsettled"]["amount"], account["unsettled"]["count"]

    async def settled_by(self) -> list[str | None]:
        account = (await self.api.run(UNSETTLED, {"id": self.merchant}))["account"]
        return [e["settledBy"] and e["settledBy"]["number"] for e in account["entries"]["nodes"]]


async def test_a_settlement(api: Api) -> None:
    """What took effect before a moment is paid out in one transaction, and marked by it."""
    shop = await Shop.open(api)
    await shop.sale(1000, 1)
    await shop.sale(500, 3)
    await shop.refund(200, 2)
    await shop.sale(70, 1, status="PENDING")
    assert await shop.unsettled() == ("1300", "3")
    answer = await shop.settle(3, description="First days", externalId="payout 1")
    settlement = answer["settlement"]
    assert (answer["replayed"], settlement["number"], settlement["amount"]) == (False, "1", "800")
    assert settlement["transaction"] == {
        "id": settlement["transaction"]["id"],
        "status": "POSTED",
        "description": "First days",
        "externalId": "payout 1",
        "idempotencyKey": "settlement 0",
        "entries": [
            {
                "direction": direction,
                "amount": "800",
                "account": {"id": account},
                "settledBy": None,
            }
            for direction, account in (("DEBIT", shop.merchant), ("CREDIT", shop.bank))
        ],
    }
    assert [(e["sequence"], e["amount"]) for e in settlement["entries"]["nodes"]] == [
        ("1", "1000"),
        ("3", "200"),
    ]
    assert await shop.settled_by() == ["1", None, "1", None, None]
    assert await shop.unsettled() == ("500", "1")
    assert (await api.run(READ, {"id": settlement["id"]}))["settlement"] == settlement
    again = await shop.settle(
        3, description="First days", externalId="payout 1", idempotencyKey="settlement 0"
    )
    assert (again["replayed"], again["settlement"]) == (True, settlement)


async def test_what_is_backdated_is_for_the_next_one(api: Api) -> None:
    """An entry that comes to be known after its day was settled is collected by the next."""
    shop = await Shop.open(api)
    await shop.sale(10, 1)
    await shop.settle(3)
    await shop.sale(5, 2)
    await shop.sale(7, 9)
    answer = await shop.settle(3)
    assert (answer["settlement"]["number"], answer["settlement"]["amount"]) == ("2", "5")
    assert (await shop.settle(10))["settlement"]["amount"] == "7"
    assert await shop.unsettled() == ("0", "0")
    assert await shop.settled_by() == ["1", None, "2", "3", None, None]


async def test_undone_by_reversal(api: Api) -> None:
    """With the payout's reversal its entries are unsettled, and settled again by another one."""
    shop = await Shop.open(api)
    await shop.sale(10, 1)
    await shop.sale(20, 2)
    first = (await shop.settle(2))["settlement"]
    second = (await shop.settle(3))["settlement"]
    reversal = await shop.reverse(first)
    assert await shop.unsettled() == ("10", "1")
    assert await shop.settled_by() == [None, "2", None, None, None]
    told = (await api.run(READ, {"id": first["id"]}))["settlement"]
    assert told["releasedBy"] == {"id": reversal["transaction"]["id"]}
    assert [e["settledBy"] for e in told["entries"]["nodes"]] == [None]
    await shop.reverse(second)
    third = (await shop.settle(3))["settlement"]
    assert (third["number"], third["amount"], third["entryCount"]) == ("3", "30", "2")
    assert await shop.settled_by() == ["3", "3", None, None, None, None, None]
    await shop.reverse(third)
    assert (await shop.settle(3))["settlement"]["amount"] == "30"
    assert (await shop.settle(4))["reason"] == "NOTHING_UNSETTLED"


async def test_a_payout_is_not_reversed_in_part(api: Api) -> None:
    """Part of a payout cannot be reversed and nothing changes; all of it by its lines can."""
    shop = await Shop.open(api)
    await shop.sale(10, 1)
    settlement = (await shop.settle(2))["settlement"]
    before = await shop.unsettled(), await shop.settled_by(), await api.balances(shop.merchant)
    part = await shop.reverse(settlement, (shop.merchant, "DEBIT", 4), (shop.bank, "CREDIT", 4))
    assert (part["code"], part["reason"]) == ("TRANSACTION_NOT_REVERSIBLE", "PART_OF_SETTLEMENT")
    after = await shop.unsettled(), await shop.settled_by(), await api.balances(shop.merchant)
    assert after == before
    await shop.reverse(settlement, (shop.merchant, "DEBIT", 10), (shop.bank, "CREDIT", 10))
    assert await shop.unsettled() == ("10", "1")


async def test_a_debit_normal_account(api: Api) -> None:
    """Of a debit-normal account the payout is a credit."""
    shop = await Shop.open(api)
    receivable = await api.account(shop.ledger_id, name="Receivable", normalBalance="DEBIT")
    await api.post(shop.ledger_id, receivable, shop.merchant, 30, effectiveAt=day(1))
    answer = await shop.settle(2, accountId=receivable, counterpartAccountId=shop.cash)
    entries = answer["settlement"]["transaction"]["entries"]
    assert [(e["direction"], e["account"]["id"]) for e in entries] == [
        ("CREDIT", receivable),
        ("DEBIT", shop.cash),
    ]


async def test_refusals(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be paid out stays as it is, and is told with its amount and count."""
    shop = await Shop.open(api)
    euros = await api.account(shop.ledger_id, name="Euros", currency="EUR")

    async def refused(**fields: Any) -> tuple[Any, ...]:
        answer = await shop.settle(9, **fields)
        told = ("code", "reason", "unsettledAmount", "unsettledCount", "path")
        return tuple(answer.get(name) for name in told)

    code, path = "SETTLEMENT_NOT_POSSIBLE", ["input", "accountId"]
    assert await refused() == (code, "NOTHING_UNSETTLED", "0", 0, path)
    await shop.sale(10, 1)
    await shop.refund(10, 1)
    assert await refused() == (code, "NOTHING_TO_PAY", "0", 2, path)
    await shop.refund(5, 2)
    assert await refused() == (code, "NOTHING_TO_PAY", "-5", 3, path)
    await shop.sale(10, 3)
    monkeypatch.setattr(settlements, "MAX_SETTLED", 3)
    assert await refused() == (code, "TOO_MANY_ENTRIES", "5", 4, path)
    monkeypatch.undo()
    counterpart = ["input", "counterpartAccountId"]
    assert (await refused(counterpartAccountId=shop.merchant))[0::4] == (
        "VALIDATION_FAILED",
        counterpart,
    )
    assert (await refused(counterpartAccountId=euros))[0::4] == ("ENTRIES_UNBALANCED", counterpart)
    assert (await shop.settle(9, counterpartAccountId=euros))["message"] == (
        "In USD debits are 5 and credits 0 minor units."
        " Each currency balances by itself: take accounts of the same one."
    )
    nobody = "acct_" + "0" * 32
    assert (await refused(counterpartAccountId=nobody))[0::4] == ("ACCOUNT_NOT_FOUND", counterpart)
    assert (await refused(accountId=nobody))[0::4] == ("ACCOUNT_NOT_FOUND", path)
    assert await shop.unsettled() == ("5", "4")
    assert (await shop.settle(9))["settlement"]["amount"] == "5"


async def test_two_at_once_settle_an_entry_once(api: Api, database_url: str) -> None:
    """Among postings, settlements and reversals at once every entry is settled once."""
    shop = await Shop.open(api)
    for number in range(20):
        await shop.sale(number + 1, 1)
    answers = await asyncio.gather(
        *(shop.settle(5) for _ in range(8)), *(shop.sale(100, 1) for _ in range(8))
    )
    done = [answer["settlement"] for answer in answers if answer and "settlement" in answer]
    assert done
    await asyncio.gather(*(shop.reverse(one) for one in done), *(shop.settle(5) for _ in range(4)))
    await shop.settle(5)
    assert await shop.unsettled() == ("0", "0")
    assert (await api.balances(shop.merchant))[0] == 0
    with psycopg.connect(database_url) as connection:
        twice = connection.execute(
            """
            SELECT m.sequence FROM settlement_entries m JOIN settlements s USING (settlement_id)
            WHERE s.released_sequence IS NULL GROUP BY 1 HAVING count(*) > 1
            """
        ).fetchall()
        ((paid,),) = connection.execute(
            "SELECT sum(amount) FROM settlements WHERE released_sequence IS NULL"
        ).fetchall()
    assert (twice, paid) == ([], sum(range(1, 21)) + 800)
