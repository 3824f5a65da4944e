"""After a restart of the database the first to ask is answered, whatever the pools held before."""

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from app.store.database import Unavailable
from app.store.shifts import Lock
from tests.api_client import Api

END_ALL = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = %s AND pid <> pg_backend_pid()
"""


async def fill_pools(api: Api) -> None:
    """Have both pools hold as many connections as they may."""
    database = api.server.database
    for pool in (database._reading, database._writing):  # noqa: SLF001
        for connection in [await pool.getconn() for _ in range(pool.max_size)]:
            await pool.putconn(connection)


@pytest.mark.parametrize("asked", ["query", "mutation", "posting", "authentication", "probe"])
async def test_first_after_a_restart(
    api: Api, server_url: str, database_url: str, asked: str
) -> None:
    """All sessions were ended; the first to ask meets none of them."""
    name = conninfo_to_dict(database_url)["dbname"]
    ledger = await api.ledger()
    cash, wallet = [await api.account(ledger) for _ in range(2)]
    await api.post(ledger, cash, wallet, 5)
    other = await api.with_key()
    await fill_pools(api)
    async with await psycopg.AsyncConnection.connect(server_url, autocommit=True) as owner:
        ended = await owner.execute(END_ALL, [name])
        assert ended.rowcount == 8 + 4 + 1 + len(Lock)  # pools, writer, shifts
    match asked:
        case "query":
            assert await api.balances(wallet) == (5, 0, 5, 5)
        case "mutation":
            assert await api.ledger() != ledger
        case "posting":
            assert (await api.post(ledger, cash, wallet, 5))["replayed"] is False
        case "authentication":
            answer = await other.run("{ viewer { organization } }")
            assert answer == {"viewer": {"organization": "Testers"}}
        case "probe":
            response = await api.http.get("/health/ready")
            assert (response.status_code, response.json()) == (200, {"status": "ready"})


async def test_first_after_an_outage(api: Api, server_url: str, database_url: str) -> None:
    """However long the database was away, the first probe once it is back finds it."""
    name = str(conninfo_to_dict(database_url)["dbname"])
    allow = SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    await fill_pools(api)
    async with await psycopg.AsyncConnection.connect(server_url, autocommit=True) as owner:
        await owner.execute(allow.format(Identifier(name), False))
        await owner.execute(END_ALL, [name])
        try:
            for _ in range(2):
                with pytest.raises(Unavailable):
                    await api.server.database.ping()
        finally:
            await owner.execute(allow.format(Identifier(name), True))
    await api.server.database.ping()
    assert await api.ledger()
