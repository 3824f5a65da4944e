"""Commits whose fate the writer cannot know, on the wire between it and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app.ledger.posting import Recorded, Replayed
from app.store import writer as writing
from app.store.database import Database, Unavailable
from app.store.verify import verify
from app.store.writer import Writer
from tests.fault_proxy import FaultProxy, Lost, fault_proxy

from .test_writer import Bench, opened

PORT = "5432"


@pytest_asyncio.fixture
async def proxied(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Bench, FaultProxy]]:
    """The bench with a writer that speaks to the database through the proxy."""
    address = conninfo_to_dict(database_url)
    directory = Path(str(address["host"]))
    if not directory.is_absolute():
        pytest.skip("the proxy is for unix sockets")
    target = directory / f".s.PGSQL.{address.get('port', PORT)}"
    url = make_conninfo(database_url, host=str(tmp_path), port=PORT)
    async with (
        opened(database_url) as direct,
        fault_proxy(target, tmp_path / f".s.PGSQL.{PORT}") as proxy,
    ):
        writer = Writer(Database(url, pool_size=1, statement_seconds=15), 4000, 50_000)
        writer.start()
        try:
            yield replace(direct, writer=writer), proxy
        finally:
            await writer.stop()
    assert verify(database_url).violations == ()


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
