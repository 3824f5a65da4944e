"""What every measure stands on: one embedded PostgreSQL, a database, the real server, a tenant."""

import asyncio
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.sql import SQL, Identifier

from app.ledger.accounts.state import Mode
from app.server import Server
from app.settings import Settings
from app.store.audit.verify import verify
from app.store.embedded.server import EmbeddedPostgres
from app.store.identity import Permission, create_key, create_organization
from app.store.migrate import migrate
from tests.api_client import CREATE_LEDGER
from tests.benchmarks.load import Outcome, Target, send
from tests.benchmarks.measuring import Sample, console
from tests.benchmarks.processes import ServerProcess, cpu_seconds, free_port

ACCOUNTS = 10_000
ACCOUNTS_A_REQUEST = 1000
WARM_SECONDS = 0.5
FEW = 100
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB"}
SHOWN_SETTINGS = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
)
SERVE = [sys.executable, "-m", "app.cli", "serve", "--no-demo"]
REFERENCE = Path(__file__).with_name("reference.sql")

CREATE_ACCOUNTS = """
mutation ($input: CreateAccountsInput!) {
  createAccounts(input: $input) {
    __typename
    ... on CreateAccountsSuccess { accounts { id } }
    ... on UserError { code message }
  }
}
"""

ACCEPT = "application/graphql-response+json"


@dataclass
class Postgres:
    """The one server, and where its files and ours are."""

    embedded: EmbeddedPostgres
    directory: Path
    pid: int

    def create(self, name: str) -> str:
        """Make a migrated database and return its owner's address."""
        with psycopg.connect(self.embedded.owner_url, autocommit=True) as connection:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        url = self.embedded.url(user="postgres", database=name)
        migrate(url)
        return url


@dataclass
class Stage:
    """A migrated database with one tenant, served by `ledgers serve`."""

    postgres: Postgres
    database_url: str
    server: ServerProcess
    token: str
    ledger_id: str = ""
    account_ids: list[str] = field(default_factory=list)
    acknowledged: int = 0
    unanswered: int = 0
    _runs: Iterator[int] = field(default_factory=count)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "Accept": ACCEPT}

    def target(
        self,
        bodies: Path,
        success: str,
        successes: int = 1,
        *,
        server: ServerProcess | None = None,
    ) -> Target:
        """The API, of the stage's server or another; the others as in `load.Target`."""
        port = (server or self.server).port
        return Target(port, "/graphql", bodies, success, successes, self.headers)

    def post(
        self,
        target: Target,
        connections: int,
        seconds: float,
        *,
        server: ServerProcess | None = None,
    ) -> Sample:
        """Load our server with postings, and remember how many it has acknowledged."""
        server = server or self.server
        keys = f"ours-{next(self._runs)}"
        outcome, sample = drive(self.postgres, server, target, connections, seconds, keys)
        self.acknowledged += outcome.acknowledged * target.successes
        self.unanswered += outcome.unanswered * target.successes
        return sample

    def open_books(self, accounts: int) -> None:
        """Make the ledger and its accounts, through the API."""
        base = f"http://127.0.0.1:{self.server.port}"
        with httpx.Client(base_url=base, headers=self.headers, timeout=60) as http:
            ledger = _answer(http, CREATE_LEDGER, {"name": "Benchmark"})
            self.ledger_id = ledger["ledger"]["id"]
            for start in range(0, accounts, ACCOUNTS_A_REQUEST):
                drafts = [
                    {
                        "ledgerId": self.ledger_id,
                        "name": f"Account {number:06d}",
                        "normalBalance": "CREDIT",
                        "currency": "USD",
                    }
                    for number in range(start, min(start + ACCOUNTS_A_REQUEST, accounts))
                ]
                made = _answer(http, CREATE_ACCOUNTS, {"accounts": drafts})
                self.account_ids += [account["id"] for account in made["accounts"]]
        # Autovacuum does so within a minute or two, which would be in the middle of some round.
        with psycopg.connect(self.database_url) as connection:
            connection.execute("ANALYZE accounts")

    def count_transactions(self) -> int:
        with psycopg.connect(self.database_url) as connection:
            ((number,),) = connection.execute("SELECT count(*) FROM transactions")
            return int(number)


def drive(
    postgres: Postgres,
    server: ServerProcess,
    target: Target,
    connections: int,
    seconds: float,
    keys: str,
) -> tuple[Outcome, Sample]:
    """Load any server; CPU is that of the whole run, warming up included, by acknowledgement."""
    before = cpu_seconds(server.pid), cpu_seconds(postgres.pid)
    outcome = send(
        target, connections=connections, seconds=seconds, warm_seconds=WARM_SECONDS, keys=keys
    )
    after = cpu_seconds(server.pid), cpu_seconds(postgres.pid)
    return outcome, Sample(
        rate=_rate(outcome, connections) * target.successes,
        work=outcome.acknowledged * target.successes,
        failed=outcome.failed + outcome.unanswered,
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        client_share=outcome.client_cpu_seconds / outcome.seconds,
        server_cpu=_difference(before[0], after[0]),
        postgres_cpu=_difference(before[1], after[1]),
        example=outcome.example_of_failure,
    )


@contextmanager
def running_postgres(settings: Mapping[str, str] = SETTINGS) -> Iterator[Postgres]:
    """Start the embedded server in a directory of its own, which is removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="ledgers-benchmarks-"))
    # As root the server's own user must be able to reach it.
    directory.chmod(0o755)
    try:
        with EmbeddedPostgres(directory, settings) as embedded:
            pid = int((directory / "data" / "postmaster.pid").read_text().split()[0])
            yield Postgres(embedded, directory, pid)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def running_stage(postgres: Postgres, name: str, accounts: int = ACCOUNTS) -> Iterator[Stage]:
    """A database of that name with a tenant and accounts, and the real server on it."""
    url = postgres.create(name)
    token = asyncio.run(_make_tenant(url))
    with serving(postgres, url, SERVE) as server:
        stage = Stage(postgres, url, server, token)
        stage.open_books(accounts)
        yield stage


@contextmanager
def serving(
    postgres: Postgres, url: str, command: list[str], environment: Mapping[str, str] = {}
) -> Iterator[ServerProcess]:
    """A server that takes `--port` and works in the database at `url`."""
    port = free_port()
    log = postgres.directory / f"server-{port}.log"
    with ServerProcess(
        [*command, "--port", str(port)], {"DATABASE_URL": url, **environment}, log, port
    ) as server:
        yield server


def set_up_lines(postgres: Postgres) -> Iterator[str]:
    """What the figures depend on, for who reads them later."""
    with psycopg.connect(postgres.embedded.owner_url) as connection:
        ((version,),) = connection.execute("SHOW server_version")
        shown = [
            f"{name}={connection.execute(SQL('SHOW {}').format(Identifier(name))).fetchall()[0][0]}"
            for name in SHOWN_SETTINGS
        ]
    yield (
        f"cores {os.cpu_count()}, load {os.getloadavg()[0]:.1f}, {platform.system()}"
        f" {platform.machine()}, python {platform.python_version()}, PostgreSQL {version}"
    )
    yield f"PostgreSQL: {', '.join(shown)}; over its unix socket, for pgbench and for us"
    yield "the table of accounts is analyzed once it is filled, as autovacuum does a little later"
    yield (
        "client, server and PostgreSQL share the cores; requests over 127.0.0.1, one at a time on"
        " each connection; the server logs each request to a file, as it does by default"
    )


def apply_reference(url: str, accounts: int) -> None:
    """Make the reference's tables, its function and as many accounts."""
    with psycopg.connect(url) as connection:
        connection.execute(REFERENCE.read_bytes())
        connection.execute(
            "INSERT INTO reference.accounts (account_id) SELECT generate_series(1, %s)", [accounts]
        )


def verify_books(url: str) -> list[str]:
    """Run `ledgers verify`, say what it looked at, and return what it found."""
    report = verify(url)
    console.print(
        f"verify: {report.transactions:,} transactions, {report.entries:,} entries,"
        f" {len(report.violations)} violations"
    )
    return [f"{violation.name}: {violation.detail}" for violation in report.violations]


async def _make_tenant(url: str) -> str:
    server = Server(Settings(), url)
    async with server.running(), server.database.writing() as connection:
        organization = await create_organization(connection, "Benchmark")
        _, token = await create_key(
            connection,
            organization.organization_id,
            name="benchmark",
            mode=Mode.TEST,
            permissions=tuple(Permission),
        )
    return token


def _answer(http: httpx.Client, query: str, fields: dict[str, Any]) -> dict[str, Any]:
    body = http.post("/graphql", json={"query": query, "variables": {"input": fields}}).json()
    assert "errors" not in body, body
    (result,) = body["data"].values()
    assert str(result["__typename"]).endswith("Success"), result
    answered: dict[str, Any] = result
    return answered


def _rate(outcome: Outcome, connections: int) -> float:
    """Answers a second; where they were few, from how long each took, lest it be a whole number."""
    if 0 < outcome.answered < FEW:
        return connections * outcome.answered / outcome.waited_seconds
    return outcome.answered / outcome.seconds


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before
