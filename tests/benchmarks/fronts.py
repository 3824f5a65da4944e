"""Servers that exist for comparison only, each one of ours with one part exchanged.

    python -m tests.benchmarks.fronts plpgsql|noop|starlette --port PORT

plpgsql     the whole server, but its writer calls the reference's function for each request
noop        the GraphQL endpoint over a small schema whose one mutation does nothing
starlette   no GraphQL: Starlette reads the same JSON and writes the same JSON
"""

import argparse
import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import UUID

import orjson
import psycopg
import strawberry
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.api.engine.documents import Documents, Limits
from app.api.engine.plans import Planner
from app.api.http.graphql import GraphQLEndpoint, Headers
from app.ledger.accounts.balances import Balances, Direction, Effect
from app.ledger.accounts.state import Account, AccountStatus, Ledger
from app.ledger.transactions.commands import Command, EntryDraft, PostTransaction
from app.ledger.transactions.posting import Decision, Recorded
from app.ledger.transactions.record import Entry, Event, EventKind, Transaction, TransactionStatus
from app.logs import configure_logs, log_request
from app.protocol import Protocol
from app.server import Application, Server
from app.settings import Settings
from app.store.database import Connection
from app.store.transactions.writer import Writer

NUMBERED_ACCOUNTS = "SELECT account_id FROM accounts ORDER BY account_id"
CALL = "SELECT reference.post(1, %s::text, %s::text, %s::int8[], %s::int8[])"


# ---- a function call for each request ------------------------------------------------------------


class FunctionWriter(Writer):
    """Answers each posting by one call of the reference's function, which is one commit.

    The function returns the transaction's number. What it does not return, and the measured
    operation does not ask for, such as balances, is as for an account's first entry.
    """

    numbers: dict[UUID, int]
    turn: asyncio.Lock
    connection: Connection

    async def open(self, url: str) -> None:
        self.turn = asyncio.Lock()
        self.connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
        self.connection.prepare_threshold = 0
        rows = await (await self.connection.execute(NUMBERED_ACCOUNTS)).fetchall()
        self.numbers = {account_id: number for number, (account_id,) in enumerate(rows, 1)}

    async def write_together(self, commands: Sequence[Command]) -> list[Decision]:
        return [await self._post(command) for command in commands]

    async def _post(self, command: Command) -> Decision:
        assert isinstance(command, PostTransaction)
        parameters = (
            command.idempotency_key,
            command.description,
            [self.numbers[draft.account_id] for draft in command.entries],
            [
                draft.amount if draft.direction is Direction.CREDIT else -draft.amount
                for draft in command.entries
            ],
        )
        async with self.turn:
            cursor = await self.connection.execute(CALL, parameters, binary=True)
            ((sequence,),) = await cursor.fetchall()
        now = datetime.now(UTC)
        scope = command.scope
        return Recorded(
            _transaction(command, sequence, now),
            Event(1, EventKind.POSTED, command.idempotency_key, b"", None, now),
            tuple(_entry(draft, line, now) for line, draft in enumerate(command.entries, 1)),
            Ledger(scope.organization_id, command.ledger_id, scope.mode, False, sequence, now),
            tuple(_account(command, draft) for draft in command.entries),
        )


def _transaction(command: PostTransaction, sequence: int, now: datetime) -> Transaction:
    return Transaction(
        organization_id=command.scope.organization_id,
        ledger_id=command.ledger_id,
        transaction_id=command.transaction_id,
        sequence=sequence,
        status=TransactionStatus.POSTED,
        description=command.description,
        external_id=None,
        metadata={},
        effective_at=now,
        created_at=now,
        posted_at=now,
        voided_at=None,
        idempotency_key=command.idempotency_key,
    )


def _entry(draft: EntryDraft, line: int, now: datetime) -> Entry:
    return Entry(
        draft.account_id,
        1,
        line,
        1,
        draft.direction,
        Effect.POST,
        draft.amount,
        Balances(),
        now,
        {},
    )


def _account(command: PostTransaction, draft: EntryDraft) -> Account:
    return Account(
        command.scope.organization_id,
        draft.account_id,
        command.ledger_id,
        "USD",
        2,
        Direction.CREDIT,
        AccountStatus.OPEN,
        None,
        1,
        Balances(),
    )


def plpgsql() -> Starlette:
    settings = Settings()
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    server = Server(settings, url)
    writer = server.writer = FunctionWriter(
        server.database, settings.max_batch_entries, settings.max_waiting_entries
    )
    inner = server.application()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with server.running():
            await writer.open(url)
            yield
            await writer.connection.close()

    return Starlette(routes=inner.routes, lifespan=lifespan)


# ---- GraphQL that does nothing -------------------------------------------------------------------


@strawberry.enum
class Side(Enum):
    DEBIT = "debit"
    CREDIT = "credit"


@strawberry.input
class LineInput:
    account_id: strawberry.ID
    direction: Side
    amount: str


@strawberry.input
class NothingInput:
    ledger_id: strawberry.ID
    idempotency_key: str
    description: str
    entries: list[LineInput]


@strawberry.type
class Line:
    account_id: strawberry.ID
    direction: Side
    amount: str


@strawberry.type
class Nothing:
    id: strawberry.ID
    description: str
    entries: list[Line]


@strawberry.type
class Query:
    nothing: str = ""


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def do_nothing(self, input: NothingInput) -> Nothing:  # noqa: A002  GraphQL's own name
        return Nothing(
            id=strawberry.ID(input.idempotency_key),
            description=input.description,
            entries=[
                Line(account_id=line.account_id, direction=line.direction, amount=line.amount)
                for line in input.entries
            ],
        )


def noop() -> Starlette:
    settings = Settings()
    schema = strawberry.Schema(Query, Mutation)

    async def authenticate(_: Headers) -> str:
        return "anybody"

    @asynccontextmanager
    async def open_context(principal: str, request_id: str) -> AsyncIterator[tuple[str, str]]:
        yield principal, request_id

    graphql_schema = schema._schema  # noqa: SLF001  as app.server does
    endpoint = GraphQLEndpoint(
        Documents(
            graphql_schema,
            Limits(
                max_query_bytes=settings.max_query_bytes,
                max_tokens=settings.max_tokens,
                max_depth=settings.max_depth,
                max_aliases=settings.max_aliases,
                max_root_mutations=settings.max_root_mutations,
                max_cost=settings.max_cost,
            ),
            Planner(graphql_schema, schema.config.name_converter),
        ),
        authenticate=authenticate,
        open_context=open_context,
        log_request=log_request,
        max_body_bytes=settings.max_body_bytes,
        execution_seconds=settings.execution_seconds,
    )
    return Application(endpoint)


def starlette() -> Starlette:
    async def nothing(request: Request) -> Response:
        given: dict[str, Any] = orjson.loads(await request.body())["variables"]["input"]
        answer = {
            "id": given["idempotencyKey"],
            "description": given["description"],
            "entries": given["entries"],
        }
        return Response(
            orjson.dumps({"data": {"doNothing": answer}}), media_type="application/json"
        )

    return Starlette(routes=[Route("/graphql", nothing, methods=["POST"])])


def main() -> None:
    """Serve the application of that name as `ledgers serve` would."""
    applications = {"plpgsql": plpgsql, "noop": noop, "starlette": starlette}
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=applications)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    settings = Settings()
    configure_logs(settings.log_format, settings.log_level)
    application = applications[options.name]()
    gc.collect()
    gc.freeze()  # as ledgers serve does
    uvicorn.run(
        application,
        http="auto" if options.name == "starlette" else Protocol,
        host="127.0.0.1",
        port=options.port,
        log_config=None,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
