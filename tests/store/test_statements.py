"""Over random histories: statements add up, follow one another, and stay as they were made."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import Mode, Scope
from app.ledger.statements.statements import (
    ContentHash,
    CreateStatement,
    Line,
    Statement,
    adjustment_record,
    line_record,
    statement_record,
)
from app.store import identity
from app.store.audit.verify import verify
from app.store.database import Database
from app.store.statements.statements import adjustments, create_statement, lines, reading

from . import books
from .books import Book, writing

START = datetime(2026, 1, 1, tzinfo=UTC)
MONTHS = [START + timedelta(days=30 * number) for number in range(4)]
DEBIT, CREDIT = Direction.DEBIT, Direction.CREDIT


@dataclass(frozen=True, slots=True)
class Posted:
    """A posting of the wallet by a signed amount, effective on a day; held first, if so."""

    amount: int
    day: int
    held: bool


@dataclass(frozen=True, slots=True)
class Stated:
    """A statement of one of the months."""

    month: int


Step = Posted | Stated
STEPS = st.lists(
    st.one_of(
        st.builds(
            Posted,
            amount=st.integers(1, 10**20) | st.integers(-(10**20), -1),
            day=st.integers(0, 89),
            held=st.booleans(),
        ),
        st.builds(Stated, month=st.integers(0, 2)),
    ),
    min_size=5,
    max_size=30,
)


@dataclass(frozen=True, slots=True)
class Told:
    """A statement with all that it says."""

    statement: Statement
    adjustments: Sequence[Line]
    lines: Sequence[Line]

    @property
    def content_hash(self) -> bytes:
        content = ContentHash()
        for line in self.adjustments:
            content.add(adjustment_record(self.statement, line))
        for line in self.lines:
            content.add(line_record(self.statement, line))
        content.add(statement_record(self.statement))
        return content.value()


async def tell(database: Database, scope: Scope, statement: Statement) -> Told:
    read = reading(database, scope)
    return Told(
        statement,
        [line async for page in adjustments(read, statement) for line in page],
        [line async for page in lines(read, statement) for line in page],
    )


def signed(lines: Sequence[Line]) -> int:
    return sum(line.amount if line.direction == "credit" else -line.amount for line in lines)


def test_random_histories(database_url: str) -> None:
    """Opening and lines come to closing, and a predecessor's closing and adjustments to opening."""

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )
    @given(steps=STEPS)
    def check(steps: list[Step]) -> None:
        asyncio.run(_check(database_url, steps))

    check()
    assert verify(database_url).violations == ()


async def _check(url: str, steps: list[Step]) -> None:
    async with writing(url) as (database, writer):
        async with database.writing() as connection:
            organization = await identity.create_organization(connection, "Any")
            scope = Scope(organization.organization_id, Mode.LIVE)
            book = await books.open_book(connection, scope, "any")
        wallet, numbers, told = book.accounts["wallet"], count(1), []
        await writer.write(_posting(book, Posted(10**22, 0, held=False), "funds"))
        for step in (*steps, *map(Stated, range(3))):
            name = f"step {next(numbers)}"
            if isinstance(step, Posted):
                await writer.write(_posting(book, step, name))
                if step.held:
                    await writer.write(book.settle(name, f"{name}, settled"))
                continue
            command = CreateStatement(
                scope, book.transaction_id(name), wallet, MONTHS[step.month], MONTHS[step.month + 1]
            )
            statement, _ = await create_statement(database, command)
            told.append(await tell(database, scope, statement))
        by_number = {one.statement.number: one for one in told}
        assert list(by_number) == list(range(1, len(told) + 1))
        for one in told:
            assert one == await tell(database, scope, one.statement)
            assert one.content_hash == one.statement.content_hash
            assert one.statement.opening + signed(one.lines) == one.statement.closing
            assert len(one.lines) == one.statement.line_count
            balances = [line.credits - line.debits for line in one.lines]
            assert balances[-1:] == ([one.statement.closing] if one.lines else [])
            if one.statement.previous_number is None:
                assert not one.adjustments
            else:
                before = by_number[one.statement.previous_number].statement
                assert before.to_at == one.statement.from_at
                assert before.closing + signed(one.adjustments) == one.statement.opening


def _posting(book: Book, step: Posted, name: str) -> Any:
    sides = (CREDIT, DEBIT) if step.amount > 0 else (DEBIT, CREDIT)
    amount = abs(step.amount)
    command = book.post(
        name, ("wallet", sides[0], amount), ("cash", sides[1], amount), pending=step.held
    )
    return replace(command, effective_at=START + timedelta(days=step.day))


async def test_statements_at_once(database_url: str) -> None:
    """Made at once, beside postings, they are numbered without a gap, in order of versions."""
    async with writing(database_url) as (database, writer):
        async with database.writing() as connection:
            organization = await identity.create_organization(connection, "Any")
            scope = Scope(organization.organization_id, Mode.LIVE)
            book = await books.open_book(connection, scope, "any")
        posting = [
            writer.write(_posting(book, Posted(5, 1, held=False), f"sale {number}"))
            for number in range(30)
        ]
        making = [
            create_statement(
                database,
                CreateStatement(
                    scope,
                    book.transaction_id(f"statement {number}"),
                    book.accounts["wallet"],
                    MONTHS[0],
                    MONTHS[1],
                    idempotency_key=f"key {number % 3}",
                ),
            )
            for number in range(6)
        ]
        _, made = await asyncio.gather(asyncio.gather(*posting), asyncio.gather(*making))
    distinct = {statement.number: statement for statement, _ in made}
    assert sorted(distinct) == [1, 2, 3]
    versions = [distinct[number].account_version for number in (1, 2, 3)]
    assert versions == sorted(versions)
    assert verify(database_url).violations == ()


@pytest.mark.parametrize("size", [1, 2, 7])
async def test_pages_do_not_matter(
    database_url: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However entries are read, page by page, a statement says the same."""
    async with writing(database_url) as (database, writer):
        async with database.writing() as connection:
            organization = await identity.create_organization(connection, "Any")
            scope = Scope(organization.organization_id, Mode.LIVE)
            book = await books.open_book(connection, scope, "any")
        for number in range(7):
            await writer.write(_posting(book, Posted(5, number // 3, held=False), f"{number}"))
        this = (book.accounts["wallet"], MONTHS[0], MONTHS[1])
        command = CreateStatement(scope, book.transaction_id("s"), *this)
        statement, _ = await create_statement(database, command)
        whole = await tell(database, scope, statement)
        monkeypatch.setattr("app.store.statements.statements.PAGE", size)
        assert await tell(database, scope, statement) == whole
