"""Balances as of any time and as known at any other are the fold of the entries, by kept totals.

Chunks are of three entries here, so that a short history has many, and spans that are split.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ledger.accounts.administration import CreateAccount, CreateLedger
from app.ledger.accounts.balances import Balances, Direction, Effect
from app.ledger.accounts.state import Mode, Scope
from app.store import identity
from app.store.accounts import administration, totals
from app.store.accounts.history import (
    CurrencyTotals,
    PastBalances,
    balances_at_each,
    past_balances_by_account,
    totals_by_currency,
)
from app.store.accounts.totals import RollUp, roll_up, ticks
from app.store.audit.verify import verify
from app.store.database import Database, Snapshot
from app.store.transactions.writer import Writer

from .books import CREDIT, DEBIT, Book, writing

TODAY = datetime(2026, 6, 1, tzinfo=UTC)
EARLIEST = datetime(1, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
NAMES = count()

MOMENTS = st.one_of(
    st.sampled_from([TODAY, TODAY + MICROSECOND, EARLIEST, LATEST]),
    st.integers(-40, 40).map(lambda number: TODAY + timedelta(hours=7 * number)),
    st.datetimes(timezones=st.just(UTC)),
    st.none(),
)
STEPS = st.tuples(
    st.sampled_from(["post", "post", "hold", "settle", "void", "roll up"]),
    st.integers(1, 50),
    st.booleans(),
    MOMENTS,
)
Step = tuple[str, int, bool, datetime | None]
PLACES = st.none() | st.tuples(st.integers(0, 100), st.integers(-1, 1))
Place = tuple[int, int] | None


class Line(NamedTuple):
    """An entry, as it was recorded."""

    account_id: UUID
    sequence: int
    direction: str
    effect: str
    amount: int
    effective_at: datetime
    recorded_at: datetime


@dataclass
class Desk:
    """A database, its writer, and ledgers to write into."""

    url: str
    database: Database
    writer: Writer
    scope: Scope

    async def open_book(self) -> Book:
        ledger_id = uuid4()
        accounts = {"one": uuid4(), "two": uuid4()}
        async with self.database.writing() as connection:
            await administration.create_ledger(
                connection, CreateLedger(self.scope, ledger_id, "Ledger")
            )
            await administration.create_accounts(
                connection,
                [
                    CreateAccount(self.scope, account_id, ledger_id, name, DEBIT, "EUR", 2)
                    for name, account_id in accounts.items()
                ],
            )
        return Book(self.scope, ledger_id, accounts)

    async def post(self, book: Book, amount: int, at: datetime | None, **more: Any) -> str:
        """Post or hold an amount from `one` to `two`, and return the name of the transaction."""
        name = f"transaction {next(NAMES)}"
        posting = book.post(name, ("one", DEBIT, amount), ("two", CREDIT, amount), **more)
        await self.writer.write(replace(posting, effective_at=at))
        return name

    async def live(self, book: Book, steps: Iterable[Step]) -> None:
        """Live through a history."""
        holds: list[str] = []
        for kind, amount, final, at in steps:
            if kind == "roll up":
                await self.roll_up(book)
            elif kind == "post":
                await self.post(book, amount, at)
            elif kind == "hold":  # more than the parts below use up
                holds.append(await self.post(book, 1000 + amount, at, pending=True))
            elif kind == "void" and holds:
                await self.writer.write(book.void(holds.pop(), f"void {next(NAMES)}"))
            elif kind == "settle" and holds:
                part = [("one", DEBIT, 1), ("two", CREDIT, 1)]
                key = f"settle {next(NAMES)}"
                name = holds.pop() if final else holds[-1]
                await self.writer.write(book.settle(name, key, *part, final=final))

    async def roll_up(self, book: Book, accounts: Sequence[str] = ("one", "two")) -> None:
        async with await self.database.connect() as connection:
            for account in accounts:
                await roll_up(connection, self.scope.organization_id, book.accounts[account])

    async def lines(self, book: Book) -> list[Line]:
        async with self.database.writing() as connection:
            cursor = await connection.execute(
                f"SELECT {', '.join(Line._fields)} FROM entries WHERE ledger_id = %s",
                [book.ledger_id],
            )
            return [Line._make(row) for row in await cursor.fetchall()]

    def snapshot(self) -> Snapshot:
        return self.database.snapshot(self.scope)

    def rows(self, book: Book, account: str) -> list[tuple[Any, ...]]:
        """The kept totals of an account, without its ids."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(
                "SELECT level, span, sequence, latest, entries, split, posted_debits,"
                " posted_credits, pending_debits, pending_credits FROM account_totals"
                " WHERE account_id = %s ORDER BY level DESC, span, sequence",
                [book.accounts[account]],
            ).fetchall()


@pytest_asyncio.fixture
async def desk(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(totals, "CHUNK", 3)
    async with writing(database_url) as (database, writer):
        async with database.writing() as connection:
            organization = await identity.create_organization(connection, "Ours")
        yield Desk(database_url, database, writer, Scope(organization.organization_id, Mode.LIVE))
    assert verify(database_url).violations == ()


def fold(lines: Iterable[Line], account_id: UUID) -> PastBalances:
    """Add up entries one by one; the sums of a choice of them may be below zero."""
    balances, version = Balances(), 0
    for line in lines:
        if line.account_id == account_id:
            balances = balances.after(Effect(line.effect), Direction(line.direction), line.amount)
            version = max(version, line.sequence)
    return PastBalances(balances, version)


@settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=st.lists(STEPS, min_size=1, max_size=25),
    times=st.lists(st.tuples(PLACES, PLACES), min_size=1, max_size=8),
    moments=st.lists(PLACES, min_size=1, max_size=9),
)
async def test_balances_are_the_fold_at_any_two_times(
    desk: Desk, steps: list[Step], times: list[tuple[Place, Place]], moments: list[Place]
) -> None:
    """However entries were dated and however far totals are kept, for accounts and for ledgers."""
    book = await desk.open_book()
    await desk.live(book, steps)
    lines = await desk.lines(book)
    effective = sorted({line.effective_at for line in lines} | {TODAY, EARLIEST, LATEST})
    recorded = sorted({line.recorded_at for line in lines} | {TODAY, LATEST})
    ids = list(book.accounts.values())
    snapshot = desk.snapshot()
    for asked_effective, asked_recorded in times:
        as_of, known_at = near(effective, asked_effective), near(recorded, asked_recorded)
        seen = [
            line
            for line in lines
            if line.effective_at <= (as_of or LATEST) and line.recorded_at <= (known_at or LATEST)
        ]
        folds = {account_id: fold(seen, account_id) for account_id in ids}
        found = await past_balances_by_account(snapshot, ids, as_of, known_at)
        assert found == {account_id: past for account_id, past in folds.items() if past.version}
        totals = zip(*(astuple(past.balances) for past in folds.values()), strict=True)
        assert await totals_by_currency(snapshot, [book.ledger_id], as_of, known_at) == {
            book.ledger_id: [CurrencyTotals("EUR", 2, 2, Balances(*map(sum, totals)))]
        }
    edges = sorted({near(effective, place) or TODAY for place in moments})
    points = await balances_at_each(snapshot, ids, edges)
    for account_id in ids:
        expected = [
            fold([line for line in lines if line.effective_at < edge], account_id) for edge in edges
        ]
        assert points.get(account_id, [PastBalances(Balances(), 0)] * len(edges)) == expected
    await snapshot.close()


def near(moments: Sequence[datetime], place: Place) -> datetime | None:
    """One of the moments, or the one right before or behind it, where there is such; or none."""
    if place is None:
        return None
    number, aside = place
    moment = moments[number % len(moments)]
    within = ticks(EARLIEST) <= ticks(moment) + aside <= ticks(LATEST)
    return moment + aside * MICROSECOND if within else moment


async def test_a_span_is_split_once_it_has_more_than_a_chunk(desk: Desk) -> None:
    """A few entries cost one row a chunk; many at one moment are kept down to the microsecond."""
    book = await desk.open_book()
    for _ in range(3):
        await desk.post(book, 1, TODAY)
    await desk.roll_up(book)
    assert desk.rows(book, "one") == [(15, 0, 3, 3, 3, False, 3, 0, 0, 0)]
    await desk.post(book, 1, None)
    for _ in range(2):
        await desk.post(book, 1, TODAY, pending=True)
    await desk.roll_up(book)
    rows = desk.rows(book, "one")
    assert rows[:2] == [
        (15, 0, 3, 3, 3, False, 3, 0, 0, 0),
        (15, 0, 6, 6, 6, True, 4, 0, 2, 0),
    ]
    assert [row for row in rows if row[0] == 0] == [(0, ticks(TODAY), 6, 6, 5, False, 3, 0, 2, 0)]


async def test_rolling_up_again_or_at_once_changes_nothing(desk: Desk) -> None:
    """Rows follow from the entries: who adds them, when and how often makes no difference."""
    book = await desk.open_book()
    for number in range(20):
        await desk.post(book, number + 1, TODAY - timedelta(hours=number % 5))
    await desk.roll_up(book, ["one"])
    first = desk.rows(book, "one")
    await asyncio.gather(*(desk.roll_up(book) for _ in range(4)))
    assert desk.rows(book, "one") == first
    assert len(desk.rows(book, "two")) == len(first)


async def test_the_writer_tells_when_a_chunk_is_full(desk: Desk) -> None:
    """Totals follow the postings; after a lost hint the next one makes up for it."""
    book = await desk.open_book()
    for _ in range(6):  # nobody hears of these
        await desk.post(book, 1, TODAY)
    keeper = RollUp(desk.database)
    desk.writer.on_written = keeper.hint
    keeper.start()
    for _ in range(2):
        await desk.post(book, 1, TODAY)
    assert not keeper.due
    await desk.post(book, 1, TODAY)
    while {row[2] for row in desk.rows(book, "two") if row[0] == 15} != {3, 6, 9}:
        await asyncio.sleep(0.01)
    await keeper.stop()


async def test_a_dry_run_tells_nothing(desk: Desk) -> None:
    """What was not recorded fills no chunk."""
    book = await desk.open_book()
    keeper = RollUp(desk.database)
    desk.writer.on_written = keeper.hint
    for _ in range(2):
        await desk.post(book, 1, TODAY)
    posting = book.post("try", ("one", DEBIT, 1), ("two", CREDIT, 1))
    await desk.writer.write(replace(posting, dry_run=True))
    assert not keeper.due
    await desk.writer.write(posting)
    assert set(keeper.due) == {
        (desk.scope.organization_id, account_id) for account_id in book.accounts.values()
    }


async def test_rolling_up_waits_for_no_posting(desk: Desk) -> None:
    """Totals are added while another transaction holds the locks that postings take."""
    book = await desk.open_book()
    for _ in range(3):
        await desk.post(book, 1, TODAY)
    with psycopg.connect(desk.url) as other:
        other.execute("SELECT FROM ledgers FOR NO KEY UPDATE")
        other.execute("SELECT FROM accounts FOR UPDATE")
        await asyncio.wait_for(desk.roll_up(book), 5)
    assert desk.rows(book, "one")
