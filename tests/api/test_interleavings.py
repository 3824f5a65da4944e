"""Many clients at once over few transactions: settle, void, expire, mature, reverse, and retries.

What each client was told is added up afterwards and compared with the books: every acknowledged
change is there once, and nothing else is.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from app.store.audit.verify import verify
from tests.api.market import Market
from tests.api.test_due import is_done
from tests.api_client import Api, Json, open_api

CLIENTS, STEPS, HOLDS, HELD = 12, 25, 6, 60
ALLOWED = {
    "HOLD_EXPIRED",
    "TRANSACTION_NOT_PENDING",
    "SETTLEMENT_EXCEEDS_HOLD",
    "TRANSACTION_NOT_REVERSIBLE",
    "REVERSAL_EXCEEDS_TRANSACTION",
}


@dataclass
class Told:
    """What clients were told that was done to a transaction, each key counted once."""

    settled: Counter[str] = field(default_factory=Counter)
    reversed: Counter[str] = field(default_factory=Counter)
    voided: Counter[str] = field(default_factory=Counter)


def posted_of(transaction: Json) -> dict[tuple[str, str], int]:
    """What a transaction has posted, by account and side."""
    posted: Counter[tuple[str, str]] = Counter()
    for entry in transaction["entries"]:
        if entry["status"] == "POSTED":
            posted[entry["account"]["name"], entry["direction"]] += int(entry["amount"])
    return dict(posted)


class Crowd:
    """Clients of two servers over the same transactions, and what they were told."""

    def __init__(self, seed: int, market: Market, other: Api) -> None:
        self.seed, self.market = seed, market
        self.second = Market()
        self.second.api = Api(
            other.server, other.http, market.api.organization_id, market.api.token, count(1)
        )
        self.second.ledger, self.second.accounts = market.ledger, market.accounts
        self.told: dict[str, Told] = {}

    async def prepare(self) -> None:
        """Holds without a time, to post, and to expire, and a plain transaction."""
        chance = random.Random(self.seed)
        for number in range(HOLDS):
            at = (datetime.now(UTC) + timedelta(seconds=chance.uniform(0.2, 2))).isoformat()
            terms: Json = [{}, {"postsAt": at}, {"expiresAt": at}][number % 3]
            hold = await self.market.hold(f"h{number}", "wallet", "shop", HELD, **terms)
            self.told[hold] = Told()
        sale = await self.market.post("sale", "wallet", "shop", HELD)
        self.told[sale["transaction"]["id"]] = Told()

    async def client(self, number: int) -> None:
        mine = random.Random(f"{self.seed} {number}")
        for step in range(STEPS):
            through = mine.choice((self.market, self.second))
            await self.act(through, mine.choice(list(self.told)), f"{number % 9} {step}")
            if mine.random() < 0.2:
                await asyncio.sleep(mine.uniform(0, 0.1))

    async def act(self, through: Market, identity: str, key: str) -> None:
        """Do what the key stands for; clients that share keys ask for the same, as retries do."""
        key = f"{self.seed} {identity} {key}"
        choice, said = random.Random(key), self.told[identity]
        amount, what = choice.randint(1, 9), choice.random()
        entries = through.move("wallet", "shop", amount)
        if what < 0.55:
            answer = await through.settle(identity, key, entries=entries, final=False)
            counted = said.settled
        elif what < 0.6:
            answer, counted = await through.void(identity, key), said.voided
        else:
            answer = await through.reverse(identity, key, entries=entries)
            counted = said.reversed
        if "code" in answer:
            assert answer["code"] in ALLOWED, answer
        else:
            counted[key] = amount

    async def compare(self, identity: str, said: Told) -> None:
        """What the books have of a transaction is what clients were told of it."""
        shown = await self.market.shown(identity)
        if shown["postsAt"] or shown["expiresAt"]:
            shown = await self.market.until(identity, is_done)
        posted = posted_of(shown).get(("wallet", "DEBIT"), 0)
        events = Counter(event["kind"] for event in shown["history"])
        if events["HELD"]:
            assert events["SETTLED"] == len(said.settled)
            assert events["VOIDED"] == len(said.voided)
            assert events["EXPIRED"] + events["MATURED"] + events["VOIDED"] <= 1
            assert posted == (HELD if events["MATURED"] else sum(said.settled.values())) <= HELD
        parts = []
        for reversal in shown["reversedBy"]:
            part = posted_of(await self.market.shown(reversal["id"]))
            assert part["wallet", "CREDIT"] == part["shop", "DEBIT"]
            parts.append(part["wallet", "CREDIT"])
        assert sorted(parts) == sorted(said.reversed.values())
        assert sum(parts) <= posted


@pytest.mark.parametrize("seed", range(3))
async def test_random_interleavings(database_url: str, seed: int) -> None:
    """No hold is over-settled, nothing over-reversed, and the books are what clients were told."""
    async with (
        open_api(database_url, due_poll_seconds=0.05) as one,
        open_api(database_url, due_poll_seconds=0.05) as other,
    ):
        crowd = Crowd(seed, await Market.open(one, money=100_000), other)
        await crowd.prepare()
        await asyncio.gather(*map(crowd.client, range(CLIENTS)))
        for identity, said in crowd.told.items():
            await crowd.compare(identity, said)
    assert verify(database_url).violations == ()
