"""The group-commit writer: batches, retries, neighbours, outages, crashes."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
from psycopg import errors
from uuid_utils.compat import uuid7

from app.ledger.accounts.administration import CreateAccount, CreateLedger
from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import Mode, Scope
from app.ledger.refusals import InsufficientFunds, Overloaded, Refusal
from app.ledger.transactions.commands import EntryDraft, PostTransaction
from app.ledger.transactions.posting import Recorded, Replayed
from app.store.accounts.administration import create_accounts, create_ledger
from app.store.audit.verify import verify
from app.store.database import Connection, Database, Unavailable
from app.store.identity import create_organization
from app.store.pipeline import Pipeline
from app.store.transactions import writer as writing
from app.store.transactions.posting import Answer, Group, post
from app.store.transactions.writer import Writer


def keys_of(group: Group) -> list[str]:
    """The idempotency keys of a group of postings."""
    return [c.idempotency_key for c in group.commands if isinstance(c, PostTransaction)]


@dataclass
class Bench:
    """A ledger with an account without a floor, one with, and a writer."""

    database: Database
    writer: Writer
    scope: Scope
    ledger_id: UUID
    free: UUID
    floored: UUID
    url: str

    def posting(
        self, key: str, amount: int = 1, *, debit: UUID | None = None, credit: UUID | None = None
    ) -> PostTransaction:
        return PostTransaction(
            self.scope,
            uuid7(),
            self.ledger_id,
            key,
            (
                EntryDraft(debit or self.free, Direction.DEBIT, amount),
                EntryDraft(credit or self.floored, Direction.CREDIT, amount),
            ),
        )

    async def post_all(self, keys: Sequence[str]) -> list[Any]:
        return await asyncio.gather(
            *(self.writer.write(self.posting(key)) for key in keys), return_exceptions=True
        )

    async def total(self) -> tuple[int, int, int]:
        """Transactions, entries, and what the account with the floor has posted."""
        async with self.database.writing() as connection:
            cursor = await connection.execute(
                "SELECT (SELECT count(*) FROM transactions), (SELECT count(*) FROM entries),"
                " (SELECT posted_credits - posted_debits FROM accounts WHERE account_id = %s)",
                [self.floored],
            )
            ((transactions, entries, posted),) = await cursor.fetchall()
        return transactions, entries, posted


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Bench]:
    database = Database(url, pool_size=2, statement_seconds=15)
    await database.open()
    async with database.writing() as connection:
        organization = await create_organization(connection, "Testers")
        scope = Scope(organization.organization_id, Mode.TEST)
        ledger = await create_ledger(connection, CreateLedger(scope, uuid7(), "Books"))
        free, floored = await create_accounts(
            connection,
            [
                CreateAccount(
                    scope, uuid7(), ledger.ledger_id, name, Direction.CREDIT, "USD", 2,
                    available_floor=floor,
                )
                for name, floor in (("free", None), ("floored", 0))
            ],
        )  # fmt: skip
    writer = Writer(database, 4000, 50_000)
    writer.start()
    try:
        yield Bench(
            database, writer, scope, ledger.ledger_id, free.account_id, floored.account_id, url
        )
    finally:
        await writer.stop()
        await database.close()


@pytest_asyncio.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    async with opened(database_url) as made:
        yield made
    assert verify(database_url).violations == ()


async def test_waiting_postings_share_commits(bench: Bench) -> None:
    """What arrives while a batch is in flight forms the next: a thousand postings, two commits."""
    async with bench.database.writing() as connection:
        await connection.execute("SELECT FROM ledgers FOR NO KEY UPDATE")
        first = bench.writer.submit([bench.posting("first")])
        while bench.writer.batches == 0:
            await asyncio.sleep(0)
        others = [bench.writer.submit([bench.posting(f"key-{n}")]) for n in range(1000)]
    await asyncio.gather(first, *others)
    assert bench.writer.batches == 2
    assert await bench.total() == (1001, 2002, 1001)


async def test_a_batch_is_bounded_by_entries(bench: Bench) -> None:
    """More entries than a batch may have are split over several commits."""
    bench.writer.max_batch_entries = 10
    async with bench.database.writing() as connection:
        await connection.execute("SELECT FROM ledgers FOR NO KEY UPDATE")
        waiting = [bench.writer.submit([bench.posting(f"key-{n}")]) for n in range(20)]
    await asyncio.gather(*waiting)
    assert bench.writer.batches == 4
    assert await bench.total() == (20, 40, 20)


async def test_a_refusal_fails_nobody_else(bench: Bench) -> None:
    """One refused posting leaves its neighbours in the batch as they would be without it."""
    poor = bench.posting("poor", 1_000, debit=bench.floored, credit=bench.free)
    answers = await asyncio.gather(
        bench.writer.submit([bench.posting("before")]),
        bench.writer.submit([poor]),
        bench.writer.submit([bench.posting("after")]),
    )
    assert isinstance(answers[1], InsufficientFunds)
    for answer in (answers[0], answers[2]):
        assert not isinstance(answer, Refusal)
        assert isinstance(answer[0], Recorded)
    assert await bench.total() == (2, 4, 2)


@pytest.mark.parametrize("fault", [errors.DeadlockDetected, errors.SerializationFailure])
async def test_passing_faults_are_retried(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, fault: type[psycopg.Error]
) -> None:
    """A deadlock or serialization failure at the end of a batch is not the client's business."""
    faults = [fault("injected"), fault("injected")]

    async def failing(pipeline: Pipeline, groups: Sequence[Group]) -> list[Answer]:
        if faults:
            raise faults.pop()
        return await post(pipeline, groups)

    monkeypatch.setattr(writing, "post", failing)
    assert [type(answer) for answer in await bench.post_all(["a", "b"])] == [Recorded, Recorded]
    assert await bench.total() == (2, 4, 2)


async def test_a_real_deadlock_is_retried(bench: Bench) -> None:
    """A posting that the database breaks out of a deadlock is made all the same."""
    connection = await psycopg.AsyncConnection.connect(bench.url)
    async with connection:
        await connection.execute("SET deadlock_timeout = '10s'")
        await connection.execute("SELECT FROM accounts FOR NO KEY UPDATE")
        waiting = asyncio.ensure_future(bench.writer.write(bench.posting("crossed")))
        await until_waiting(bench, 1)
        # Now the writer holds the ledger and waits for the accounts; its own deadlock_timeout of
        # one second is the shorter one, so it is the one to be refused.
        await connection.execute("SELECT FROM ledgers FOR NO KEY UPDATE")
        await connection.rollback()
        assert isinstance(await waiting, Recorded)
    assert await bench.total() == (1, 2, 1)


async def test_a_poisonous_posting_fails_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A posting that the database cannot take fails by itself, not with its batch."""

    async def failing(pipeline: Pipeline, groups: Sequence[Group]) -> list[Answer]:
        if any("poison" in keys_of(group) for group in groups):
            raise errors.DataError("injected")
        return await post(pipeline, groups)

    monkeypatch.setattr(writing, "post", failing)
    answers = await bench.post_all(["a", "poison", "b"])
    assert [type(answer) for answer in answers] == [Recorded, errors.DataError, Recorded]
    assert await bench.total() == (2, 4, 2)


async def test_lost_connection_before_commit(bench: Bench) -> None:
    """A backend that dies under a batch costs nothing: the batch is sent again."""
    async with bench.database.writing() as connection:
        await connection.execute("SELECT FROM ledgers FOR NO KEY UPDATE")
        waiting = asyncio.ensure_future(bench.post_all([f"key-{n}" for n in range(20)]))
        await until_waiting(bench, 1)
        await terminate_waiting(bench)
    assert [type(answer) for answer in await waiting] == [Recorded] * 20
    assert await bench.total() == (20, 40, 20)


async def test_lost_acknowledgement_of_commit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the commit's answer is lost the batch is sent again, finds itself done, and is once."""
    lose = True

    async def losing(pipeline: Pipeline, groups: Sequence[Group]) -> list[Answer]:
        nonlocal lose
        answers = await post(pipeline, groups)
        if lose:
            lose = False
            await pipeline.connection.close()
            raise psycopg.OperationalError("the connection is lost")
        return answers

    monkeypatch.setattr(writing, "post", losing)
    answers = await bench.post_all(["a", "b", "c"])
    assert [type(answer) for answer in answers] == [Replayed] * 3
    assert await bench.total() == (3, 6, 3)


async def test_outage_is_answered_to_all_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database is away every waiting posting hears so after one round of attempts."""
    attempts = 0

    async def refused() -> Connection:
        nonlocal attempts
        attempts += 1
        raise psycopg.OperationalError("connection refused")

    await bench.writer.write(bench.posting("before"))
    await bench.writer._disconnect()  # noqa: SLF001
    monkeypatch.setattr(writing, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(bench.database, "connect", refused)
    answers = await bench.post_all([f"key-{n}" for n in range(50)])
    assert [type(answer) for answer in answers] == [Unavailable] * 50
    assert attempts == writing.ATTEMPTS
    monkeypatch.undo()
    assert isinstance(await bench.writer.write(bench.posting("after")), Recorded)
    assert await bench.total() == (2, 4, 2)


async def test_plans_outgrow_empty_tables(bench: Bench) -> None:
    """Tables that were analyzed while empty are not read whole for each batch once they are not."""
    batches = 200
    async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as owner:
        await owner.execute("ANALYZE")
    for number in range(batches):
        await bench.writer.write(bench.posting(f"key-{number}"))
    await bench.writer.stop()  # a session tells of its reads at its end
    async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as owner:
        cursor = await owner.execute(
            "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes"
            " WHERE relname IN ('transaction_events', 'transactions')"
        )
        ((read,),) = await cursor.fetchall()
    assert read < 20 * batches


async def test_batches_shrink_until_they_are_short(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is halved while batches take too long, and grows when full ones are short again."""
    limits: list[int] = []
    for seconds in (0.0, 1000.0):
        monkeypatch.setattr(writing, "BATCH_SECONDS", seconds)
        bench.writer.max_batch_entries = 1600
        for _ in range(5):
            await bench.post_all([f"{seconds}-{len(limits)}-{n}" for n in range(800)])
            limits.append(bench.writer._limit)  # noqa: SLF001
    assert limits[4] == writing.LEAST_ENTRIES
    assert limits[4] < limits[5] < limits[9]
    assert await bench.total() == (8000, 16000, 8000)


async def test_a_flood_does_not_hold_up_a_neighbour(bench: Bench) -> None:
    """What is beyond the queue's bound is refused at once, and what got in is written."""
    bench.writer.max_batch_entries = 40
    async with bench.database.writing() as connection:
        await connection.execute("SELECT FROM ledgers FOR NO KEY UPDATE")
        bench.writer._queue.max_entries = 100  # noqa: SLF001
        first = bench.writer.submit([bench.posting("first")])
        await asyncio.sleep(0.05)
        taken = [bench.writer.submit([bench.posting(f"key-{n}")]) for n in range(25)]
        with pytest.raises(Overloaded):
            bench.writer.submit([bench.posting("too-many")])
    await asyncio.gather(first, *taken)
    assert isinstance(await bench.writer.write(bench.posting("too-many")), Recorded)
    assert await bench.total() == (27, 54, 27)


async def test_stopping_finishes_what_waits(database_url: str) -> None:
    """A writer that is stopped commits what it has accepted and refuses what comes later."""
    async with opened(database_url) as bench:
        waiting = [bench.writer.submit([bench.posting(f"key-{n}")]) for n in range(50)]
        await bench.writer.stop()
        assert all(answer.done() for answer in waiting)
        with pytest.raises(Unavailable):
            bench.writer.submit([bench.posting("late")])
        assert await bench.total() == (50, 100, 50)


CLIENT = """
import asyncio, sys
from tests.store.test_writer import opened

async def main(url):
    async with opened(url) as bench:
        number = 0
        async def post():
            nonlocal number
            while True:
                number += 1
                key = f"key-{number}"
                await bench.writer.write(bench.posting(key))
                print(key, flush=True)
        await asyncio.gather(*(post() for _ in range(20)))

asyncio.run(main(sys.argv[1]))
"""


def test_crash_in_mid_batch(database_url: str) -> None:
    """A process killed while it posts leaves all that it was told of, and nothing by halves."""
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, database_url], stdout=subprocess.PIPE, text=True
    )
    assert client.stdout is not None
    acknowledged = {next(client.stdout).strip() for _ in range(200)}
    client.kill()
    acknowledged |= {line.strip() for line in client.stdout if line.endswith("\n")}
    client.stdout.close()
    client.wait()
    with psycopg.connect(database_url) as connection:
        recorded = {
            key for (key,) in connection.execute("SELECT idempotency_key FROM transaction_events")
        }
    assert acknowledged <= recorded
    assert verify(database_url).violations == ()


async def until_waiting(bench: Bench, sessions: int) -> None:
    """Wait until so many sessions of this database wait for a lock."""
    async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as connection:
        for _ in range(1000):
            cursor = await connection.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if (await cursor.fetchall())[0][0] >= sessions:
                return
            await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


async def terminate_waiting(bench: Bench) -> None:
    """End the sessions of this database that wait for a lock."""
    async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
