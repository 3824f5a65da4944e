"""Whether a posting, a page and a balance cost the same in books of ten million entries.

One PostgreSQL whose shared buffers are smaller than the data has a database a size, all of one
history: the same organization, ledger and accounts. They are measured in the same rounds. Postings
change what they measure, so small books are copied afresh for each of their runs; a million entries
and more barely notice. Whichever the size, postings go to a server that was just started.
"""

import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import psycopg
from psycopg.sql import SQL, Identifier

from tests.benchmarks.filling import HOT_EVERY, fill
from tests.benchmarks.load import write_bodies
from tests.benchmarks.measuring import Group, NotMeasured, Ratio, Sample, Variant, console
from tests.benchmarks.posting_measures import POST, SUCCESS, posting, random_pairs
from tests.benchmarks.stage import (
    ACCOUNTS,
    SERVE,
    Postgres,
    Stage,
    drive,
    running_postgres,
    running_stage,
    serving,
    verify_books,
)

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
"""Entries, two a posting."""
COPIED_BELOW = 1_000_000
SETTINGS = {"shared_buffers": "128MB", "max_wal_size": "8GB"}
NEEDED_BYTES = 25 * 1024**3
POSTING_CONNECTIONS = 128
READING_CONNECTIONS = 8
READ_ACCOUNTS = 500
PAIRS = 10_000
WALKED = 100
TABLES = ("transactions", "transaction_events", "entries")

ACCOUNT = "account(id: $account)"
ENTRY = "sequence direction amount effectiveAt balancesAfter { posted { amount } }"
WALK = f"""
query Walk($account: ID!, $before: String) {{
  {ACCOUNT} {{ entries(last: {WALKED}, before: $before) {{ pageInfo {{ startCursor }} }} }}
}}
"""
PAGE = f"""
query Page($account: ID!, $before: String) {{
  {ACCOUNT} {{ entries(last: 50, before: $before) {{ nodes {{ {ENTRY} }} }} }}
}}
"""
BALANCE = f"""
query Balance($account: ID!, $asOf: DateTime) {{
  {ACCOUNT} {{ balances(asOf: $asOf) {{ version posted {{ amount }} available {{ amount }} }} }}
}}
"""
READ = {"first page": '"sequence"', "deep page": '"sequence"'}
"""What stands once in an answer for each of its 50 rows; balances have one `available`."""

RATIOS = (Ratio("growth_10m", 1.5, "post at 10,000,000", "post at 10,000", "cost"),)


@dataclass(slots=True)
class Book:
    """The database of one size; `made` holds its tenant's token, ledger and accounts."""

    made: Stage
    postgres: Postgres
    name: str
    entries: int
    acknowledged: int = 0
    runs: Iterator[int] = field(default_factory=count)

    @property
    def url(self) -> str:
        return self.postgres.embedded.url(user="postgres", database=self.name)

    @contextmanager
    def served(self, url: str) -> Iterator[Stage]:
        """A server of its own on the book, or on a copy of it."""
        with serving(self.postgres, url, SERVE) as server:
            yield replace(self.made, postgres=self.postgres, database_url=url, server=server)

    def post(self, seconds: float) -> Sample:
        if self.entries < COPIED_BELOW:
            with _copied(self) as url, self.served(url) as stage:
                return self._post(stage, seconds)
        with self.served(self.url) as stage:
            sample = self._post(stage, seconds)
        self.acknowledged += sample.work
        return sample

    def _post(self, stage: Stage, seconds: float) -> Sample:
        pairs = random_pairs(stage.account_ids, PAIRS)
        bodies = write_bodies(
            self.postgres.directory / "growth.json",
            [
                {"query": POST, "variables": {"input": posting(stage.ledger_id, *pair)}}
                for pair in pairs
            ],
        )
        target = stage.target(bodies, SUCCESS)
        keys = f"growth-{self.entries}-{next(self.runs)}"
        server = stage.server
        return drive(self.postgres, server, target, POSTING_CONNECTIONS, seconds, keys)[1]


@contextmanager
def growth_groups(stage: Stage) -> Iterator[list[Group]]:
    """Fill the books, then measure postings, then reading."""
    free = shutil.disk_usage(stage.postgres.directory).free
    if free < NEEDED_BYTES:
        raise NotMeasured(f"it takes {NEEDED_BYTES:,} bytes of disk, there are {free:,}")
    with running_postgres(SETTINGS) as postgres, ExitStack() as servers:
        books = _fill(postgres)
        before = _statistics(books[-1])

        def after() -> list[str]:
            _show_sizes(books)
            _show_updates(before, _statistics(books[-1]))
            committed = replace(books[-1].made, database_url=books[-1].url).count_transactions()
            faults = verify_books(books[-1].url)
            if committed != books[-1].entries // 2 + books[-1].acknowledged:
                faults.append("the transactions committed are not those acknowledged")
            return faults

        yield [
            Group(
                title="Growth: postings in books of different sizes",
                note=(
                    f"pairs drawn evenly of {ACCOUNTS:,} accounts, keys at random,"
                    f" {POSTING_CONNECTIONS} connections; shared_buffers"
                    f" {SETTINGS['shared_buffers']}; copied afresh for each run below"
                    f" {COPIED_BELOW:,} entries"
                ),
                variants=[Variant(f"post at {book.entries:,}", book.post) for book in books],
                ratios=RATIOS,
            ),
            Group(
                title="Growth: reading in books of different sizes",
                note=(
                    f"the first account has 1 in {2 * HOT_EVERY} of all entries: its pages of 50,"
                    " the newest and in the middle, and its balance as of dates in the year; the"
                    " same of accounts drawn evenly, which have about 1 in"
                    f" {ACCOUNTS:,}; {READING_CONNECTIONS} connections"
                ),
                variants=[
                    variant for book in books for variant in _readings(_Reader(book, servers))
                ],
                ratios=(),
                after=after,
            ),
        ]


def _fill(postgres: Postgres) -> list[Book]:
    """One history, and a copy of its database at each size but the last."""
    with running_stage(postgres, "growth") as made:
        pass
    with psycopg.connect(made.database_url) as connection:
        ((organization_id, ledger_id),) = connection.execute(
            "SELECT organization_id, ledger_id FROM ledgers"
        )
    books = []
    for entries in SIZES:
        total = SIZES[-1] // 2
        fill(made.database_url, organization_id, ledger_id, upto=entries // 2, total=total)
        console.print(f"  filled to {entries:,} entries")
        name = "growth" if entries == SIZES[-1] else f"growth_{entries}"
        books.append(Book(made, postgres, name, entries))
        if name != "growth":
            _execute(postgres, "CREATE DATABASE {} TEMPLATE growth STRATEGY file_copy", name)
    return books


@contextmanager
def _copied(book: Book) -> Iterator[str]:
    """A copy of a book under a name of its own, dropped afterwards; its address."""
    name = f"{book.name}_copy"
    _execute(book.postgres, f"CREATE DATABASE {{}} TEMPLATE {book.name} STRATEGY wal_log", name)
    try:
        yield book.postgres.embedded.url(user="postgres", database=name)
    finally:
        _execute(book.postgres, "DROP DATABASE {} WITH (FORCE)", name)


def _execute(postgres: Postgres, statement: Any, name: str) -> None:
    with psycopg.connect(postgres.embedded.owner_url, autocommit=True) as connection:
        connection.execute(SQL(statement).format(Identifier(name)))


# ---- reading -------------------------------------------------------------------------------------


class _Reader:
    """Reads one book by a server of its own, started when first asked.

    Earlier it would be in the way: a database that is in use cannot be copied.
    """

    def __init__(self, book: Book, servers: ExitStack) -> None:
        self.book = book
        self._servers = servers
        self._stage: Stage | None = None
        self._bodies: dict[str, list[object]] = {}

    def read(self, kind: str, seconds: float) -> Sample:
        if self._stage is None:
            self._stage = self._servers.enter_context(self.book.served(self.book.url))
            self._bodies = _reading_bodies(self._stage)
        stage = self._stage
        name = f"{self.book.name}-{kind}".replace(" ", "-")
        bodies = write_bodies(self.book.postgres.directory / f"{name}.json", self._bodies[kind])
        rows = 50 if kind in READ else 1
        target = stage.target(bodies, READ.get(kind, '"available"'), rows)
        sample = drive(
            self.book.postgres, stage.server, target, READING_CONNECTIONS, seconds, name
        )[1]
        return replace(sample, rate=sample.rate / rows, work=sample.work // rows)


def _readings(reader: _Reader) -> list[Variant]:
    def variant(kind: str) -> Variant:
        name = f"{kind} at {reader.book.entries:,}"
        return Variant(name, lambda seconds: reader.read(kind, seconds), "answers/s")

    return [
        variant(kind)
        for kind in ("first page", "deep page", "balance now", "balance as of", "hot as of")
    ]


def _reading_bodies(stage: Stage) -> dict[str, list[object]]:
    chosen = random.Random(1)
    hot = stage.account_ids[0]
    some = chosen.sample(stage.account_ids[1:], READ_ACCOUNTS)
    now = datetime.now(UTC)

    def asked(query: str, account: str, **more: object) -> object:
        return {"query": query, "variables": {"account": account, **more}}

    def date() -> str:
        return (now - timedelta(days=chosen.uniform(1, 360))).isoformat()

    return {
        "first page": [asked(PAGE, hot)],
        "deep page": [asked(PAGE, hot, before=_middle(stage, hot))],
        "balance now": [asked(BALANCE, account) for account in some],
        "balance as of": [asked(BALANCE, account, asOf=date()) for account in some],
        "hot as of": [asked(BALANCE, hot, asOf=date()) for _ in some],
    }


def _middle(stage: Stage, account: str) -> str:
    """The cursor in the middle of an account's entries, by walking there from the newest."""
    base = f"http://127.0.0.1:{stage.server.port}"
    with httpx.Client(base_url=base, headers=stage.headers, timeout=60) as http:

        def ask(query: str, before: str | None) -> Any:
            variables = {"account": account, "before": before}
            answer = http.post("/graphql", json={"query": query, "variables": variables}).json()
            return answer["data"]["account"]

        pages = int(ask(BALANCE, None)["balances"]["version"]) // WALKED // 2
        cursor = None
        for _ in range(pages):
            cursor = ask(WALK, cursor)["entries"]["pageInfo"]["startCursor"]
        assert isinstance(cursor, str)
        return cursor


# ---- what the tables came to ---------------------------------------------------------------------


def _show_sizes(books: list[Book]) -> None:
    console.print("  bytes a posting, heap + indexes (with what the rounds added):")
    for book in books:
        with psycopg.connect(book.url) as connection:
            ((postings,),) = connection.execute("SELECT max(sequence) FROM transactions")
            sizes = [
                (
                    table,
                    *connection.execute(
                        "SELECT pg_table_size(oid), pg_indexes_size(oid) FROM pg_class"
                        " WHERE oid = %s::regclass",
                        [table],
                    ).fetchall()[0],
                )
                for table in TABLES
            ]
        parts = [
            f"{table} {heap / postings:.0f} + {indexes / postings:.0f}"
            for table, heap, indexes in sizes
        ]
        heap, indexes = (sum(size[place] for size in sizes) for place in (1, 2))
        console.print(
            f"    {book.entries:>10,} entries: {heap / postings:.0f} + {indexes / postings:.0f}"
            f" ({', '.join(parts)}); {(heap + indexes) / 1e9:.2f} GB in all"
        )


@dataclass(frozen=True, slots=True)
class _Updates:
    """What PostgreSQL has counted of a table."""

    updated: int
    updated_in_place: int
    dead: int
    live: int
    autovacuums: int
    heap_bytes: int


def _statistics(book: Book) -> dict[str, _Updates]:
    with psycopg.connect(book.url) as connection:
        rows = connection.execute(
            "SELECT relname, n_tup_upd, n_tup_hot_upd, n_dead_tup, n_live_tup, autovacuum_count,"
            " pg_relation_size(relid) FROM pg_stat_user_tables"
            " WHERE relname IN ('accounts', 'ledgers')"
        ).fetchall()
    return {name: _Updates(*counted) for name, *counted in rows}


def _show_updates(before: dict[str, _Updates], after: dict[str, _Updates]) -> None:
    console.print(f"  rows that postings change, at {SIZES[-1]:,} entries:")
    for name, now in after.items():
        then = before[name]
        updated = now.updated - then.updated
        in_place = now.updated_in_place - then.updated_in_place
        console.print(
            f"    {name}: {updated:,} updates, {in_place / max(1, updated):.1%} in place (HOT);"
            f" {now.dead:,} dead rows beside {now.live:,}; heap {then.heap_bytes:,} bytes before,"
            f" {now.heap_bytes:,} after; {now.autovacuums - then.autovacuums} autovacuums"
        )
