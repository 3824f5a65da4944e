"""Real PostgreSQL for every test: a database of its own, copied from a migrated template.

The server is the embedded one, as `make serve` runs it, unless DATABASE_URL names another (its user
must be allowed to create databases).
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio
from hypothesis import settings
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from app.store.embedded.server import EmbeddedPostgres
from app.store.migrate import migrate
from tests.api_client import Api, open_api

settings.register_profile("long", max_examples=1000)

MakeDatabase = Callable[[str | None], str]


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The owner's address of the server that the tests run on."""
    given = os.environ.get("DATABASE_URL")
    if given is not None:
        yield given
        return
    # Not under tmp_path: as root the server's own user could not reach it there.
    directory = Path(tempfile.mkdtemp(prefix="ledgers-tests-"))
    directory.chmod(0o755)
    try:
        with EmbeddedPostgres(directory, {"max_connections": "200"}) as server:
            yield server.owner_url
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The address of a migrated, empty database that others are copied from."""
    name = f"ledgers_template_{uuid4().hex[:12]}"
    _run(server_url, SQL("CREATE DATABASE {}"), name)
    url = _with_database(server_url, name)
    migrate(url)
    yield url
    _drop(server_url, url)


@contextmanager
def empty_database(server_url: str) -> Iterator[str]:
    """The address of a database without any tables, which is dropped in the end."""
    with copied_database(server_url, "postgresql:///template0") as url:
        yield url


@contextmanager
def copied_database(server_url: str, source: str) -> Iterator[str]:
    """The address of a copy of a database, which is dropped in the end."""
    url = _copy(server_url, source)
    yield url
    _drop(server_url, url)


@dataclass
class Copies:
    """Copies of one database, the next always made ahead: it takes as long as many a test."""

    server_url: str
    source: str
    _executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _next: Future[str] | None = None

    def take(self) -> str:
        ready = self._next or self._executor.submit(_copy, self.server_url, self.source)
        self._next = self._executor.submit(_copy, self.server_url, self.source)
        return ready.result()

    def give_back(self, url: str) -> None:
        self._executor.submit(_drop, self.server_url, url)

    def close(self) -> None:
        if self._next is not None:
            self.give_back(self._next.result())
        self._executor.shutdown()


@pytest.fixture(scope="session")
def copies(server_url: str, template: str) -> Iterator[Copies]:
    """Copies of the empty template."""
    with closing(Copies(server_url, template)) as copies:
        yield copies


@pytest.fixture
def make_database(server_url: str, copies: Copies) -> Iterator[MakeDatabase]:
    """Makes databases: copies of the one at the given address, or of the empty template."""
    with ExitStack() as stack:

        def make(source: str | None) -> str:
            if source is not None:
                return stack.enter_context(copied_database(server_url, source))
            url = copies.take()
            stack.callback(copies.give_back, url)
            return url

        yield make


@pytest.fixture
def database_url(make_database: MakeDatabase) -> str:
    """The owner's address of this test's own migrated, empty database."""
    return make_database(None)


@pytest_asyncio.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    """The whole server in this process, with an organization and an all-powerful test key."""
    async with open_api(database_url) as opened:
        yield opened


def _copy(server_url: str, source: str) -> str:
    name = f"ledgers_test_{uuid4().hex[:12]}"
    _run(server_url, SQL("CREATE DATABASE {} TEMPLATE {}"), name, _name(source))
    return _with_database(server_url, name)


def _drop(server_url: str, url: str) -> None:
    _run(server_url, SQL("DROP DATABASE {} WITH (FORCE)"), _name(url))


def _name(url: str) -> str:
    return str(conninfo_to_dict(url)["dbname"])


def _run(url: str, statement: SQL, *names: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.format(*map(Identifier, names)))


def _with_database(url: str, name: str) -> str:
    scheme, _, rest = url.partition("://")
    location, _, query = rest.partition("?")
    host = location.rpartition("/")[0] if "/" in location else location
    return f"{scheme}://{host}/{name}" + (f"?{query}" if query else "")
