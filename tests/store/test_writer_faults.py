"""The writer against faults that the database itself brings about, and against other writers."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
from psycopg import errors
from uuid_utils.compat import uuid7

from app.ledger.accounts.administration import CreateAccount, CreateLedger
from app.ledger.accounts.balances import Direction
from app.ledger.refusals import (
    AccountNotOpen,
    InsufficientFunds,
    LedgerArchived,
    Refusal,
    TransactionNotPending,
)
from app.ledger.transactions.commands import (
    EntryDraft,
    PostTransaction,
    SettleLine,
    SettleTransaction,
    VoidTransaction,
)
from app.ledger.transactions.posting import Recorded, Replayed
from app.store.accounts.administration import create_accounts, create_ledger
from app.store.audit.verify import verify
from app.store.database import Connection, Database, Unavailable
from app.store.pipeline import Pipeline
from app.store.transactions import writer as writing
from app.store.transactions.posting import Answer, Group, post
from app.store.transactions.queue import FairQueue
from app.store.transactions.writer import Writer

from .test_writer import Bench, keys_of, opened, terminate_waiting, until_waiting


@pytest_asyncio.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    async with opened(database_url) as made:
        yield made
    assert verify(database_url).violations == ()


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What went wrong in any batch, though it was mended by another attempt."""
    seen: list[Exception] = []

    async def watched(pipeline: Pipeline, groups: Sequence[Group]) -> list[Answer]:
        try:
            return await post(pipeline, groups)
        except Exception as fault:
            seen.append(fault)
            raise

    monkeypatch.setattr(writing, "post", watched)
    return seen


@asynccontextmanager
async def several_writers(bench: Bench, count: int) -> AsyncIterator[list[Bench]]:
    """The same ledger through writers of their own, as that many server processes have."""
    async with AsyncExitStack() as stack:
        benches = []
        for _ in range(count):
            writer = Writer(Database(bench.url, pool_size=1, statement_seconds=15), 400, 50_000)
            writer.start()
            stack.push_async_callback(writer.stop)
            benches.append(replace(bench, writer=writer))
        yield benches


MOMENTS = {
    "at insert": "TRIGGER fault BEFORE INSERT ON transaction_events",
    "at commit": (
        "CONSTRAINT TRIGGER fault AFTER INSERT ON transaction_events DEFERRABLE INITIALLY DEFERRED"
    ),
}


@asynccontextmanager
async def fault(bench: Bench, moment: str, body: str) -> AsyncIterator[None]:
    """Have the database do something with each event, as it is inserted or at COMMIT."""
    async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as owner:
        await owner.execute(
            "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql"
            f" AS $$ BEGIN {body}; RETURN NEW; END $$"
        )
        await owner.execute(f"CREATE {MOMENTS[moment]} FOR EACH ROW EXECUTE FUNCTION fault()")
        try:
            yield
        finally:
            await owner.execute("DROP FUNCTION fault() CASCADE")


async def one_batch(bench: Bench, commands: Sequence[PostTransaction]) -> list[object]:
    """Have the writer take all the commands as one batch."""
    async with bench.database.writing() as connection:
        await connection.execute("SELECT FROM ledgers FOR NO KEY UPDATE")
        first = bench.writer.submit([bench.posting("first")])
        while bench.writer.batches == 0:
            await asyncio.sleep(0)
        waiting = [bench.writer.submit([command]) for command in commands]
    await first
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    return [answer[0] if isinstance(answer, list) else answer for answer in answers]


# ---- faults of the database ----------------------------------------------------------------------


@pytest.mark.parametrize("moment", MOMENTS)
async def test_poison_in_the_database(bench: Bench, moment: str) -> None:
    """A posting that the database refuses, at once or only at COMMIT, fails alone in its batch."""
    poisonous = "NEW.idempotency_key ~ 'poison'"
    body = f"IF {poisonous} THEN RAISE 'no' USING ERRCODE = '23514'; END IF"
    keys = [f"key-{number}" for number in range(20)]
    keys[3], keys[19] = "poison-3", "poison-19"
    async with fault(bench, moment, body):
        answers = await one_batch(bench, [bench.posting(key) for key in keys])
    assert [type(answer) for answer in answers] == [
        errors.CheckViolation if key.startswith("poison") else Recorded for key in keys
    ]
    assert await bench.total() == (19, 38, 19)
    assert isinstance(await bench.writer.write(bench.posting("poison-3")), Recorded)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_faults_that_pass_by_themselves(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, moment: str, state: str
) -> None:
    """A serialization failure or deadlock, at a statement or at COMMIT, costs another attempt."""
    monkeypatch.setattr(writing, "FIRST_PAUSE_SECONDS", 0.001)
    async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as owner:
        await owner.execute("CREATE SEQUENCE faults")
        await owner.execute("GRANT USAGE ON SEQUENCE faults TO ledgers_app")
        # A sequence forgets nothing in a rollback: the first two attempts fail.
        body = f"IF nextval('faults') <= 2 THEN RAISE 'no' USING ERRCODE='{state}'; END IF"
        async with fault(bench, moment, body):
            answers = await bench.post_all(["a", "b", "c"])
        assert [type(answer) for answer in answers] == [Recorded] * 3
        assert await bench.total() == (3, 6, 3)
        await owner.execute("DROP SEQUENCE faults")


@pytest.mark.parametrize("count", [1, 20])
async def test_backend_ended_at_commit(bench: Bench, faults: list[Exception], count: int) -> None:
    """A backend that is ended while it commits leaves nothing by halves; all is sent again."""
    async with (
        await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as other,
        fault(bench, "at commit", "PERFORM pg_advisory_xact_lock_shared(1)"),
    ):
        await other.execute("SELECT pg_advisory_lock(1)")
        waiting = asyncio.ensure_future(bench.post_all([f"key-{n}" for n in range(count)]))
        await until_waiting(bench, 1)
        await terminate_waiting(bench)
        await until_waiting(bench, 1)
        assert await bench.total() == (0, 0, 0)
        await other.execute("SELECT pg_advisory_unlock(1)")
        assert [type(answer) for answer in await waiting] == [Recorded] * count
    assert len(faults) == 1
    assert isinstance(faults[0], psycopg.OperationalError)
    assert await bench.total() == (count, 2 * count, count)


async def test_backend_ended_between_batches(bench: Bench) -> None:
    """A session that was ended while it had nothing to do is replaced when there is."""
    await bench.writer.write(bench.posting("before"))
    pipeline = bench.writer._pipeline  # noqa: SLF001
    assert pipeline is not None
    connection = pipeline.connection
    async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as owner:
        await owner.execute("SELECT pg_terminate_backend(%s, 10000)", [connection.info.backend_pid])
    assert isinstance(await bench.writer.write(bench.posting("after")), Recorded)
    assert await bench.total() == (2, 4, 2)


@pytest.mark.parametrize("kind", writing.LASTING, ids=lambda k: k.__name__)
async def test_what_is_not_attempted_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: type[psycopg.Error]
) -> None:
    """What was waited for in vain is not waited for again: the client is told to come again."""
    attempts = 0

    async def failing(_: Pipeline, __: Sequence[Group]) -> list[Answer]:
        nonlocal attempts
        attempts += 1
        raise kind("injected")

    monkeypatch.setattr(writing, "post", failing)
    answers = await bench.post_all(["a", "b"])
    assert [type(answer) for answer in answers] == [Unavailable] * 2
    assert attempts == bench.writer.batches
    assert await bench.total() == (0, 0, 0)


@pytest.mark.parametrize(
    "kind", [*writing.PASSING, *writing.OUTAGES, psycopg.OperationalError], ids=lambda k: k.__name__
)
async def test_what_is_attempted_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: type[psycopg.Error]
) -> None:
    """Of a lone posting, too, only the last of several passing faults would reach the client."""
    monkeypatch.setattr(writing, "FIRST_PAUSE_SECONDS", 0.001)
    left = writing.ATTEMPTS - 1

    async def failing(pipeline: Pipeline, groups: Sequence[Group]) -> list[Answer]:
        nonlocal left
        if left:
            left -= 1
            raise kind("injected")
        return await post(pipeline, groups)

    monkeypatch.setattr(writing, "post", failing)
    assert isinstance(await bench.writer.write(bench.posting("again")), Recorded)
    assert left == 0
    left = writing.ATTEMPTS
    with pytest.raises(Unavailable):
        await bench.writer.write(bench.posting("never"))
    assert await bench.total() == (1, 2, 1)


async def test_a_standby_is_left(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that has become read-only is left, for the address may lead to another by now."""
    monkeypatch.setattr(writing, "FIRST_PAUSE_SECONDS", 0.001)
    await bench.writer.write(bench.posting("before"))
    pipeline = bench.writer._pipeline  # noqa: SLF001
    assert pipeline is not None
    connection = pipeline.connection
    await connection.execute("SET default_transaction_read_only = on")
    assert isinstance(await bench.writer.write(bench.posting("after")), Recorded)
    assert connection.closed
    assert await bench.total() == (2, 4, 2)


async def test_who_has_gone_is_not_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a batch had to be split, nothing is attempted for clients that have given up."""
    attempts: list[list[str]] = []
    monkeypatch.setattr(writing, "FIRST_PAUSE_SECONDS", 0.001)

    async def failing(pipeline: Pipeline, groups: Sequence[Group]) -> list[Answer]:
        keys = [key for group in groups for key in keys_of(group)]
        attempts.append(keys)
        if len(keys) > 1:
            for answer in waiting[1:9]:
                answer.cancel()
            raise errors.DeadlockDetected("injected")
        return await post(pipeline, groups)

    monkeypatch.setattr(writing, "post", failing)
    waiting = [bench.writer.submit([bench.posting(f"key-{n}")]) for n in range(10)]
    await asyncio.gather(waiting[0], waiting[9])
    assert attempts[writing.ATTEMPTS :] == [["key-0"], ["key-9"]]
    assert await bench.total() == (2, 4, 2)


async def test_a_locked_ledger_stalls_itself_only(bench: Bench, faults: list[Exception]) -> None:
    """Who holds a ledger for long makes its writers come again; the others of their batch pass.

    It is waited for twice, however many want it: in the batch, and by those who want it together.
    """
    async with bench.database.writing() as connection:
        ledger = await create_ledger(connection, CreateLedger(bench.scope, uuid7(), "Other"))
        accounts = await create_accounts(
            connection,
            [
                CreateAccount(bench.scope, uuid7(), ledger.ledger_id, n, Direction.CREDIT, "USD", 2)
                for n in "ab"
            ],
        )
    free, floored = (account.account_id for account in accounts)
    other = replace(bench, ledger_id=ledger.ledger_id, free=free, floored=floored)
    async with await psycopg.AsyncConnection.connect(bench.url) as blocker:
        await blocker.execute(
            "SELECT FROM ledgers WHERE ledger_id = %s FOR UPDATE", [bench.ledger_id]
        )
        answers = await asyncio.gather(
            *(b.writer.submit([b.posting(f"key-{n}")]) for n in range(5) for b in (bench, other)),
            return_exceptions=True,
        )
    assert [type(answer) for answer in answers] == [Unavailable, list] * 5
    assert [type(fault) for fault in faults] == [errors.LockNotAvailable] * 2
    assert await other.total() == (5, 10, 5)
    again = await asyncio.gather(*(bench.writer.write(bench.posting(f"key-{n}")) for n in range(5)))
    assert [type(answer) for answer in again] == [Recorded] * 5


async def test_a_fault_of_ours_fails_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception between the round trips reaches its caller only; the writer goes on."""

    async def failing(pipeline: Pipeline, groups: Sequence[Group]) -> list[Answer]:
        await pipeline.run(("BEGIN", ()), ("SELECT FROM ledgers FOR NO KEY UPDATE", ()))
        if any("poison" in keys_of(group) for group in groups):
            raise KeyError("injected")
        await pipeline.run(("ROLLBACK", ()))
        return await post(pipeline, groups)

    monkeypatch.setattr(writing, "post", failing)
    answers = await one_batch(bench, [bench.posting(key) for key in ("a", "b", "poison")])
    assert [type(answer) for answer in answers] == [Recorded, Recorded, KeyError]
    async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as owner:
        cursor = await owner.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state LIKE 'idle in transaction%'"
        )
        assert await cursor.fetchall() == [(0,)], "no transaction is left open"
    assert await bench.total() == (3, 6, 3)


@pytest.mark.parametrize("place", ["take", "answer", "tell", "learn"])
async def test_a_fault_of_the_writer_itself(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Wherever the writer fails, all who wait hear of it; it goes on, and keys do their work."""
    left = 1

    def failing(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise RuntimeError("injected")

    async def failing_later(*_: object) -> None:
        failing()

    with monkeypatch.context() as patch:
        match place:
            case "take":
                patch.setattr(FairQueue, "take", failing)
            case "answer":
                patch.setattr(Writer, "_attempt", failing_later)
                patch.setattr(writing, "_parts", failing)
                left = 2
            case "tell":
                bench.writer.on_written = failing
            case "learn":
                patch.setattr(Writer, "_learn", failing)
        waiting = [bench.writer.submit([bench.posting(key)]) for key in ("a", "b")]
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        expected = list if place == "learn" else Unavailable
        assert [type(answer) for answer in answers] == [expected] * 2
    bench.writer.on_written = None
    for key in ("a", "b", "c"):
        assert isinstance(await bench.writer.write(bench.posting(key)), Recorded | Replayed)
    assert await bench.total() == (3, 6, 3)


async def test_stopping_in_an_outage(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that is stopped while the database is away answers all that waits, and ends."""

    async def refused() -> Connection:
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(writing, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(bench.database, "connect", refused)
    bench.writer.max_batch_entries = 10
    waiting = [bench.writer.submit([bench.posting(f"key-{n}")]) for n in range(20)]
    await bench.writer.stop()
    assert [type(answer.exception()) for answer in waiting] == [Unavailable] * 20
    assert await bench.total() == (0, 0, 0)


async def test_a_trial_leaves_nothing_to_its_neighbours(bench: Bench) -> None:
    """What is only tried, alone or as a group, is not there for those behind it in the batch."""
    tried = [replace(bench.posting(f"tried-{n}", 5), dry_run=True) for n in range(3)]
    spent = bench.posting("spent", 5, debit=bench.floored, credit=bench.free)
    answers = await asyncio.gather(
        bench.writer.submit(tried[:2]),
        bench.writer.submit(tried[2:]),
        bench.writer.submit([spent]),
        bench.writer.submit([bench.posting("tried-0", 1)]),
    )
    assert isinstance(answers[2], InsufficientFunds)
    assert isinstance(answers[3], list)
    assert isinstance(answers[3][0], Recorded)
    assert answers[3][0].transaction.sequence == 1
    assert await bench.total() == (1, 2, 1)


# ---- several writers, as of several servers ------------------------------------------------------


async def more_accounts(bench: Bench, count: int) -> list[UUID]:
    """Open further accounts without a floor."""
    commands = [
        CreateAccount(bench.scope, uuid7(), bench.ledger_id, f"a{n}", Direction.CREDIT, "USD", 2)
        for n in range(count)
    ]
    async with bench.database.writing() as connection:
        return [account.account_id for account in await create_accounts(connection, commands)]


async def test_one_writer_at_a_time_in_a_ledger(bench: Bench, faults: list[Exception]) -> None:
    """Batches over different accounts of a ledger wait for each other, and for nothing else."""
    one, two, three, four = await more_accounts(bench, 4)
    async with several_writers(bench, 2) as (first, second):
        async with bench.database.writing() as connection:
            await connection.execute(
                "SELECT FROM accounts WHERE account_id = %s FOR NO KEY UPDATE", [one]
            )
            posting = bench.posting("first", debit=one, credit=two)
            waiting = [first.writer.submit([posting])]
            await until_waiting(bench, 1)
            posting = bench.posting("second", debit=three, credit=four)
            waiting.append(second.writer.submit([posting]))
            await until_waiting(bench, 2)
        answers = await asyncio.gather(*waiting)
    sequences = [
        a[0].transaction.sequence
        for a in answers
        if isinstance(a, list) and isinstance(a[0], Recorded)
    ]
    assert sequences == [1, 2]
    assert faults == []


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ("UPDATE accounts SET status = 'frozen' WHERE account_id = %(account)s", AccountNotOpen),
        ("UPDATE ledgers SET archived_at = now() WHERE ledger_id = %(ledger)s", LedgerArchived),
    ],
)
async def test_what_is_changing_is_waited_for(
    bench: Bench, change: LiteralString, refusal: type[Refusal]
) -> None:
    """A posting waits for who is freezing its account or archiving its ledger, and is refused."""
    async with bench.database.writing() as connection:
        await connection.execute(change, {"account": bench.floored, "ledger": bench.ledger_id})
        waiting = bench.writer.submit([bench.posting("late")])
        await until_waiting(bench, 1)
    assert isinstance(await waiting, refusal)
    assert await bench.total() == (0, 0, 0)


async def test_opposing_postings_of_several_writers(bench: Bench, faults: list[Exception]) -> None:
    """Writers that post over the same accounts in any order never get in each other's way."""
    chance = random.Random(7)
    accounts = await more_accounts(bench, 8)
    commands = []
    for number in range(400):
        chosen = chance.sample(accounts, 6)
        drafts = tuple(
            EntryDraft(account, side, 3)
            for account, side in zip(chosen, (Direction.DEBIT, Direction.CREDIT) * 3, strict=True)
        )
        commands.append(
            PostTransaction(bench.scope, uuid7(), bench.ledger_id, f"key-{number}", drafts)
        )
    async with several_writers(bench, 4) as benches:
        decisions = await asyncio.gather(
            *(benches[n % 4].writer.write(command) for n, command in enumerate(commands))
        )
        assert [type(decision) for decision in decisions] == [Recorded] * 400
        sequences = sorted(d.transaction.sequence for d in decisions if isinstance(d, Recorded))
        assert sequences == list(range(1, 401))
    assert faults == []
    assert await bench.total() == (400, 2400, 0)


async def test_the_last_unit_among_writers(bench: Bench) -> None:
    """Forty clients of four writers race for ten units: ten get one, thirty are refused."""
    await bench.writer.write(bench.posting("open", 10))
    async with several_writers(bench, 4) as benches:
        answers = await asyncio.gather(
            *(
                benches[n % 4].writer.write(
                    bench.posting(f"spend-{n}", debit=bench.floored, credit=bench.free)
                )
                for n in range(40)
            ),
            return_exceptions=True,
        )
    names = sorted(type(answer).__name__ for answer in answers)
    assert names == [InsufficientFunds.__name__] * 30 + [Recorded.__name__] * 10
    assert await bench.total() == (11, 22, 0)


async def test_one_key_among_writers(bench: Bench) -> None:
    """One key sent through four writers at once is recorded once, whoever comes first."""
    async with several_writers(bench, 4) as benches:
        answers = await asyncio.gather(
            *(benches[n % 4].writer.write(bench.posting("same", 5)) for n in range(40))
        )
    names = sorted(type(answer).__name__ for answer in answers)
    assert names == [Recorded.__name__] + [Replayed.__name__] * 39
    assert await bench.total() == (1, 2, 5)


async def test_one_hold_among_writers(bench: Bench) -> None:
    """Settlements and voids of one hold through four writers never release more than it has."""
    hold = replace(bench.posting("hold", 10), pending=True)
    await bench.writer.write(hold)
    lines = (
        SettleLine(bench.free, Direction.DEBIT, 3),
        SettleLine(bench.floored, Direction.CREDIT, 3),
    )
    commands: list[SettleTransaction | VoidTransaction] = [
        SettleTransaction(bench.scope, hold.transaction_id, f"s{n}", lines, final=False)
        for n in range(2)
    ]
    commands += [VoidTransaction(bench.scope, hold.transaction_id, f"v{n}") for n in range(10)]
    async with several_writers(bench, 4) as benches:
        answers = await asyncio.gather(
            *(benches[n % 4].writer.write(command) for n, command in enumerate(commands)),
            return_exceptions=True,
        )
    recorded = [answer for answer in answers if isinstance(answer, Recorded)]
    others = [answer for answer in answers if not isinstance(answer, Recorded)]
    assert {type(answer) for answer in others} == {TransactionNotPending}
    settled = sum(recorded[n].event.kind.value == "settled" for n in range(len(recorded)))
    assert len(recorded) == settled + 1
    assert await bench.total() == (1, 2 + 2 * len(recorded), 3 * settled)
