"""`ledgers worker` as processes of its own: killed at any moment, and taken over from."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest_asyncio

from app.store.audit.verify import verify
from tests.api.market import Market
from tests.api.test_due import HELD, is_done, kinds
from tests.api_client import Json, open_api

WORKER = (sys.executable, "-m", "app.cli", "worker")


class Workers:
    """Processes of `ledgers worker` on one database."""

    def __init__(self, database_url: str, directory: Path) -> None:
        self.url = database_url
        self.errors = directory / "worker.err"
        self.running: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        own = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
        with self.errors.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *WORKER,
                env=own | {"DATABASE_URL": self.url, "LEDGERS_DUE_POLL_SECONDS": "0.05"},
                stdin=asyncio.subprocess.DEVNULL,
                stderr=errors,
            )
        self.running.append(process)

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.kill()
        await process.wait()
        self.running.remove(process)

    async def until_one_works(self) -> int:
        """Wait until a session has the lock, and return its process on the database's side."""
        async with asyncio.timeout(60):
            while True:
                with psycopg.connect(self.url) as connection:
                    rows = connection.execute(HELD).fetchall()
                if rows:
                    ((pid,),) = rows
                    return int(pid)
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def market(database_url: str) -> AsyncIterator[Market]:
    """A market on a server that leaves due work to workers."""
    async with open_api(database_url, due_work=False) as api:
        yield await Market.open(api, money=100_000)


@pytest_asyncio.fixture
async def workers(database_url: str, tmp_path: Path) -> AsyncIterator[Workers]:
    workers = Workers(database_url, tmp_path)
    yield workers
    for process in list(workers.running):
        await workers.kill(process)


async def test_one_works_and_ends_when_told(market: Market, workers: Workers) -> None:
    """A worker does what is due, and on SIGTERM ends with 0 and without a complaint."""
    await workers.start()
    hold = await market.hold("hold", "wallet", "shop", 40, postsAt="2026-01-01T00:00:00Z")
    assert (await market.until(hold, is_done))["status"] == "POSTED"
    (process,) = workers.running
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(60):
        assert await process.wait() == 0
    assert workers.errors.read_text() == "Working on what falls due.\n"


def terms(number: int, begin: datetime) -> Json:
    """One hold posts, the next one expires, and so on, one every so often."""
    at = begin + timedelta(milliseconds=40 * number)
    return {"expiresAt" if number % 2 else "postsAt": at.isoformat()}


async def test_killed_while_holds_fall_due(
    market: Market, workers: Workers, database_url: str
) -> None:
    """However workers are killed while holds fall due, each settles or expires exactly once."""
    for _ in range(2):
        await workers.start()
    await workers.until_one_works()
    chance = random.Random(4)
    begin = datetime.now(UTC) + timedelta(seconds=0.5)
    holds = await asyncio.gather(
        *(
            market.hold(f"h{number}", "wallet", "shop", 3, **terms(number, begin))
            for number in range(150)
        )
    )

    async def kill_now_and_then() -> None:
        for _ in range(5):
            await asyncio.sleep(chance.uniform(0.2, 0.9))
            await workers.kill(chance.choice(workers.running))
            await workers.start()

    async def press() -> None:
        for number, hold in enumerate(holds):
            if number % 5 == 0:
                part = market.move("wallet", "shop", 1)
                await market.settle(hold, f"s{number}", entries=part, final=False)

    await asyncio.gather(kill_now_and_then(), press())
    for number, hold in enumerate(holds):
        history = [kind for kind, _ in kinds(await market.until(hold, is_done))]
        assert history[0] == "HELD"
        assert history.count("EXPIRED" if number % 2 else "MATURED") == 1
        assert len(history) <= 3
    assert (await market.balances("shop"))[1] == 0
    assert verify(database_url).violations == ()


async def test_another_takes_over(market: Market, workers: Workers) -> None:
    """When the one that works is killed the other one works; nothing waits for the dead."""
    await workers.start()
    first = await workers.until_one_works()
    await workers.start()
    (worker, _) = workers.running
    await workers.kill(worker)
    hold = await market.hold("hold", "wallet", "shop", 40, expiresAt="2026-01-01T00:00:00Z")
    assert (await market.until(hold, is_done))["status"] == "VOIDED"
    assert await workers.until_one_works() != first


async def test_caught_up_after_a_pause(market: Market, workers: Workers) -> None:
    """What fell due while nobody worked is done by whoever comes, oldest first."""
    holds = [
        await market.hold(f"h{day}", "wallet", "shop", 1, postsAt=f"2026-01-{day:02}T00:00:00Z")
        for day in (9, 3, 7, 1)
    ]
    await workers.start()
    ninth, third, seventh, first = [
        (await market.until(hold, is_done))["postedAt"] for hold in holds
    ]
    assert first <= third <= seventh <= ninth
