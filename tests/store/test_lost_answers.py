"""Commits whose fate the writer cannot know, on the wire between it and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app.ledger.transactions.posting import Recorded, Replayed
from app.store.audit.verify import verify
from app.store.database import LIVENESS, Busy, Database, Unavailable, connection_info
from app.store.transactions import writer as writing
from app.store.transactions.writer import Writer
from tests.fault_proxy import FaultProxy, Lost, fault_proxy

from .test_writer import Bench, opened

PORT = "5432"
PATIENCE_SECONDS = 60
OWN_LEDGERS = "SELECT ledger_id FROM ledgers WHERE organization_id = %(organization)s"


@pytest_asyncio.fixture
async def proxied(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Bench, FaultProxy]]:
    """The bench with a writer that speaks to the database through the proxy."""
    async with opened(database_url) as direct, before(database_url, tmp_path) as (url, proxy):
        writer = Writer(Database(url, pool_size=1, statement_seconds=15), 4000, 50_000)
        writer.start()
        try:
            yield replace(direct, writer=writer), proxy
        finally:
            await writer.stop()
    assert verify(database_url).violations == ()


@asynccontextmanager
async def before(database_url: str, directory: Path) -> AsyncIterator[tuple[str, FaultProxy]]:
    """A proxy before the database, with its socket in the directory, and the address there."""
    address = conninfo_to_dict(database_url)
    sockets = Path(str(address["host"]))
    if not sockets.is_absolute():
        pytest.skip("the proxy is for unix sockets")
    target = sockets / f".s.PGSQL.{address.get('port', PORT)}"
    async with fault_proxy(target, directory / f".s.PGSQL.{PORT}") as proxy:
        yield make_conninfo(database_url, host=str(directory), port=PORT), proxy


@pytest.mark.parametrize("lost", Lost)
async def test_each_key_is_recorded_once(
    proxied: tuple[Bench, FaultProxy], monkeypatch: pytest.MonkeyPatch, lost: Lost
) -> None:
    """A hundred commits, each lost once on its way there or back, record a posting each, once."""
    bench, proxy = proxied
    monkeypatch.setattr(writing, "FIRST_PAUSE_SECONDS", 0.001)
    # What was committed is found by the writer's second run; what was not, is made by it.
    expected = Replayed if lost is Lost.ANSWERED else Recorded
    for number in range(100):
        proxy.lose(lost, times=1)
        decision = await bench.writer.write(bench.posting(f"key-{number}"))
        assert type(decision) is expected
        assert proxy.hits == number + 1
    assert await bench.total() == (100, 200, 100)


@pytest.mark.parametrize("lost", Lost)
async def test_a_batch_is_recorded_once(
    proxied: tuple[Bench, FaultProxy], monkeypatch: pytest.MonkeyPatch, lost: Lost
) -> None:
    """A batch of a hundred whose commit is lost again and again is recorded once as a whole."""
    bench, proxy = proxied
    monkeypatch.setattr(writing, "FIRST_PAUSE_SECONDS", 0.001)
    await bench.writer.write(bench.posting("before"))
    proxy.lose(lost, times=writing.ATTEMPTS - 1)
    answers = await bench.post_all([f"key-{number}" for number in range(100)])
    expected = Replayed if lost is Lost.ANSWERED else Recorded
    assert [type(answer) for answer in answers] == [expected] * 100
    # Once it has been recorded, finding it again needs no commit.
    assert proxy.hits == (1 if lost is Lost.ANSWERED else writing.ATTEMPTS - 1)
    assert await bench.total() == (101, 202, 101)


async def test_a_commit_that_is_never_heard_of(
    proxied: tuple[Bench, FaultProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is told to send again, because no commit got through, loses and doubles nothing."""
    bench, proxy = proxied
    monkeypatch.setattr(writing, "FIRST_PAUSE_SECONDS", 0.001)
    proxy.lose(Lost.ASKED, times=writing.ATTEMPTS)
    keys = [f"key-{number}" for number in range(20)]
    assert [type(answer) for answer in await bench.post_all(keys)] == [Unavailable] * 20
    assert await bench.total() == (0, 0, 0)
    assert [type(answer) for answer in await bench.post_all(keys)] == [Recorded] * 20
    assert [type(answer) for answer in await bench.post_all(keys)] == [Replayed] * 20
    assert await bench.total() == (20, 40, 20)


async def test_a_cut_at_any_moment(
    proxied: tuple[Bench, FaultProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backends that are ended again and again under load cost no posting and double none."""
    bench, _ = proxied
    monkeypatch.setattr(writing, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(writing, "ATTEMPTS", 1000)
    bench.writer.max_batch_entries = 20
    posting = asyncio.ensure_future(bench.post_all([f"key-{number}" for number in range(200)]))
    cuts = 0
    async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as connection:
        while not posting.done() and cuts < 15:
            cursor = await connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'ledgers'"
                " AND query ~ 'COMMIT|INSERT|FOR NO KEY UPDATE' AND state = 'active'"
            )
            ((ended,),) = await cursor.fetchall()
            cuts += ended
            await asyncio.sleep(0.01)
        answers = await posting
    assert cuts > 0
    assert {type(answer) for answer in answers} <= {Recorded, Replayed}
    assert await bench.total() == (200, 400, 200)


async def test_silence_ends_a_write(database_url: str, tmp_path: Path) -> None:
    """A database that falls silent costs its writers an Unavailable, and stops nobody for ever.

    What was on its way may be recorded or not; sent again, each key is recorded once.
    """
    keys = [f"key-{number}" for number in range(20)]
    async with opened(database_url) as direct, before(database_url, tmp_path) as (url, proxy):
        database = Database(
            make_conninfo(url, connect_timeout=2), pool_size=1, statement_seconds=1.5
        )
        writer = Writer(database, 4000, 50_000)
        writer.start()
        bench = replace(direct, writer=writer)
        await bench.post_all(["before"])
        proxy.fall_silent()
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in ("in mid-batch", "when connecting"):
                answers = await bench.post_all(keys)
                assert [type(answer) for answer in answers] == [Unavailable] * 20
            proxy.speak()
            answers = await bench.post_all(keys)
            assert {type(answer) for answer in answers} <= {Recorded, Replayed}
            await writer.stop()
        assert await bench.total() == (21, 42, 21)
    assert verify(database_url).violations == ()


async def test_silence_ends_a_read(database_url: str, tmp_path: Path) -> None:
    """Reads, and the question whether the database answers, end when it falls silent."""
    async with opened(database_url) as direct, before(database_url, tmp_path) as (url, proxy):
        database = Database(
            make_conninfo(url, connect_timeout=2), pool_size=1, statement_seconds=1.5
        )
        await database.open()
        snapshot = database.snapshot(direct.scope)
        assert await snapshot.rows(OWN_LEDGERS, {}) == [(direct.ledger_id,)]
        with pytest.raises(Busy):  # the one connection is the snapshot's
            await database.ping()
        async with asyncio.timeout(PATIENCE_SECONDS):
            proxy.fall_silent()
            for _ in ("silent", "not asked any more"):
                with pytest.raises(Unavailable):
                    await snapshot.rows(OWN_LEDGERS, {})
            assert snapshot.statements == 2
            await snapshot.close()
            with pytest.raises(Unavailable):
                await database.ping()
            with pytest.raises(Unavailable):
                async with database.writing() as connection:
                    await connection.execute("SELECT 1")
            proxy.speak()
            while not await answers(database):
                await asyncio.sleep(0.1)
            await database.close()


def test_lost_peers_are_noticed() -> None:
    """Sessions ask TCP to find out a peer that is gone, as the address says or else as we do."""
    ours = conninfo_to_dict(connection_info("postgresql://h/d", statement_seconds=1))
    assert {name: int(ours[name] or 0) for name in LIVENESS} == LIVENESS
    given = "postgresql://h/d?connect_timeout=60&tcp_user_timeout=0"
    theirs = conninfo_to_dict(connection_info(given, statement_seconds=1))
    assert {name: int(theirs[name] or 0) for name in LIVENESS} == LIVENESS | {
        "connect_timeout": 60,
        "tcp_user_timeout": 0,
    }


async def answers(database: Database) -> bool:
    try:
        await database.ping()
    except Unavailable:
        return False
    return True
