"""A desk to reconcile at: one account, what the bank says of it, and runs without a server."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid5

from uuid_utils.compat import uuid7

from app.ledger.accounts.administration import CreateAccount, CreateLedger
from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import Mode, Scope
from app.ledger.reconciliation.comparison import (
    DEFAULT_RULES,
    Adjustment,
    CreateReconciliation,
    Rule,
)
from app.ledger.transactions.commands import EntryDraft, PostTransaction
from app.store import identity
from app.store.accounts import administration
from app.store.database import Connection, Database
from app.store.reconciliation import decisions, opening, resolutions, runs
from app.store.reconciliation.acts import Author
from app.store.reconciliation.matching.engine import Found
from app.store.transactions.writer import Writer

from .books import Books, writing

DAY = date(2026, 3, 1)


def day(number: int) -> date:
    """The first of March is day 1."""
    return DAY + timedelta(days=number - 1)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a statement, in the bank's terms, on day `on` of March."""

    amount: int
    on: int = 1
    reference: str | None = None
    end_to_end_id: str | None = None
    description: str | None = None
    currency: str = "EUR"


@dataclass(frozen=True, slots=True)
class Row:
    """An entry of the account: positive on its normal side, which is debit."""

    amount: int
    on: int = 1
    external_id: str | None = None
    description: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None


@dataclass(slots=True)
class Desk:
    """An account `bank` and its counterpart, with an external account."""

    database: Database
    writer: Writer
    author: Author
    ledger_id: UUID
    bank: UUID
    other: UUID
    external: UUID
    lines: int = 0
    statements: int = 0

    async def post(self, *rows: Row) -> list[UUID]:
        """Post a transaction for each row, at noon of its day."""
        made = []
        for row in rows:
            side = Direction.DEBIT if row.amount > 0 else Direction.CREDIT
            command = PostTransaction(
                scope=self.author.scope,
                transaction_id=uuid7(),
                ledger_id=self.ledger_id,
                idempotency_key=row.key or str(uuid7()),
                entries=(
                    EntryDraft(self.bank, side, abs(row.amount)),
                    EntryDraft(self.other, side.opposite, abs(row.amount)),
                ),
                external_id=row.external_id,
                description=row.description,
                metadata=row.metadata,
                effective_at=datetime.combine(day(row.on), datetime.min.time(), UTC)
                + timedelta(hours=12),
            )
            made.append(self.writer.submit([command]))
        for answer in made:
            result = await answer
            assert isinstance(result, list), result
        return [(await answer)[0].transaction.transaction_id for answer in made]  # type: ignore[union-attr, index]

    async def state(
        self,
        lines: Iterable[Line],
        *,
        days: tuple[int, int] | None = None,
        opening: int | None = None,
        closing: int | None = None,
    ) -> UUID:
        """Store a statement, as an import does."""
        lines = list(lines)
        import_id, statement_id = uuid7(), uuid7()
        self.statements += 1
        first, last = days or (min(one.on for one in lines), max(one.on for one in lines))
        common = {
            "o": self.author.scope.organization_id,
            "l": self.ledger_id,
            "x": self.external,
            "i": import_id,
            "s": statement_id,
        }
        async with self.database.writing() as connection:
            await connection.execute(
                "SELECT FROM external_accounts WHERE organization_id = %(o)s"
                " AND external_account_id = %(x)s FOR NO KEY UPDATE",
                common,
            )
            await connection.execute(
                "INSERT INTO statement_imports (organization_id, import_id, ledger_id,"
                " external_account_id, api_key_id, format, content_hash, status, bytes_read,"
                " lines_read, lines_new, lines_known, lines_skipped, created_at, finished_at)"
                " VALUES (%(o)s,"
                " %(i)s, %(l)s, %(x)s, %(k)s, 'rows', %(h)s, 'completed', 0, %(n)s, %(n)s, 0,"
                " 0, now(), now())",
                common
                | {
                    "k": self.author.api_key_id,
                    "h": sha256(import_id.bytes).digest(),
                    "n": len(lines),
                },
            )
            await connection.execute(
                "INSERT INTO external_statements (organization_id, external_statement_id,"
                " ledger_id, external_account_id, import_id, number, currency, from_date,"
                " through_date, opening_balance, closing_balance, line_count, line_total,"
                " known_count, created_at) VALUES (%(o)s, %(s)s, %(l)s, %(x)s, %(i)s, %(n)s, 'EUR',"
                " %(f)s, %(t)s, %(ob)s, %(cb)s, %(c)s, %(sum)s, 0, now())",
                common
                | {
                    "n": self.statements,
                    "f": day(first),
                    "t": day(last),
                    "ob": opening,
                    "cb": closing,
                    "c": len(lines),
                    "sum": sum(one.amount for one in lines if one.currency == "EUR"),
                },
            )
            for place, one in enumerate(lines, 1):
                self.lines += 1
                await connection.execute(
                    "INSERT INTO statement_lines (organization_id, external_account_id, number,"
                    " external_statement_id, position, booked_on, amount, currency, reference,"
                    " end_to_end_id, description, fingerprint, occurrence) VALUES (%(o)s, %(x)s,"
                    " %(n)s, %(s)s, %(p)s, %(d)s, %(a)s, %(c)s, %(r)s, %(e)s, %(t)s, %(h)s, 1)",
                    common
                    | {
                        "n": self.lines,
                        "p": place,
                        "d": day(one.on),
                        "a": one.amount,
                        "c": one.currency,
                        "r": one.reference,
                        "e": one.end_to_end_id,
                        "t": one.description,
                        "h": sha256(str((self.external, self.lines)).encode()).digest(),
                    },
                )
            await connection.execute(
                "UPDATE external_accounts SET last_line = %(ll)s, last_statement = %(ls)s"
                " WHERE organization_id = %(o)s AND external_account_id = %(x)s",
                common | {"ll": self.lines, "ls": self.statements},
            )
        return statement_id

    async def open(
        self, *rules: Rule, days: tuple[int, int] = (1, 31), margin_days: int = 30
    ) -> "Reconciling":
        """Open a reconciliation of these days of March."""
        command = CreateReconciliation(
            scope=self.author.scope,
            reconciliation_id=uuid7(),
            external_account_id=self.external,
            name="March",
            from_date=day(days[0]),
            through_date=day(days[1]),
            api_key_id=self.author.api_key_id,
            margin_days=margin_days,
            rules=rules or DEFAULT_RULES,
        )
        command.check()
        async with self.database.writing() as connection:
            await opening.create(connection, command)
        return Reconciling(self, command.reconciliation_id)


@dataclass(slots=True)
class Reconciling:
    """One reconciliation."""

    desk: Desk
    id: UUID

    async def run(self) -> Found:
        """Run it as the server's task does, here and now."""
        author = self.desk.author
        async with self.desk.database.writing() as connection:
            run_id = await runs.request_run(connection, author, self.id)
        async with await self.desk.database.connect(patience=60) as connection:
            found = await runs.run_one(
                connection,
                author.scope.organization_id,
                run_id,
                self.id,
                author.api_key_id,
                author.scope.mode.value,
            )
        assert found is not None
        return found

    async def rows(self, statement: str) -> Sequence[tuple[Any, ...]]:
        """What a statement finds with %(r)s for the reconciliation."""
        async with self.desk.database.writing() as connection:
            return await (await connection.execute(statement, {"r": self.id})).fetchall()

    async def matches(self) -> list[tuple[str, str, int, list[int], list[int]]]:
        """Rule, status, score, lines and entries of each match, in order of its first member."""
        found = await self.rows(
            """
            SELECT coalesce(rule, origin), status, score,
                array(SELECT number FROM reconciliation_match_lines l
                    WHERE l.match_id = m.match_id ORDER BY 1),
                array(SELECT sequence FROM reconciliation_match_entries e
                    WHERE e.match_id = m.match_id ORDER BY 1)
            FROM reconciliation_matches m WHERE reconciliation_id = %(r)s ORDER BY 4, 5
            """
        )
        return [tuple(row) for row in found]

    async def discrepancies(self) -> list[tuple[str, int, int | None, int | None]]:
        """Kind, amount, line and entry of each discrepancy that is not resolved."""
        found = await self.rows(
            "SELECT kind, amount, line_number, entry_sequence FROM reconciliation_discrepancies"
            " WHERE reconciliation_id = %(r)s AND status <> 'resolved' ORDER BY 1, 3, 4, 2"
        )
        return [tuple(row) for row in found]

    async def discrepancy(self, kind: str, line: int | None = None) -> UUID:
        """The id of the one of this kind, or of those the one that is of a line."""
        found = await self.rows(
            "SELECT discrepancy_id, line_number FROM reconciliation_discrepancies"
            f" WHERE reconciliation_id = %(r)s AND kind = '{kind}'"
        )
        (identity,) = [one for one, number in found if line in (None, number)]
        return UUID(str(identity))

    async def bridge(self) -> tuple[int, int | None, dict[str, int], int | None]:
        """Both balances, the items, and what they leave."""
        ((ledger, statement, items),) = await self.rows(
            "SELECT ledger_balance, statement_balance, items FROM reconciliations"
            " WHERE reconciliation_id = %(r)s"
        )
        amounts = {item["kind"]: int(item["amount"]) for item in items}
        rest = None if statement is None else statement - ledger - sum(amounts.values())
        return ledger, statement, amounts, rest

    async def all(self) -> list[Any]:
        """All that is kept of it, but for runs, events and times of examination."""
        tables = (
            "reconciliation_matches",
            "reconciliation_match_lines",
            "reconciliation_match_entries",
            "reconciliation_discrepancies",
            "reconciliation_rejections",
        )
        kept: list[Any] = [
            await self.rows(
                f"SELECT t::text FROM {table} t WHERE reconciliation_id = %(r)s ORDER BY 1"
            )
            for table in tables
        ]
        kept.append(
            await self.rows(
                "SELECT ledger_balance, statement_balance, items, counts FROM reconciliations"
                " WHERE reconciliation_id = %(r)s"
            )
        )
        return kept

    async def do(self, act: Any, *arguments: Any, **more: Any) -> Any:
        """Do one act, in a transaction."""
        async with self.desk.database.writing() as connection:
            return await act(connection, self.desk.author, *arguments, **more)

    async def do_posting(self, act: Any, *arguments: Any, **more: Any) -> Any:
        """Do one act that posts."""
        async with self.desk.database.writing() as connection:
            return await act(connection, self.desk.writer, self.desk.author, *arguments, **more)


@asynccontextmanager
async def open_desk(url: str) -> AsyncIterator[Desk]:
    """A new organization's desk in a migrated database."""
    async with writing(url) as (database, writer):
        async with database.writing() as connection:
            desk = await make_desk(connection, database, writer)
        yield desk


async def reconcile_bank(url: str, books: Books) -> None:
    """Reconcile the ledger `bank` of the books with two statements (see books.py)."""
    book = books.bank
    async with writing(url) as (database, writer):
        async with database.writing() as connection:
            key, _ = await identity.create_key(
                connection,
                book.scope.organization_id,
                name="Clerk",
                mode=book.scope.mode,
                permissions=tuple(identity.Permission),
            )
            external = uuid5(book.ledger_id, "external account")
            await _insert_external_account(
                connection, book.scope, book.ledger_id, book.accounts["cash"], external
            )
        author = Author(book.scope, key.api_key_id)
        cash, wallet = book.accounts["cash"], book.accounts["wallet"]
        desk = Desk(database, writer, author, book.ledger_id, cash, wallet, external)
        await _reconcile_march(desk)
        await _reconcile_april(desk)


async def _reconcile_march(desk: Desk) -> None:
    await desk.post(Row(100, 3, "invoice 1", key="invoice 1"))
    lines = [Line(100, 4, end_to_end_id="invoice 1"), Line(-7, 9, "charge")]
    await desk.state(lines, days=(1, 31), opening=0, closing=93)
    march = await desk.open()
    await march.run()
    charge = await march.discrepancy("missing_in_ledger")
    await march.do_posting(resolutions.adjust, charge, Adjustment(desk.other, "charge", "of March"))
    await march.do(opening.close, march.id, accept_remaining=False, reason=None)


async def _reconcile_april(desk: Desk) -> None:
    await desk.post(
        Row(70, 31, "late"),
        Row(40, 33, "plain"),
        Row(50, 34, "less"),
        Row(60, 35, "slow"),
        Row(15, 40),
    )
    lines = [
        Line(70, 32, "late"),
        Line(40, 33, "plain"),
        Line(48, 34, "less"),
        Line(60, 50, "slow"),
        Line(15, 40),
        Line(40, 36, "plain", description="again"),
        Line(11, 37, "unknown"),
        Line(-4, 38, "undone"),
        Line(5, 39, currency="USD"),
    ]
    total = sum(line.amount for line in lines if line.currency == "EUR")
    await desk.state(lines, days=(32, 61), opening=93, closing=93 + total + 3)
    april = await desk.open(days=(32, 61))
    await april.run()
    ((proposal,),) = await april.rows(
        "SELECT match_id FROM reconciliation_matches WHERE reconciliation_id = %(r)s"
        " AND rule = 'amount and date'"
    )
    await april.do(decisions.reject, [proposal], "another's")
    undone = await april.discrepancy("missing_in_ledger", 10)
    await april.do_posting(resolutions.adjust, undone, Adjustment(desk.other, "undone", "a fee"))
    await april.do_posting(
        resolutions.undo_resolution,
        undone,
        reason="no fee",
        idempotency_key="undone, undone",
        effective_at=None,
    )
    await april.do(resolutions.accept, await april.discrepancy("missing_in_ledger", 9), "known")
    async with desk.database.writing() as connection:
        await runs.request_run(connection, desk.author, april.id)


async def _insert_external_account(
    connection: Connection, scope: Scope, ledger_id: UUID, account_id: UUID, external: UUID
) -> None:
    await connection.execute(
        "INSERT INTO external_accounts (organization_id, external_account_id, ledger_id,"
        " account_id, name, kind, inverted, metadata, created_at, last_statement, last_line)"
        " VALUES (%s, %s, %s, %s, 'Bank', 'bank', false, '{}', now(), 0, 0)",
        [scope.organization_id, external, ledger_id, account_id],
    )


async def make_desk(connection: Connection, database: Database, writer: Writer) -> Desk:
    organization = await identity.create_organization(connection, "Desk")
    organization_id = organization.organization_id
    key, _ = await identity.create_key(
        connection,
        organization_id,
        name="Clerk",
        mode=Mode.TEST,
        permissions=tuple(identity.Permission),
    )
    scope = Scope(organization_id, Mode.TEST)
    ledger_id, bank, other, external = uuid7(), uuid7(), uuid7(), uuid7()
    await administration.create_ledger(connection, CreateLedger(scope, ledger_id, "Books"))
    await administration.create_accounts(
        connection,
        [
            CreateAccount(scope, account_id, ledger_id, name, normal, "EUR", 2)
            for account_id, name, normal in (
                (bank, "Bank", Direction.DEBIT),
                (other, "Other", Direction.CREDIT),
            )
        ],
    )
    await _insert_external_account(connection, scope, ledger_id, bank, external)
    author = Author(scope, key.api_key_id)
    return Desk(database, writer, author, ledger_id, bank, other, external)
