"""Many clients at once."""

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import replace

from app.store.audit.verify import verify
from tests.api_client import POST, Api, open_api

COUNT = """
query ($id: ID!) { ledger(id: $id) { transactions(first: 100) { nodes { id sequence } } } }
"""


async def test_one_key_from_many_clients(api: Api) -> None:
    """Fifty clients send one key at once: one transaction, and forty-nine are told of it."""
    ledger = await api.ledger()
    cash, wallet = await api.account(ledger, normalBalance="DEBIT"), await api.account(ledger)
    answers = await asyncio.gather(
        *(api.post(ledger, cash, wallet, 100, idempotencyKey="the same") for _ in range(50))
    )
    assert {answer["transaction"]["id"] for answer in answers} == {answers[0]["transaction"]["id"]}
    assert sorted(answer["replayed"] for answer in answers) == [False] + [True] * 49
    assert await api.balances(wallet) == (100, 0, 100, 100)


async def test_the_last_unit(api: Api) -> None:
    """Twenty clients race for the last unit: one gets it, the others are refused."""
    ledger = await api.ledger()
    cash = await api.account(ledger, normalBalance="DEBIT")
    wallet = await api.account(ledger, availableFloor="0")
    await api.post(ledger, cash, wallet, 1)
    answers = await asyncio.gather(*(api.post(ledger, wallet, cash, 1) for _ in range(20)))
    names = sorted(answer["__typename"] for answer in answers)
    assert names == ["InsufficientFunds"] * 19 + ["PostTransactionSuccess"]
    assert await api.balances(wallet) == (0, 0, 0, 0)


async def test_opposing_postings_from_several_servers(database_url: str) -> None:
    """Servers that post over the same accounts in any order never deadlock in a client's face."""
    chance = random.Random(4)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_api(database_url))
        others = [await stack.enter_async_context(open_api(database_url)) for _ in range(2)]
        clients = [first, *(replace(first, http=other.http) for other in others)]
        ledger = await first.ledger()
        accounts = [await first.account(ledger) for _ in range(6)]

        async def post(number: int) -> str:
            chosen = chance.sample(accounts, 4)
            sides = ("DEBIT", "CREDIT") * 2
            answer = await clients[number % 3].answer(
                POST,
                ledgerId=ledger,
                idempotencyKey=f"posting-{number}",
                entries=[
                    {"accountId": account, "direction": side, "amount": "5"}
                    for account, side in zip(chosen, sides, strict=True)
                ],
            )
            return str(answer["__typename"])

        assert (
            await asyncio.gather(*(post(number) for number in range(300)))
            == ["PostTransactionSuccess"] * 300
        )
    report = verify(database_url)
    assert report.violations == ()
    assert (report.transactions, report.entries) == (300, 1200)


async def test_settling_against_voiding(api: Api) -> None:
    """A hold that is settled and voided at once comes to one of the two, and wholly."""
    ledger = await api.ledger()
    cash, wallet = await api.account(ledger, normalBalance="DEBIT"), await api.account(ledger)
    for _ in range(5):
        hold = await api.post(ledger, cash, wallet, 10, status="PENDING")
        identity = hold["transaction"]["id"]
        await asyncio.gather(
            *(
                api.run(
                    f'mutation {{ {name}Transaction(input: {{transactionId: "{identity}",'
                    f' idempotencyKey: "{identity}-{name}-{number}"}}) {{ __typename }} }}'
                )
                for number in range(3)
                for name in ("settle", "void")
            )
        )
    posted, pending, available, _ = await api.balances(wallet)
    assert pending == 0
    assert posted == available
    assert posted % 10 == 0
    assert len((await api.run(COUNT, {"id": ledger}))["ledger"]["transactions"]["nodes"]) == 5
