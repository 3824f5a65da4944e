"""Connections of one process, and the one consistent view that an operation reads.

A query operation may run several statements, one a level. They share one connection and one
REPEATABLE READ transaction, so that an answer is a single moment of the books: balances never
disagree with the entries beside them, however many postings commit meanwhile.

Sessions take the role `ledgers_app` as a start-up option, with time limits and UTC. A pooler in
transaction mode refuses such options, which is right: session state would leak between clients.

A peer may fall silent without closing: a machine that is gone, a proxy or a process that hangs. TCP
finds the first out (`LIVENESS`), nothing finds out the second. Hence every wait for an answer is
limited on this side, too (`within`): then the connection is cut, and what was sent is in doubt.

A peer that closes does say so, but to whoever reads next: after a restart of the database all idle
connections of a pool are over, and each would fail one more request. So they are read before they
are handed out (`_Pool`), which costs a look at the socket and no round trip.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import orjson
import psycopg
from psycopg import AsyncConnection, IsolationLevel
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import ConnectionTimeout
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg.types.numeric import IntLoader
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from app.ledger.accounts.state import Scope

MINIMUM_VERSION = 15
POOL_SECONDS = 5.0
PING_SECONDS = 2.0
RECONNECT_SECONDS = 1.0
UNSAFE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}

KEYED_PLANS: dict[str, str | int] = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "join_collapse_limit": 1,
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
"""The writer's statements, and the foreign-key checks behind them, are look-ups by full key, in the
order in which they should run. On a young table without statistics the planner guesses otherwise,
and keeps the quadratic plan while the table grows (seen: 15 s for a batch of 1,000). A plan that
does not depend on the values need not be made again for each batch."""

LIVENESS: dict[str, int] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""How soon a lost peer is noticed, unless the address itself says otherwise: in seconds, the last
one in milliseconds. All but the first are for TCP; systems without one of them overlook it."""

Connection = AsyncConnection[tuple[Any, ...]]
Row = tuple[Any, ...]

_dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]


class UnsafeDatabase(Exception):
    """The database would lose or refuse what we promise to keep; the message says what to do."""


class Unavailable(Exception):
    """The database cannot be reached, or did not answer in time; trying again later is right."""


class Busy(Exception):
    """The database answers, but none of our connections was free in time."""


def sql(statement: ClauseElement) -> str:
    """The text of a built statement, with named psycopg placeholders and casts."""
    return str(statement.compile(dialect=_dialect))


async def all_rows(
    connection: Connection,
    statement: str,
    parameters: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    prepare: bool | None = None,
    binary: bool = False,
) -> Sequence[Row]:
    """Run one statement and return all its rows; `prepare` and `binary` as psycopg has them."""
    cursor = await connection.execute(statement, parameters, prepare=prepare, binary=binary)
    return await cursor.fetchall()


def tenancy(scope: Scope) -> dict[str, Any]:
    """The parameters by which every statement filters."""
    return {
        "organization": scope.organization_id,
        "mode": scope.mode.value,
        "restricted": scope.ledger_ids is not None,
        "ledgers": list(scope.ledger_ids or ()),
    }


def connection_info(url: str, *, statement_seconds: float, **more: str | int) -> str:
    """Add the session's role, limits, time zone and further settings to a database address."""
    milliseconds = int(statement_seconds * 1000)
    options = {
        "role": "ledgers_app",
        "timezone": "UTC",
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": 4 * milliseconds,
        "client_connection_check_interval": 1000,
        **more,
    }
    return make_conninfo(
        url,
        **{name: value for name, value in LIVENESS.items() if name not in conninfo_to_dict(url)},
        application_name="ledgers",
        options=" ".join(f"-c {name}={value}" for name, value in options.items()),
    )


@contextmanager
def within(connection: Connection, seconds: float) -> Iterator[None]:
    """Cut the connection if the block takes longer, so that what waits for it hears of a loss.

    Raises ConnectionTimeout then, instead. Cancelling is not enough: psycopg first asks the
    database to agree.
    """
    is_cut = False

    def cut() -> None:
        nonlocal is_cut
        is_cut = True
        if not connection.closed:
            with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as peer:
                peer.shutdown(socket.SHUT_RDWR)

    timer = asyncio.get_running_loop().call_later(seconds, cut)
    try:
        yield
    except psycopg.Error as fault:
        if not is_cut:
            raise
        raise ConnectionTimeout("the database has fallen silent") from fault
    finally:
        timer.cancel()


class _Pool(AsyncConnectionPool[Connection]):
    """Gives out no connection that the database has ended meanwhile.

    A lost one is made anew for `RECONNECT_SECONDS` and then given up, until somebody wants one: the
    pauses of the pool's own attempts would grow with the outage, and outlast it.
    """

    async def getconn(self, timeout: float | None = None) -> Connection:  # noqa: ASYNC109
        while True:
            connection = await super().getconn(timeout)
            if not _is_over(connection):
                return connection
            await connection.close()
            await self.putconn(connection)  # which has another made


def _is_over(connection: Connection) -> bool:
    """Say whether the database has ended an idle session, as far as it has told this side."""
    try:
        connection.pgconn.consume_input()  # the reason, where there is one
        connection.pgconn.consume_input()  # the end
    except psycopg.OperationalError:
        return True
    return False


class Database:
    """Two small pools: one that can only read, one for short writes. Balances go by the writer."""

    def __init__(
        self, url: str, *, pool_size: int, statement_seconds: float, lock_seconds: float = 2.0
    ) -> None:
        self.statement_seconds = statement_seconds
        self.silence_seconds = statement_seconds * 2 / 3  # whoever waits for the writer shall hear
        self.connection_info = connection_info(url, statement_seconds=statement_seconds)
        self._url = url
        self._writer_info = connection_info(
            url,
            statement_seconds=statement_seconds,
            lock_timeout=int(lock_seconds * 1000),
            **KEYED_PLANS,
        )
        self._reading = self._pool(pool_size, self._configure_reading)
        self._writing = self._pool(max(1, pool_size // 2), _configure)

    async def open(self, *, allow_unsafe_durability: bool = False) -> None:
        """Connect. Raises UnsafeDatabase where acknowledged postings could be lost."""
        connection = await self.connect()
        async with connection:
            await _refuse_unsafe(connection, allow_unsafe_durability=allow_unsafe_durability)
        await asyncio.gather(
            self._reading.open(wait=True, timeout=30), self._writing.open(wait=True, timeout=30)
        )

    async def close(self) -> None:
        await asyncio.gather(self._reading.close(), self._writing.close())

    async def connect(self, *, patience: float | None = None) -> Connection:
        """A connection of one's own, in autocommit mode; the writer lives on one.

        With `patience`, for work on many rows: plans are as usual, and a statement or a lock may
        take that many seconds.
        """
        info = self._writer_info
        if patience is not None:
            info = connection_info(self._url, statement_seconds=patience)
        connection = await AsyncConnection.connect(info, autocommit=True)
        await _configure(connection)
        return connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        """A transaction that commits when the block ends and rolls back when it raises.

        Raises Unavailable; if that was at commit, the write may have been done.
        """
        try:
            async with self._writing.connection() as connection:
                with within(connection, self.statement_seconds):
                    yield connection
                    await connection.commit()
        except (PoolTimeout, psycopg.OperationalError) as fault:
            raise Unavailable("The database did not answer; try again later.") from fault

    def snapshot(self, scope: Scope) -> "Snapshot":
        """One consistent view; nothing is opened before its first statement."""
        return Snapshot(self._reading, scope, self.statement_seconds)

    async def ping(self) -> None:
        """Return if a read would be answered now. Raises Unavailable; Busy, which is less bad."""
        try:
            try:
                connection = await self._reading.getconn(PING_SECONDS)
            except PoolTimeout:  # all are taken, or none can be made
                async with await self.connect() as another:
                    with within(another, PING_SECONDS):
                        await another.execute("SELECT 1")
                raise Busy from None
            try:
                with within(connection, PING_SECONDS):
                    await connection.execute("SELECT 1")
                    await connection.rollback()
            finally:
                await self._reading.putconn(connection)
        except psycopg.OperationalError as fault:
            raise Unavailable("The database does not answer.") from fault

    def _pool(self, size: int, configure: Any) -> _Pool:
        return _Pool(
            self.connection_info,
            min_size=1,
            max_size=size,
            open=False,
            timeout=POOL_SECONDS,
            reconnect_timeout=RECONNECT_SECONDS,
            configure=configure,
            name="ledgers",
        )

    async def _configure_reading(self, connection: Connection) -> None:
        await _configure(connection)
        await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        await connection.set_read_only(True)


class Snapshot:
    """What one API key sees at one moment: a REPEATABLE READ, read-only transaction.

    It is opened by its first statement and lives on one connection; statements of sibling fields
    take turns. The organization, mode and ledgers of the key are parameters of every statement,
    added here, so no caller can ask for another tenant's rows. `statements` counts them.
    """

    def __init__(
        self, pool: AsyncConnectionPool[Connection], scope: Scope, statement_seconds: float
    ) -> None:
        self.scope = scope
        self.statements = 0
        self._pool = pool
        self._statement_seconds = statement_seconds
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._end: Unavailable | None = None
        self._tenancy = tenancy(scope)

    async def rows(self, statement: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """Run one statement and return all its rows.

        Raises Unavailable, and after that at once for every other statement.
        """
        assert "%(organization)s" in statement, "a statement must filter on the organization"
        async with self._turn:
            if self._end is not None:
                raise self._end
            self.statements += 1
            try:
                if self._connection is None:
                    self._connection = await self._pool.getconn()
                with within(self._connection, self._statement_seconds):
                    return await all_rows(
                        self._connection, statement, {**parameters, **self._tenancy}
                    )
            except (PoolTimeout, psycopg.OperationalError) as fault:
                self._end = Unavailable("The database did not answer; try again later.")
                raise self._end from fault

    async def close(self) -> None:
        """End the transaction, and a statement that nobody waits for; hand the connection back."""
        if self._end is None:
            self._end = Unavailable("The operation is over.")
        if self._turn.locked() and self._connection is not None:
            with suppress(psycopg.Error):
                await self._connection.cancel_safe(timeout=POOL_SECONDS)
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(psycopg.Error), within(connection, self._statement_seconds):
                    await connection.rollback()
                await self._pool.putconn(connection)


async def _configure(connection: Connection) -> None:
    connection.prepare_threshold = 2
    _adapt(connection.adapters)


def _adapt(adapters: AdaptersMap) -> None:
    # Every numeric here is a whole number. (In an array this loader takes 20 digits at most.)
    adapters.register_loader("numeric", IntLoader)
    set_json_loads(orjson.loads, adapters)
    set_json_dumps(orjson.dumps, adapters)


async def _refuse_unsafe(connection: Connection, *, allow_unsafe_durability: bool) -> None:
    version = connection.info.server_version // 10_000
    if version < MINIMUM_VERSION:
        raise UnsafeDatabase(f"PostgreSQL {version} is too old: {MINIMUM_VERSION} or newer.")
    if connection.info.parameter_status("server_encoding") != "UTF8":
        raise UnsafeDatabase("the database is not in UTF8, so it could not hold every text.")
    rows = await connection.execute(
        "SELECT name, setting FROM pg_settings WHERE name = ANY(%(names)s)",
        {"names": list(UNSAFE)},
    )
    unsafe = sorted(
        f"{name} = {value}" for name, value in await rows.fetchall() if UNSAFE[name] == value
    )
    if unsafe and not allow_unsafe_durability:
        raise UnsafeDatabase(
            f"the database has {', '.join(unsafe)}: a power cut could lose acknowledged postings."
            " Turn it on, or set LEDGERS_ALLOW_UNSAFE_DURABILITY=true if the data may be lost."
        )
