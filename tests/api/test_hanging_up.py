"""Clients that hang up before they are answered, over ASGI as a server speaks it to us."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import psycopg
import pytest
from structlog.testing import capture_logs

from app.api.http import graphql as http
from app.api.http.graphql import HUNG_UP_STATUS
from tests.api_client import POST, Api, Json

PATIENCE_SECONDS = 60
READ = "{ ledgers { nodes { id } } }"
ROADS = {
    "plan": READ,
    "graphql-core": "{ __schema { queryType { name } } ledgers { nodes { id } } }",
}
WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


class Client:
    """One request, whose client hangs up when told to."""

    def __init__(self, api: Api, query: str, variables: Json) -> None:
        self.gone = asyncio.Event()
        self.sent: list[Any] = []
        self._body: bytes | None = orjson.dumps({"query": query, "variables": variables})
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/graphql",
            "query_string": b"",
            "headers": [
                (b"authorization", f"Bearer {api.token}".encode()),
                (b"content-type", b"application/json"),
            ],
        }
        application = api.server.application()
        self.request = asyncio.ensure_future(application(scope, self._receive, self._send))

    async def _receive(self) -> Json:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)


@asynccontextmanager
async def locked(url: str, lock: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Hold a lock inside the block, which is given a connection that does not hold it."""
    async with (
        await psycopg.AsyncConnection.connect(url) as blocker,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as watcher,
    ):
        await blocker.execute(lock)
        yield watcher


async def until_waiting(watcher: psycopg.AsyncConnection[Any], number: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await (await watcher.execute(WAITING)).fetchall() != [(number,)]:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("road", ROADS)
async def test_a_query_ends_with_its_client(api: Api, database_url: str, road: str) -> None:
    """The statement that nobody waits for is cancelled, and its connection is free again."""
    await api.run(ROADS[road])
    async with locked(database_url, "LOCK TABLE ledgers IN ACCESS EXCLUSIVE MODE") as watcher:
        with capture_logs() as logs:
            client = Client(api, ROADS[road], {})
            await until_waiting(watcher, 1)
            client.gone.set()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await client.request
        await until_waiting(watcher, 0)
        assert client.sent == []
        assert [(line["event"], line["status"]) for line in logs] == [("request", HUNG_UP_STATUS)]
    for _ in range(20):
        assert await api.run(READ) == {"ledgers": {"nodes": []}}


async def test_a_mutation_outlives_its_client(
    api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a mutation has begun it ends, though nobody is there to hear of it."""
    monkeypatch.setattr(http, "WATCHED_AFTER_SECONDS", 0)
    ledger = await api.ledger()
    cash, wallet = await api.account(ledger, normalBalance="DEBIT"), await api.account(ledger)
    entries = [
        {"accountId": cash, "direction": "DEBIT", "amount": "5"},
        {"accountId": wallet, "direction": "CREDIT", "amount": "5"},
    ]
    posting = {"ledgerId": ledger, "idempotencyKey": "abandoned", "entries": entries}
    async with locked(database_url, "SELECT FROM ledgers FOR UPDATE") as watcher:
        client = Client(api, POST, {"input": posting})
        await until_waiting(watcher, 1)
        client.gone.set()
        await asyncio.sleep(0)
        assert not client.request.done()
    await client.request
    assert client.sent[0]["status"] == 200
    assert await api.balances(wallet) == (5, 0, 5, 5)
    assert (await api.answer(POST, **posting))["replayed"] is True
