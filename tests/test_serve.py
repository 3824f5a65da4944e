"""The server as a process of its own: started, told to stop, killed."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from app.store.embedded.server import EmbeddedPostgres
from app.store.migrate import migrate
from tests.api_client import CREATE_ACCOUNT, CREATE_LEDGER, SETTLE
from tests.conftest import empty_database

LEDGERS = [sys.executable, "-m", "app.cli"]
TOKEN = re.compile(r"ldg_test_[0-9A-Za-z]{61}")
PATIENCE_SECONDS = 60
POST = """
mutation ($input: PostTransactionInput!) {
  postTransaction(input: $input) { __typename ... on PostTransactionSuccess { replayed } }
}
"""
POSTED = """
mutation ($input: PostTransactionInput!) {
  postTransaction(input: $input) {
    __typename ... on PostTransactionSuccess { replayed transaction { id } }
  }
}
"""
HOLD = POST.replace("replayed", "transaction { id }")
LIFE = "query ($id: ID!) { transaction(id: $id) { history { kind } } }"
ENDED = "query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Transaction { status } } }"
NODES = "{ ledgers { nodes { id name accounts(first: 2) { nodes { id } } } } }"
BALANCES = "{ ledgers { nodes { accounts { nodes { id balances { posted { amount } } } } } } }"


@dataclass
class Running:
    """A `ledgers serve`, where it listens, and what it says."""

    process: subprocess.Popen[str]
    stdout: Path
    stderr: Path

    @property
    def url(self) -> str:
        """The address that it says it serves."""
        said = re.search(r"http://127\.0\.0\.1:\d+", self.stderr.read_text())
        assert said, self.output()
        return said[0]

    def has_begun(self) -> bool:
        assert self.process.poll() is None, self.output()
        return "erving" in self.stderr.read_text() and self.is_ready()

    def output(self) -> str:
        return self.stdout.read_text() + self.stderr.read_text()

    def token(self) -> str:
        """The key that it printed, once in the link and once by itself."""
        alone, linked = TOKEN.findall(self.output())
        assert alone == linked
        assert f"{self.url}/graphiql#key={alone}\n" in self.stdout.read_text()
        return str(alone)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def is_listening(self) -> bool:
        host, _, port = self.url.removeprefix("http://").partition(":")
        try:
            socket.create_connection((host, int(port))).close()
        except OSError:
            return False
        return True

    def peak_kilobytes(self) -> int:
        """The most memory that the process has held so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        assert peak
        return int(peak[1])

    def stop(self, told: int) -> int:
        self.process.send_signal(told)
        return self.process.wait(PATIENCE_SECONDS)

    def workers(self) -> list[int]:
        """The pids of the processes that serve, where there are several."""
        return sorted(
            pid
            for pid, command in children_of(self.process.pid)
            if "multiprocessing.spawn" in command
        )

    def graphql(self, token: str, query: str, variables: Mapping[str, Any] | None = None) -> Any:
        response = httpx.post(
            f"{self.url}/graphql",
            json={"query": query, "variables": variables or {}},
            headers={"Authorization": f"Bearer {token}"},
            timeout=PATIENCE_SECONDS,
        )
        body = response.json()
        assert "errors" not in body, body
        return body["data"]

    def posting(self, token: str, key: str) -> dict[str, Any]:
        """The input of a posting between two accounts of the demo."""
        (ledger,) = self.graphql(token, NODES)["ledgers"]["nodes"]
        cash, fees = (account["id"] for account in ledger["accounts"]["nodes"])
        entries = [
            {"accountId": cash, "direction": "DEBIT", "amount": "7"},
            {"accountId": fees, "direction": "CREDIT", "amount": "7"},
        ]
        return {"ledgerId": ledger["id"], "idempotencyKey": key, "entries": entries}


Serve = Callable[..., Running]


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that the database's own user reaches, even where root runs the tests."""
    path = Path(tempfile.mkdtemp(prefix="ledgers serve "))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def serve(directory: Path) -> Iterator[Serve]:
    """Starts servers; what still runs in the end is killed."""
    started: list[Running] = []

    def start(*arguments: str, **environment: str) -> Running:
        stdout, stderr = (directory / f"{len(started)}.{name}" for name in ("out", "err"))
        with stdout.open("w") as out, stderr.open("w") as err:
            process = subprocess.Popen(
                [*LEDGERS, "serve", "--port", "0", *arguments],
                env=clean_environment(directory) | environment,
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                text=True,
            )
        running = Running(process, stdout, stderr)
        started.append(running)
        until(running.has_begun, running.output)
        return running

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
    until(lambda: not processes_of(directory))


def test_first_and_second_start(serve: Serve, directory: Path) -> None:
    """The first start makes the demo and prints its key once; the second keeps the data."""
    first = serve()
    token = first.token()
    (ledger,) = first.graphql(token, NODES)["ledgers"]["nodes"]
    assert ledger["name"] == "Demo marketplace"
    before = first.graphql(token, BALANCES)
    assert first.stop(signal.SIGTERM) == 0
    assert not processes_of(directory)
    second = serve()
    assert second.stdout.read_text() == ""
    assert second.graphql(token, BALANCES) == before
    assert second.stop(signal.SIGINT) == 0
    assert not processes_of(directory)


def test_normal_life_is_quiet(serve: Serve) -> None:
    """Pages and health checks answer; from start to stop one line is said."""
    running = serve("--no-demo")
    page = httpx.get(f"{running.url}/", follow_redirects=True)
    assert (page.status_code, page.url.path) == (200, "/graphiql")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert httpx.get(f"{running.url}/health/live").json() == {"status": "live"}
    assert httpx.get(f"{running.url}/health/ready").json() == {"status": "ready"}
    assert running.stop(signal.SIGTERM) == 0
    assert running.output() == (
        f"Serving {running.url}/graphql; explore it at {running.url}/graphiql\n"
    )


def test_killed_server_leaves_no_database_and_recovers(serve: Serve, directory: Path) -> None:
    """After SIGKILL the database stops by itself; the next start has all that was answered."""
    first = serve()
    token = first.token()
    posting = {"input": first.posting(token, "before the kill")}
    answer = first.graphql(token, POST, posting)
    assert answer["postTransaction"] == {
        "__typename": "PostTransactionSuccess",
        "replayed": False,
    }
    first.process.kill()
    first.process.wait()
    until(lambda: not processes_of(directory))
    second = serve()
    assert second.graphql(token, POST, posting)["postTransaction"]["replayed"] is True
    verified = ledgers(directory, "verify")
    assert "Every invariant holds." in verified.stdout
    assert verified.returncode == 0
    assert second.stop(signal.SIGTERM) == 0


def test_killed_while_holds_fall_due(serve: Serve, directory: Path) -> None:
    """Server and database die while holds fall due; each settles or expires exactly once."""
    first = serve(LEDGERS_DUE_POLL_SECONDS="0.05")
    token = first.token()
    begin = datetime.now(UTC) + timedelta(seconds=1)
    holds = []
    for number in range(60):
        moment = (begin + timedelta(milliseconds=40 * number)).isoformat()
        held = {
            **first.posting(token, f"hold {number}"),
            "status": "PENDING",
            "expiresAt" if number % 2 else "postsAt": moment,
        }
        holds.append(first.graphql(token, HOLD, {"input": held})["postTransaction"])
    until(lambda: any(ended(first, token, holds)), first.output)
    first.process.kill()
    first.process.wait()
    until(lambda: not processes_of(directory))
    second = serve(LEDGERS_DUE_POLL_SECONDS="0.05")
    until(lambda: all(ended(second, token, holds)), second.output)
    for number, hold in enumerate(holds):
        shown = second.graphql(token, LIFE, {"id": hold["transaction"]["id"]})["transaction"]
        end = "EXPIRED" if number % 2 else "MATURED"
        assert [event["kind"] for event in shown["history"]] == ["HELD", end]
    verified = ledgers(directory, "verify")
    assert "Every invariant holds." in verified.stdout
    assert second.stop(signal.SIGTERM) == 0


def ended(running: Running, token: str, holds: list[Any]) -> list[bool]:
    """Which of the holds are done with."""
    ids = [hold["transaction"]["id"] for hold in holds]
    nodes = running.graphql(token, ENDED, {"ids": ids})["nodes"]
    return [node["status"] != "PENDING" for node in nodes]


def test_requests_in_flight_are_answered(serve: Serve, directory: Path) -> None:
    """Told to stop, the server takes no more, and answers all it has, even what waits for locks."""
    running = serve(LEDGERS_LOCK_SECONDS="60")
    token = running.token()
    posting = {"input": running.posting(token, "in flight")}
    body = b'{"query": "{ viewer { organization } }"}'
    head = (
        "POST /graphql HTTP/1.1\r\nHost: ledgers\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    host, _, port = running.url.removeprefix("http://").partition(":")
    answers: list[Any] = []
    poster = threading.Thread(
        target=lambda: answers.append(running.graphql(token, POST, posting)["postTransaction"])
    )
    owner_url = EmbeddedPostgres(directory / "data").owner_url
    with (
        psycopg.connect(owner_url, autocommit=True) as watcher,
        psycopg.connect(owner_url) as blocker,
        socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection,
    ):
        blocker.execute("SELECT FROM ledgers FOR UPDATE")
        poster.start()
        until(lambda: is_somebody_waiting(watcher))
        connection.sendall(head + body[:10])
        # The request has begun once another one, sent after it, has been answered.
        httpx.get(f"{running.url}/health/live")
        running.process.send_signal(signal.SIGTERM)
        until(lambda: not running.is_listening())
        time.sleep(0.5)  # longer than what uvicorn leaves to those whom it does not wait for
        connection.sendall(body[10:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answers == []
        blocker.rollback()
    poster.join(PATIENCE_SECONDS)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b'\r\n\r\n{"data":{"viewer":{"organization":"Demo"}}}')
    assert answers == [{"__typename": "PostTransactionSuccess", "replayed": False}]
    assert running.process.wait(PATIENCE_SECONDS) == 0
    assert not processes_of(directory)


def test_two_servers_share_a_database(serve: Serve, directory: Path) -> None:
    """Two servers on one data directory share its database; the last one stops it."""
    first = serve("--no-demo")
    second = serve("--no-demo")
    assert first.stop(signal.SIGTERM) == 0
    assert second.is_ready()
    assert processes_of(directory)
    assert second.stop(signal.SIGTERM) == 0
    assert not processes_of(directory)


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_workers_start_and_drain(serve: Serve, directory: Path, told: int) -> None:
    """Several workers make one demo, say one line, answer what they have, and end with 0."""
    running = serve("--workers", "2", LEDGERS_LOCK_SECONDS="60")
    token = running.token()
    workers = running.workers()
    assert len(workers) == 2
    for worker in workers:  # as a terminal does on Ctrl-C, but this is the parent's to decide
        os.kill(worker, signal.SIGINT)
    assert running.stderr.read_text() == (
        f"Serving {running.url}/graphql; explore it at {running.url}/graphiql\n"
    )
    posting = {"input": running.posting(token, "in flight")}
    answers: list[Any] = []
    poster = threading.Thread(
        target=lambda: answers.append(running.graphql(token, POST, posting)["postTransaction"])
    )
    owner_url = EmbeddedPostgres(directory / "data").owner_url
    with (
        psycopg.connect(owner_url, autocommit=True) as watcher,
        psycopg.connect(owner_url) as blocker,
    ):
        blocker.execute("SELECT FROM ledgers FOR UPDATE")
        poster.start()
        until(lambda: is_somebody_waiting(watcher))
        assert running.workers() == workers
        running.process.send_signal(told)
        until(lambda: not running.is_listening())
        assert answers == []
        blocker.rollback()
    poster.join(PATIENCE_SECONDS)
    assert answers == [{"__typename": "PostTransactionSuccess", "replayed": False}]
    assert running.process.wait(PATIENCE_SECONDS) == 0
    assert not processes_of(directory)


def test_workers_tell_no_secrets(serve: Serve, directory: Path, database_url: str) -> None:
    """No command line of a worker or of its parent names the database; nor does a log."""
    running = serve("--workers", "2", DATABASE_URL=database_url)
    commands = [command for _, command in children_of(running.process.pid)]
    commands.append(command_of(running.process.pid))
    assert len(commands) >= 3
    name = database_url.rpartition("/")[2].partition("?")[0]
    assert not [command for command in commands if name in command or "postgresql:" in command]
    assert running.stop(signal.SIGTERM) == 0
    assert name not in running.output()
    assert not (directory / "data").exists()


async def test_workers_and_machines_agree(serve: Serve, directory: Path, database_url: str) -> None:
    """Two workers and another server on one database: keys count once, floors and holds are kept.

    Every command is sent to both servers at once, by a connection of its own, so that any process
    may be the first to see it.
    """
    ours = {"DATABASE_URL": database_url}
    organization = ledgers(directory, "organizations", "create", "Acme", **ours).stdout.strip()
    permissions = ("--mode", "test", "--scope", "admin")
    created = ledgers(
        directory,
        *("keys", "create", "--organization", organization, "--name", "all", *permissions),
        **ours,
    )
    servers = [serve("--workers", "2", LEDGERS_LOG_FORMAT="json", **ours), serve(**ours)]
    workers = servers[0].workers()
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=running.url,
                    headers={"Authorization": f"Bearer {created.stdout.strip()}"},
                    limits=httpx.Limits(max_connections=16, max_keepalive_connections=0),
                    timeout=PATIENCE_SECONDS,
                )
            )
            for running in servers
        ]

        async def run(client: httpx.AsyncClient, mutation: str, **fields: Any) -> Any:
            body = {"query": mutation, "variables": {"input": fields}}
            answer = (await client.post("/graphql", json=body)).json()
            assert "errors" not in answer, answer
            (result,) = answer["data"].values()
            return result

        async def everywhere(mutation: str, commands: list[dict[str, Any]]) -> list[list[Any]]:
            """The answers of both servers to each command, all of them sent at once."""
            answers = await asyncio.gather(
                *(run(client, mutation, **command) for command in commands for client in clients)
            )
            return [answers[i : i + len(clients)] for i in range(0, len(answers), len(clients))]

        ledger = (await run(clients[0], CREATE_LEDGER, name="Books"))["ledger"]["id"]
        cash, wallet = [
            (await run(clients[0], CREATE_ACCOUNT, ledgerId=ledger, currency="USD", **account))[
                "account"
            ]["id"]
            for account in (
                {"name": "Cash", "normalBalance": "DEBIT"},
                {"name": "Wallet", "normalBalance": "CREDIT", "availableFloor": "0"},
            )
        ]

        def command(key: str, debit: str, credit: str, **more: str) -> dict[str, Any]:
            entries = [
                {"accountId": account, "direction": direction, "amount": "1"}
                for account, direction in ((debit, "DEBIT"), (credit, "CREDIT"))
            ]
            return {"ledgerId": ledger, "idempotencyKey": key, "entries": entries, **more}

        funded = await everywhere(POSTED, [command(f"in {n}", cash, wallet) for n in range(100)])
        for answers in funded:
            assert answers[0]["transaction"]["id"] == answers[1]["transaction"]["id"]
            assert sorted(answer["replayed"] for answer in answers) == [False, True]

        # A hundred are there: of 150 payouts a hundred are held, whoever asked first.
        payouts = [
            command(f"out {n}", wallet, cash, status="PENDING", externalId=f"payout {n}")
            for n in range(150)
        ]
        tried = await everywhere(POSTED, payouts)
        held = [answers for answers in tried if "transaction" in answers[0]]
        assert len(held) == 100
        for answers in tried:
            assert len({answer["__typename"] for answer in answers}) == 1
        assert {answers[0]["__typename"] for answers in tried if answers not in held} == {
            "InsufficientFunds"
        }

        holds = [answers[0]["transaction"]["id"] for answers in held]
        settled = await everywhere(
            SETTLE, [{"transactionId": hold, "idempotencyKey": f"paid {hold}"} for hold in holds]
        )
        for answers in settled:
            assert sorted(answer["replayed"] for answer in answers) == [False, True]
    with psycopg.connect(database_url) as connection:
        sequences = connection.execute("SELECT sequence FROM transactions ORDER BY 1").fetchall()
        left = connection.execute("SELECT posted_credits - posted_debits FROM accounts").fetchall()
    assert sequences == [(number,) for number in range(1, 201)]
    logged = [json.loads(line) for line in servers[0].stderr.read_text().splitlines()]
    answered = {line["worker"] for line in logged if line.get("operation") == "mutation"}
    assert sorted(answered) == workers
    assert left == [(0,), (0,)]
    verified = ledgers(directory, "verify", **ours)
    assert "Every invariant holds." in verified.stdout
    assert [running.stop(signal.SIGTERM) for running in servers] == [0, 0]


def test_killed_worker_is_replaced(serve: Serve, directory: Path) -> None:
    """A worker killed in the midst of postings is replaced; what was answered is there once.

    Whoever got no answer sends the same again, as clients do, and every key ends up used once.
    """
    running = serve("--workers", "2", LEDGERS_LOG_FORMAT="json")
    token = running.token()
    posting = running.posting(token, "")
    keys = [f"key {number}" for number in range(400)]
    acknowledged: dict[str, list[bool]] = {key: [] for key in keys}
    unanswered: list[str] = []
    first = running.workers()

    def post(chosen: list[str]) -> None:
        with httpx.Client(
            base_url=running.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=PATIENCE_SECONDS,
        ) as http:
            for key in chosen:
                variables = {"input": posting | {"idempotencyKey": key}}
                while not acknowledged[key]:
                    try:
                        response = http.post(
                            "/graphql", json={"query": POST, "variables": variables}
                        )
                    except httpx.TransportError:
                        unanswered.append(key)
                        continue
                    answer = response.json()
                    if answer["data"] is not None:
                        acknowledged[key].append(answer["data"]["postTransaction"]["replayed"])

    threads = [threading.Thread(target=post, args=(keys[start::16],)) for start in range(16)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        done = sum(map(len, acknowledged.values()))
        until(lambda done=done: sum(map(len, acknowledged.values())) >= done + 50)  # type: ignore[misc]
        victim = running.workers()[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda victim=victim: victim not in running.workers())  # type: ignore[misc]
        until(lambda: len(running.workers()) == 2)
    for thread in threads:
        thread.join()
    assert set(running.workers()) != set(first)
    assert [len(answers) for answers in acknowledged.values()] == [1] * len(keys)
    assert unanswered
    # Each key is used now, whoever was told of it, and nothing else is in the books but the demo.
    for key in keys:
        variables = {"input": posting | {"idempotencyKey": key}}
        assert running.graphql(token, POST, variables)["postTransaction"]["replayed"] is True
    with psycopg.connect(EmbeddedPostgres(directory / "data").owner_url) as connection:
        ((count, distinct),) = connection.execute(
            "SELECT count(*), count(DISTINCT idempotency_key) FROM transaction_events"
            " WHERE idempotency_key LIKE 'key %'"
        )
    assert (count, distinct) == (len(keys), len(keys))
    ended = [line for line in running.stderr.read_text().splitlines() if "worker_ended" in line]
    assert [json.loads(line)["status"] for line in ended] == [-signal.SIGKILL] * 3
    assert "Every invariant holds." in ledgers(directory, "verify").stdout
    assert running.stop(signal.SIGTERM) == 0


def test_worker_that_dies_in_an_outage(serve: Serve, directory: Path) -> None:
    """A worker that cannot be replaced while the database is away is replaced once it is back."""
    postgres = EmbeddedPostgres(directory / "own")
    with postgres:
        migrate(postgres.owner_url)
        running = serve("--workers", "2", DATABASE_URL=postgres.owner_url)
        first = running.workers()
        assert postgres.stop()
        os.kill(first[0], signal.SIGKILL)
        until(lambda: running.stderr.read_text().count("worker_failed") >= 2, running.output)
        assert first[1] in running.workers()
        postgres.start()
        until(lambda: len(running.workers()) == 2 and running.is_ready(), running.output)
        os.kill(first[1], signal.SIGKILL)
        until(lambda: first[1] not in running.workers())
        until(running.is_ready)  # by the one that came later
        assert running.stop(signal.SIGTERM) == 0
        assert "Traceback" not in running.output()


def test_worker_that_hangs_is_killed(serve: Serve, database_url: str) -> None:
    """Told to stop, the parent waits for a worker that hangs no longer than it may drain."""
    running = serve(
        "--workers", "2", DATABASE_URL=database_url, LEDGERS_DRAIN_SECONDS="1",
        LEDGERS_LOG_FORMAT="json",
    )  # fmt: skip
    hanging, other = running.workers()
    os.kill(hanging, signal.SIGSTOP)
    assert running.stop(signal.SIGTERM) == 0
    assert [command_of(pid) for pid in (hanging, other)] == ["", ""]
    logged = [json.loads(line) for line in running.stderr.read_text().splitlines()]
    assert [line["worker"] for line in logged if line["event"] == "worker_killed"] == [hanging]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_log_that_nobody_reads(directory: Path, workers: str) -> None:
    """When the reader of the log is gone, writes are acknowledged, and workers replaced."""
    stdout, stderr = directory / "0.out", directory / "0.err"
    with (
        stdout.open("w") as out,
        subprocess.Popen(
            [*LEDGERS, "serve", "--port", "0", "--workers", workers],
            env=clean_environment(directory),
            stdout=out,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        ) as process,
    ):
        try:
            assert process.stderr
            stderr.write_text(process.stderr.readline())
            process.stderr.close()
            running = Running(process, stdout, stderr)
            token = running.token()
            posting = {"input": running.posting(token, "unread")}
            for replayed in (False, True):
                answer = running.graphql(token, POST, posting)["postTransaction"]
                assert answer["replayed"] is replayed
            if workers == "2":
                killed, _ = running.workers()
                os.kill(killed, signal.SIGKILL)
                until(lambda: killed not in running.workers() and len(running.workers()) == 2)
                assert running.graphql(token, POST, posting)["postTransaction"]["replayed"] is True
            assert running.stop(signal.SIGTERM) == 0
        finally:
            process.kill()


def test_killed_parent_leaves_nothing(serve: Serve, directory: Path) -> None:
    """After SIGKILL of the parent its workers end, and the database with them."""
    running = serve("--workers", "2", "--no-demo")
    workers = running.workers()
    running.process.kill()
    running.process.wait()
    until(lambda: not any(command_of(pid) for pid in workers))
    until(lambda: not processes_of(directory))
    assert not running.is_listening()


def test_worker_that_cannot_begin(directory: Path, database_url: str) -> None:
    """Where a worker cannot begin the whole ends, with a sentence."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        database = Identifier(owner.info.dbname)
        owner.execute(SQL("ALTER DATABASE {} CONNECTION LIMIT 4").format(database))
        owner.execute("CREATE ROLE few LOGIN IN ROLE ledgers_app")
        try:
            refused = ledgers(
                directory,
                *("serve", "--port", "0", "--workers", "3"),
                DATABASE_URL=as_login(database_url, "few"),
            )
        finally:
            owner.execute("DROP ROLE few")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.endswith("ledgers: a worker could not begin to serve.\n")
    assert "Traceback" not in refused.stderr


def test_database_of_ones_own(serve: Serve, directory: Path, server_url: str) -> None:
    """A database that was not migrated is refused in a sentence; migrated, it is served."""
    with empty_database(server_url) as url:
        refused = ledgers(directory, "serve", "--port", "0", DATABASE_URL=url)
        assert refused.returncode == 1
        assert (refused.stdout, refused.stderr) == (
            "",
            "ledgers: The database is not at this version's schema: run `ledgers migrate`.\n",
        )
        assert ledgers(directory, "migrate", DATABASE_URL=url).returncode == 0
        running = serve(DATABASE_URL=url, LEDGERS_LOG_FORMAT="json")
        assert httpx.get(f"{running.url}/graphql").status_code == 401
        assert running.stop(signal.SIGTERM) == 0
        assert running.stdout.read_text() == ""
        logged = [json.loads(line) for line in running.stderr.read_text().splitlines()]
        assert [line["event"] for line in logged] == ["serving", "request"]
        assert logged[0]["address"] == running.url
        assert not (directory / "data").exists()


def test_readiness_follows_the_database(serve: Serve, directory: Path) -> None:
    """While the database is away the server lives but is not ready; then it is again.

    The database may lose what was answered, so its owner has to say that it may be served.
    """
    postgres = EmbeddedPostgres(directory / "own", {"fsync": "off"})
    url = postgres.owner_url
    with postgres:
        migrate(url)
        refused = ledgers(directory, "serve", "--port", "0", DATABASE_URL=url)
        assert refused.returncode == 1
        assert refused.stderr == (
            "ledgers: the database has fsync = off: a power cut could lose acknowledged postings."
            " Turn it on, or set LEDGERS_ALLOW_UNSAFE_DURABILITY=true if the data may be lost.\n"
        )
        running = serve(DATABASE_URL=url, LEDGERS_ALLOW_UNSAFE_DURABILITY="true")
        assert container_health(running) == 0
        assert postgres.stop()
        unready = httpx.get(f"{running.url}/health/ready", timeout=PATIENCE_SECONDS)
        assert (unready.status_code, unready.json()) == (503, {"status": "database unreachable"})
        assert container_health(running) == 1
        assert httpx.get(f"{running.url}/health/live").status_code == 200
        postgres.start()
        until(running.is_ready)
        assert running.stop(signal.SIGTERM) == 0
        assert "Traceback" not in running.output()


def test_port_in_use(directory: Path) -> None:
    """A port that is taken is said in a sentence, before any database is started for it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        refused = ledgers(directory, "serve", "--port", str(port))
    assert refused.returncode == 1
    assert (refused.stdout, refused.stderr) == (
        "",
        f"ledgers: cannot listen on port {port} of 127.0.0.1: Address already in use\n",
    )
    assert not (directory / "data").exists()


def ledgers(
    directory: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*LEDGERS, *arguments],
        env=clean_environment(directory) | environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def container_health(running: Running) -> int:
    """What the container's own check of its health says of a server: 0 is good."""
    dockerfile = (Path(__file__).parent.parent / "Dockerfile").read_text()
    check = re.search(r"^HEALTHCHECK [^\[]+CMD (\[.+\])$", dockerfile, re.MULTILINE)
    assert check
    _, *arguments = json.loads(check[1])
    port = running.url.rpartition(":")[2]
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"LEDGERS_PORT": port},
        timeout=PATIENCE_SECONDS,
        check=False,
    ).returncode


def clean_environment(directory: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
    return own | {"LEDGERS_DATA_DIRECTORY": str(directory / "data")}


def is_somebody_waiting(connection: psycopg.Connection[Any]) -> bool:
    waiting = connection.execute("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return waiting.fetchone() is not None


def command_of(pid: int) -> str:
    """A process's command line; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def children_of(pid: int) -> list[tuple[int, str]]:
    """The pids and command lines of a process's children, by whichever thread."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    pids = [int(child) for path in children for child in path.read_text().split()]
    return [(child, command_of(child)) for child in pids]


def as_login(url: str, user: str) -> str:
    """The address of the same database for another login."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{user}@{rest.rpartition('@')[2]}"


def processes_of(directory: Path) -> list[str]:
    """The command lines of the processes that work in the directory or were told of it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace")
            place = (process / "cwd").readlink()
        except OSError:
            continue
        if str(directory) in command or place.is_relative_to(directory):
            found.append(command)
    return found


def until(reached: Callable[[], bool], otherwise: Callable[[], str] = lambda: "") -> None:
    """Wait until something holds, a bounded time."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.05)
