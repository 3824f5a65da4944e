"""The server as a process of its own: started, told to stop, killed."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.store.embedded import EmbeddedPostgres
from app.store.migrate import migrate
from tests.conftest import MakeDatabase, empty_database

LEDGERS = [sys.executable, "-m", "app.cli"]
TOKEN = re.compile(r"ldg_test_[0-9A-Za-z]{61}")
PATIENCE_SECONDS = 60
POST = """
mutation ($input: PostTransactionInput!) {
  postTransaction(input: $input) { __typename ... on PostTransactionSuccess { replayed } }
}
"""


@dataclass
class Running:
    """A `ledgers serve` and where it listens."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def output(self) -> str:
        return self.log.read_text()

    def stop(self, told: int) -> int:
        self.process.send_signal(told)
        return self.process.wait(PATIENCE_SECONDS)

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
        port = free_port()
        log = directory / f"serve-{len(started)}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [*LEDGERS, "serve", "--port", str(port), *arguments],
                env=clean_environment(directory) | environment,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                text=True,
            )
        running = Running(process, f"http://127.0.0.1:{port}", log)
        started.append(running)
        until(lambda: is_ready(running) or process.poll() is not None, running.output)
        return running

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
    until(lambda: not database_processes(directory))


def test_first_and_second_start(serve: Serve, directory: Path) -> None:
    """The first start makes the demo and prints its key once; the second keeps the data."""
    first = serve()
    (token,) = set(TOKEN.findall(first.output()))
    assert f"/graphiql#key={token}" in first.output()
    accounts = (
        "{ ledgers { nodes { name accounts { nodes { id balances { posted { amount } } } } } } }"
    )
    before = first.graphql(token, accounts)
    assert before["ledgers"]["nodes"][0]["name"] == "Demo marketplace"
    assert httpx.get(f"{first.url}/graphiql").status_code == 200
    assert httpx.get(f"{first.url}/health/live").json() == {"status": "live"}
    assert httpx.get(f"{first.url}/health/ready").json() == {"status": "ready"}
    assert first.stop(signal.SIGTERM) == 0
    until(lambda: not database_processes(directory))
    second = serve()
    assert TOKEN.findall(second.output()) == []
    assert second.graphql(token, accounts) == before
    assert second.stop(signal.SIGINT) == 0
    until(lambda: not database_processes(directory))
    assert "Traceback" not in first.output() + second.output()


def test_killed_server_leaves_no_database_and_recovers(serve: Serve, directory: Path) -> None:
    """After SIGKILL the database stops by itself; the next start has all that was answered."""
    first = serve()
    (token,) = set(TOKEN.findall(first.output()))
    nodes = "{ ledgers { nodes { id accounts(first: 2) { nodes { id } } } } }"
    (ledger,) = first.graphql(token, nodes)["ledgers"]["nodes"]
    cash, fees = (account["id"] for account in ledger["accounts"]["nodes"])
    posting = {
        "ledgerId": ledger["id"],
        "idempotencyKey": "before the kill",
        "entries": [
            {"accountId": cash, "direction": "DEBIT", "amount": "7"},
            {"accountId": fees, "direction": "CREDIT", "amount": "7"},
        ],
    }
    answer = first.graphql(token, POST, {"input": posting})
    assert answer["postTransaction"]["replayed"] is False
    first.process.kill()
    first.process.wait()
    until(lambda: not database_processes(directory))
    second = serve()
    answer = second.graphql(token, POST, {"input": posting})
    assert answer["postTransaction"]["replayed"] is True
    assert second.stop(signal.SIGTERM) == 0
    verified = ledgers(directory, "verify")
    assert "Every invariant holds." in verified.stdout
    assert verified.returncode == 0


def test_requests_in_flight_are_answered(serve: Serve) -> None:
    """Told to stop, the server answers what it has accepted before it ends."""
    running = serve()
    (token,) = set(TOKEN.findall(running.output()))
    body = b'{"query": "{ viewer { organization } }"}'
    head = (
        "POST /graphql HTTP/1.1\r\nHost: ledgers\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    host, _, port = running.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head + body[:10])
        # The request has begun once another one, sent after it, has been answered.
        httpx.get(f"{running.url}/health/live")
        running.process.send_signal(signal.SIGTERM)
        until(lambda: not accepts(running.url))
        connection.sendall(body[10:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'{"data":{"viewer":{"organization":"Demo"}}}' in answer
    assert running.process.wait(PATIENCE_SECONDS) == 0


def test_two_servers_share_a_database(serve: Serve, directory: Path) -> None:
    """Two servers on one data directory share its database; the last one stops it."""
    first = serve()
    (token,) = set(TOKEN.findall(first.output()))
    second = serve()
    assert TOKEN.findall(second.output()) == []
    assert first.stop(signal.SIGTERM) == 0
    assert second.graphql(token, "{ viewer { organization } }") == {
        "viewer": {"organization": "Demo"}
    }
    assert second.stop(signal.SIGTERM) == 0
    until(lambda: not database_processes(directory))


def test_database_of_ones_own(serve: Serve, directory: Path, server_url: str) -> None:
    """A database that was not migrated is refused in a sentence; migrated, it is served."""
    with empty_database(server_url) as url:
        refused = ledgers(directory, "serve", DATABASE_URL=url)
        assert refused.returncode == 1
        assert refused.stderr.strip() == (
            "ledgers: The database is not at this version's schema: run `ledgers migrate`."
        )
        assert ledgers(directory, "migrate", DATABASE_URL=url).returncode == 0
        running = serve(DATABASE_URL=url)
        assert httpx.get(f"{running.url}/health/ready").status_code == 200
        assert TOKEN.findall(running.output()) == []
        assert running.stop(signal.SIGTERM) == 0


def test_keys_and_organizations(directory: Path, make_database: MakeDatabase) -> None:
    """An operator makes, lists and revokes keys of organizations; errors are sentences."""
    database = {"DATABASE_URL": make_database(None)}
    organization = ledgers(directory, "organizations", "create", "Acme", **database).stdout.strip()
    assert "Acme" in ledgers(directory, "organizations", "list", **database).stdout
    owner = ["--organization", organization]
    made = ledgers(
        directory,
        *("keys", "create", *owner, "--name", "backend", "--mode", "test", "--scope", "write"),
        **database,
    )
    assert TOKEN.fullmatch(made.stdout.strip())
    listed = ledgers(directory, "keys", "list", *owner, COLUMNS="250", **database).stdout
    assert "backend" in listed
    assert made.stdout.strip() not in listed
    key = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", listed)
    assert key is not None
    revoked = ledgers(directory, "keys", "revoke", key[0], *owner, **database)
    assert "is revoked since" in revoked.stdout
    unknown = ledgers(directory, "keys", "revoke", organization, *owner, **database)
    assert unknown.returncode == 1
    assert unknown.stderr.strip() == (
        f"ledgers: The organization has no API key of that id. ({organization})"
    )


def test_schema_is_printed(directory: Path) -> None:
    """`ledgers schema` prints what schema.graphql holds."""
    printed = ledgers(directory, "schema").stdout
    assert printed == (Path(__file__).parent.parent / "schema.graphql").read_text()


def test_unsafe_database_is_refused(directory: Path) -> None:
    """A database that may lose what was answered is refused unless its owner says so."""
    with EmbeddedPostgres(directory / "unsafe", {"synchronous_commit": "off"}) as server:
        migrate(server.owner_url)
        url = {"DATABASE_URL": server.owner_url}
        refused = ledgers(directory, "organizations", "list", **url)
        assert refused.returncode == 1
        assert refused.stderr.startswith("ledgers: the database has synchronous_commit = off:")
        allowed = ledgers(
            directory,
            *("organizations", "list"),
            LEDGERS_ALLOW_UNSAFE_DURABILITY="true",
            **url,
        )
        assert allowed.returncode == 0


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


def clean_environment(directory: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
    return own | {"LEDGERS_DATA_DIRECTORY": str(directory / "data")}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def is_ready(running: Running) -> bool:
    try:
        return httpx.get(f"{running.url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def accepts(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port))).close()
    except OSError:
        return False
    return True


def database_processes(directory: Path) -> list[str]:
    """The command lines of the servers whose data lie below the directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if f"-D\0{directory.resolve()}" in command:
            found.append(command)
    return found


def until(reached: Callable[[], bool], otherwise: Callable[[], str] = lambda: "") -> None:
    """Wait until something holds, a bounded time."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.05)
