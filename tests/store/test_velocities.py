"""Velocity limits in the store, against a naive model that sums a list anew at every step.

A ledger's time is kept ahead of its latest record, so whoever sets that sets the writer's clock.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID, uuid5

import psycopg
import pytest

from app.ledger.accounts.administration import CreateAccount, CreateLedger, SetVelocityLimit
from app.ledger.accounts.state import Mode, Scope
from app.ledger.accounts.velocities import Period, Window
from app.ledger.refusals import VelocityExceeded
from app.ledger.transactions.commands import (
    Command,
    EntryDraft,
    PostTransaction,
    SettleLine,
    SettleTransaction,
    VoidTransaction,
)
from app.ledger.transactions.posting import Recorded
from app.store import identity
from app.store.accounts import administration, velocities
from app.store.audit.verify import verify
from app.store.database import Database
from app.store.transactions.writer import Writer

from .books import CREDIT, DEBIT, NAMES, writing

START = datetime(2030, 3, 30, 20, tzinfo=UTC)
"""Three hours before the short Sunday of Paris begins."""

LEDGER, WALLET, CASH = (uuid5(NAMES, f"velocities, {name}") for name in ("ledger", "a", "b"))


@dataclass
class Outgoing:
    """A transaction as the model has it."""

    created_at: datetime
    transaction_id: UUID
    amount: int
    held: int = 0


@dataclass
class Limit:
    """A limit as the model has it."""

    name: str
    window: Window
    maximum_amount: int | None
    maximum_count: int | None

    def counts(self, one: Outgoing, now: datetime) -> bool:
        if self.window.seconds is not None:
            return one.created_at > now - timedelta(seconds=self.window.seconds)
        return one.created_at >= self.window.bounds(now)[0]

    def used(self, all_: list[Outgoing], now: datetime) -> tuple[int, int]:
        amounts = [one.amount for one in all_ if self.counts(one, now) and one.amount]
        return sum(amounts), len(amounts)

    def allows(self, all_: list[Outgoing], now: datetime) -> bool:
        amount, count = self.used(all_, now)
        return (self.maximum_amount is None or amount <= self.maximum_amount) and (
            self.maximum_count is None or count <= self.maximum_count
        )


@dataclass
class Bench:
    """A wallet and the model of it, at a time that we set."""

    url: str
    database: Database
    writer: Writer
    scope: Scope
    now: datetime = START
    outgoing: list[Outgoing] = field(default_factory=list)
    limits: dict[str, Limit] = field(default_factory=dict)
    commands: int = 0

    @property
    def this(self) -> dict[str, UUID]:
        return {"organization": self.scope.organization_id, "ledger": LEDGER}

    def at(self, moment: datetime) -> None:
        """Let the next batch be decided at that moment."""
        self.now = moment
        with psycopg.connect(self.url) as connection:
            connection.execute(
                "UPDATE ledgers SET last_recorded_at = %(before)s"
                " WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s",
                {"before": moment - timedelta(microseconds=1), **self.this},
            )

    async def set(self, limit: Limit) -> None:
        command = SetVelocityLimit(
            self.scope,
            WALLET,
            limit.name,
            limit.window,
            limit.maximum_amount,
            limit.maximum_count,
        )
        async with self.database.writing() as connection:
            row = await velocities.set_velocity_limit(connection, command)
        assert row.velocity_limited
        self.limits[limit.name] = limit

    async def remove(self, name: str) -> None:
        async with self.database.writing() as connection:
            row = await velocities.remove_velocity_limit(connection, self.scope, WALLET, name)
        self.limits.pop(name, None)
        assert row.velocity_limited is bool(self.limits)

    def move(self, amount: int, *, out: bool = True, pending: bool = False) -> PostTransaction:
        self.commands += 1
        key = f"key {self.commands}"
        debit, credit = (WALLET, CASH) if out else (CASH, WALLET)
        return PostTransaction(
            scope=self.scope,
            transaction_id=uuid5(LEDGER, key),
            ledger_id=LEDGER,
            idempotency_key=key,
            entries=(EntryDraft(debit, DEBIT, amount), EntryDraft(credit, CREDIT, amount)),
            pending=pending,
        )

    def key(self) -> str:
        self.commands += 1
        return f"key {self.commands}"

    async def write(self, *commands: Command) -> bool:
        """Write all or none; whether they were accepted, just as the model says."""
        model = [Outgoing(**vars(one)) for one in self.outgoing]
        accepted = all(self.expect(model, command) for command in commands)
        try:
            decisions = await self.writer.write_together(list(commands))
        except VelocityExceeded:
            assert not accepted
            return False
        assert accepted
        for decision in decisions:
            assert isinstance(decision, Recorded)
            assert decision.event.recorded_at == self.now
        self.outgoing = model
        return True

    def expect(self, model: list[Outgoing], command: Command) -> bool:
        """Carry the model forward; whether it lets the command through."""
        if isinstance(command, PostTransaction):
            amount = command.entries[0].amount if command.entries[0].account_id == WALLET else 0
            model.append(
                Outgoing(self.now, command.transaction_id, amount, amount if command.pending else 0)
            )
            return not amount or self.room(model)
        (hold,) = (one for one in model if one.transaction_id == command.transaction_id)
        if isinstance(command, SettleTransaction):
            part = hold.held if command.lines is None else command.lines[0].amount
            hold.held -= part
            if not command.final:
                return True
        hold.amount -= hold.held
        hold.held = 0
        return True

    def room(self, model: list[Outgoing]) -> bool:
        return all(limit.allows(model, self.now) for limit in self.limits.values())

    async def used(self, now: datetime) -> dict[str, tuple[int, int]]:
        snapshot = self.database.snapshot(self.scope)
        try:
            found = await velocities.velocities_by_account(snapshot, [WALLET], now)
        finally:
            await snapshot.close()
        return {
            limit.name: (limit.used_amount, limit.used_count) for limit in found.get(WALLET, ())
        }

    async def check(self) -> None:
        """Usage is the model's now, and will be at later times too."""
        for later in (0, 1, 3_600, 50_000, 40 * 86_400):
            then = self.now + timedelta(seconds=later)
            expected = {
                name: limit.used(self.outgoing, then) for name, limit in self.limits.items()
            }
            assert await self.used(then) == expected


async def bench_on(url: str, database: Database, writer: Writer) -> Bench:
    async with database.writing() as connection:
        organization = await identity.create_organization(connection, "Limited")
        scope = Scope(organization.organization_id, Mode.TEST)
        await administration.create_ledger(connection, CreateLedger(scope, LEDGER, "Limited"))
        await administration.create_accounts(
            connection,
            [
                CreateAccount(scope, WALLET, LEDGER, "wallet", CREDIT, "EUR", 2),
                CreateAccount(scope, CASH, LEDGER, "cash", DEBIT, "EUR", 2),
            ],
        )
    bench = Bench(url, database, writer, scope)
    bench.at(START)
    return bench


def random_limit(random: Random) -> Limit:
    windows = [
        Window(random.choice((1, 60, 5_000))),
        Window(7 * 86_400),
        Window(period=random.choice(list(Period)), time_zone="Europe/Paris"),
    ]
    return Limit(
        random.choice("abc"),
        random.choice(windows),
        random.choice((None, 300, 1_000)),
        random.choice((3, 10)),
    )


def random_command(bench: Bench, random: Random) -> Command:
    holds = [one for one in bench.outgoing if one.held]
    if not holds or random.random() < 0.5:
        return bench.move(
            random.randint(1, 200), out=random.random() < 0.8, pending=random.random() < 0.5
        )
    hold = random.choice(holds)
    if random.random() < 0.4:
        return VoidTransaction(bench.scope, hold.transaction_id, bench.key())
    part = random.randint(1, hold.held)
    lines = SettleLine(WALLET, DEBIT, part), SettleLine(CASH, CREDIT, part)
    return SettleTransaction(
        bench.scope,
        hold.transaction_id,
        bench.key(),
        None if part == hold.held else lines,
        random.random() < 0.5,
    )


def random_moment(bench: Bench, random: Random) -> datetime:
    """A little or a lot later, or at the edge of a window."""
    if bench.outgoing and random.random() < 0.3:
        edge = random.choice(bench.outgoing).created_at + timedelta(
            seconds=random.choice((1, 60, 5_000)), microseconds=random.randint(-1, 1)
        )
        return max(edge, bench.now + timedelta(microseconds=1))
    jumps = (0.000001, 0.5, 1, 30, 60, 600, 4_000, 5_000, 30_000, 86_400, 7 * 86_400)
    return bench.now + timedelta(seconds=random.choice(jumps[: random.randint(1, len(jumps))]))


@pytest.mark.parametrize("seed", range(4))
async def test_random_histories(seed: int, database_url: str) -> None:
    """What is let through, and the usage shown, are the naive model's at every step."""
    random, decided = Random(seed), {True: 0, False: 0}
    async with writing(database_url) as (database, writer):
        bench = await bench_on(database_url, database, writer)
        await bench.set(random_limit(random))
        for _ in range(80):
            if random.random() < 0.1:
                await bench.set(random_limit(random))
            elif random.random() < 0.03:
                await bench.remove(random.choice("abc"))
            bench.at(random_moment(bench, random))
            group = [random_command(bench, random)]
            if random.random() < 0.3:
                group += [bench.move(random.randint(1, 100)) for _ in range(random.randint(1, 4))]
            decided[await bench.write(*group)] += 1
            await bench.check()
    assert min(decided.values()) > 5
    assert verify(database_url).violations == ()
