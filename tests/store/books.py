"""Small books with everything in them that the writer can write, for tests to look at and break.

Three ledgers of two organizations. What happens in `main`, by sequence of transaction:

    1  posted in one currency
    2  posted in two currencies, with metadata
    3  held, settled in part, still pending
    4  held, settled in part, then what was left
    5  held, voided
    6  held, settled in part and the rest released
    7  held, settled in part, the rest voided
    8  held, on both sides of each account
    9  posted, down to the wallet's floor

In `life`:

    1  posted, reversed in part, its labels corrected twice
    2  held, expired
    3  held, settled by itself, reversed
    4  held, to settle and to expire some day
    5  the reversal of a part of 1
    6  the reversal of 3

There an external account, `giro`, tells of the cash in two statements that overlap: lines 1 to 4,
and 2 to 5.

In `credit`:

    1  posted, 100 of credit until 2100
    2  posted, 50 of credit that has expired since
    3  posted, 20 spent, of the 50
    4  the expiry of the other 30
    5  held 30, settled in part: 10 of the 100; still pending

In `bank`, beside two statements that are reconciled with it. March, which is closed:

    1  posted, as line 1 has it
    2  the adjustment of line 2, which nobody had posted

Then of April, which waits for another run: lines 3 to 11 with one discrepancy or more of each kind
but duplicate entries, a pair that was rejected, and a line that was accepted:

    3  posted in March, line 3 comes in April
    4  posted, as line 4 has it, and line 8 once more
    5  posted, 2 more than line 5 says
    6  posted, long before line 6
    7  posted, as line 7 has it, which was rejected
    8  an adjustment of line 10
    9  its reversal

In `stated`, whose wallet has two statements, the second with an adjustment, and a schedule:

    1  posted, 1000 of the wallet
    2  posted, 100 back; then comes the first statement
    3  posted, 50, backdated into that; then comes the second one
    4  the payout of a settlement of 1 to 3
    5  its reversal
    6  the payout of another settlement of 1 to 3
    7  posted, 10, not settled

In the others a sale is posted and a payout held and settled, all at one moment. Then `other` is
closed through 2020, and in part reopened; and the totals of its cash are kept, entry by entry.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid5

from app.ledger.accounts.administration import CreateAccount, CreateLedger
from app.ledger.accounts.balances import Direction
from app.ledger.accounts.periods import MovePeriod, PeriodEventKind
from app.ledger.accounts.state import Mode, Scope
from app.ledger.reconciliation import outside as outside_records
from app.ledger.statements.schedules import CreateStatementSchedule
from app.ledger.statements.settlements import CreateSettlement
from app.ledger.statements.statements import CreateStatement
from app.ledger.transactions.commands import (
    Command,
    EntryDraft,
    ExpireLot,
    HoldReason,
    LotDraft,
    PostTransaction,
    ReverseTransaction,
    RunDue,
    SettleLine,
    SettleTransaction,
    Task,
    UpdateTransaction,
    VoidTransaction,
)
from app.ledger.transactions.posting import Recorded
from app.store import identity
from app.store.accounts import administration, totals
from app.store.database import Connection, Database
from app.store.reconciliation import intake, outside
from app.store.statements.schedules import create_schedule
from app.store.statements.statements import create_statement
from app.store.transactions.posting import Answer
from app.store.transactions.writer import Writer

DEBIT, CREDIT = Direction.DEBIT, Direction.CREDIT
NAMES = UUID("0197a000-0000-7000-8000-000000000000")


@dataclass(frozen=True, slots=True)
class Book:
    """A ledger, its accounts by name, and how to write into it."""

    scope: Scope
    ledger_id: UUID
    accounts: Mapping[str, UUID]

    def transaction_id(self, name: str) -> UUID:
        return uuid5(self.ledger_id, name)

    def post(
        self,
        name: str,
        *lines: tuple[str, Direction, int],
        pending: bool = False,
        external_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        posts_at: datetime | None = None,
        expires_at: datetime | None = None,
        lot: LotDraft | None = None,
    ) -> PostTransaction:
        """Post or hold the transaction of that name; its name is its idempotency key too.

        The entry on the wallet opens the lot.
        """
        return PostTransaction(
            scope=self.scope,
            transaction_id=self.transaction_id(name),
            ledger_id=self.ledger_id,
            idempotency_key=name,
            entries=tuple(
                EntryDraft(
                    self.accounts[account],
                    direction,
                    amount,
                    metadata or {},
                    lot=lot if account == "wallet" else None,
                )
                for account, direction, amount in lines
            ),
            pending=pending,
            external_id=external_id,
            metadata=metadata or {},
            reason=HoldReason.RESERVE if posts_at or expires_at else None,
            posts_at=posts_at,
            expires_at=expires_at,
        )

    def settle(
        self, name: str, key: str, *lines: tuple[str, Direction, int], final: bool = True
    ) -> SettleTransaction:
        """Settle part of the transaction of that name, or without lines all that is left."""
        return SettleTransaction(
            scope=self.scope,
            transaction_id=self.transaction_id(name),
            idempotency_key=key,
            lines=tuple(SettleLine(self.accounts[a], d, amount) for a, d, amount in lines) or None,
            final=final,
        )

    def void(self, name: str, key: str) -> VoidTransaction:
        return VoidTransaction(self.scope, self.transaction_id(name), key)

    def reverse(
        self, name: str, reversal: str, *lines: tuple[str, Direction, int]
    ) -> ReverseTransaction:
        """Reverse part of the transaction of that name, or all that is left, by another one."""
        return ReverseTransaction(
            scope=self.scope,
            transaction_id=self.transaction_id(name),
            reversal_id=self.transaction_id(reversal),
            idempotency_key=reversal,
            lines=tuple(SettleLine(self.accounts[a], d, amount) for a, d, amount in lines) or None,
        )

    def update(self, name: str, key: str, **changes: Any) -> UpdateTransaction:
        return UpdateTransaction(self.scope, self.transaction_id(name), key, changes)

    def run_due(self, name: str) -> RunDue:
        return RunDue(self.scope, self.transaction_id(name))

    def lot(self, name: str, expires_at: datetime) -> LotDraft:
        """A credit lot of the wallet, which expires to the cash account."""
        return LotDraft(self.transaction_id(name), expires_at, self.accounts["cash"], name)

    def expire(self, name: str, lot: str) -> ExpireLot:
        """Make the transaction of that name, by which the wallet's lot expires."""
        return ExpireLot(
            self.scope,
            self.transaction_id(name),
            self.ledger_id,
            self.accounts["wallet"],
            self.transaction_id(lot),
            self.accounts["cash"],
        )


@dataclass(frozen=True, slots=True)
class Books:
    """`foreign` is of another organization than all the others."""

    main: Book
    life: Book
    credit: Book
    bank: Book
    stated: Book
    other: Book
    foreign: Book


@asynccontextmanager
async def writing(url: str) -> AsyncIterator[tuple[Database, Writer]]:
    """A database and a writer on it; both are closed when the block ends."""
    database = Database(url, pool_size=2, statement_seconds=10)
    await database.open()
    writer = Writer(database, 400, 50_000)
    writer.start()
    try:
        yield database, writer
    finally:
        await writer.stop()
        await database.close()


async def write_books(url: str) -> Books:
    """Write the books into a migrated database, by the real writer."""
    async with writing(url) as (database, writer):
        async with database.writing() as connection:
            first = (await identity.create_organization(connection, "First")).organization_id
            second = (await identity.create_organization(connection, "Second")).organization_id
            books = Books(
                main=await open_book(connection, Scope(first, Mode.LIVE), "main"),
                life=await open_book(connection, Scope(first, Mode.LIVE), "life"),
                credit=await open_book(connection, Scope(first, Mode.LIVE), "credit"),
                bank=await open_book(connection, Scope(first, Mode.LIVE), "bank"),
                stated=await open_book(connection, Scope(first, Mode.LIVE), "stated"),
                other=await open_book(connection, Scope(first, Mode.LIVE), "other"),
                foreign=await open_book(connection, Scope(second, Mode.TEST), "foreign"),
            )
        for command in (*_commands(books.main), *_life(books.life)):
            await writer.submit([command])
        await _credit(books.credit, writer)
        await _stated(books.stated, database, writer)
        for book in (books.other, books.foreign):
            await writer.write_together(
                [
                    book.post("sale", ("cash", DEBIT, 1000), ("wallet", CREDIT, 1000)),
                    book.post("payout", ("wallet", DEBIT, 4), ("cash", CREDIT, 4), pending=True),
                    book.settle("payout", "payout, settled"),
                ]
            )
        await _tell(database, books.life)
        await _close(database, books.other)
        with patch.object(totals, "CHUNK", 1):
            async with await database.connect() as connection:
                await totals.roll_up(connection, first, books.other.accounts["cash"])
    return books


async def _tell(database: Database, book: Book) -> None:
    """What the bank says of `cash`: two statements that overlap."""
    giro = uuid5(book.ledger_id, "giro")
    days = [
        outside_records.Line(date(2026, 3, day), amount, "EUR", description="a card")
        for day, amount in ((1, 500), (2, -3), (2, -3), (3, 7), (4, 9))
    ]
    new = intake.NewImport(book.scope, NAMES, giro, "rows")
    async with database.writing() as connection:
        await outside.create_external_account(
            connection,
            outside_records.CreateExternalAccount(
                book.scope,
                giro,
                book.accounts["cash"],
                "Giro",
                outside_records.ExternalAccountKind.BANK,
            ),
        )
    for lines in (days[:4], days[1:]):
        said = outside_records.Statement("EUR", opening_balance=0, closing_balance=501)
        async with database.writing() as connection:
            digest = outside_records.digest_of_rows(said, lines)
            await intake.import_rows(connection, new, said, lines, digest)


async def _close(database: Database, book: Book) -> None:
    async with database.writing() as connection:
        key, _ = await identity.create_key(
            connection,
            book.scope.organization_id,
            name="Controller",
            mode=book.scope.mode,
            permissions=tuple(identity.Permission),
        )
        for kind, year in ((PeriodEventKind.CLOSED, 2020), (PeriodEventKind.REOPENED, 2019)):
            through = datetime(year, 12, 31, tzinfo=UTC)
            await administration.move_period(
                connection,
                MovePeriod(book.scope, book.ledger_id, kind, through, None, key.api_key_id),
            )


def _commands(book: Book) -> list[Command]:
    def hold(name: str, amount: int) -> PostTransaction:
        return book.post(name, ("wallet", DEBIT, amount), ("cash", CREDIT, amount), pending=True)

    def part(amount: int) -> tuple[tuple[str, Direction, int], tuple[str, Direction, int]]:
        return ("wallet", DEBIT, amount), ("cash", CREDIT, amount)

    return [
        book.post("sale", ("cash", DEBIT, 1000), ("wallet", CREDIT, 1000), external_id="order 1"),
        book.post(
            "exchange",
            *(("cash", DEBIT, 20), ("wallet", CREDIT, 20)),
            *(("dollars", CREDIT, 30), ("bank", DEBIT, 30)),
            external_id="order 2",
            metadata={"rate": "1.5"},
        ),
        hold("partly settled", 300),
        hold("settled", 100),
        book.settle("partly settled", "partly settled, 1", *part(50), final=False),
        book.settle("settled", "settled, 1", *part(60), final=False),
        book.settle("settled", "settled, 2"),
        hold("voided", 80),
        book.void("voided", "voided, 1"),
        hold("released", 40),
        book.settle("released", "released, 1", *part(10)),
        hold("given up", 70),
        book.settle("given up", "given up, 1", *part(20), final=False),
        book.void("given up", "given up, 2"),
        book.post("held", *part(200), ("cash", DEBIT, 25), ("wallet", CREDIT, 25), pending=True),
        book.post("payout", ("wallet", DEBIT, 390), ("cash", CREDIT, 390)),
    ]


def _life(book: Book) -> list[Task]:
    past, later = datetime(2026, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    latest = datetime(2100, 2, 1, tzinfo=UTC)

    def hold(name: str, amount: int, **terms: Any) -> PostTransaction:
        lines = ("wallet", DEBIT, amount), ("cash", CREDIT, amount)
        return book.post(name, *lines, pending=True, **terms)

    return [
        book.post("sale", ("cash", DEBIT, 1000), ("wallet", CREDIT, 1000)),
        hold("expired", 100, expires_at=past),
        book.run_due("expired"),
        hold("matured", 60, posts_at=past),
        book.run_due("matured"),
        hold("waiting", 30, posts_at=later, expires_at=latest),
        book.reverse("sale", "refund", ("wallet", CREDIT, 250), ("cash", DEBIT, 250)),
        book.reverse("matured", "undone"),
        book.update("sale", "sale, corrected", description="Order 7"),
        book.update("sale", "sale, once more", description="Order 8", metadata={"order": "8"}),
    ]


async def _credit(book: Book, writer: Writer) -> None:
    def spending(name: str, amount: int, *, pending: bool = False) -> PostTransaction:
        lines = ("wallet", DEBIT, amount), ("cash", CREDIT, amount)
        return book.post(name, *lines, pending=pending)

    later, soon = datetime(2100, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(seconds=1)
    for name, amount, expires_at in (("gift", 100, later), ("promotion", 50, soon)):
        lines = ("cash", DEBIT, amount), ("wallet", CREDIT, amount)
        await writer.write(book.post(name, *lines, lot=book.lot(f"{name} lot", expires_at)))
    await writer.write(spending("purchase", 20))
    expiry: Answer = []
    while not (isinstance(expiry, list) and expiry and isinstance(expiry[0], Recorded)):
        await asyncio.sleep(0.05)
        expiry = await writer.submit([book.expire("promotion, expired", "promotion lot")])
    await writer.write(spending("order", 30, pending=True))
    part = ("wallet", DEBIT, 10), ("cash", CREDIT, 10)
    await writer.write(book.settle("order", "order, settled", *part, final=False))


async def _stated(book: Book, database: Database, writer: Writer) -> None:
    def sale(name: str, amount: int) -> PostTransaction:
        return book.post(name, ("cash", DEBIT, amount), ("wallet", CREDIT, amount))

    async def state(name: str, from_at: datetime) -> datetime:
        to_at = datetime.now(UTC)
        wallet, statement_id = book.accounts["wallet"], book.transaction_id(name)
        command = CreateStatement(book.scope, statement_id, wallet, from_at, to_at, name)
        await create_statement(database, command)
        return to_at

    async def settle(name: str) -> None:
        settlement = CreateSettlement.of(
            book.scope,
            book.transaction_id(name),
            book.ledger_id,
            name,
            (book.accounts["wallet"], book.accounts["cash"]),
            up_to=datetime.now(UTC),
        )
        await writer.write(settlement)

    await writer.write(sale("sale", 1000))
    await writer.write(book.post("refund", ("wallet", DEBIT, 100), ("cash", CREDIT, 100)))
    end = await state("first", datetime(2026, 1, 1, tzinfo=UTC))
    backdated = datetime(2026, 2, 1, tzinfo=UTC)
    await writer.write(replace(sale("late sale", 50), effective_at=backdated))
    await state("second", end)
    await settle("settlement")
    await writer.write(book.reverse("settlement", "settlement, undone"))
    await settle("settlement, again")
    await writer.write(sale("last sale", 10))
    async with database.writing() as connection:
        await create_schedule(
            connection,
            CreateStatementSchedule(
                book.scope, book.transaction_id("monthly"), book.ledger_id, "UTC", date(2090, 1, 1)
            ),
        )


async def open_book(connection: Connection, scope: Scope, name: str) -> Book:
    numbers = count(1)
    ledger_id = uuid5(NAMES, name)
    await administration.create_ledger(connection, CreateLedger(scope, ledger_id, name))
    accounts = {
        account: (uuid5(ledger_id, account), normal, currency, floor)
        for account, normal, currency, floor in (
            ("cash", DEBIT, "EUR", None),
            ("wallet", CREDIT, "EUR", 0),
            ("bank", DEBIT, "USD", None),
            ("dollars", CREDIT, "USD", 0),
        )
    }
    await administration.create_accounts(
        connection,
        [
            CreateAccount(
                scope,
                account_id,
                ledger_id,
                account,
                normal,
                currency,
                2,
                external_id=f"account {next(numbers)}",
                available_floor=floor,
            )
            for account, (account_id, normal, currency, floor) in accounts.items()
        ],
    )
    return Book(scope, ledger_id, {account: row[0] for account, row in accounts.items()})
