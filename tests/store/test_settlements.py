"""A settlement is a batch of its own: it collects all that was accepted before it."""

import asyncio
from datetime import UTC, datetime

import psycopg

from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import Mode, Scope
from app.ledger.statements.settlements import CreateSettlement
from app.store import identity

from . import books
from .books import writing

DEBIT, CREDIT = Direction.DEBIT, Direction.CREDIT


async def test_what_was_sent_before_is_collected(database_url: str) -> None:
    """Postings and settlements that wait together are done in their order, none left out."""
    async with writing(database_url) as (database, writer):
        async with database.writing() as connection:
            organization = await identity.create_organization(connection, "Any")
            scope = Scope(organization.organization_id, Mode.LIVE)
            book = await books.open_book(connection, scope, "any")
        wallet, cash = book.accounts["wallet"], book.accounts["cash"]
        waiting = []
        for number in (1, 2):
            for sale in (10, 20):
                name = f"sale {number}, {sale}"
                lines = ("cash", DEBIT, sale * number), ("wallet", CREDIT, sale * number)
                waiting.append(writer.submit([book.post(name, *lines)]))
            name = f"settlement {number}"
            settlement = CreateSettlement.of(
                scope,
                book.transaction_id(name),
                book.ledger_id,
                name,
                (wallet, cash),
                up_to=datetime(2100, 1, 1, tzinfo=UTC),
            )
            waiting.append(writer.submit([settlement]))
        answers = await asyncio.gather(*waiting)
        assert all(isinstance(answer, list) for answer in answers)
        assert writer.batches == 4
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT number, amount, entry_count, first_sequence FROM settlements ORDER BY 1"
        ).fetchall()
    assert found == [(1, 30, 2, 1), (2, 60, 2, 4)]
