"""Finding a key's principal: how often the database is asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.api.errors import RequestRefused
from app.api.http.authentication import Authenticator
from app.ledger.accounts.state import Mode
from app.store.database import Connection, Database, Unavailable
from app.store.identity import Permission, create_key, create_organization

MINUTE = 60.0


class CountingDatabase(Database):
    """Counts the transactions that are asked for, and fails while it is down."""

    asked = 0
    is_down = False

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        self.asked += 1
        if self.is_down:
            await asyncio.sleep(0)
            raise Unavailable("down")
        async with super().writing() as connection:
            yield connection


@asynccontextmanager
async def a_key(url: str) -> AsyncIterator[tuple[CountingDatabase, dict[bytes, bytes]]]:
    database = CountingDatabase(url, pool_size=2, statement_seconds=15)
    await database.open()
    async with database.writing() as connection:
        organization_id, *_ = await create_organization(connection, "Acme")
        _, token = await create_key(
            connection,
            organization_id,
            name="key",
            mode=Mode.TEST,
            permissions=[Permission.READ],
        )
    database.asked = 0
    yield database, {b"authorization": b"Bearer " + token.encode()}
    await database.close()


async def test_of_many_requests_at_once_one_asks(database_url: str) -> None:
    async with a_key(database_url) as (database, headers):
        authenticate = Authenticator(database, MINUTE)
        principals = await asyncio.gather(*(authenticate(headers) for _ in range(20)))
        assert len({id(principal) for principal in principals}) == database.asked == 1
        assert await authenticate(headers) is principals[0]
        assert database.asked == 1


async def test_one_that_leaves_does_not_take_the_answer_with_it(database_url: str) -> None:
    async with a_key(database_url) as (database, headers):
        authenticate = Authenticator(database, MINUTE)
        first, second = (asyncio.create_task(authenticate(headers)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).name == "key"
        assert first.cancelled()
        assert database.asked == 1


async def test_a_fault_is_told_to_all_and_not_remembered(database_url: str) -> None:
    async with a_key(database_url) as (database, headers):
        authenticate = Authenticator(database, MINUTE)
        database.is_down = True
        answers = await asyncio.gather(
            *(authenticate(headers) for _ in range(3)), return_exceptions=True
        )
        assert [isinstance(answer, RequestRefused) for answer in answers] == [True] * 3
        database.is_down = False
        assert (await authenticate(headers)).name == "key"
        assert database.asked == 2


async def test_a_token_not_in_use_is_refused_to_all(database_url: str) -> None:
    async with a_key(database_url) as (database, headers):
        authenticate = Authenticator(database, MINUTE)
        headers[b"authorization"] += b"x"
        for _ in range(2):
            with pytest.raises(RequestRefused):
                await authenticate(headers)
        assert database.asked == 0
