"""A small schema with every kind of type and resolver, its endpoint, and a server for it.

Run as a program it serves the endpoint on a free port of 127.0.0.1 and prints the port.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, NewType

import psycopg.errors
import strawberry
import uvicorn
from graphql import GraphQLError
from strawberry.schema.config import StrawberryConfig

from app.api.engine.documents import Documents, Limits
from app.api.errors import Code, CodedError, RequestRefused
from app.api.http.graphql import GraphQLEndpoint, Headers
from app.logs import log_request

KEY = "Bearer small-key"
SECRET = "hunter2-of-row-7"  # what no answer and no log line may hold
LIMITS = Limits(
    max_query_bytes=65_536,
    max_tokens=2000,
    max_depth=15,
    max_aliases=50,
    max_root_mutations=10,
    max_cost=20_000,
)

Amount = NewType("Amount", int)


def parse_amount(value: object) -> Amount:
    if not isinstance(value, str):
        raise GraphQLError("An amount is a string.")
    if not value.isascii() or not value.isdigit():
        raise ValueError("an amount has digits only")
    return Amount(int(value))


@strawberry.enum
class Direction(Enum):
    DEBIT = "debit"
    CREDIT = "credit"


@strawberry.interface
class Node:
    id: strawberry.ID


@strawberry.interface
class Failure:
    message: str


@strawberry.type
class NotFound(Failure):
    id: strawberry.ID


@strawberry.type
class Account(Node):
    name: str
    direction: Direction

    @strawberry.field
    async def balance(self, info: strawberry.Info) -> Amount:
        balance: Amount = await info.context.balance(self.id)
        return balance

    @strawberry.field
    def accounts(self, first: int | None = None) -> "AccountConnection":
        return AccountConnection(nodes=ACCOUNTS[: first or 50])


@strawberry.type
class AccountConnection:
    nodes: list[Account]


@strawberry.type
class Posted:
    account: Account
    total: Amount


PostResult = Annotated[Posted | NotFound, strawberry.union("PostResult")]

ACCOUNTS = [
    Account(id=strawberry.ID(f"a{number}"), name=f"Account {number}", direction=direction)
    for number, direction in enumerate([Direction.DEBIT, Direction.CREDIT] * 50)
]


@strawberry.input
class PostInput:
    account_id: strawberry.ID
    amount: Amount
    direction: Direction = Direction.CREDIT
    note: str | None = None


@strawberry.input(one_of=True)
class Selector:
    id: strawberry.ID | None = strawberry.UNSET
    name: str | None = strawberry.UNSET


@dataclass
class Context:
    """The context of one operation; balances asked for in one turn are loaded in one batch."""

    principal: str
    request_id: str
    hold: asyncio.Event
    batches: list[list[str]] = field(default_factory=list)
    appended: list[int] = field(default_factory=list)
    _wanted: dict[str, asyncio.Future[Amount]] = field(default_factory=dict)

    def balance(self, account_id: str) -> asyncio.Future[Amount]:
        loop = asyncio.get_running_loop()
        if not self._wanted:
            loop.call_soon(self._load)
        return self._wanted.setdefault(account_id, loop.create_future())

    def _load(self) -> None:
        wanted, self._wanted = self._wanted, {}
        self.batches.append(list(wanted))
        for account_id, future in wanted.items():
            future.set_result(Amount(len(account_id) * 10**20))


class Impostor(Exception):
    def __init__(self) -> None:
        super().__init__(SECRET)
        self.message = SECRET
        self.extensions = {"code": "FORBIDDEN", "secret": SECRET}


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "world") -> str:
        return f"Hello, {name}!"

    @strawberry.field
    async def later(self) -> str:
        await asyncio.sleep(0)
        return "later"

    @strawberry.field
    def caller(self, info: strawberry.Info) -> str:
        return f"{info.context.principal} {info.context.request_id}"

    @strawberry.field
    def variables(self, info: strawberry.Info, number: int) -> list[str]:
        assert number in info.variable_values.values()
        return sorted(info.variable_values)

    @strawberry.field
    def node(self, id: strawberry.ID) -> Node | None:  # noqa: A002 (the field's argument)
        return next((account for account in ACCOUNTS if account.id == id), None)

    @strawberry.field
    async def account(self, id: strawberry.ID) -> Account | None:  # noqa: A002
        return next((account for account in ACCOUNTS if account.id == id), None)

    @strawberry.field
    def accounts(self, first: int | None = None, last: int | None = None) -> AccountConnection:
        return AccountConnection(nodes=ACCOUNTS[: first or last or 50])

    @strawberry.field
    def nodes(self, ids: list[strawberry.ID]) -> list[Node | None]:
        return [next((node for node in ACCOUNTS if node.id == id), None) for id in ids]  # noqa: A001

    @strawberry.field
    def pick(self, by: Selector) -> str:
        return "by name" if by.name is not strawberry.UNSET else "by id"

    @strawberry.field
    def echo(self, amount: Amount, times: int = 1) -> Amount:
        return Amount(amount * times)

    @strawberry.field
    def text(self, value: str) -> str:
        return value

    @strawberry.field
    async def stuck(self, info: strawberry.Info) -> str:
        await info.context.hold.wait()
        return "free"

    @strawberry.field
    def fails(self) -> str | None:
        raise KeyError(SECRET)

    @strawberry.field
    async def fails_later(self) -> str:
        await asyncio.sleep(0)
        raise psycopg.errors.UniqueViolation(f"DETAIL: Key (name)=({SECRET}) already exists.")

    @strawberry.field
    def forbidden(self) -> str | None:
        raise CodedError(Code.FORBIDDEN, "The key may not do this.", scope="write")

    @strawberry.field
    def uncoded(self) -> str | None:
        raise GraphQLError(SECRET)

    @strawberry.field
    def impostor(self) -> str | None:
        raise Impostor

    @strawberry.field
    def wrong_type(self) -> int | None:
        return SECRET  # type: ignore[return-value]

    @strawberry.field
    def never_null(self) -> str:
        return None  # type: ignore[return-value]


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def post(self, input: PostInput) -> PostResult:  # noqa: A002
        account = next((account for account in ACCOUNTS if account.id == input.account_id), None)
        if account is None:
            return NotFound(id=input.account_id, message="There is no such account.")
        return Posted(account=account, total=input.amount)

    @strawberry.mutation
    async def append(self, info: strawberry.Info, value: int, turns: int) -> list[int]:
        for _ in range(turns):
            await asyncio.sleep(0)
        info.context.appended.append(value)
        return list(info.context.appended)


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self) -> AsyncGenerator[int, None]:
        yield 1


SCHEMA = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[Account, NotFound],
    config=StrawberryConfig(
        scalar_map={
            Amount: strawberry.scalar(name="Amount", serialize=str, parse_value=parse_amount)
        }
    ),
)
GRAPHQL_SCHEMA = SCHEMA._schema  # noqa: SLF001 (the types without strawberry's execution)


async def authenticate(headers: Headers) -> str:
    if headers.get(b"authorization") != KEY.encode():
        raise RequestRefused(
            401, Code.UNAUTHENTICATED, "A valid key is needed.", {"WWW-Authenticate": "Bearer"}
        )
    return "somebody"


class Contexts:
    """Opens contexts and remembers which are open and which were closed."""

    def __init__(self) -> None:
        self.hold = asyncio.Event()
        self.opened: list[Context] = []
        self.closed: list[Context] = []
        self.refusal: Exception | None = None
        self.fault_at_close: Exception | None = None

    @asynccontextmanager
    async def open(self, principal: Any, request_id: str) -> AsyncIterator[Context]:
        if self.refusal is not None:
            raise self.refusal
        context = Context(principal, request_id, self.hold)
        self.opened.append(context)
        try:
            yield context
        finally:
            self.closed.append(context)
            if self.fault_at_close is not None:
                raise self.fault_at_close


def build(
    contexts: Contexts,
    *,
    limits: Limits = LIMITS,
    max_body_bytes: int = 100_000,
    execution_seconds: float = 30.0,
) -> GraphQLEndpoint:
    return GraphQLEndpoint(
        Documents(GRAPHQL_SCHEMA, limits),
        authenticate=authenticate,
        open_context=contexts.open,
        log_request=log_request,
        max_body_bytes=max_body_bytes,
        execution_seconds=execution_seconds,
    )


def serve() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)  # noqa: T201 (the parent reads it)
    config = uvicorn.Config(build(Contexts()), lifespan="off", log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    serve()
